"""Parameters in groups from bottom to top, for discriminative rates and gradual unfreezing.

Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.2 (discriminative fine-tuning), 3.3 (gradual unfreezing).
"""

from dataclasses import dataclass

from torch import nn

from ulmkit.model.awd_lstm import AWDLSTM
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.language_model import AWDLSTMLanguageModel


@dataclass(frozen=True)
class LayerGroup:
    """Parameters that are trained with one rate and unfrozen together. name: for people."""

    name: str
    parameters: list[nn.Parameter]


def language_model_groups(model: AWDLSTMLanguageModel) -> list[LayerGroup]:
    """[layer 1, ..., layer n, embedding and decoder], a mixture of softmaxes with the decoder.

    The embedding is the top group, since it is the softmax's weight too, and its rows for new tokens are what a
    language model has to learn first on new text (fastai's `awd_lstm_lm_split` groups alike).
    """
    decoder = [] if model.decoder is None else list(model.decoder.parameters())
    mixture = [] if model.mixture is None else list(model.mixture.parameters())
    embedding = [*model.encoder.embedding.parameters(), *decoder, *mixture]
    return [*_lstm_groups(model.encoder), LayerGroup("embedding and decoder", embedding)]


def classifier_groups(model: AWDLSTMClassifier) -> list[LayerGroup]:
    """[embedding, layer 1, ..., layer n, head] (as fastai's `awd_lstm_clas_split`)."""
    embedding = LayerGroup("embedding", list(model.encoder.embedding.parameters()))
    return [embedding, *_lstm_groups(model.encoder), LayerGroup("head", list(model.head.parameters()))]


def _lstm_groups(encoder: AWDLSTM) -> list[LayerGroup]:
    return [LayerGroup(f"layer {number}", list(layer.parameters())) for number, layer in enumerate(encoder.layers, 1)]
