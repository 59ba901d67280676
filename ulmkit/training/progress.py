"""Showing how training goes: a live bar on a terminal, now and then a line elsewhere."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

_LINE_SECONDS = 15.0


@dataclass(frozen=True)
class ProgressInfo:
    """How a run stands: phase's name, share of the run done (0 to 1), steps and epochs so far, mean recent loss and
    its perplexity (language models), tokens a second, seconds left; None where not yet known."""

    phase: str
    run: float
    step: int
    epoch: float
    loss: float | None
    perplexity: float | None
    tokens_per_second: float | None
    seconds_left: float | None

    def text(self) -> str:
        """The figures in one line, those not yet known left out."""
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
    """Who is told how a run goes."""

    def start(self) -> None:
        """The run begins."""

    def update(self, info: ProgressInfo) -> None:
        """A step is done."""

    def message(self, text: str) -> None:
        """Something worth a line of its own, before or in the run: mixed splits, a validation, a checkpoint."""

    def close(self) -> None:
        """The run is over, whatever ended it."""


class LineProgress:
    """Plain lines, the figures at most every `every_seconds`."""

    def __init__(
        self,
        stream: TextIO | None = None,
        every_seconds: float = _LINE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._every, self._clock = stream or sys.stderr, every_seconds, clock
        self._due = 0.0

    def start(self) -> None:
        """The first line comes after the first step."""
        self._due = self._clock()

    def update(self, info: ProgressInfo) -> None:
        """Print the figures if it is time."""
        if self._clock() >= self._due:
            self._due = self._clock() + self._every
            self.message(f"{100 * info.run:3.0f}%  {info.text()}")

    def message(self, text: str) -> None:
        """Print a line at once."""
        print(text, file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing to tidy."""


class RichProgress:
    """A live bar by rich; messages scroll above it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: Any = None
        self._row: Any = None

    def start(self) -> None:
        """Show an empty bar."""
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        columns = (
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[figures]}", markup=False),
        )
        self._bar = Bar(*columns, console=Console(file=self._stream), refresh_per_second=4)
        self._row = self._bar.add_task("", total=1.0, figures="starting")
        self._bar.start()

    def update(self, info: ProgressInfo) -> None:
        """Move the bar; rich redraws it a few times a second."""
        self._bar.update(self._row, completed=info.run, figures=info.text())

    def message(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is None:
            print(text, file=self._stream, flush=True)
        else:
            self._bar.console.print(text, markup=False, highlight=False)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()


def make_progress(stream: TextIO | None = None) -> ProgressDisplay:
    """A progress display: a live bar on a terminal, lines elsewhere.

    Args: stream: where to, by default standard error.
    """
    stream = stream or sys.stderr
    return RichProgress(stream) if stream.isatty() else LineProgress(stream)


def format_seconds(seconds: float) -> str:
    """For example "45 s", "3:05", "2:03:05"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
