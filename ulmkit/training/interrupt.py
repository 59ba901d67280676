"""Ctrl-C during training: finish the step, save, and say how to go on."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any


class TrainingInterrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C; the message says where it was saved and how to go on.

    checkpoint: folder of the newest checkpoint, None if there is none.
    """

    def __init__(self, message: str, checkpoint: Path | None) -> None:
        super().__init__(message)
        self.checkpoint = checkpoint


class InterruptGuard:
    """While entered, the first Ctrl-C is only noted, and a second one raises KeyboardInterrupt at once.

    Signals reach the main thread alone; in another thread this does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._at_once = False
        self._former: Any = None

    def __enter__(self) -> "InterruptGuard":
        if threading.current_thread() is threading.main_thread():
            self._former = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._former is not None:
            signal.signal(signal.SIGINT, self._former)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside this block the first Ctrl-C raises KeyboardInterrupt too: leaving it midway does no harm."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested or self._at_once:
            self.requested = True
            raise KeyboardInterrupt
        self.requested = True
