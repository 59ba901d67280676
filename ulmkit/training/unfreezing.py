"""Phases of training: which layer groups train, for how long and how fast."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ulmkit.config import check_positive
from ulmkit.errors import ConfigError
from ulmkit.training.budget import Budget
from ulmkit.training.optimizer_config import discriminative_rates
from ulmkit.training.schedules import Schedule


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Part of training with one set of trainable layer groups and one run of a schedule.

    Attributes:
        name: Name, for display and log.
        groups: Numbers of the groups that train, 0 for the bottom; the others are frozen.
        budget: Length of the phase.
        peak_rate: Peak learning rate of the highest group that trains.
        factor: Rate of a group over that of the group below (discriminative fine-tuning); 1 gives all the same rate.
        schedule: Schedule, run once over the phase.

    Raises:
        ConfigError: If there are no groups, one is repeated or negative, or a rate is not above 0.
    """

    name: str
    groups: tuple[int, ...]
    budget: Budget
    peak_rate: float
    factor: float = 1.0
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(self.groups))
        if not self.groups or len(set(self.groups)) != len(self.groups) or min(self.groups) < 0:
            raise ConfigError(f"phase {self.name}: expected different groups of at least 0, got {self.groups!r}")
        check_positive("peak_rate", self.peak_rate)
        check_positive("factor", self.factor)

    def rates(self, groups: int) -> list[float]:
        """Return the peak rate of each of a model's `groups`, bottom to top; 0 for frozen ones.

        Raises:
            ConfigError: If the phase trains a group that the model does not have.
        """
        top = max(self.groups)
        if top >= groups:
            raise ConfigError(f"phase {self.name}: expected groups below {groups}, got {top}")
        rates = discriminative_rates(self.peak_rate, top + 1, self.factor) + [0.0] * (groups - top - 1)
        return [rate if level in self.groups else 0.0 for level, rate in enumerate(rates)]


def full(
    groups: int, *, budget: Budget, peak_rate: float, factor: float = 1.0, schedule: Schedule | None = None
) -> list[Phase]:
    """Make one phase in which all groups train ("full"; with factor 2.6 "full + discr" of Howard & Ruder 2018)."""
    return _phases([("full", tuple(range(groups)))], budget, peak_rate, schedule, factor)


def last(groups: int, *, budget: Budget, peak_rate: float, schedule: Schedule | None = None) -> list[Phase]:
    """Make one phase in which only the top group trains ("last" of Howard & Ruder 2018, table 6)."""
    return _phases([("last", (groups - 1,))], budget, peak_rate, schedule)


def gradual_unfreezing(
    groups: int,
    *,
    budget: Budget,
    peak_rate: float | Sequence[float],
    factor: float = 2.6,
    schedule: Schedule | None = None,
    depths: Sequence[int] | None = None,
    shares: Sequence[float] | None = None,
) -> list[Phase]:
    """Make phases of gradual unfreezing: the top group trains, then the top two, and so on until all train.

    Args:
        groups: Number of groups in the model.
        budget: Budget of all phases together.
        peak_rate: Peak rate of the top group, one for all phases or one for each.
        factor: Factor of discriminative fine-tuning.
        schedule: Schedule of each phase.
        depths: Number of groups from the top that train in each phase, by default 1, 2, ..., groups.
        shares: Shares of the budget, one for each phase, by default equal (in the paper an epoch each).

    Returns:
        The phases.

    Raises:
        ConfigError: If a depth is outside 1..groups, or peak rates or shares are not one for each phase.

    Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.3 (gradual unfreezing).
    """
    depths = range(1, groups + 1) if depths is None else depths
    for depth in depths:
        if not 1 <= depth <= groups:
            raise ConfigError(f"depths: expected 1 to {groups} groups from the top, got {depth!r}")
    names = [("all" if depth == groups else f"top {depth}", tuple(range(groups - depth, groups))) for depth in depths]
    return _phases(names, budget, peak_rate, schedule, factor, shares)


def chain_thaw(
    groups: int,
    *,
    budget: Budget,
    peak_rate: float | Sequence[float],
    schedule: Schedule | None = None,
    shares: Sequence[float] | None = None,
) -> list[Phase]:
    """Make phases of chain-thaw: the new top group alone, each other group alone from the bottom up, then all.

    With `patience` in TrainerConfig each phase ends when validation stops improving, as in the paper.

    Args:
        groups: Number of groups in the model; there are groups + 1 phases.
        budget: Budget of all phases together.
        peak_rate: Peak rate of every group that trains, one for all phases or one for each.
        schedule: Schedule of each phase.
        shares: Shares of the budget, one for each phase, by default equal.

    Returns:
        The phases.

    Raises:
        ConfigError: If peak rates or shares are not one for each phase.

    Source: Felbo et al. 2017, arXiv:1708.00524, section 3.3 (chain-thaw).
    """
    names: list[tuple[str, tuple[int, ...]]] = [("top", (groups - 1,))]
    names += [(f"group {level}", (level,)) for level in range(groups - 1)]
    names += [("all", tuple(range(groups)))]
    return _phases(names, budget, peak_rate, schedule, shares=shares)


def _phases(
    names: Sequence[tuple[str, tuple[int, ...]]],
    budget: Budget,
    peak_rate: float | Sequence[float],
    schedule: Schedule | None,
    factor: float = 1.0,
    shares: Sequence[float] | None = None,
) -> list[Phase]:
    peak_rates = [peak_rate] * len(names) if isinstance(peak_rate, int | float) else list(peak_rate)
    shares = [1.0] * len(names) if shares is None else list(shares)
    for what, values in (("peak_rate", peak_rates), ("shares", shares)):
        if len(values) != len(names):
            raise ConfigError(f"{what}: expected one for each of {len(names)} phases, got {len(values)}")
    return [
        Phase(name=name, groups=trained, budget=part, peak_rate=rate, factor=factor, schedule=schedule or Schedule())
        for (name, trained), part, rate in zip(names, budget.split(shares), peak_rates, strict=True)
    ]
