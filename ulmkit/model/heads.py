"""Output heads, one for each kind of prediction: single label, multi-label, number, token labels, pair label.

Each kind of head has a config of its own, which makes the head: `SingleLabelConfig(classes=2).make(encoder_size)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ulmkit.config import check_choice, check_positive, check_probability, check_whole
from ulmkit.errors import ConfigError, DataError
from ulmkit.model.document_norm import DocumentNorm

IGNORED_LABEL = -1

LARGEST_TARGET = 1e30
"""Largest number that a head predicts: sums and products with the head's outputs stay finite in float32."""


class Head(nn.Module, ABC):
    """A module from features to outputs, with its loss and its predictions.

    Features are (B, 3E) for documents, (B, 12E) for pairs and (T, B, E) for a label per token.

    Args:
        config: Options of the head.
        encoder_size: Outputs of the encoder, E.

    Attributes:
        config: The options it was made with.
        reads_pairs: Whether it takes the features of a pair of texts.
        per_token: Whether it takes the features of each token.
        pooled_size: Feature size as a multiple of E.
    """

    reads_pairs: ClassVar[bool] = False
    per_token: ClassVar[bool] = False
    pooled_size: ClassVar[int] = 3

    def __init__(self, config: HeadConfig, encoder_size: int) -> None:
        super().__init__()
        check_whole("encoder_size", encoder_size)
        self.config = config
        self.layers = self._make_layers(encoder_size)

    def _make_layers(self, encoder_size: int) -> nn.Sequential:
        """Batch norm, dropout, linear, ReLU, batch norm, dropout, linear: (B, features) → (B, C).

        Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.3, "Target task classifier fine-tuning".
        """
        features = self.pooled_size * encoder_size
        return nn.Sequential(
            DocumentNorm(features),
            nn.Dropout(self.config.input_dropout),
            nn.Linear(features, self.config.hidden_size),
            nn.ReLU(),
            DocumentNorm(self.config.hidden_size),
            nn.Dropout(self.config.hidden_dropout),
            nn.Linear(self.config.hidden_size, self.config.classes),
        )

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output for one document or token: (C,), or () for a number."""
        return (self.config.classes,)

    def forward(self, features: Tensor) -> Tensor:
        """Compute the outputs: (B, C) or (T, B, C) logits, or (B,) numbers."""
        return self.layers(features)

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the mean loss, a scalar.

        Raises:
            DataError: If the shape of the targets does not fit the outputs.
        """

    def loss_denominator(self, targets: Tensor) -> float:
        """Denominator of the mean in `loss`: the documents or labels, each counted with its class's weight.

        Args:
            targets: On the CPU.
        """
        return float(len(targets))

    @abstractmethod
    def predict(self, outputs: Tensor) -> Tensor:
        """Turn outputs into probabilities of the same shape; numbers stay as they are."""


class SingleLabelHead(Head):
    """One label per document: cross-entropy.

    Outputs: logits (B, C). Targets: (B,) int64, or (B, C) float32 probabilities of the classes.
    """

    config: SingleLabelConfig
    class_weights: Tensor | None

    def __init__(self, config: SingleLabelConfig, encoder_size: int) -> None:
        super().__init__(config, encoder_size)
        self.register_buffer("class_weights", _tensor(config.class_weights), persistent=False)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the cross-entropy, weighted and smoothed as configured."""
        _check_targets(targets, outputs.shape if targets.is_floating_point() else outputs.shape[:-1])
        return functional.cross_entropy(
            outputs, targets, self.class_weights, label_smoothing=self.config.label_smoothing
        )

    def loss_denominator(self, targets: Tensor) -> float:
        """Sum of the weights of the targets' classes."""
        weights = _tensor(self.config.class_weights)
        if weights is None or targets.is_floating_point():
            return float(len(targets))  # PyTorch divides the loss of soft targets by the number of documents
        return weights[targets].sum().item()

    def predict(self, outputs: Tensor) -> Tensor:
        """Turn logits into probabilities that sum to 1."""
        return outputs.softmax(dim=-1)


class PairHead(SingleLabelHead):
    """One label for a pair of texts, such as entailment; else like `SingleLabelHead`."""

    reads_pairs = True
    pooled_size = 12


class TokenLabelHead(SingleLabelHead):
    """One label per token: cross-entropy over the tokens whose target is not -1; 0 if there are none.

    Outputs: logits (T, B, C). Targets: (T, B) int64. There is no batch norm, so that padding and batch mates do not
    affect a token's prediction in training either.
    """

    per_token = True
    pooled_size = 1

    def _make_layers(self, encoder_size: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Dropout(self.config.input_dropout),
            nn.Linear(self.pooled_size * encoder_size, self.config.hidden_size),
            nn.ReLU(),
            nn.Dropout(self.config.hidden_dropout),
            nn.Linear(self.config.hidden_size, self.config.classes),
        )

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the cross-entropy over the labelled tokens."""
        _check_targets(targets, outputs.shape[:-1])
        flat = targets.flatten()
        weights = (flat != IGNORED_LABEL).float()
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
        weight = weights.sum()
        # A batch without labels has weight 0. Only the device knows, and asking it would make the CPU wait.
        return total / torch.where(weight > 0, weight, 1)

    def loss_denominator(self, targets: Tensor) -> float:
        """Sum of the weights of the labelled tokens; 1 if there are none."""
        return super().loss_denominator(targets[targets != IGNORED_LABEL]) or 1.0


class MultiLabelHead(Head):
    """Any number of labels per document: binary cross-entropy, mean over labels. Targets: (B, C) bool or float."""

    positive_weights: Tensor | None

    def __init__(self, config: MultiLabelConfig, encoder_size: int) -> None:
        super().__init__(config, encoder_size)
        self.register_buffer("positive_weights", _tensor(config.positive_weights), persistent=False)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the binary cross-entropy, mean over documents and labels."""
        _check_targets(targets, outputs.shape)
        return functional.binary_cross_entropy_with_logits(
            outputs, targets.to(outputs.dtype), pos_weight=self.positive_weights
        )

    def predict(self, outputs: Tensor) -> Tensor:
        """Turn logits into a probability per label."""
        return outputs.sigmoid()


class NumberHead(Head):
    """A number per document: squared or Huber loss. Outputs: (B,) numbers. Targets: (B,) float.

    The loss is in units of the targets' standard deviation, or of the width of the range if there is one.
    """

    config: NumberConfig

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the output for one document: ()."""
        return ()

    def forward(self, features: Tensor) -> Tensor:
        """Compute numbers (B,)."""
        outputs = self.layers(features).squeeze(-1)
        if self.config.value_range is None:
            return self.config.number_mean + self.config.number_deviation * outputs
        lowest, highest = self.config.value_range
        return lowest + (highest - lowest) * outputs.sigmoid()

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Compute the mean squared or Huber loss of the scaled errors."""
        _check_targets(targets, outputs.shape)
        lowest, highest = self.config.value_range or (0.0, self.config.number_deviation)
        errors = (outputs - targets.to(outputs.dtype)) / (highest - lowest)
        loss = functional.mse_loss if self.config.number_loss == "mse" else functional.huber_loss
        return loss(errors, torch.zeros_like(errors))

    def predict(self, outputs: Tensor) -> Tensor:
        """Return the numbers unchanged."""
        return outputs


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Sizes and dropouts that every head has.

    Attributes:
        classes: Number of labels, C; 1 for a number.
        hidden_size: Units between the features and the outputs.
        input_dropout: Dropout on the features.
        hidden_dropout: Dropout on the hidden units.

    Raises:
        ConfigError: If a value is outside its range.

    Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.3 and section 4.1 (hidden 50, dropouts 0.4 and 0.1).
    """

    head_class: ClassVar[type[Head]]
    min_classes: ClassVar[int] = 2

    classes: int
    hidden_size: int = 50
    input_dropout: float = 0.4
    hidden_dropout: float = 0.1

    def __post_init__(self) -> None:
        check_whole("hidden_size", self.hidden_size)
        check_probability("input_dropout", self.input_dropout)
        check_probability("hidden_dropout", self.hidden_dropout)
        check_whole("classes", self.classes, at_least=self.min_classes)

    def make(self, encoder_size: int) -> Head:
        """Make the head for an encoder with `encoder_size` outputs."""
        return self.head_class(self, encoder_size)


@dataclass(frozen=True, kw_only=True)
class SingleLabelConfig(HeadConfig):
    """Options of a head for one label per document.

    Attributes:
        label_smoothing: Share of the target that is spread over all labels.
        class_weights: A weight per label for its errors.
    """

    head_class = SingleLabelHead

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_probability("label_smoothing", self.label_smoothing)
        object.__setattr__(self, "class_weights", _as_weights("class_weights", self.class_weights, self.classes))


@dataclass(frozen=True, kw_only=True)
class PairConfig(SingleLabelConfig):
    """Options of a head for one label per pair of texts."""

    head_class = PairHead


@dataclass(frozen=True, kw_only=True)
class TokenLabelConfig(SingleLabelConfig):
    """Options of a head for one label per token."""

    head_class = TokenLabelHead


@dataclass(frozen=True, kw_only=True)
class MultiLabelConfig(HeadConfig):
    """Options of a head for any number of labels per document.

    Attributes:
        positive_weights: A weight per label for its positives.
    """

    head_class = MultiLabelHead
    min_classes = 1

    positive_weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        weights = _as_weights("positive_weights", self.positive_weights, self.classes)
        object.__setattr__(self, "positive_weights", weights)


@dataclass(frozen=True, kw_only=True)
class NumberConfig(HeadConfig):
    """Options of a head for a number per document.

    Attributes:
        value_range: Lowest and highest number; approached but never reached, so choose it a little wider.
        number_loss: "mse", or "huber" (quadratic up to an error of 1, then linear) for data with outliers.
        number_mean: Mean of the training targets.
        number_deviation: Standard deviation of the training targets. The head learns in these units.
    """

    head_class = NumberHead
    min_classes = 1

    classes: int = 1
    value_range: tuple[float, float] | None = None
    number_loss: str = "mse"
    number_mean: float = 0.0
    number_deviation: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("number_loss", self.number_loss, ("mse", "huber"))
        check_positive("number_deviation", self.number_deviation, at_most=LARGEST_TARGET)
        if not abs(self.number_mean) <= LARGEST_TARGET:
            raise ConfigError(f"number_mean: expected at most {LARGEST_TARGET:g}, got {self.number_mean!r}")
        if self.classes != 1:
            raise ConfigError(f"classes: expected 1 for a number, got {self.classes!r}")
        if self.value_range is None:
            return
        object.__setattr__(self, "value_range", tuple(self.value_range))  # JSON has lists
        limit = LARGEST_TARGET
        if len(self.value_range) != 2 or not -limit <= self.value_range[0] < self.value_range[1] <= limit:
            raise ConfigError(f"value_range: expected (lowest, highest), lowest < highest, got {self.value_range!r}")


def _as_weights(name: str, weights: tuple[float, ...] | None, classes: int) -> tuple[float, ...] | None:
    """Check that there is a positive weight per label; JSON's list becomes a tuple."""
    if weights is None:
        return None
    if len(weights) != classes:
        raise ConfigError(f"{name}: expected {classes} numbers, one per label, got {len(weights)}")
    for weight in weights:
        check_positive(name, weight)
    return tuple(weights)


def _tensor(weights: tuple[float, ...] | None) -> Tensor | None:
    return None if weights is None else torch.tensor(weights)


def _check_targets(targets: Tensor, expected: torch.Size) -> None:
    if targets.shape != expected:
        raise DataError(f"targets: expected shape {tuple(expected)}, got {tuple(targets.shape)}")
