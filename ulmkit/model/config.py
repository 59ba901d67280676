"""Configs of the encoder and the language model. Imports without torch."""

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

from ulmkit.config import check_probability, check_whole
from ulmkit.errors import ConfigError
from ulmkit.model.cells import LSTM, Cell, check_cell
from ulmkit.model.memory import check_memory

DROPOUTS = ("embedding_dropout", "input_dropout", "hidden_dropout", "output_dropout", "weight_dropout")
"""Names of the dropouts in `AWDLSTMConfig`."""

_MOST_LAYERS = 1000

CHUNK_STEPS = 70
"""Steps of a document that a classifier reads at a time."""

GRADIENT_STEPS = 420
"""Last steps of a document that a classifier's encoder learns from."""


@dataclass(frozen=True, kw_only=True)
class AWDLSTMConfig:
    """Sizes, cell and dropouts of an AWD-LSTM encoder; the vocabulary's size is given beside it.

    Attributes:
        embedding_size: Embedding size, E.
        hidden_size: Hidden size of every layer except the last, H.
        layers: Number of recurrent layers.
        last_hidden_size: Units of the last layer (default: the embedding size; only a mixture of softmaxes allows
            another).
        cell: Cell of every layer, with its options.
        embedding_dropout: Probability of dropping a word (section 4.3; `dropoute`, fastai `embed_p`).
        input_dropout: Dropout on embedded words (section 4.2; `dropouti`, fastai `input_p`).
        hidden_dropout: Dropout between layers (section 4.2; `dropouth`, fastai `hidden_p`).
        output_dropout: Dropout on the last layer's output (section 4.2; `dropout`, fastai `output_p`).
        weight_dropout: Dropout on the recurrent weights, or all of a QRNN's (section 2; `wdrop`, fastai `weight_p`).

    Sections refer to Merity et al. 2017, arXiv:1708.02182.

    Raises:
        ConfigError: If a value is outside its range.
    """

    embedding_size: int = 400
    hidden_size: int = 1152
    layers: int = 3
    last_hidden_size: int | None = None
    cell: Cell = field(default_factory=LSTM)
    embedding_dropout: float = 0.02
    input_dropout: float = 0.25
    hidden_dropout: float = 0.15
    output_dropout: float = 0.1
    weight_dropout: float = 0.2

    def __post_init__(self) -> None:
        for name in ("embedding_size", "hidden_size"):
            check_whole(name, getattr(self, name))
        check_whole("last_hidden_size", self.output_size)
        for name in DROPOUTS:
            check_probability(name, getattr(self, name))
        check_whole("layers", self.layers, at_most=_MOST_LAYERS)
        check_cell(self.cell)
        check_memory(self.weight_count(0))

    def weight_count(self, vocab_size: int) -> int:
        """Count the weights of the matrices, at least: those from inputs to three gates, and a row per token."""
        return vocab_size * self.embedding_size + 3 * sum(inputs * units for inputs, units in self.layer_sizes)

    @property
    def output_size(self) -> int:
        """Units of the last layer."""
        return self.embedding_size if self.last_hidden_size is None else self.last_hidden_size

    def without_dropout(self) -> "AWDLSTMConfig":
        """The config with all dropouts at zero, as in evaluation."""
        zeros: dict[str, Any] = dict.fromkeys(DROPOUTS, 0.0)
        return replace(self, **zeros)

    @property
    def layer_sizes(self) -> list[tuple[int, int]]:
        """(input size, hidden size) of each layer, bottom to top."""
        widths = [self.embedding_size, *[self.hidden_size] * (self.layers - 1), self.output_size]
        return list(itertools.pairwise(widths))


def feature_count(config: AWDLSTMConfig) -> int:
    """Number of features F that `document_features` computes for an encoder."""
    return config.embedding_size + 3 * sum(units for _, units in config.layer_sizes)


@dataclass(frozen=True, kw_only=True)
class LanguageModelConfig:
    """An encoder, and the softmax over its output.

    Attributes:
        encoder: Sizes, cell and dropouts of the encoder.
        decoder_bias: True if the tied softmax has a bias.
        softmax_experts: Number of softmaxes in the mixture; 1 is an ordinary softmax. See `MixtureOfSoftmaxes`.
        latent_dropout: Dropout on each expert's input. It is `dropoutl` in Yang et al. 2018, arXiv:1711.03953.

    Raises:
        ConfigError: If a value is outside its range, or needs a mixture and there is none.
    """

    encoder: AWDLSTMConfig = field(default_factory=AWDLSTMConfig)
    decoder_bias: bool = True
    softmax_experts: int = 1
    latent_dropout: float = 0.0

    def __post_init__(self) -> None:
        check_whole("softmax_experts", self.softmax_experts)
        check_probability("latent_dropout", self.latent_dropout)
        if self.softmax_experts > 1:
            check_memory(self.softmax_experts * self.encoder.output_size * self.encoder.embedding_size)
            return
        if self.encoder.output_size != self.encoder.embedding_size:
            raise ConfigError(
                f"last_hidden_size: expected embedding_size, {self.encoder.embedding_size}, to which the softmax is "
                f"tied, got {self.encoder.output_size}; leave it out, or set softmax_experts above 1"
            )
        if self.latent_dropout:
            raise ConfigError(
                f"latent_dropout: expected 0 with one softmax, got {self.latent_dropout!r}; set softmax_experts above 1"
            )
