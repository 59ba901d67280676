"""Heads: from what was read of a text to a label, several labels, a number, a label for each token, or a pair's label.

All have one interface, `Head`, and are made by `make_head` from a `HeadConfig`.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ulmkit.config import check_choice, check_positive, check_probability
from ulmkit.errors import ConfigError, DataError
from ulmkit.model.document_norm import DocumentNorm

HEAD_KINDS = ("single", "multi", "number", "tokens", "pair")
IGNORED_LABEL = -1

_FEWEST_CLASSES = {"single": 2, "multi": 1, "number": 1, "tokens": 2, "pair": 2}
_OPTIONS_OF_KINDS = {
    "class_weights": ("single", "tokens", "pair"),
    "label_smoothing": ("single", "tokens", "pair"),
    "positive_weights": ("multi",),
    "value_range": ("number",),
    "number_loss": ("number",),
    "number_mean": ("number",),
    "number_deviation": ("number",),
}


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """What a head predicts and how it is trained.

    Attributes:
        kind: "single" (one label), "multi" (any number of labels), "number", "tokens" (a label for each token) or
            "pair" (one label for two texts).
        classes: C, number of labels; 1 for a number.
        hidden_size: units between the features and the outputs.
        input_dropout: on the features.
        hidden_dropout: on the hidden units.
        label_smoothing: share of the target spread over all labels (single, tokens, pair).
        class_weights: a weight for each label's errors (single, tokens, pair).
        positive_weights: a weight for each label's positives (multi).
        value_range: lowest and highest number; approached, never reached, so choose it a little wider (number).
        number_loss: "mse", or "huber" (quadratic up to an error of 1, then linear), for outliers (number).
        number_mean, number_deviation: of the training targets; what the head learns is in these units (number).
    Raises: ConfigError for values outside their range and for options that the kind does not have.
    Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.3 and section 4.1 (hidden 50, dropouts 0.4 and 0.1).
    """

    kind: str
    classes: int
    hidden_size: int = 50
    input_dropout: float = 0.4
    hidden_dropout: float = 0.1
    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    positive_weights: tuple[float, ...] | None = None
    value_range: tuple[float, float] | None = None
    number_loss: str = "mse"
    number_mean: float = 0.0
    number_deviation: float = 1.0

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, HEAD_KINDS)
        check_choice("number_loss", self.number_loss, ("mse", "huber"))
        check_positive("hidden_size", self.hidden_size)
        check_positive("number_deviation", self.number_deviation)
        for name in ("input_dropout", "hidden_dropout", "label_smoothing"):
            check_probability(name, getattr(self, name))
        for name in ("class_weights", "positive_weights", "value_range"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))  # JSON has lists
        self._check_classes()
        self._check_options()

    def _check_classes(self) -> None:
        fewest = _FEWEST_CLASSES[self.kind]
        if self.classes < fewest:
            raise ConfigError(f"classes: expected at least {fewest} for kind {self.kind!r}, got {self.classes!r}")
        if self.kind == "number" and self.classes != 1:
            raise ConfigError(f"classes: expected 1 for kind 'number', got {self.classes!r}")

    def _check_options(self) -> None:
        for name, kinds in _OPTIONS_OF_KINDS.items():
            if getattr(self, name) != getattr(HeadConfig, name) and self.kind not in kinds:
                raise ConfigError(f"{name}: only for kind {' or '.join(kinds)}, got kind {self.kind!r}; leave it out")
        for name in ("class_weights", "positive_weights"):
            weights = getattr(self, name)
            if weights is not None and len(weights) != self.classes:
                raise ConfigError(f"{name}: expected {self.classes} numbers, one a label, got {len(weights)}")
            for weight in weights or ():
                check_positive(name, weight)
        if self.value_range is not None and not (len(self.value_range) == 2 and _is_range(*self.value_range)):
            raise ConfigError(f"value_range: expected (lowest, highest), lowest < highest, got {self.value_range!r}")


def _is_range(lowest: float, highest: float) -> bool:
    return -float("inf") < lowest < highest < float("inf")


class Head(nn.Module, ABC):
    """From features to outputs, a loss, and predictions.

    Attributes:
        config: what was asked for.
        reads: what the features are of: a "document" (B, 3E), a "pair" (B, 12E), or "tokens" (T, B, E).
    """

    reads: Literal["document", "pair", "tokens"] = "document"

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Features → outputs: (B, C) or (T, B, C) logits, or (B,) numbers."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Scalar mean loss. Raises: DataError if the targets' shape does not fit the outputs'."""

    def weight(self, targets: Tensor) -> float:
        """What `loss` is a mean over: the number of documents, or of labels, each times its class's weight.

        Args: targets: on the CPU.
        """
        return float(len(targets))

    @abstractmethod
    def predict(self, outputs: Tensor) -> Tensor:
        """Outputs → probabilities of the same shape; numbers stay as they are."""


def document_layers(features: int, config: HeadConfig) -> nn.Sequential:
    """Batch norm, dropout, linear, ReLU, batch norm, dropout, linear: (B, features) → (B, config.classes).

    Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.3, "Target task classifier fine-tuning".
    """
    return nn.Sequential(
        DocumentNorm(features),
        nn.Dropout(config.input_dropout),
        nn.Linear(features, config.hidden_size),
        nn.ReLU(),
        DocumentNorm(config.hidden_size),
        nn.Dropout(config.hidden_dropout),
        nn.Linear(config.hidden_size, config.classes),
    )


class SingleLabelHead(Head):
    """One label for a document: cross-entropy. Outputs: logits (B, C). Targets: (B,) int64."""

    class_weights: Tensor | None

    def __init__(self, config: HeadConfig, features: int) -> None:
        super().__init__(config)
        self.layers = document_layers(features, config)
        self.register_buffer("class_weights", _tensor(config.class_weights), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        _check_targets(targets, outputs.shape[:-1])
        return functional.cross_entropy(
            outputs, targets, self.class_weights, label_smoothing=self.config.label_smoothing
        )

    def weight(self, targets: Tensor) -> float:
        return _weight_of_labels(targets, self.config.class_weights)

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(dim=-1)


class PairHead(SingleLabelHead):
    """One label for a pair of texts, such as entailment; otherwise as `SingleLabelHead`."""

    reads = "pair"


class MultiLabelHead(Head):
    """Any number of labels for a document: binary cross-entropy, mean over labels. Targets: (B, C) bool or float."""

    positive_weights: Tensor | None

    def __init__(self, config: HeadConfig, features: int) -> None:
        super().__init__(config)
        self.layers = document_layers(features, config)
        self.register_buffer("positive_weights", _tensor(config.positive_weights), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        _check_targets(targets, outputs.shape)
        return functional.binary_cross_entropy_with_logits(
            outputs, targets.to(outputs.dtype), pos_weight=self.positive_weights
        )

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()


class NumberHead(Head):
    """A number for a document: squared or Huber loss. Outputs: (B,) numbers. Targets: (B,) float.

    The loss is in units of the targets' standard deviation, or of the width of the range if there is one.
    """

    def __init__(self, config: HeadConfig, features: int) -> None:
        super().__init__(config)
        self.layers = document_layers(features, config)

    def forward(self, features: Tensor) -> Tensor:
        outputs = self.layers(features).squeeze(-1)
        if self.config.value_range is None:
            return self.config.number_mean + self.config.number_deviation * outputs
        lowest, highest = self.config.value_range
        return lowest + (highest - lowest) * outputs.sigmoid()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        _check_targets(targets, outputs.shape)
        lowest, highest = self.config.value_range or (0.0, self.config.number_deviation)
        errors = (outputs - targets.to(outputs.dtype)) / (highest - lowest)
        loss = functional.mse_loss if self.config.number_loss == "mse" else functional.huber_loss
        return loss(errors, torch.zeros_like(errors))

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs


class TokenHead(Head):
    """A label for each token: cross-entropy over the tokens whose target is not -1; 0 if there are none.

    Outputs: logits (T, B, C). Targets: (T, B) int64. No batch norm: padding and batch mates stay out of a token's
    prediction in training too.
    """

    reads = "tokens"
    class_weights: Tensor | None

    def __init__(self, config: HeadConfig, features: int) -> None:
        super().__init__(config)
        self.layers = nn.Sequential(
            nn.Dropout(config.input_dropout),
            nn.Linear(features, config.hidden_size),
            nn.ReLU(),
            nn.Dropout(config.hidden_dropout),
            nn.Linear(config.hidden_size, config.classes),
        )
        self.register_buffer("class_weights", _tensor(config.class_weights), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        _check_targets(targets, outputs.shape[:-1])
        flat = targets.flatten()
        labelled = flat != IGNORED_LABEL
        weights = labelled.float()
        if self.class_weights is not None:
            weights = weights * self.class_weights[flat.clamp(min=0)]
        total = functional.cross_entropy(
            outputs.flatten(end_dim=-2),
            flat,
            self.class_weights,
            ignore_index=IGNORED_LABEL,
            reduction="sum",
            label_smoothing=self.config.label_smoothing,
        )
        weight = weights.sum()  # of a batch without labels 0; the device alone knows, and is not waited for
        return total / torch.where(weight > 0, weight, 1)

    def weight(self, targets: Tensor) -> float:
        return _weight_of_labels(targets[targets != IGNORED_LABEL], self.config.class_weights) or 1.0

    def predict(self, outputs: Tensor) -> Tensor:
        return outputs.softmax(dim=-1)


def make_head(config: HeadConfig, encoder_size: int) -> Head:
    """The head that `config` asks for, on an encoder whose outputs have `encoder_size` values."""
    check_positive("encoder_size", encoder_size)
    if config.kind == "single":
        return SingleLabelHead(config, 3 * encoder_size)
    if config.kind == "multi":
        return MultiLabelHead(config, 3 * encoder_size)
    if config.kind == "number":
        return NumberHead(config, 3 * encoder_size)
    if config.kind == "pair":
        return PairHead(config, 12 * encoder_size)
    return TokenHead(config, encoder_size)


def _tensor(weights: tuple[float, ...] | None) -> Tensor | None:
    return None if weights is None else torch.tensor(weights)


def _weight_of_labels(labels: Tensor, class_weights: tuple[float, ...] | None) -> float:
    return float(len(labels)) if class_weights is None else torch.tensor(class_weights)[labels].sum().item()


def _check_targets(targets: Tensor, expected: torch.Size) -> None:
    if targets.shape != expected:
        raise DataError(f"targets: expected shape {tuple(expected)}, got {tuple(targets.shape)}")
