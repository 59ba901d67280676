"""Reporting of a run: means of losses, rows in its log, values and lines on its progress display."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ulmkit.training.budget import Stopwatch
from ulmkit.training.log import LogRow, TrainingLog
from ulmkit.training.progress import ProgressDisplay, ProgressInfo
from ulmkit.training.task import StepResult
from ulmkit.training.world import World

_SHOWN_MEMORY = 0.9  # decay of the running mean of the displayed loss
_LARGEST_EXPONENT = 700.0  # exp of more overflows


@dataclass(frozen=True)
class LogPosition:
    """Position of a run, for a log row or the display.

    Attributes:
        phase: Name of the phase.
        step: Optimizer steps so far.
        epoch: Epochs so far.
        tokens: Tokens trained on.
        fraction_done: Progress of the run, 0 to 1.
    """

    phase: str
    step: int
    epoch: float
    tokens: int
    fraction_done: float


class Meter:
    """Weighted means of the loss and metrics since the last log row.

    Tensors are read together, and only when a mean is asked for: reading one waits for the device.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[str, torch.Tensor, float]] = []
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._weights: defaultdict[str, float] = defaultdict(float)

    def add(self, result: StepResult) -> None:
        """Add the result of one batch, detached, with its weight filled in."""
        weight = 1.0 if result.weight is None else result.weight
        for name, value in (("loss", result.loss), *result.metrics.items()):
            if isinstance(value, torch.Tensor):
                self._pending.append((name, value, weight))
            else:
                self._count(name, float(value) * weight, weight)

    @property
    def is_empty(self) -> bool:
        """True if nothing was added since the last row."""
        return not self._pending and not self._sums

    def means(self) -> dict[str, float]:
        """Return the mean of the loss and of each metric so far; empty if nothing was added."""
        self._read()
        return {name: total / self._weights[name] for name, total in self._sums.items()}

    def is_finite(self) -> bool:
        """Return whether every loss since the last row is finite."""
        self._read()
        return math.isfinite(self._sums.get("loss", 0.0))

    def clear(self) -> None:
        """Start the next row."""
        self._pending.clear()
        self._sums.clear()
        self._weights.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return the sums so far, as JSON."""
        self._read()
        return {"sums": dict(self._sums), "weights": dict(self._weights)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the sums of a `state_dict`."""
        self.clear()
        self.merge(state)

    def merge(self, state: dict[str, Any]) -> None:
        """Add the sums of another rank's `state_dict`."""
        for name, total in state["sums"].items():
            self._count(name, float(total), float(state["weights"][name]))

    def _read(self) -> None:
        if self._pending:
            values = torch.stack([value.double() for _, value, _ in self._pending]).tolist()
            for (name, _, weight), value in zip(self._pending, values, strict=True):
                self._count(name, value * weight, weight)
            self._pending.clear()

    def _count(self, name: str, total: float, weight: float) -> None:
        self._sums[name] += total
        self._weights[name] += weight


class Reporter:
    """Writes the log and drives the display, both on the first rank only.

    Args:
        progress: Display; None for silence.
        stopwatch: Stopwatch of the run.
        world: Ranks of the run.
        is_language_model: Whether to show perplexity.
        shows_each_loss: Whether the display follows every step, because reading a loss is cheap, or the log's rows.

    Attributes:
        log: The training log.
    """

    def __init__(
        self,
        progress: ProgressDisplay | None,
        stopwatch: Stopwatch,
        world: World,
        is_language_model: bool,
        shows_each_loss: bool,
    ) -> None:
        self._progress = progress if world.is_first else None
        self._stopwatch = stopwatch
        self._world = world
        self._is_language_model = is_language_model
        self._shows_each_loss = shows_each_loss
        self._shown: dict[str, float] = {}
        self._speed: float | None = None
        self._row_seconds = 0.0
        self._row_tokens = 0
        self.log = TrainingLog(None)

    def open(self, folder: Path | None, rows: Sequence[LogRow], tokens: int, tensorboard: Path | None) -> None:
        """Open the log with the rows of earlier sessions, in which `tokens` were trained on."""
        self._start_row(tokens)
        is_first = self._world.is_first
        self.log = TrainingLog(folder if is_first else None, rows, tensorboard if is_first else None)

    def train_row(
        self, position: LogPosition, rates: Sequence[float], momentum: float | None, threads: int, meter: Meter
    ) -> None:
        """Log the means over all ranks of the steps since the last row, and clear the meter."""
        for other_rank in self._world.gather(meter.state_dict())[1:]:
            meter.merge(other_rank)
        means = meter.means()
        self._speed = self._tokens_per_second(position.tokens)
        self._start_row(position.tokens)
        settings = {"rates": list(rates), "momentum": momentum, "threads": threads}
        row = {**self._row("train", position), **settings, "tokens_per_second": self._speed}
        self.log.add({**row, **means})
        if not self._shows_each_loss:
            self._shown = means
        meter.clear()

    def validation_row(self, position: LogPosition, metrics: Mapping[str, float], better: bool) -> None:
        """Log a validation and show it."""
        named = {f"valid_{key}": float(value) for key, value in metrics.items()}
        self.log.add({**self._row("validation", position), **named})
        summary = "  ".join(f"{key} {value:.4g}" for key, value in metrics.items())
        self.message(f"step {position.step:,}: validation {summary}{' (best so far)' if better else ''}")

    def step(self, position: LogPosition, result: StepResult, seconds_left: float | None) -> None:
        """Show the values after a step."""
        if self._progress is None:
            return
        if self._shows_each_loss:
            for name, value in (("loss", result.loss), ("nll", result.metrics.get("nll"))):
                if value is not None:
                    mean = self._shown.get(name, float(value))
                    self._shown[name] = _SHOWN_MEMORY * mean + (1 - _SHOWN_MEMORY) * float(value)
        loss = self._shown.get("loss")
        nll = self._shown.get("nll", loss)
        perplexity = math.exp(min(nll, _LARGEST_EXPONENT)) if self._is_language_model and nll is not None else None
        speed = self._tokens_per_second(position.tokens)
        done = position.fraction_done
        self._progress.update(
            ProgressInfo(position.phase, done, position.step, position.epoch, loss, perplexity, speed, seconds_left)
        )

    def message(self, text: str) -> None:
        """Show a line of its own."""
        if self._progress is not None:
            self._progress.message(text)

    def _tokens_per_second(self, tokens: int) -> float | None:
        """Return the speed since the last row, or that row's speed if nothing was trained on since."""
        seconds = self._stopwatch.training_seconds - self._row_seconds
        return (tokens - self._row_tokens) / seconds if tokens > self._row_tokens and seconds > 0 else self._speed

    def _start_row(self, tokens: int) -> None:
        self._row_seconds = self._stopwatch.training_seconds
        self._row_tokens = tokens

    def _row(self, kind: str, position: LogPosition) -> LogRow:
        return {
            "kind": kind,
            "step": position.step,
            "epoch": position.epoch,
            "phase": position.phase,
            "seconds": round(self._stopwatch.seconds, 3),
            "tokens": position.tokens,
        }
