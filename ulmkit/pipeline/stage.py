"""One training stage: run it, identify it for `--resume`, and record what it did."""

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ulmkit.config import to_dict
from ulmkit.hub import MachineFacts, RunFacts
from ulmkit.kernels import choose_backend, choose_precision
from ulmkit.model.config import AWDLSTMConfig, LanguageModelConfig
from ulmkit.pipeline.options import RunOptions, choose_device
from ulmkit.text import EncodedCorpus
from ulmkit.training import (
    Budget,
    OptimizerConfig,
    Phase,
    Trainer,
    TrainerConfig,
    TrainingResult,
    TrainingTask,
)


def multiplied_dropout(dropout: float, multiplier: float) -> float:
    """A dropout times a multiplier, at most 0.95."""
    return min(0.95, dropout * multiplier)


def with_dropouts(config: AWDLSTMConfig, dropouts: Mapping[str, float], multiplier: float) -> AWDLSTMConfig:
    """The config with these dropouts times `multiplier`, each at most 0.95."""
    multiplied: dict[str, Any] = {name: multiplied_dropout(value, multiplier) for name, value in dropouts.items()}
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
    corpus: EncodedCorpus,
    model_config: AWDLSTMConfig | LanguageModelConfig,
    recipe: Any,
    options: RunOptions,
    **others: Any,
) -> dict[str, Any]:
    """What makes a stage this one and no other: data, sizes, recipe, precision, and `others`."""
    return {
        "data": corpus.facts.fingerprint,
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


def run_facts(result: TrainingResult, budget: Budget, options: RunOptions, patience: int | None) -> RunFacts:
    """Facts of a finished training run.

    Args:
        result: What the trainer returned.
        budget: The budget of the stage.
        options: Where and how it ran.
        patience: The recipe's patience.
    """
    return RunFacts(
        budget=budget,
        minutes=round(result.seconds / 60.0, 2),
        steps=result.steps,
        epochs=round(result.epochs, 3),
        tokens=result.tokens,
        tokens_per_second=round(result.tokens / result.seconds) if result.seconds > 0 else None,
        stopped_because=result.stopped_because,
        weights_of_step=result.best_step if keeps_best(options, patience) else None,
        averaged_steps=result.averaged_steps,
        seed=options.seed,
        machine=_machine_facts(options),
    )


def _machine_facts(options: RunOptions) -> MachineFacts:
    """The machine, and what the choices named "auto" came to."""
    device = choose_device(options.device)
    dtype = choose_precision(options.precision, device, torch.float32)
    return MachineFacts(
        device=str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
        precision="bf16" if dtype == torch.bfloat16 else "fp32",
        backend=choose_backend(options.backend, device, dtype),
        architecture=platform.machine(),
        processors=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        processes=options.world.size,
    )
