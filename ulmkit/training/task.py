"""Protocol between the trainer and what it trains."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn


@dataclass
class StepResult:
    """Loss and metrics of one batch.

    Attributes:
        loss: () mean over the batch's items, with its graph.
        tokens: Tokens of the batch, for the speed and the log.
        metrics: Means over the same items, numbers or () tensors (a tensor is read only when a row is logged). A
            language model's displayed perplexity is computed from "nll" (nats a token), if there.
        weight: Number of items the loss is the mean of; None takes `tokens`. Accumulated batches, and ranks, count
            in proportion to it.
    """

    loss: torch.Tensor
    tokens: int
    metrics: Mapping[str, float | torch.Tensor] = field(default_factory=dict)
    weight: float | None = None


class TrainingTask(Protocol):
    """A model with its batches, loss and validation: all that the trainer knows.

    A batch is any object; its float `rate_scale`, if it has one, multiplies the learning rate of its step. With
    several ranks, `batches` yields this rank's share, and every rank must yield the same number of batches.

    Attributes:
        groups: Every parameter of the model once, bottom layer group to top.
        is_language_model: Whether to show perplexity, exp(loss), with the loss.
    """

    groups: list[list[nn.Parameter]]
    is_language_model: bool

    @property
    def model(self) -> nn.Module:
        """Model to train, on its device."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch, or the expected number where epochs vary."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """Yield the batches of an epoch from number `start` on; must depend on these two alone."""

    def start_epoch(self, epoch: int) -> None:
        """Prepare for an epoch: called before its first batch, and before `load_state_dict` in a resumed epoch."""

    def loss(self, batch: Any) -> StepResult:
        """Compute the loss of one batch, with the model in training mode."""

    def validate(self) -> dict[str, float]:
        """Compute metrics on held-out data, the one to monitor first; called in evaluation mode without gradients.

        With several ranks only the first is called, while the others wait.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what an exact resume needs beside the model: tensors, numbers, strings, lists, string-keyed dicts."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state from `state_dict`, in which tuples have become lists and tensors are on the CPU."""
