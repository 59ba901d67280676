"""What the trainer asks of the thing it trains."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn


@dataclass
class StepResult:
    """Loss of one batch.

    loss: () mean over the batch's items, with its graph. tokens: for the speed and the log.
    metrics: means over the same items, numbers or () tensors (a tensor is read only when a row is logged);
        "nll" (nats a token), if there, is what a language model's displayed perplexity comes from.
    weight: how many items the loss is the mean of, `tokens` if None; batches accumulated into one step, and ranks,
        count in proportion to it.
    """

    loss: torch.Tensor
    tokens: int
    metrics: Mapping[str, float | torch.Tensor] = field(default_factory=dict)
    weight: float | None = None


class TrainingTask(Protocol):
    """A model with its batches, loss and validation; the trainer knows nothing else.

    model: its parameters, on the device they train on. groups: every parameter of it once, bottom group to top.
    is_language_model: show perplexity, exp(loss), beside the loss.
    A batch is any object; its float `rate_scale`, if it has one, multiplies the learning rate of its step.
    With several ranks, `batches` gives this rank's share, and every rank must give the same number of batches.
    """

    groups: list[list[nn.Parameter]]
    is_language_model: bool

    @property
    def model(self) -> nn.Module:
        """What is trained."""

    def __len__(self) -> int:
        """Batches of an epoch; where epochs vary in length, the expected number."""

    def batches(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of an epoch from number `start` on: a pure function of the two."""

    def start_epoch(self, epoch: int) -> None:
        """Called before the first batch of an epoch, and before `load_state_dict` when a run resumes inside it."""

    def loss(self, batch: Any) -> StepResult:
        """Loss of one batch, the model in training mode."""

    def validate(self) -> dict[str, float]:
        """Metrics on held-out data, the first being the one to watch; called in evaluation mode without gradients.

        With several ranks the first alone is called, while the others wait.
        """

    def state_dict(self) -> dict[str, Any]:
        """What an exact resume needs beside the model: tensors, numbers, strings, lists, dicts with string keys."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put back what `state_dict` gave (tuples come back as lists, tensors on the CPU)."""
