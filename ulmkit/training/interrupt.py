"""Signals during training: finish the step, save, and say how to continue."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

STOP_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Ctrl-C, and what job schedulers, containers and closing terminals send."""


class StopRequested(KeyboardInterrupt):
    """A signal asked the process to stop.

    Attributes:
        number: Number of the signal.
    """

    def __init__(self, number: int, message: str = "") -> None:
        super().__init__(message)
        self.number = number


class TrainingInterrupted(StopRequested):
    """Training stopped by a signal; the message names the checkpoint and how to continue.

    Attributes:
        checkpoint: Folder of the newest checkpoint, None if there is none.
    """

    def __init__(self, message: str, checkpoint: Path | None, number: int = signal.SIGINT) -> None:
        super().__init__(number, message)
        self.checkpoint = checkpoint


@contextlib.contextmanager
def raise_on_signals() -> Iterator[None]:
    """Raise StopRequested on SIGTERM and SIGHUP inside this block, so that what is half written is removed."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise StopRequested(number)

    former = _handle(stop, STOP_SIGNALS[1:])
    try:
        yield
    finally:
        _restore(former)


class InterruptGuard:
    """Context in which the first signal to stop only sets `requested`, and a second raises StopRequested at once.

    Signals reach the main thread only; in another thread the guard does nothing.

    Args:
        signals: Signals to guard against. SIGTERM and SIGHUP stay ignored where they are, as after `nohup`.

    Attributes:
        requested: True once a signal has come.
        number: Number of that signal.
    """

    def __init__(self, signals: tuple[int, ...] = STOP_SIGNALS) -> None:
        self.requested = False
        self.number: int = signal.SIGINT
        self._signals = signals
        self._at_once = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "InterruptGuard":
        self._former = _handle(self._note, self._signals)
        return self

    def __exit__(self, *_: object) -> None:
        _restore(self._former)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let the first signal raise StopRequested inside this block, which may be left midway without harm."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        is_second = self.requested
        self.requested = True
        self.number = number
        if is_second or self._at_once:
            raise StopRequested(number)


def _handle(handler: Any, signals: tuple[int, ...]) -> dict[int, Any]:
    """Set a handler for SIGINT and for other signals that are not ignored; return the former handlers."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handled = [number for number in signals if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in handled}


def _restore(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
