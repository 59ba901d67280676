"""Learning-rate schedules: pure functions of the step, in units of the peak rate."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ulmkit.config import check_choice, check_positive, check_probability
from ulmkit.errors import ConfigError, did_you_mean


class Setting(NamedTuple):
    """Learning rate and momentum at one step.

    Attributes:
        rate: Learning rate in units of the peak rate.
        momentum: SGD's momentum or Adam's beta1; None leaves it alone.
    """

    rate: float
    momentum: float | None = None


def slanted_triangular(step: float, total_steps: float, cut_fraction: float = 0.1, ratio: float = 32.0) -> Setting:
    """Slanted triangular learning rate: a short linear rise to the peak, then a long linear fall.

    cut = floor(T * cut_fraction);  p = t / cut if t < cut else 1 - (t - cut) / (T - cut)
    eta_t = eta_max * (1 + p * (ratio - 1)) / ratio

    Args:
        step: Optimizer steps done, 0 <= t <= T.
        total_steps: Length of the schedule in steps T, at least 1.
        cut_fraction: Share of T in which the rate rises.
        ratio: Peak rate over lowest rate, at least 1.

    Returns:
        The rate, in units of the peak rate; no momentum.

    Raises:
        ConfigError: If an argument is outside its range.

    Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.2, equation 3.
    Deviation: denominator T - cut, since floor with the printed cut * (1 / cut_fraction - 1) goes negative
        (T = 19 ends at -0.83 peak).
    """
    _check_step(step, total_steps)
    check_probability("cut_fraction", cut_fraction)
    if not (math.isfinite(ratio) and ratio >= 1):
        raise ConfigError(f"ratio: expected a number of at least 1, got {ratio!r}")
    cut = math.floor(total_steps * cut_fraction)
    p = step / cut if step < cut else 1 - (step - cut) / (total_steps - cut)
    return Setting((1 + p * (ratio - 1)) / ratio)


def one_cycle(
    step: float,
    total_steps: float,
    rise_fraction: float = 0.25,
    start_divisor: float = 25.0,
    end_divisor: float = 1e5,
    high_momentum: float = 0.95,
    low_momentum: float = 0.85,
) -> Setting:
    """One-cycle schedule: the rate rises and falls in half cosines while the momentum falls and rises.

    u = t / T;  c(a, b, x) = b + (a - b) * (1 + cos(pi * x)) / 2
    eta_t = c(1 / start_divisor, 1, u / rise) if u < rise else c(1, 1 / end_divisor, (u - rise) / (1 - rise))
    m_t   = c(high, low, u / rise)            if u < rise else c(low, high, (u - rise) / (1 - rise))

    Args:
        step: Optimizer steps done, 0 <= t <= T.
        total_steps: Length of the schedule in steps T, at least 1.
        rise_fraction: Share of T in which the rate rises.
        start_divisor: Peak rate over first rate.
        end_divisor: Peak rate over last rate.
        high_momentum: Momentum at both ends, in [0, 1).
        low_momentum: Momentum at the peak rate, in [0, 1).

    Returns:
        The rate, in units of the peak rate, and the momentum (Adam: beta1).

    Raises:
        ConfigError: If an argument is outside its range.

    Source: Smith 2018, arXiv:1803.09820, section 4.
    Deviation: half cosines instead of straight lines, and divisors 25 and 1e5, as in fastai.
    """
    _check_step(step, total_steps)
    check_probability("rise_fraction", rise_fraction)
    check_positive("start_divisor", start_divisor)
    check_positive("end_divisor", end_divisor)
    check_probability("high_momentum", high_momentum)
    check_probability("low_momentum", low_momentum)
    progress = step / total_steps
    if progress < rise_fraction:
        x = progress / rise_fraction
        return Setting(_half_cosine(1 / start_divisor, 1.0, x), _half_cosine(high_momentum, low_momentum, x))
    x = (progress - rise_fraction) / (1 - rise_fraction)
    return Setting(_half_cosine(1.0, 1 / end_divisor, x), _half_cosine(low_momentum, high_momentum, x))


def flat_cosine(step: float, total_steps: float, flat_fraction: float = 0.75, end_divisor: float = 1e5) -> Setting:
    """Flat-cosine schedule: the peak rate, then a half cosine down to peak / end_divisor.

    With flat_fraction 0 it is a plain cosine schedule.

    u = t / T;  eta_t = 1 if u < flat else e + (1 - e) * (1 + cos(pi * (u - flat) / (1 - flat))) / 2
    e = 1 / end_divisor

    Args:
        step: Optimizer steps done, 0 <= t <= T.
        total_steps: Length of the schedule in steps T, at least 1.
        flat_fraction: Share of T at the peak rate.
        end_divisor: Peak rate over last rate.

    Returns:
        The rate, in units of the peak rate; no momentum.

    Raises:
        ConfigError: If an argument is outside its range.

    Source: the cosine of Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5, after a flat part
        (as in fastai's fit_flat_cos).
    """
    _check_step(step, total_steps)
    check_probability("flat_fraction", flat_fraction)
    check_positive("end_divisor", end_divisor)
    progress = step / total_steps
    if progress < flat_fraction:
        return Setting(1.0)
    return Setting(_half_cosine(1.0, 1 / end_divisor, (progress - flat_fraction) / (1 - flat_fraction)))


def constant(step: float, total_steps: float) -> Setting:
    """Constant schedule: the peak rate at every step, 0 <= t <= T."""
    _check_step(step, total_steps)
    return Setting(1.0)


SCHEDULES: Mapping[str, Callable[..., Setting]] = {
    function.__name__: function for function in (slanted_triangular, one_cycle, flat_cosine, constant)
}


@dataclass(frozen=True)
class Schedule:
    """A schedule by name, with its options: `Schedule("one_cycle", {"rise_fraction": 0.3})`.

    Attributes:
        name: One of SCHEDULES.
        options: Keyword arguments of its function.

    Raises:
        ConfigError: If the name or an option is unknown, or a value is outside its range.
    """

    name: str = "slanted_triangular"
    options: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("schedule", self.name, SCHEDULES)
        known = list(inspect.signature(SCHEDULES[self.name]).parameters)[2:]
        for option in self.options:
            if option not in known:
                raise ConfigError(f"schedule {self.name}: unknown option {option!r}; {did_you_mean(option, known)}")
        self.at(0, 1)

    def at(self, step: float, total_steps: float) -> Setting:
        """Return the rate (in units of the peak rate) and momentum at `step` of `total_steps`, fractions allowed."""
        return SCHEDULES[self.name](step, total_steps, **self.options)


def _half_cosine(start: float, end: float, x: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * x)) / 2


def _check_step(step: float, total_steps: float) -> None:
    if not total_steps >= 1:
        raise ConfigError(f"total_steps: expected at least 1, got {total_steps!r}")
    if not 0 <= step <= total_steps:
        raise ConfigError(f"step: expected 0 <= step <= {total_steps!r} (total_steps), got {step!r}")
