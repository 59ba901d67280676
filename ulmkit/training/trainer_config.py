"""Settings of a training run."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ulmkit.config import check_choice, check_positive, check_whole
from ulmkit.errors import ConfigError
from ulmkit.training.budget import Budget
from ulmkit.training.optimizer_config import OptimizerConfig
from ulmkit.training.unfreezing import Phase


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """How to train, whatever the phases.

    optimizer: which, and its constants. clip: largest global norm of the gradient, None for none.
    accumulation: batches of one optimizer step; the last step of an epoch takes what is left.
    validate_every: an interval, or a number of times spread evenly over the run, or None for never. A run that
        validates also does so at its end. monitor: the metric to watch, None for the first. mode: "min" or "max".
    patience: end the phase after that many validations in a row without a better value (in the last phase that ends
        the run), None for never. patience_rule: "best", or "non_monotone" to end it at the first validation that is
        worse than the best of those more than `patience` before it (NT-ASGD's rule). restore_best: leave the best
        weights in the model at the end.
    checkpoint_every: interval, None for at the end alone. log_every_steps: a row in the log.
    tensorboard: write its event files too. seed: of the global generators, None to leave them alone; rank r takes
        seed + r.
    Raises: ConfigError if a value is outside its range.
    """

    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    clip: float | None = None
    accumulation: int = 1
    validate_every: Budget | int | None = field(default_factory=lambda: Budget(epochs=1))
    monitor: str | None = None
    mode: str = "min"
    patience: int | None = None
    patience_rule: str = "best"
    restore_best: bool = False
    checkpoint_every: Budget | None = field(default_factory=lambda: Budget(minutes=10))
    log_every_steps: int = 50
    tensorboard: bool = False
    seed: int | None = 0

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, ("min", "max"))
        check_choice("patience_rule", self.patience_rule, ("best", "non_monotone"))
        if self.clip is not None:
            check_positive("clip", self.clip)
        for name in ("accumulation", "patience", "log_every_steps", "validate_every"):
            value = getattr(self, name)
            if value is not None and not isinstance(value, Budget):
                check_whole(name, value)
        if self.validate_every is None and (self.patience is not None or self.restore_best):
            raise ConfigError("validate_every: expected an interval with patience or restore_best, got None")
        if self.patience_rule != "best" and self.patience is None:
            raise ConfigError(f"patience_rule: expected patience with {self.patience_rule!r}, got None; give both")
        enough, found = self.optimizer.window + 2, self.validate_every
        if self.optimizer.name == "nt_asgd" and (found is None or (isinstance(found, int) and found < enough)):
            raise ConfigError(
                f"validate_every: expected at least {enough} validations for nt_asgd with window "
                f"{self.optimizer.window} to be triggered, got {found}; validate more often, or take asgd"
            )
        if self.seed is not None:
            check_whole("seed", self.seed, at_least=0)


MAY_CHANGE = ("checkpoint_every", "log_every_steps", "tensorboard", "restore_best")
"""Settings that a resumed run may have otherwise than the run it goes on with: they do not alter the training."""


def run_settings(
    config: TrainerConfig,
    phases: Sequence[Phase],
    shapes: Mapping[str, Sequence[int]],
    batches_per_epoch: int,
    ranks: int,
    identity: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What must be the same for a run to go on, as JSON.

    Args: shapes: of the model's parameters, by name. identity: see `Trainer`.
    Raises: ConfigError if the identity is not JSON.
    """
    try:
        known = json.loads(json.dumps(identity or {}, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"identity: expected JSON values, got {identity!r}; {error}") from error
    settings = {
        "config": {key: value for key, value in asdict(config).items() if key not in MAY_CHANGE},
        "phases": [asdict(phase) for phase in phases],
        "parameters": shapes,
        "batches_per_epoch": batches_per_epoch,
        "ranks": ranks,
    }
    return {**json.loads(json.dumps(settings)), "identity": known}


def first_difference(former: Any, now: Any, where: str = "") -> str | None:
    """Where two JSON trees first differ, as "config.clip: was 0.25, now 0.4"; None if they are equal."""
    if isinstance(former, Mapping) and isinstance(now, Mapping):
        for key in [*former, *(key for key in now if key not in former)]:
            inner = f"{where}.{key}" if where else str(key)
            difference = first_difference(former.get(key), now.get(key), inner)
            if difference:
                return difference
        return None
    if isinstance(former, list | tuple) and isinstance(now, list | tuple) and len(former) == len(now):
        differences = (first_difference(*pair, f"{where}[{i}]") for i, pair in enumerate(zip(former, now, strict=True)))
        return next((difference for difference in differences if difference), None)
    return None if former == now else f"{where}: was {former!r}, now {now!r}"
