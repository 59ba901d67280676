"""Reading position in a task's batches."""

import itertools
from collections.abc import Iterator
from typing import Any

from ulmkit.errors import TrainingError
from ulmkit.training.task import TrainingTask


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
