"""The place in a task's batches."""

from collections.abc import Iterator
from typing import Any

from ulmkit.errors import TrainingError
from ulmkit.training.task import TrainingTask


class BatchCursor:
    """Reads a task's epochs one after another, a window of batches for each optimizer step.

    epoch: being read. batch: batches of it already given.
    """

    def __init__(self, task: TrainingTask, epoch: int = 0, batch: int = 0) -> None:
        self._task, self.epoch, self.batch = task, epoch, batch
        self._started = False
        self._iterator: Iterator[Any] | None = None

    def window(self, size: int) -> list[Any]:
        """The next `size` batches, fewer at the end of an epoch: a window never crosses into the next one.

        Raises: TrainingError if an epoch has no batches at all.
        """
        window = self._read(size)
        if not window:
            self.epoch, self.batch, self._started, self._iterator = self.epoch + 1, 0, False, None
            window = self._read(size)
        if not window:
            raise TrainingError(f"epoch {self.epoch}: expected at least one batch, got none; is there any text?")
        return window

    def start_epoch(self) -> None:
        """Announce the epoch to the task; `window` does so where it was not done."""
        self._task.start_epoch(self.epoch)
        self._started = True

    def _read(self, size: int) -> list[Any]:
        if not self._started:
            self.start_epoch()
        if self._iterator is None:
            self._iterator = iter(self._task.batches(self.epoch, start=self.batch))
        window: list[Any] = []
        for batch in self._iterator:
            window.append(batch)
            if len(window) == size:
                break
        self.batch += len(window)
        return window
