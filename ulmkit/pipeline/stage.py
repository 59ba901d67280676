"""One training stage: run it, identify it for `--resume`, and record what it did."""

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ulmkit.config import to_dict
from ulmkit.files import fingerprint
from ulmkit.hub import MachineFacts, RunFacts, TrainingFacts, facts_to_json
from ulmkit.kernels import choose_backend, choose_precision
from ulmkit.model.config import AWDLSTMConfig, LanguageModelConfig
from ulmkit.pipeline.held_out import data_facts, warn_of_data
from ulmkit.pipeline.options import RunOptions, choose_device
from ulmkit.pipeline.recipes import ClassifierRecipe, LanguageModelRecipe
from ulmkit.text import EncodedCorpus
from ulmkit.training import Budget, Trainer, TrainerConfig, TrainingResult, TrainingTask
from ulmkit.training.log import LogRow


def scale_dropout(dropout: float, multiplier: float) -> float:
    """Multiply a dropout, up to 0.95."""
    return min(0.95, dropout * multiplier)


def with_dropouts(config: AWDLSTMConfig, dropouts: Mapping[str, float], multiplier: float) -> AWDLSTMConfig:
    """Replace dropouts of a config by the given ones times `multiplier`, each up to 0.95."""
    scaled: dict[str, Any] = {name: scale_dropout(value, multiplier) for name, value in dropouts.items()}
    return replace(config, **scaled)


def train_stage(
    task: TrainingTask,
    corpus: EncodedCorpus,
    budget: Budget,
    recipe: LanguageModelRecipe | ClassifierRecipe,
    run: RunOptions,
    *,
    config: AWDLSTMConfig | LanguageModelConfig,
    training_splits: Sequence[str],
    facts: TrainingFacts,
    details: Mapping[str, object],
    validates: bool = True,
) -> tuple[TrainingFacts, list[LogRow]]:
    """Train a model by a recipe; with patience or `restore_best`, the best weights are kept.

    Fine-tuning is validated before it starts, too: the initial weights are then a candidate for the best.

    Args:
        task: Model, batches and validation.
        corpus: The training corpus.
        budget: How long to train.
        recipe: Settings of the training.
        run: Where and how to run.
        config: Config of the model.
        training_splits: Splits of the corpus that the model learns from.
        facts: What is known before the training: the stage and the base model.
        details: Further settings that a checkpoint must share to be resumed; see `stage_identity`.
        validates: Whether there is anything to validate on.

    Returns:
        The facts with those of the training, and the rows of the training log.
    """
    if run.on_corpus is not None and run.world.is_first:
        run.on_corpus(corpus)
    warn_of_data(corpus, training_splits, facts.base, run)
    before = run.world.call_on_first(task.validate) if facts.stage == "fine-tuning" else None
    keeps_best = run.restore_best or recipe.patience is not None
    trainer = Trainer(
        task,
        TrainerConfig(
            optimizer=recipe.optimizer,
            clip=recipe.clip,
            accumulation=run.accumulation,
            validate_every=run.validations if validates else None,
            patience=recipe.patience,
            patience_rule=recipe.patience_rule,
            restore_best=keeps_best,
            tensorboard=run.tensorboard,
            checkpoint_every=None if run.folder is None else Budget(minutes=5),
            log_every_steps=10,
            seed=run.seed,
            threads=run.threads,
        ),
        recipe.phases(len(task.groups), budget),
        None if run.folder is None else Path(run.folder),
        run.progress,
        world=run.world,
        identity=stage_identity(corpus, config, recipe, run, facts.base, details),
        before=before,
        on_validation=run.on_validation,
    )
    result = trainer.fit(run.resume)
    facts = replace(
        facts,
        data=data_facts(corpus, training_splits, facts.base),
        run=RunFacts(
            budget=budget,
            minutes=round(result.seconds / 60.0, 2),
            steps=result.steps,
            epochs=round(result.epochs, 3),
            tokens=result.tokens,
            tokens_per_second=round(result.tokens / result.seconds) if result.seconds > 0 else None,
            stopped_because=result.stopped_because,
            weights_of_step=result.best_step if keeps_best else None,
            averaged_steps=result.averaged_steps,
            seed=run.seed,
            machine=machine_facts(run),
        ),
        recipe=asdict(recipe),
        validation_before=before or {},
        validation=_validation_metrics(result, keeps_best),
    )
    return facts, result.history


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


def _validation_metrics(result: TrainingResult, keeps_best: bool) -> dict[str, float]:
    """Validation metrics of the weights that a training left in the model, the best or the last ones; {} for none."""
    if keeps_best:
        return {name: value for name, value in (result.best_metrics or {}).items() if math.isfinite(value)}
    row = next((row for row in reversed(result.history) if row["kind"] == "validation"), {})
    return {
        name.removeprefix("valid_"): value
        for name, value in row.items()
        if name.startswith("valid_") and value is not None
    }


def machine_facts(options: RunOptions) -> MachineFacts:
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
