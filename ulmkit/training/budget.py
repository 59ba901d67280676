"""Budgets in epochs, steps or minutes, and where a run stands inside them."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from ulmkit.config import check_positive, check_whole
from ulmkit.errors import ConfigError

TICKS = 10_000
"""Steps that a schedule counts over a phase bound to time."""

VALIDATION_SHARE = 0.1
"""Part of a run bound to time that validations may take; those that would take more are left out, but for the last."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long: exactly one of epochs (may be a fraction), optimizer steps, or minutes of wall clock.

    Also used for intervals, as in "validate every half epoch".
    Raises: ConfigError unless exactly one is given and it is above 0.
    """

    epochs: float | None = None
    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            raise ConfigError(f"budget: expected exactly one of epochs, steps, minutes, got {given or 'none'}")
        for name, value in given.items():
            if name == "steps":
                check_whole(name, value)
            else:
                check_positive(name, value)

    def in_steps(self, steps_per_epoch: int) -> int:
        """Optimizer steps of a budget in epochs or steps: epochs are rounded to whole steps, at least one."""
        if self.minutes is not None:
            raise ConfigError(f"budget: expected epochs or steps, got minutes={self.minutes!r}")
        if self.steps is not None:
            return self.steps
        return max(1, round((self.epochs or 0.0) * steps_per_epoch))

    def split(self, shares: Sequence[float]) -> list["Budget"]:
        """Parts in proportion to `shares` that sum to this budget; parts in steps are whole and at least one step.

        Raises: ConfigError if there are no shares, one is not above 0, or there are fewer steps than shares.
        """
        if not shares:
            raise ConfigError("shares: expected at least one, got none")
        for share in shares:
            check_positive("shares", share)
        whole = math.fsum(shares)
        if self.epochs is not None:
            return [Budget(epochs=self.epochs * share / whole) for share in shares]
        if self.minutes is not None:
            return [Budget(minutes=self.minutes * share / whole) for share in shares]
        steps = self.steps or 0
        if steps < len(shares):
            raise ConfigError(f"steps: expected at least {len(shares)}, one for each part, got {steps}")
        spare = steps - len(shares)
        ends = [round(spare * math.fsum(shares[: i + 1]) / whole) for i in range(len(shares))]
        return [Budget(steps=1 + end - start) for start, end in zip([0, *ends], ends, strict=False)]


class Position(NamedTuple):
    """Where a run stands.

    run: progress of the whole run, 0 to 1. step, total: where the phase's schedule stands. done: the phase is over.
    """

    run: float
    step: float
    total: float
    done: bool


@dataclass
class Stopwatch:
    """Wall-clock seconds of a run over all its sessions, those beside training (validation, saving) kept apart.

    spent: seconds in all by what they were spent on. costs: seconds of the latest time.
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
        """Seconds so far, less validation and saving."""
        return self.seconds - self.aside_seconds

    @contextmanager
    def aside(self, what: str) -> Iterator[None]:
        """Count the block as `what` ("validation", "checkpoint"); its latest duration is `costs[what]`."""
        start = self.clock()
        try:
            yield
        finally:
            self.costs[what] = self.clock() - start
            self.spent[what] = self.spent.get(what, 0.0) + self.costs[what]


@dataclass(frozen=True)
class Cadence:
    """How often something happens: an interval, or a number of times spread evenly over the run; None is never.

    every: Budget (interval), int (times a run) or None. steps_per_epoch: to count intervals in epochs.
    """

    every: Budget | int | None
    steps_per_epoch: int

    def __post_init__(self) -> None:
        if isinstance(self.every, int):
            check_whole("times a run", self.every)

    def count(self, run: float, step: int, seconds: float) -> int:
        """How many times it should have happened by now; it is due when this rises."""
        if self.every is None:
            return 0
        if isinstance(self.every, int):
            return math.floor(run * self.every + 1e-9)
        if self.every.minutes is not None:
            return math.floor(seconds / (60 * self.every.minutes))
        return step // self.every.in_steps(self.steps_per_epoch)

    def left(self, run: float, seconds_left: float, step_seconds: float, cost: float) -> int:
        """About how many times are still to come in a run with `seconds_left`, its end included."""
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
    """Phases measured in steps: the schedule's step is the phase's step.

    Args: budgets: of each phase, in epochs or steps. steps_per_epoch: optimizer steps of an epoch.
    """

    def __init__(self, budgets: Sequence[Budget], steps_per_epoch: int) -> None:
        self.phase_steps = [budget.in_steps(steps_per_epoch) for budget in budgets]
        self.total_steps = sum(self.phase_steps)

    def affords_validation(self, watch: Stopwatch) -> bool:
        """Whether there is time for a validation before the end: always."""
        return True

    def position(self, phase: int, phase_step: int) -> Position:
        """Where `phase_step` steps into phase number `phase` are."""
        total = self.phase_steps[phase]
        run = (sum(self.phase_steps[:phase]) + phase_step) / self.total_steps
        return Position(run, min(phase_step, total), total, phase_step >= total)


class TimePlan:
    """Phases measured in minutes: progress is the share of the training time that is gone, and never falls.

    Training time is the budget less what validation and saving have taken and will take, as measured. However fast
    the machine is, and however its speed changes, the schedule of every phase runs from its start to its end.

    Args: budgets: of each phase, in minutes.
    """

    def __init__(self, budgets: Sequence[Budget]) -> None:
        minutes = [budget.minutes or 0.0 for budget in budgets]
        self.total_seconds = 60 * math.fsum(minutes)
        self.ends = [60 * math.fsum(minutes[: i + 1]) / self.total_seconds for i in range(len(minutes))]
        self.ends[-1] = 1.0

    def affords_validation(self, watch: Stopwatch) -> bool:
        """Whether there is time for a validation before the end, and for the one at the end."""
        return self._validations_afforded(watch) >= 2

    def _validations_afforded(self, watch: Stopwatch) -> float:
        cost, spent = watch.costs.get("validation"), watch.spent.get("validation", 0.0)
        return (VALIDATION_SHARE * self.total_seconds - spent) / cost if cost else math.inf

    def position(
        self, phase: int, phase_start: float, former_run: float, steps: int, watch: Stopwatch, cadence: Cadence
    ) -> Position:
        """Where the run stands now.

        Args: phase: its number. phase_start: progress of the run when the phase began. former_run: progress at the
            step before. steps: optimizer steps so far. watch: the time gone. cadence: of validation.
        """
        training = watch.training_seconds
        step_seconds = training / steps if steps else 0.0
        validation, saving = watch.costs.get("validation", 0.0), watch.costs.get("checkpoint", 0.0)
        seconds_left = self.total_seconds - watch.seconds
        due = cadence.left(former_run, seconds_left, step_seconds, validation)
        times = min(due, max(1.0, self._validations_afforded(watch) // 1))
        usable = self.total_seconds - watch.aside_seconds - times * validation - saving
        run = min(1.0, max(former_run, training / usable if usable > 0 else 1.0))
        out_of_time = steps > 0 and training + step_seconds > usable
        end = self.ends[phase]
        fraction = min(1.0, (run - phase_start) / (end - phase_start)) if end > phase_start else 1.0
        return Position(run, fraction * TICKS, TICKS, out_of_time or (steps > 0 and run >= end))


def make_plan(budgets: Sequence[Budget], steps_per_epoch: int) -> StepPlan | TimePlan:
    """The plan for phases with these budgets.

    Raises: ConfigError if some are in minutes and others are not.
    """
    timed = [budget.minutes is not None for budget in budgets]
    if any(timed) and not all(timed):
        raise ConfigError("budgets: expected minutes for every phase or for none, got a mixture")
    return TimePlan(budgets) if all(timed) else StepPlan(budgets, steps_per_epoch)
