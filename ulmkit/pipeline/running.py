"""Where and how a stage runs: device, precision, seed, checkpoints, progress; and what is recorded of it."""

import math
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ulmkit.config import check_choice, check_not_negative, check_positive, to_dict
from ulmkit.errors import ConfigError
from ulmkit.kernels import BACKENDS, PRECISIONS, choose_backend, choose_precision
from ulmkit.model.awd_lstm import AWDLSTM, AWDLSTMConfig
from ulmkit.text import EncodedCorpus
from ulmkit.training import (
    Budget,
    OptimizerConfig,
    Phase,
    Progress,
    Trainer,
    TrainerConfig,
    TrainingResult,
    TrainingTask,
    World,
)

_VALID_TOKENS = 300_000
_VALID_TOKENS_A_MINUTE = 20_000

DROPOUTS = tuple(f"{name}_dropout" for name in ("embedding", "input", "hidden", "output", "weight", "latent"))
"""Of a language model."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where and how a stage runs.

    Attributes:
        device: "auto" (a GPU if there is one; of several processes each its own), "cpu", "cuda" or "cuda:N".
        precision: "auto", "fp32" or "bf16". backend: of the LSTM, "auto" or a name.
        seed: of initialisation, batches and dropout.
        folder: for checkpoints and the log; None keeps nothing. resume: go on from its checkpoint.
        progress: who is told how it goes, None for silence.
        validations: how often the stage validates, evenly spread, or an interval, such as Budget(epochs=1); the last
            time is at its end. In a budget of minutes those that would take more than a tenth of it are left out.
        valid_tokens: how much validation text a language model reads for it; None: 300,000 tokens, in a budget of
            minutes at most 20,000 for each. `evaluate` reads all, exactly.
        accumulation: batches of one optimizer step.
        restore_best: end with the best weights seen in validation rather than the last.
        tensorboard: write event files into the folder too.
        world: the processes that share each batch, see `joined_world`; all run the stage, and the first alone prepares
            the data, validates, writes and shows progress.
    Raises: ConfigError if one is unknown or outside its range, or the device is not there.
    """

    device: str = "auto"
    precision: str = "auto"
    backend: str = "auto"
    seed: int = 0
    folder: str | os.PathLike[str] | None = None
    resume: bool = False
    progress: Progress | None = None
    validations: int | Budget = 5
    valid_tokens: int | None = None
    accumulation: int = 1
    restore_best: bool = False
    tensorboard: bool = False
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        choose_device(self.device)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("backend", self.backend, ("auto", *BACKENDS))
        check_not_negative("seed", self.seed)
        if not isinstance(self.validations, Budget):
            check_positive("validations", self.validations)
        if self.valid_tokens is not None:
            check_positive("valid_tokens", self.valid_tokens)

    def validation_tokens(self, budget: Budget) -> int:
        """How much validation text a language model reads while it trains for `budget`."""
        if self.valid_tokens is not None:
            return self.valid_tokens
        minutes = math.inf if budget.minutes is None else budget.minutes
        return max(1, int(min(_VALID_TOKENS, _VALID_TOKENS_A_MINUTE * minutes)))


def choose_device(name: str) -> torch.device:
    """The device that `name` means.

    Raises: ConfigError if it is unknown or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ConfigError(f"device: expected auto, cpu, cuda or cuda:N, got {name!r}")
    device, gpus = torch.device(name), torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise ConfigError(f"device: got {name!r}, but torch finds {gpus or 'no'} GPU here; use device='cpu'")
    return device


def place(encoder: AWDLSTM, options: RunOptions) -> torch.device:
    """Set precision and backend of an encoder, and return the device its model is to be moved to."""
    encoder.precision, encoder.backend = options.precision, options.backend
    return choose_device(options.device)


def with_dropouts(config: AWDLSTMConfig, dropouts: Mapping[str, float], multiplier: float) -> AWDLSTMConfig:
    """The config with these dropouts times `multiplier` (at most 0.95)."""
    multiplied: dict[str, Any] = {name: min(0.95, dropout * multiplier) for name, dropout in dropouts.items()}
    return replace(config, **multiplied)


def run_stage(
    task: TrainingTask,
    phases: Sequence[Phase],
    options: RunOptions,
    *,
    optimizer: OptimizerConfig,
    clip: float | None,
    patience: int | None = None,
    patience_rule: str = "best",
    identity: Mapping[str, Any] | None = None,
    before: Mapping[str, float] | None = None,
) -> TrainingResult:
    """Train a task through its phases with these options; with patience the best weights are kept.

    Args: identity: what must be the same for the stage to go on from a checkpoint, see `stage_identity`.
        before: a validation of what the stage begins with, which may stay the best.
    """
    config = TrainerConfig(
        optimizer=optimizer,
        clip=clip,
        accumulation=options.accumulation,
        validate_every=options.validations,
        patience=patience,
        patience_rule=patience_rule,
        restore_best=keeps_best(options, patience),
        tensorboard=options.tensorboard,
        checkpoint_every=None if options.folder is None else Budget(minutes=5),
        log_every_steps=10,
        seed=options.seed,
    )
    folder = None if options.folder is None else Path(options.folder)
    world = options.world
    trainer = Trainer(task, config, phases, folder, options.progress, world=world, identity=identity, before=before)
    return trainer.fit(options.resume)


def keeps_best(options: RunOptions, patience: int | None) -> bool:
    """Whether a stage ends with the best weights seen rather than the last."""
    return options.restore_best or patience is not None


def stage_identity(
    corpus: EncodedCorpus, model_config: AWDLSTMConfig, recipe: Any, options: RunOptions, **others: Any
) -> dict[str, Any]:
    """What makes a stage this one and no other: data, sizes, recipe, precision, and `others`."""
    return {
        "data": corpus.facts["fingerprint"],
        "model": to_dict(model_config),
        "recipe": to_dict(recipe),
        "precision": options.precision,
        **others,
    }


def last_validation(result: TrainingResult, options: RunOptions, patience: int | None = None) -> dict[str, float]:
    """The figures of the weights that `run_stage` left the model with."""
    if keeps_best(options, patience):
        return {name: value for name, value in (result.best_metrics or {}).items() if math.isfinite(value)}
    row = [row for row in result.history if row["kind"] == "validation"][-1]
    return {
        name.removeprefix("valid_"): value
        for name, value in row.items()
        if name.startswith("valid_") and value is not None
    }


def _placement(options: RunOptions) -> dict[str, str]:
    """What the choices named "auto" came to."""
    device = choose_device(options.device)
    dtype = choose_precision(options.precision, device, torch.float32)
    return {
        "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
        "precision": "bf16" if dtype == torch.bfloat16 else "fp32",
        "backend": choose_backend(options.backend, device, dtype),
    }


def training_facts(result: TrainingResult, recipe: Any, budget: Budget, options: RunOptions) -> dict[str, Any]:
    """What the model card says about a finished training."""
    spent = {name: value for name, value in asdict(budget).items() if value is not None}
    processes = f", {options.world.size} processes" if options.world.size > 1 else ""
    return {
        "budget": spent,
        "steps": result.steps,
        "epochs": round(result.epochs, 3),
        "tokens_read": result.tokens,
        "minutes": round(result.seconds / 60.0, 2),
        "tokens_per_second": round(result.tokens / result.seconds) if result.seconds > 0 else None,
        "stopped_because": result.stopped_because,
        **({"weights_of_step": result.best_step} if keeps_best(options, recipe.patience) else {}),
        **({} if result.averaged_steps is None else {"averaged_steps": result.averaged_steps}),
        "seed": options.seed,
        **_placement(options),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, {torch.get_num_threads()} threads{processes}",
        "recipe": asdict(recipe),
    }
