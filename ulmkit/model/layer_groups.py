"""Parameters grouped from bottom to top, for discriminative fine-tuning and gradual unfreezing.

Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.2 (discriminative fine-tuning), 3.3 (gradual unfreezing).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from torch import nn

from ulmkit.model.awd_lstm import Encoder
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.language_model import AWDLSTMLanguageModel


@dataclass(frozen=True)
class LayerGroup:
    """Parameters that share a learning rate and are unfrozen together.

    Attributes:
        name: Name to show.
        parameters: The parameters.
    """

    name: str
    parameters: list[nn.Parameter]


def language_model_groups(model: AWDLSTMLanguageModel) -> list[LayerGroup]:
    """Groups of a language model: [layer 1, ..., layer n, embedding and decoder].

    The embedding is in the top group, since it is the softmax's weight too, and its rows for new tokens are what a
    language model must learn first on new text. A mixture of softmaxes is in it as well.

    Source: fastai's `awd_lstm_lm_split`.
    """
    decoder = [] if model.decoder is None else list(model.decoder.parameters())
    mixture = [] if model.mixture is None else list(model.mixture.parameters())
    embedding = [*model.encoder.embedding.parameters(), *decoder, *mixture]
    return [*_lstm_groups(model.encoder), LayerGroup("embedding and decoder", embedding)]


def classifier_groups(model: AWDLSTMClassifier) -> list[LayerGroup]:
    """Groups of a classifier: [embedding, layer 1, ..., layer n, head].

    Source: fastai's `awd_lstm_clas_split`.
    """
    embedding = LayerGroup("embedding", list(model.encoder.embedding.parameters()))
    return [embedding, *_lstm_groups(model.encoder), LayerGroup("head", list(model.head.parameters()))]


def _lstm_groups(encoder: Encoder) -> list[LayerGroup]:
    layers = cast(Sequence[nn.Module], encoder.layers)
    return [LayerGroup(f"layer {number}", list(layer.parameters())) for number, layer in enumerate(layers, 1)]
