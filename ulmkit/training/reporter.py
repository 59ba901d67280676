"""What a run tells: rows in its log, lines and figures on its progress display."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ulmkit.training.budget import Stopwatch
from ulmkit.training.distributed import World
from ulmkit.training.log import Row, TrainingLog
from ulmkit.training.meter import Meter
from ulmkit.training.progress import ProgressDisplay, ProgressInfo
from ulmkit.training.task import StepResult

_SHOWN_MEMORY = 0.9  # of the running mean of the loss on display
_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True)
class Place:
    """Where a run is, for a row or a display: phase's name, steps, epochs, tokens and share of the run done so far."""

    phase: str
    step: int
    epoch: float
    tokens: int
    run: float


class Reporter:
    """Writes the log and drives the display, both on the first rank alone.

    Args: progress: None for silence. watch: of the run. is_language_model: show perplexity.
        shows_each_loss: reading a loss is cheap, so the display follows every step; else it follows the log's rows.
    """

    def __init__(
        self,
        progress: ProgressDisplay | None,
        watch: Stopwatch,
        world: World,
        is_language_model: bool,
        shows_each_loss: bool,
    ) -> None:
        self._progress = progress if world.is_first else None
        self._watch, self._world = watch, world
        self._is_language_model, self._shows_each_loss = is_language_model, shows_each_loss
        self._shown: dict[str, float] = {}
        self._speed: float | None = None
        self._row_seconds, self._row_tokens = 0.0, 0
        self.log = TrainingLog(None)

    def open(self, folder: Path | None, rows: Sequence[Row], tokens: int, tensorboard: bool) -> None:
        """Open the log with the rows of the sessions before and `tokens` seen in them, whose seconds the watch has."""
        self._row_seconds, self._row_tokens = self._watch.training_seconds, tokens
        is_first = self._world.is_first
        self.log = TrainingLog(folder if is_first else None, rows, tensorboard and is_first)

    def train_row(self, place: Place, rates: Sequence[float], momentum: float | None, meter: Meter) -> None:
        """Log the means of the steps since the last row, over all ranks, and clear the meter."""
        for other in self._world.gather(meter.state_dict())[1:]:
            meter.merge(other)
        means = meter.means()
        self._speed = self._tokens_per_second(place.tokens)
        self._row_seconds, self._row_tokens = self._watch.training_seconds, place.tokens
        figures = {"rates": list(rates), "momentum": momentum, "tokens_per_second": self._speed}
        self.log.add({**self._row("train", place), **figures, **means})
        if not self._shows_each_loss:
            self._shown = means
        meter.clear()

    def validation_row(self, place: Place, metrics: Mapping[str, float], better: bool) -> None:
        """Log a validation, and show it."""
        named = {f"valid_{key}": float(value) for key, value in metrics.items()}
        self.log.add({**self._row("validation", place), **named})
        figures = "  ".join(f"{key} {value:.4g}" for key, value in metrics.items())
        self.message(f"step {place.step:,}: validation {figures}{' (best so far)' if better else ''}")

    def step(self, place: Place, result: StepResult, seconds_left: float | None) -> None:
        """Show the figures after a step."""
        if self._progress is None:
            return
        if self._shows_each_loss:
            for name, value in (("loss", result.loss), ("nll", result.metrics.get("nll"))):
                if value is not None:
                    former = self._shown.get(name, float(value))
                    self._shown[name] = _SHOWN_MEMORY * former + (1 - _SHOWN_MEMORY) * float(value)
        loss = self._shown.get("loss")
        nll = self._shown.get("nll", loss)
        perplexity = math.exp(min(nll, _LARGEST_EXPONENT)) if self._is_language_model and nll is not None else None
        speed = self._tokens_per_second(place.tokens)
        self._progress.update(
            ProgressInfo(place.phase, place.run, place.step, place.epoch, loss, perplexity, speed, seconds_left)
        )

    def message(self, text: str) -> None:
        """Show a line."""
        if self._progress is not None:
            self._progress.message(text)

    def _tokens_per_second(self, tokens: int) -> float | None:
        """Speed since the last row, or that of the last row where nothing has been seen since."""
        seconds = self._watch.training_seconds - self._row_seconds
        return (tokens - self._row_tokens) / seconds if tokens > self._row_tokens and seconds > 0 else self._speed

    def _row(self, kind: str, place: Place) -> Row:
        return {
            "kind": kind,
            "step": place.step,
            "epoch": place.epoch,
            "phase": place.phase,
            "seconds": round(self._watch.seconds, 3),
            "tokens": place.tokens,
        }
