"""Models trained in stages, in a folder from which the same command continues wherever it was stopped.

run.json            settings; a run with other settings is refused
STAGE.training/     checkpoints and log of a stage that is not complete
STAGE/              model folder of a stage that is complete
"""

import csv
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ulmkit.config import to_dict
from ulmkit.errors import ConfigError, FolderError
from ulmkit.files import TRAINING_LOG, read_json
from ulmkit.hub import (
    ClassifierParts,
    Direction,
    LanguageModelParts,
    RunFacts,
    load_language_model,
    read_facts,
    save_language_model,
)
from ulmkit.model.language_model import LanguageModelConfig
from ulmkit.pipeline import LanguageModelRecipe, RunOptions, finetune, pretrain, run_folder, training_folder
from ulmkit.safe_writes import write_json
from ulmkit.text import EncodedCorpus
from ulmkit.training import Budget, latest_checkpoint

SETTINGS_FILE = "run.json"

Parts = TypeVar("Parts", LanguageModelParts, ClassifierParts)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a training; it starts from the weights of the stage before it.

    Attributes:
        name: Name of its folder.
        recipe: Settings of its training.
        budget: Length of its training.
    """

    name: str
    recipe: LanguageModelRecipe
    budget: Budget


def begin_run(out: Path, settings: Mapping[str, Any]) -> None:
    """Make `out` the folder of a run with these settings, or check that it is one.

    Raises:
        ConfigError: If the folder holds a run with other settings; names the first that differs.
        FolderError: If the folder holds something else.
    """
    path = out / SETTINGS_FILE
    if path.is_file():
        earlier, current = _flatten(read_json(path)), _flatten(json.loads(json.dumps(settings)))
        for name in [*earlier, *current]:
            if earlier.get(name) != current.get(name):
                raise ConfigError(
                    f"{out}: was begun with other settings ({name}: was {earlier.get(name)!r}, "
                    f"now {current.get(name)!r}); give the same settings, or another --out"
                )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FolderError(f"{out}: already exists and is not a run of this recipe; choose another --out")
    else:
        write_json(path, settings)


def run_settings(
    corpus: EncodedCorpus, sizes: LanguageModelConfig, stages: Sequence[Stage], run: RunOptions
) -> dict[str, Any]:
    """Settings that must stay the same for a run to continue."""
    return {
        "corpus": corpus.facts.fingerprint,
        "sizes": to_dict(sizes),
        "stages": {stage.name: {"recipe": to_dict(stage.recipe), "budget": to_dict(stage.budget)} for stage in stages},
        "seed": run.seed,
        "precision": run.precision,
    }


def train_stages(
    out: Path,
    corpus: EncodedCorpus,
    sizes: LanguageModelConfig,
    stages: Sequence[Stage],
    run: RunOptions,
    direction: Direction = "forward",
) -> dict[str, Path]:
    """Train the stages that are not complete; those that were stopped resume from their checkpoints.

    Returns:
        The model folder of each stage by name.

    Raises:
        UlmkitError: If `pretrain` or `finetune` does.
    """
    folders: dict[str, Path] = {}
    for stage in stages:
        base = list(folders.values())[-1] if folders else None
        complete_stage(
            out / stage.name, run, partial(_train, base, corpus, sizes, stage, direction), save_language_model
        )
        folders[stage.name] = out / stage.name
    return folders


def complete_stage(
    folder: Path, run: RunOptions, train: Callable[[RunOptions], Parts], save: Callable[[Path, Parts], object]
) -> None:
    """Train the model of a stage and save it, unless its folder is there already.

    Args:
        folder: Model folder of the stage.
        run: Where and how to run.
        train: Trains the model, from the checkpoint that the options name if there is one.
        save: Writes the model folder.
    """
    training = training_folder(str(folder))
    if folder.exists():
        shutil.rmtree(training, ignore_errors=True)  # left by a process killed right after it saved the model
        return
    resume = latest_checkpoint(training) is not None
    with run_folder(str(folder), resume=resume, overwrite=False):
        save(folder, train(replace(run, folder=training, resume=resume)))


def _train(
    base: Path | None,
    corpus: EncodedCorpus,
    sizes: LanguageModelConfig,
    stage: Stage,
    direction: Direction,
    run: RunOptions,
) -> LanguageModelParts:
    """Train a stage from the model in `base`, or from random weights."""
    if base is None:
        return pretrain(corpus, budget=stage.budget, sizes=sizes, recipe=stage.recipe, run=run, direction=direction)
    return finetune(load_language_model(base), corpus, budget=stage.budget, recipe=stage.recipe, run=run)


def stage_run(folder: Path) -> RunFacts:
    """Facts of the training that wrote a stage's model folder."""
    run = read_facts(folder).run
    assert run is not None
    return run


def read_curve(out: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read every validation of a run so far: stage, minutes and tokens since its start, perplexity.

    Raises:
        FolderError: If the folder holds no run, or an ablation table, whose runs have folders of their own.
    """
    folder = Path(out)
    settings = read_json(folder / SETTINGS_FILE)
    if "stages" not in settings:
        raise FolderError(f"{folder}: holds runs of several models; give one of the folders in it")
    curve: list[dict[str, Any]] = []
    minutes = 0.0
    tokens = 0
    for stage in settings["stages"]:
        logs = [folder / stage / TRAINING_LOG, training_folder(str(folder / stage)) / TRAINING_LOG]
        log = next((path for path in logs if path.is_file()), None)
        if log is None:
            break
        with open(log, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        curve += [
            {
                "stage": stage,
                "minutes": round(minutes + float(row["seconds"]) / 60, 3),
                "tokens": tokens + int(row["tokens"]),
                "perplexity": float(row["valid_perplexity"]),
            }
            for row in rows
            if row["kind"] == "validation" and row["valid_perplexity"]
        ]
        if rows:
            minutes += float(rows[-1]["seconds"]) / 60
            tokens += int(rows[-1]["tokens"])
    return curve


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of nested objects by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= (
            _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
        )
    return flat
