"""Parameters grouped from bottom to top, for discriminative fine-tuning and gradual unfreezing.

Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.2 (discriminative fine-tuning), 3.3 (gradual unfreezing).
"""

from collections.abc import Sequence
from typing import cast

from torch import nn

from ulmkit.model.awd_lstm import Encoder
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.language_model import AWDLSTMLanguageModel

Groups = list[list[nn.Parameter]]
"""Parameters that share a learning rate and are unfrozen together, group by group from bottom to top."""


def language_model_groups(model: AWDLSTMLanguageModel) -> Groups:
    """Groups of a language model: [layer 1, ..., layer n, embedding and decoder].

    The embedding is in the top group, since it is the softmax's weight too, and its rows for new tokens are what a
    language model must learn first on new text. A mixture of softmaxes is in it as well.

    Source: fastai's `awd_lstm_lm_split`.
    """
    decoder = [] if model.decoder is None else list(model.decoder.parameters())
    mixture = [] if model.mixture is None else list(model.mixture.parameters())
    embedding = [*model.encoder.embedding.parameters(), *decoder, *mixture]
    return [*_lstm_groups(model.encoder), embedding]


def classifier_groups(model: AWDLSTMClassifier) -> Groups:
    """Groups of a classifier: [embedding, layer 1, ..., layer n, head].

    Source: fastai's `awd_lstm_clas_split`.
    """
    embedding = list(model.encoder.embedding.parameters())
    return [embedding, *_lstm_groups(model.encoder), list(model.head.parameters())]


def _lstm_groups(encoder: Encoder) -> Groups:
    return [list(layer.parameters()) for layer in cast(Sequence[nn.Module], encoder.layers)]
