"""Training budgets in epochs, steps or minutes, and the position of a run inside them."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from ulmkit.config import check_positive, check_whole
from ulmkit.errors import ConfigError

TICKS = 10_000
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
            raise ConfigError(f"budget: expected exactly one of epochs, steps, minutes, got {values or 'none'}")
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
            raise ConfigError(f"steps: expected at least {len(shares)}, one for each part, got {steps}")
        spare = steps - len(shares)
        ends = [round(spare * math.fsum(shares[: i + 1]) / total) for i in range(len(shares))]
        return [Budget(steps=1 + end - start) for start, end in zip([0, *ends], ends, strict=False)]


class Position(NamedTuple):
    """Position of a run in its plan.

    Attributes:
        run: Progress of the whole run, 0 to 1.
        step: Step of the phase's schedule.
        total: Length of the phase's schedule in steps.
        done: Whether the phase is over.
    """

    run: float
    step: float
    total: float
    done: bool


@dataclass
class Stopwatch:
    """Wall-clock seconds of a run over all its sessions, with validation and saving counted apart.

    Attributes:
        clock: Source of the time, in seconds.
        former_seconds: Seconds of earlier sessions.
        spent: Total seconds by activity ("validation", "checkpoint").
        costs: Seconds that each activity took the last time.
    """

    clock: Callable[[], float] = time.monotonic
    former_seconds: float = 0.0
    spent: dict[str, float] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    _start: float = field(init=False)

    def __post_init__(self) -> None:
        self._start = self.clock()

    @property
    def seconds(self) -> float:
        """All seconds so far."""
        return self.former_seconds + self.clock() - self._start

    @property
    def aside_seconds(self) -> float:
        """Seconds of validation and saving so far."""
        return math.fsum(self.spent.values())

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
            self.costs[activity] = self.clock() - start
            self.spent[activity] = self.spent.get(activity, 0.0) + self.costs[activity]


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
            check_whole("times a run", self.every)

    def count(self, run: float, step: int, seconds: float) -> int:
        """Return how often the event should have happened by now; it is due whenever this rises."""
        if self.every is None:
            return 0
        if isinstance(self.every, int):
            return math.floor(run * self.every + 1e-9)
        if self.every.minutes is not None:
            return math.floor(seconds / (60 * self.every.minutes))
        return step // self.every.in_steps(self.steps_per_epoch)

    def left(self, run: float, seconds_left: float, step_seconds: float, cost: float) -> int:
        """Estimate how often the event will still happen in `seconds_left`, the end of the run included."""
        if self.every is None or seconds_left <= 0:
            return 0
        if isinstance(self.every, int):
            return self.every - math.floor(run * self.every + 1e-9)
        if self.every.minutes is not None:
            interval = 60 * self.every.minutes
        else:
            interval = self.every.in_steps(self.steps_per_epoch) * step_seconds + cost
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

    def affords_validation(self, watch: Stopwatch) -> bool:
        """Return True: validations take none of a budget in steps."""
        return True

    def position(self, phase: int, phase_step: int) -> Position:
        """Return the position `phase_step` steps into a phase."""
        total = self.phase_steps[phase]
        run = (sum(self.phase_steps[:phase]) + phase_step) / self.total_steps
        return Position(run, min(phase_step, total), total, phase_step >= total)


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

    def affords_validation(self, watch: Stopwatch) -> bool:
        """Return whether a validation fits before the end, with time left for the one at the end."""
        return self._affordable_validations(watch) >= 2

    def _affordable_validations(self, watch: Stopwatch) -> float:
        cost = watch.costs.get("validation")
        spent = watch.spent.get("validation", 0.0)
        return (VALIDATION_SHARE * self.total_seconds - spent) / cost if cost else math.inf

    def position(
        self, phase: int, phase_start: float, former_run: float, steps: int, watch: Stopwatch, cadence: Cadence
    ) -> Position:
        """Return the position of the run now.

        Args:
            phase: Number of the phase.
            phase_start: Progress of the run when the phase began.
            former_run: Progress of the run at the previous step.
            steps: Optimizer steps so far.
            watch: Time used so far.
            cadence: Frequency of validation.
        """
        training = watch.training_seconds
        step_seconds = training / steps if steps else 0.0
        validation_cost = watch.costs.get("validation", 0.0)
        checkpoint_cost = watch.costs.get("checkpoint", 0.0)
        # Time still to be set aside comes first, estimated from the last known progress: progress itself depends on
        # it. Clamping to `former_run` then keeps a rate from rising again when an estimate of the cost falls.
        due = cadence.left(former_run, self.total_seconds - watch.seconds, step_seconds, validation_cost)
        validations = min(due, max(1.0, self._affordable_validations(watch) // 1))
        usable = self.total_seconds - watch.aside_seconds - validations * validation_cost - checkpoint_cost
        run = min(1.0, max(former_run, training / usable if usable > 0 else 1.0))
        out_of_time = steps > 0 and training + step_seconds > usable
        end = self.ends[phase]
        fraction = min(1.0, (run - phase_start) / (end - phase_start)) if end > phase_start else 1.0
        return Position(run, fraction * TICKS, TICKS, out_of_time or (steps > 0 and run >= end))


def make_plan(budgets: Sequence[Budget], steps_per_epoch: int) -> StepPlan | TimePlan:
    """Make the plan for phases with these budgets.

    Raises:
        ConfigError: If some budgets are in minutes and others are not.
    """
    timed = [budget.minutes is not None for budget in budgets]
    if any(timed) and not all(timed):
        raise ConfigError("budgets: expected minutes for every phase or for none, got a mixture")
    return TimePlan(budgets) if all(timed) else StepPlan(budgets, steps_per_epoch)
