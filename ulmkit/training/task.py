"""Protocol between the trainer and what it trains, and the reading of its batches."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn

from ulmkit.errors import TrainingError


@dataclass
class StepResult:
    """Loss and metrics of one batch.

    Attributes:
        loss: () mean over the batch's items, with its graph.
        tokens: Tokens of the batch, for the speed and the log.
        metrics: Means over the same items, numbers or () tensors (a tensor is read only when a row is logged). A
            language model's displayed perplexity is computed from "nll" (nats per token), if there.
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


class BatchCursor:
    """Reads a task's epochs one after another, one window of batches for each optimizer step.

    Attributes:
        epoch: Epoch being read.
        batch: Batches of that epoch read so far.
    """

    def __init__(self, task: TrainingTask, epoch: int = 0, batch: int = 0) -> None:
        self._task = task
        self.epoch = epoch
        self.batch = batch
        self._is_announced = False
        self._iterator: Iterator[Any] | None = None

    def window(self, size: int) -> list[Any]:
        """Return the next `size` batches, fewer at the end of an epoch: a window never spans two epochs.

        Raises:
            TrainingError: If an epoch has no batches.
        """
        window = self._read(size)
        if not window:
            self.epoch += 1
            self.batch = 0
            self._is_announced = False
            self._iterator = None
            window = self._read(size)
        if not window:
            raise TrainingError(f"epoch {self.epoch}: expected at least one batch, got none; is there any text?")
        return window

    def start_epoch(self) -> None:
        """Announce the epoch to the task; `window` does it otherwise."""
        self._task.start_epoch(self.epoch)
        self._is_announced = True

    def _read(self, size: int) -> list[Any]:
        if not self._is_announced:
            self.start_epoch()
        if self._iterator is None:
            self._iterator = iter(self._task.batches(self.epoch, start=self.batch))
        window = list(itertools.islice(self._iterator, size))
        self.batch += len(window)
        return window
