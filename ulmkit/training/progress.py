"""Display of training progress: a live bar on a terminal, an occasional line elsewhere."""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol, TextIO

_LINE_SECONDS = 15.0
_RATE_SECONDS = 0.5  # a rate over less time jumps


@dataclass(frozen=True)
class ProgressInfo:
    """State of a run at one step; values not yet known are None.

    Attributes:
        phase: Name of the phase.
        fraction_done: Progress of the run, 0 to 1.
        step: Optimizer steps so far.
        epoch: Epochs so far.
        loss: Recent mean loss.
        perplexity: Recent perplexity of a language model.
        tokens_per_second: Recent speed.
        seconds_left: Estimated time left.
    """

    phase: str
    fraction_done: float
    step: int
    epoch: float
    loss: float | None
    perplexity: float | None
    tokens_per_second: float | None
    seconds_left: float | None

    def text(self) -> str:
        """Return the known values in one line."""
        parts = [self.phase, f"step {self.step:,}", f"epoch {self.epoch:.2f}"]
        if self.loss is not None:
            parts.append(f"loss {self.loss:.3f}")
        if self.perplexity is not None:
            parts.append(f"perplexity {self.perplexity:,.1f}")
        if self.tokens_per_second is not None:
            parts.append(f"{self.tokens_per_second:,.0f} tokens/s")
        if self.seconds_left is not None:
            parts.append(f"{format_seconds(self.seconds_left)} left")
        return "  ".join(parts)


class ProgressDisplay(Protocol):
    """Receiver of a run's progress."""

    def start(self) -> None:
        """Begin the display of a run."""

    def update(self, info: ProgressInfo) -> None:
        """Show the state after a step."""

    def message(self, text: str) -> None:
        """Show a line of its own, before or during the run: a warning, a validation, a checkpoint."""

    def working(self, text: str) -> None:
        """Show, until something else is shown, what is being done outside of a run."""

    def close(self) -> None:
        """End the display, whatever ended the run."""


class LineProgress:
    """Progress as plain lines, at most one every `every_seconds`."""

    def __init__(
        self,
        stream: TextIO | None = None,
        every_seconds: float = _LINE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._every = every_seconds
        self._clock = clock
        self._due = 0.0

    def documents(self, done: int) -> None:
        """Do nothing: lines are for the run."""

    def start(self) -> None:
        """Schedule the first line for the first step."""
        self._due = self._clock()

    def update(self, info: ProgressInfo) -> None:
        """Print the values if a line is due."""
        if self._clock() >= self._due:
            self._due = self._clock() + self._every
            self.message(f"{100 * info.fraction_done:3.0f}%  {info.text()}")

    def message(self, text: str) -> None:
        """Print a line at once; a training goes on if nobody reads it any more."""
        with suppress(OSError):
            print(text, file=self._stream, flush=True)

    def working(self, text: str) -> None:
        """Do nothing: what is done is shown at its end."""

    def close(self) -> None:
        """Do nothing: there is nothing to tidy."""


class RichProgress:
    """Progress as a live bar by rich; messages scroll above it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: Any = None
        self._row: Any = None
        self._started = 0.0

    def documents(self, done: int) -> None:
        """Count documents, with their rate, on a line that the bar of the run replaces."""
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        if self._bar is None:
            count = TextColumn("{task.completed:,.0f} documents  {task.fields[summary]}")
            self._show(SpinnerColumn(), count, TimeElapsedColumn(), total=None, transient=True)
            self._started = time.monotonic()
        seconds = time.monotonic() - self._started
        rate = f"{done / seconds:,.0f} documents/s" if seconds > _RATE_SECONDS else ""
        self._bar.update(self._row, completed=done, summary=rate)

    def start(self) -> None:
        """Show an empty bar."""
        from rich.progress import BarColumn, TextColumn

        self.close()
        summary = TextColumn("{task.fields[summary]}", markup=False)
        self._show(BarColumn(bar_width=20), TextColumn("{task.percentage:3.0f}%"), summary, total=1.0)

    def _show(self, *columns: Any, total: float | None, transient: bool = False) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(file=self._stream)
        self._bar = Progress(
            *columns,
            console=console,
            refresh_per_second=4,
            transient=transient,
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),  # what goes to a file stays out of the bar
        )
        self._row = self._bar.add_task("", total=total, summary="starting")
        self._bar.start()

    def update(self, info: ProgressInfo) -> None:
        """Move the bar; rich redraws it a few times per second."""
        self._bar.update(self._row, completed=info.fraction_done, summary=info.text())

    def message(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is None:
            print(text, file=self._stream, flush=True)
        else:
            self._bar.console.print(text, markup=False, highlight=False)

    def working(self, text: str) -> None:
        """Show what is being done, and for how long already."""
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        self.close()
        summary = TextColumn("{task.fields[summary]}", markup=False)
        self._show(SpinnerColumn(), summary, TimeElapsedColumn(), total=None, transient=True)
        self._bar.update(self._row, summary=text)

    def close(self) -> None:
        """Stop updating the bar, and leave it on the screen."""
        if self._bar is not None:
            self._bar.stop()


class PrefixedProgress:
    """Progress of one of several runs on the display of all: every line begins with the run's name."""

    def __init__(self, display: ProgressDisplay, name: str) -> None:
        self._display = display
        self._name = name

    def start(self) -> None:
        """Begin the display of a run."""
        self._display.start()

    def update(self, info: ProgressInfo) -> None:
        """Show the state after a step, its phase with the run's name."""
        self._display.update(replace(info, phase=f"{self._name} {info.phase}"))

    def message(self, text: str) -> None:
        """Show a line with the run's name."""
        self._display.message(f"{self._name}: {text}")

    def working(self, text: str) -> None:
        """Show what is being done, with the run's name."""
        self._display.working(f"{self._name}: {text}")

    def close(self) -> None:
        """End the display of a run."""
        self._display.close()


def make_progress(stream: TextIO | None = None) -> RichProgress | LineProgress:
    """Make a live bar if the stream (standard error by default) is a terminal, else a display of lines."""
    stream = stream or sys.stderr
    return RichProgress(stream) if stream.isatty() else LineProgress(stream)


def format_seconds(seconds: float) -> str:
    """Format a duration as "45 s", "3:05" or "2:03:05"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, second = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{second:02d}"
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"
