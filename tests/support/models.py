"""Configs and language models from flat options."""

import dataclasses
from typing import Any

import torch

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


def learn_to_count(model: AWDLSTMLanguageModel, vocab_size: int, steps: int = 50) -> float:
    """Train a model to count upwards, where only the start is left to chance.

    Returns:
        The mean loss on the last batch in evaluation mode.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=0.04)
    for _ in range(steps):
        ids = (torch.randint(vocab_size, (1, 8)) + torch.arange(9).unsqueeze(1)) % vocab_size
        loss = model.loss(ids[:-1], ids[1:], ar=0.1, tar=0.1)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    nll, _ = model.eval().token_nll(ids[:-1], ids[1:])
    return nll.mean().item()
