"""Settings of a training run."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ulmkit.config import LARGEST_SEED, check_choice, check_positive, check_threads, check_whole
from ulmkit.errors import ConfigError
from ulmkit.training.budget import Budget
from ulmkit.training.optimizer_config import OptimizerConfig
from ulmkit.training.unfreezing import Phase


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Settings of a training run that hold for all its phases.

    Attributes:
        optimizer: Choice of the optimizer.
        clip: Largest global gradient norm; None does not clip.
        accumulation: Batches per optimizer step; the last step of an epoch takes what is left.
        validate_every: Interval, or number of times spread evenly over the run; None never validates. A run that
            validates also does so at its end.
        monitor: Metric to monitor; None takes the first.
        mode: Whether a "min" or a "max" of the metric is best.
        patience: Validations in a row without improvement that end the phase (in the last phase, the run); None
            disables it.
        patience_rule: "best", or "non_monotone" to end the phase at the first validation that is worse than the best
            of those more than `patience` before it (NT-ASGD's rule).
        restore_best: Whether the model ends with its best weights rather than its last.
        checkpoint_every: Interval between checkpoints; None saves at the end only.
        log_every_steps: Optimizer steps per log row.
        tensorboard: Folder for TensorBoard event files; None writes none.
        seed: Seed of the global generators, None to leave them alone; rank r takes seed + r.
        threads: CPU threads: a number, or "auto" to use fewer while other programs keep the machine busy. None is
            torch's number, adapted like "auto" if budgets are in minutes.

    Raises:
        ConfigError: If a value is outside its range.
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
    tensorboard: str | os.PathLike[str] | None = None
    seed: int | None = 0
    threads: int | str | None = None

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
        validations = math.inf if isinstance(self.validate_every, Budget) else self.validate_every or 0
        if self.optimizer.name == "nt_asgd" and validations < self.optimizer.window + 2:
            raise ConfigError(
                f"validate_every: expected at least {self.optimizer.window + 2} validations for nt_asgd with window "
                f"{self.optimizer.window} to be triggered, got {self.validate_every}; validate more often, or use asgd"
            )
        if self.seed is not None:
            check_whole("seed", self.seed, at_least=0, at_most=LARGEST_SEED)
        check_threads("threads", self.threads)


MAY_CHANGE = ("checkpoint_every", "log_every_steps", "tensorboard", "restore_best", "threads")
"""Settings that may change when a run is resumed: they affect the weights by no more than rounding."""


def run_settings(
    config: TrainerConfig,
    phases: Sequence[Phase],
    shapes: Mapping[str, Sequence[int]],
    batches_per_epoch: int,
    ranks: int,
    identity: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return everything that must stay the same when a run is resumed, as JSON.

    Args:
        config: Settings of the run.
        phases: Phases of the run.
        shapes: Shape of each model parameter, by name.
        batches_per_epoch: Length of the task.
        ranks: Number of processes.
        identity: Further values, see `Trainer`.

    Returns:
        The settings.

    Raises:
        ConfigError: If the identity is not JSON.
    """
    try:
        identity_json = json.loads(json.dumps(identity or {}, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"identity: expected JSON values, got {identity!r}; {error}") from error
    settings = {
        "config": {key: value for key, value in asdict(config).items() if key not in MAY_CHANGE},
        "phases": [asdict(phase) for phase in phases],
        "parameters": shapes,
        "batches_per_epoch": batches_per_epoch,
        "ranks": ranks,
    }
    return {**json.loads(json.dumps(settings)), "identity": identity_json}


def first_difference(former: Any, now: Any, where: str = "") -> str | None:
    """Describe the first difference of two JSON trees, as "config.clip: was 0.25, now 0.4"; None if equal."""
    if isinstance(former, Mapping) and isinstance(now, Mapping):
        prefix = f"{where}." if where else ""
        keys = dict.fromkeys([*former, *now])
        differences = (first_difference(former.get(key), now.get(key), f"{prefix}{key}") for key in keys)
        return next((difference for difference in differences if difference), None)
    if isinstance(former, list | tuple) and isinstance(now, list | tuple) and len(former) == len(now):
        differences = (first_difference(*pair, f"{where}[{i}]") for i, pair in enumerate(zip(former, now, strict=True)))
        return next((difference for difference in differences if difference), None)
    return None if former == now else f"{where}: was {former!r}, now {now!r}"
