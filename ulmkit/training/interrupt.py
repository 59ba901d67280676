"""Ctrl-C during training: finish the step, save, and say how to continue."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any


class TrainingInterrupted(KeyboardInterrupt):
    """Training stopped by Ctrl-C; the message names the checkpoint and how to continue.

    Attributes:
        checkpoint: Folder of the newest checkpoint, None if there is none.
    """

    def __init__(self, message: str, checkpoint: Path | None) -> None:
        super().__init__(message)
        self.checkpoint = checkpoint


class InterruptGuard:
    """Context in which the first Ctrl-C only sets `requested`, and a second raises KeyboardInterrupt at once.

    Signals reach the main thread only; in another thread the guard does nothing.
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
        """Let the first Ctrl-C raise KeyboardInterrupt inside this block, which may be left midway without harm."""
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
