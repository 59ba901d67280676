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
from ulmkit.files import fingerprint
from ulmkit.hub import MachineFacts, RunFacts, TrainingFacts, facts_to_json
from ulmkit.kernels import choose_backend, choose_precision
from ulmkit.model.config import AWDLSTMConfig, LanguageModelConfig
from ulmkit.pipeline.options import RunOptions, choose_device
from ulmkit.pipeline.recipes import ClassifierRecipe, LanguageModelRecipe
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
    """Replace dropouts of a config by the given ones times `multiplier`, each at most 0.95."""
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
    identity: Mapping[str, object] | None = None,
    before: Mapping[str, float] | None = None,
) -> TrainingResult:
    """Train a task through its phases; with patience, the best weights are kept.

    Args:
        task: Model, batches and validation.
        phases: Phases of the training, in order.
        options: Where and how the stage runs.
        optimizer: Optimizer and its settings.
        clip: Largest gradient norm; None does not clip.
        patience: Validations without improvement before a phase ends; None for no limit.
        patience_rule: Meaning of improvement; see `TrainerConfig`.
        identity: Settings that a checkpoint must share to be resumed; see `stage_identity`.
        before: Validation metrics of the initial weights, which then count as a candidate for the best.

    Returns:
        The log and how the run ended.
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
    """Return True if a stage ends with the best weights seen, False if with the last."""
    return options.restore_best or patience is not None


def stage_identity(
    corpus: EncodedCorpus,
    model_config: AWDLSTMConfig | LanguageModelConfig,
    recipe: LanguageModelRecipe | ClassifierRecipe,
    options: RunOptions,
    base: TrainingFacts | None,
    details: Mapping[str, object],
) -> dict[str, object]:
    """Settings that a checkpoint must share with a stage to be resumed by it.

    Args:
        corpus: The training corpus.
        model_config: Config of the model.
        recipe: Settings of the training.
        options: Where and how the stage runs; only the precision counts.
        base: Facts of the model that it starts from; None if it starts from random weights.
        details: Settings that this kind of stage has besides.
    """
    return {
        "data": corpus.facts.fingerprint,
        "model": to_dict(model_config),
        "recipe": to_dict(recipe),
        "precision": options.precision,
        "base": fingerprint(None if base is None else facts_to_json(base)),
        **details,
    }


def last_validation(result: TrainingResult, options: RunOptions, patience: int | None = None) -> dict[str, float]:
    """Validation metrics of the weights that `run_stage` left in the model."""
    if keeps_best(options, patience):
        return {name: value for name, value in (result.best_metrics or {}).items() if math.isfinite(value)}
    row = next(row for row in reversed(result.history) if row["kind"] == "validation")
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
    """The machine and the device, precision and backend in use."""
    device = choose_device(options.device)
    dtype = choose_precision(options.precision, device, torch.float32)
    return MachineFacts(
        device=str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
        precision="bf16" if dtype == torch.bfloat16 else "fp32",
        backend=choose_backend(options.backend, device, dtype).name,
        architecture=platform.machine(),
        processors=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        processes=options.world.size,
    )
