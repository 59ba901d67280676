"""Training budgets in epochs, steps or minutes, and the position of a run inside them."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

from ulmkit.config import check_positive, check_whole
from ulmkit.errors import ConfigError
from ulmkit.json_records import record_from_json

TIMED_SCHEDULE_STEPS = 10_000
"""Length in steps of a schedule whose phase is measured in minutes."""

VALIDATION_SHARE = 0.1
"""Largest share of a run measured in minutes that validations may take; later ones are skipped, except the last."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Length of training, or an interval in it: exactly one of epochs, optimizer steps and minutes.

    Attributes:
        epochs: Passes over the training text, fractions allowed.
        steps: Optimizer steps.
        minutes: Wall-clock time, validation included.

    Raises:
        ConfigError: Unless exactly one is set, and to a number above 0.
    """

    epochs: float | None = None
    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        values = {name: value for name, value in vars(self).items() if value is not None}
        if len(values) != 1:
            raise ConfigError(
                "budget: expected exactly one of `epochs`, `steps`, `minutes`, "
                f"got {' and '.join(f'`{name}`' for name in values) or 'none'}"
            )
        for name, value in values.items():
            if name == "steps":
                check_whole(name, value)
            else:
                check_positive(name, value)

    def in_steps(self, steps_per_epoch: int) -> int:
        """Return a budget in epochs or steps as optimizer steps; epochs are rounded, to at least one step."""
        if self.minutes is not None:
            raise ConfigError(f"budget: expected epochs or steps, got minutes={self.minutes!r}")
        if self.steps is not None:
            return self.steps
        return max(1, round((self.epochs or 0.0) * steps_per_epoch))

    def split(self, shares: Sequence[float]) -> list["Budget"]:
        """Divide the budget in proportion to `shares`; parts in steps are whole and at least one step.

        Raises:
            ConfigError: If there are no shares, one is not above 0, or there are fewer steps than shares.
        """
        if not shares:
            raise ConfigError("shares: expected at least one, got none")
        for share in shares:
            check_positive("shares", share)
        total = math.fsum(shares)
        if self.epochs is not None:
            return [Budget(epochs=self.epochs * share / total) for share in shares]
        if self.minutes is not None:
            return [Budget(minutes=self.minutes * share / total) for share in shares]
        steps = self.steps or 0
        if steps < len(shares):
            raise ConfigError(f"steps: expected at least {len(shares)}, one for each phase, got {steps}")
        spare = steps - len(shares)
        ends = [round(spare * math.fsum(shares[: i + 1]) / total) for i in range(len(shares))]
        return [Budget(steps=1 + end - start) for start, end in zip([0, *ends], ends, strict=False)]


_SAVED_NAMES = {"fraction_done": "run"}  # in checkpoints


@dataclass
class RunState:
    """Progress of a run.

    Attributes:
        phase: Number of the phase; the number of phases once all are over.
        step: Optimizer steps of the run.
        phase_step: Optimizer steps of the phase.
        tokens: Tokens trained on.
        fraction_done: Progress of the run, 0 to 1.
        phase_start: Progress of the run when the phase began.
        validations: Number of validations due so far.
        checkpoints: Number of checkpoints due so far.
        rates: Learning rate of each layer group at the last step.
        momentum: Momentum at the last step.
        validated_step: Step of the last validation.
        stopped_because: Reason that the last phase ended, "budget" or "patience".
        finished: Whether the run is complete.
    """

    phase: int = 0
    step: int = 0
    phase_step: int = 0
    tokens: int = 0
    fraction_done: float = 0.0
    phase_start: float = 0.0
    validations: int = 0
    checkpoints: int = 0
    rates: list[float] = field(default_factory=list)
    momentum: float | None = None
    validated_step: int | None = None
    stopped_because: str = ""
    finished: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON."""
        return {_SAVED_NAMES.get(name, name): value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "RunState":
        """Restore what `to_json` returned; raise KeyError if a part is missing, ConfigError if its type is another."""
        state = record_from_json(
            cls, {part.name: saved[_SAVED_NAMES.get(part.name, part.name)] for part in fields(cls)}, "run"
        )
        for name in ("phase", "step", "phase_step", "tokens", "validations", "checkpoints"):
            check_whole(name, getattr(state, name), at_least=0)
        return state


class Position(NamedTuple):
    """Position of a run in its plan.

    Attributes:
        fraction_done: Progress of the whole run, 0 to 1.
        step: Step of the phase's schedule.
        total_steps: Length of the phase's schedule in steps.
        done: Whether the phase is over.
    """

    fraction_done: float
    step: float
    total_steps: float
    done: bool


@dataclass
class Stopwatch:
    """Wall-clock seconds of a run over all its sessions, with validation and saving counted apart.

    Attributes:
        clock: Source of the time, in seconds.
        former_seconds: Seconds of earlier sessions.
        total_seconds: Total seconds of each activity ("validation", "checkpoint").
        last_seconds: Seconds that each activity took the last time.
    """

    clock: Callable[[], float] = time.monotonic
    former_seconds: float = 0.0
    total_seconds: dict[str, float] = field(default_factory=dict)
    last_seconds: dict[str, float] = field(default_factory=dict)
    _start: float = field(init=False)

    def __post_init__(self) -> None:
        self._start = self.clock()

    @property
    def seconds(self) -> float:
        """All seconds so far."""
        return self.former_seconds + self.clock() - self._start

    @property
    def session_seconds(self) -> float:
        """Seconds since the run began or was resumed."""
        return self.seconds - self.former_seconds

    @property
    def aside_seconds(self) -> float:
        """Seconds of validation and saving so far."""
        return math.fsum(self.total_seconds.values())

    @property
    def training_seconds(self) -> float:
        """Seconds so far without validation and saving."""
        return self.seconds - self.aside_seconds

    @contextmanager
    def aside(self, activity: str) -> Iterator[None]:
        """Count the block as `activity` rather than training."""
        start = self.clock()
        try:
            yield
        finally:
            self.last_seconds[activity] = self.clock() - start
            self.total_seconds[activity] = self.total_seconds.get(activity, 0.0) + self.last_seconds[activity]


@dataclass(frozen=True)
class Cadence:
    """Frequency of a recurring event such as validation.

    Attributes:
        every: An interval, or a number of times spread evenly over the run; None is never.
        steps_per_epoch: Optimizer steps, to convert intervals in epochs.
    """

    every: Budget | int | None
    steps_per_epoch: int

    def __post_init__(self) -> None:
        if isinstance(self.every, int):
            check_whole("times per run", self.every)

    def due(self, fraction_done: float, step: int, seconds: float) -> int:
        """Return how often the event should have happened by now; it is due whenever this rises."""
        if self.every is None:
            return 0
        if isinstance(self.every, int):
            return math.floor(fraction_done * self.every + 1e-9)
        if self.every.minutes is not None:
            return math.floor(seconds / (60 * self.every.minutes))
        return step // self.every.in_steps(self.steps_per_epoch)

    def remaining(self, fraction_done: float, seconds_left: float, step_seconds: float, event_seconds: float) -> int:
        """Estimate how often the event will still happen in `seconds_left`, the end of the run included."""
        if self.every is None or seconds_left <= 0:
            return 0
        if isinstance(self.every, int):
            return self.every - self.due(fraction_done, 0, 0.0)
        if self.every.minutes is not None:
            interval = 60 * self.every.minutes
        else:
            interval = self.every.in_steps(self.steps_per_epoch) * step_seconds + event_seconds
        return 1 + (math.floor(seconds_left / interval) if interval > 0 else 0)


class StepPlan:
    """Plan of phases measured in steps: the schedule's step is the phase's step.

    Args:
        budgets: Budget of each phase, in epochs or steps.
        steps_per_epoch: Optimizer steps of an epoch.
    """

    def __init__(self, budgets: Sequence[Budget], steps_per_epoch: int) -> None:
        self.phase_steps = [budget.in_steps(steps_per_epoch) for budget in budgets]
        self.total_steps = sum(self.phase_steps)

    def affords_validation(self, stopwatch: Stopwatch) -> bool:
        """Return True: validations take none of a budget in steps."""
        return True

    def position(self, state: RunState, stopwatch: Stopwatch, cadence: Cadence) -> Position:
        """Return the position of the run now; time plays no part in it."""
        total = self.phase_steps[state.phase]
        fraction_done = (sum(self.phase_steps[: state.phase]) + state.phase_step) / self.total_steps
        return Position(fraction_done, min(state.phase_step, total), total, state.phase_step >= total)

    def seconds_left(self, fraction_done: float, resumed_at: float, stopwatch: Stopwatch) -> float | None:
        """Estimate the time left at the pace of this session; None before its first step.

        Args:
            fraction_done: Progress of the run.
            resumed_at: Progress of the run when it was resumed; 0 if it was not.
            stopwatch: Time used so far.
        """
        progress = fraction_done - resumed_at
        return stopwatch.session_seconds * (1 - fraction_done) / progress if progress > 0 else None


class TimePlan:
    """Plan of phases measured in minutes: progress is the share of training time used, and never falls.

    Training time is the budget less the measured cost of past and coming validations and checkpoints. However fast
    the machine is, and however its speed changes, the schedule of every phase runs from its start to its end.

    Args:
        budgets: Budget of each phase, in minutes.
    """

    def __init__(self, budgets: Sequence[Budget]) -> None:
        minutes = [budget.minutes or 0.0 for budget in budgets]
        self.total_seconds = 60 * math.fsum(minutes)
        self.ends = [60 * math.fsum(minutes[: i + 1]) / self.total_seconds for i in range(len(minutes))]
        self.ends[-1] = 1.0

    def affords_validation(self, stopwatch: Stopwatch) -> bool:
        """Return whether a validation fits before the end, with time left for the one at the end."""
        return self._affordable_validations(stopwatch) >= 2

    def _affordable_validations(self, stopwatch: Stopwatch) -> float:
        last = stopwatch.last_seconds.get("validation")
        spent = stopwatch.total_seconds.get("validation", 0.0)
        return (VALIDATION_SHARE * self.total_seconds - spent) / last if last else math.inf

    def seconds_left(self, fraction_done: float, resumed_at: float, stopwatch: Stopwatch) -> float:
        """Return the time that the budget leaves."""
        return max(0.0, self.total_seconds - stopwatch.seconds)

    def position(self, state: RunState, stopwatch: Stopwatch, cadence: Cadence) -> Position:
        """Return the position of the run now.

        Args:
            state: Counters of the run at the previous step.
            stopwatch: Time used so far.
            cadence: Frequency of validation.
        """
        training = stopwatch.training_seconds
        step_seconds = training / state.step if state.step else 0.0
        validation_seconds = stopwatch.last_seconds.get("validation", 0.0)
        checkpoint_seconds = stopwatch.last_seconds.get("checkpoint", 0.0)
        # Time still to be set aside comes first, estimated from the last known progress: progress itself depends on
        # it. Clamping to that progress then keeps a rate from rising again when an estimate of the cost falls.
        remaining = cadence.remaining(
            state.fraction_done, self.total_seconds - stopwatch.seconds, step_seconds, validation_seconds
        )
        validations = min(remaining, max(1.0, self._affordable_validations(stopwatch) // 1))
        usable = self.total_seconds - stopwatch.aside_seconds - validations * validation_seconds - checkpoint_seconds
        fraction_done = min(1.0, max(state.fraction_done, training / usable if usable > 0 else 1.0))
        start = state.phase_start
        end = self.ends[state.phase]
        phase_fraction = min(1.0, (fraction_done - start) / (end - start)) if end > start else 1.0
        done = state.step > 0 and (fraction_done >= end or training + step_seconds > usable)
        return Position(fraction_done, phase_fraction * TIMED_SCHEDULE_STEPS, TIMED_SCHEDULE_STEPS, done)


def make_plan(budgets: Sequence[Budget], steps_per_epoch: int) -> StepPlan | TimePlan:
    """Make the plan for phases with these budgets.

    Raises:
        ConfigError: If some budgets are in minutes and others are not.
    """
    timed = [budget.minutes is not None for budget in budgets]
    if any(timed) and not all(timed):
        raise ConfigError("budgets: expected minutes for every phase or for none, got a mixture")
    return TimePlan(budgets) if all(timed) else StepPlan(budgets, steps_per_epoch)
