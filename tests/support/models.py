"""Configs and language models from flat options."""

import dataclasses
from typing import Any

from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig

_ENCODER_OPTIONS = {field.name for field in dataclasses.fields(AWDLSTMConfig)}


def language_model_config(base: LanguageModelConfig | None = None, **options: Any) -> LanguageModelConfig:
    """`base`, or the default config, with options of its encoder and of its softmax changed."""
    base = base or LanguageModelConfig()
    encoder = {name: options.pop(name) for name in list(options) if name in _ENCODER_OPTIONS}
    return dataclasses.replace(base, encoder=dataclasses.replace(base.encoder, **encoder), **options)


def make_language_model(vocab_size: int, **options: Any) -> AWDLSTMLanguageModel:
    """A language model from options of its encoder and of its softmax."""
    return AWDLSTMLanguageModel(language_model_config(**options), vocab_size)
