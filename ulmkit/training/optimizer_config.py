"""Optimizers and their constants, and learning rates of layer groups. Imports without torch."""

from dataclasses import dataclass

from ulmkit.config import check_choice, check_not_negative, check_positive, check_probability, check_whole
from ulmkit.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """An optimizer and its constants.

    Attributes:
        name: Optimizer: adamw, sgd, nt_asgd or asgd. "adamw" with decay "l2" is plain Adam. "nt_asgd" is SGD whose
            result is the mean of the weights from the validation on that triggers it; "asgd" averages from the first
            step on.
        betas: Coefficients of Adam; a schedule with momentum replaces the first (ULMFiT: 0.7, 0.99).
        eps: Constant added to Adam's denominator.
        weight_decay: Strength of weight decay.
        decay: Kind of weight decay: decoupled or l2. "decoupled" does p -= lr * weight_decay * p; "l2" adds
            weight_decay * p to the gradient.
        momentum: Momentum of SGD; a schedule with momentum replaces it.
        window: Non-monotone interval n of NT-ASGD's trigger, in validations.

    Raises:
        ConfigError: If a value is outside its range.
    """

    name: str = "adamw"
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-8
    weight_decay: float = 0.01
    decay: str = "decoupled"
    momentum: float = 0.0
    window: int = 5

    def __post_init__(self) -> None:
        check_choice("optimizer", self.name, ("adamw", "sgd", "nt_asgd", "asgd"))
        check_whole("window", self.window, at_least=0)
        check_choice("decay", self.decay, ("decoupled", "l2"))
        if len(self.betas) != 2:
            raise ConfigError(f"betas: expected two numbers, got {self.betas!r}")
        object.__setattr__(self, "betas", tuple(self.betas))
        for beta in self.betas:
            check_probability("betas", beta)
        check_positive("eps", self.eps)
        check_not_negative("weight_decay", self.weight_decay)
        check_probability("momentum", self.momentum)


def discriminative_rates(peak: float, groups: int, factor: float = 2.6) -> list[float]:
    """Compute the learning rate of each layer group, bottom to top.

    eta^(l-1) = eta^l / factor, and the top group has the peak rate.

    Args:
        peak: Rate of the top group.
        groups: Number of groups.
        factor: Rate of a group over that of the one below; 1 gives every group the same rate.

    Returns:
        `groups` rates, rising from bottom to top.

    Raises:
        ConfigError: Unless peak and factor are above 0 and groups is at least 1.

    Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.2 (discriminative fine-tuning).
    """
    check_positive("peak", peak)
    check_positive("factor", factor)
    check_whole("groups", groups)
    return [peak / factor ** (groups - 1 - level) for level in range(groups)]
