"""A language model trained in stages, in a folder in which the same command goes on wherever it was stopped.

run.json            settings; a run with others is refused
STAGE.training/     checkpoints and log of a stage that is not complete
STAGE/              its model folder, when it is
"""

import csv
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ulmkit.config import to_dict
from ulmkit.errors import ConfigError, FolderError
from ulmkit.files import TRAINING_LOG, read_json, write_json
from ulmkit.hub import load_language_model, save_language_model
from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.pipeline import LanguageModelRecipe, RunOptions, finetune, pretrain
from ulmkit.text import EncodedCorpus
from ulmkit.training import Budget, latest_checkpoint

SETTINGS_FILE = "run.json"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Part of a training: it begins with the weights that the one before it ended with."""

    name: str
    recipe: LanguageModelRecipe
    budget: Budget


def begin_run(out: Path, settings: Mapping[str, Any]) -> None:
    """Make `out` the folder of a run with these settings, or check that it is.

    Raises: ConfigError, naming the first setting that differs, if it is another run's; FolderError if something else
        is there.
    """
    path, now = out / SETTINGS_FILE, _flat(json.loads(json.dumps(settings)))
    if path.is_file():
        former = _flat(read_json(path))
        for name in [*former, *now]:
            if former.get(name) != now.get(name):
                raise ConfigError(
                    f"{out}: was begun with other settings ({name}: was {former.get(name)!r}, now {now.get(name)!r}); "
                    "give the same, or another --out"
                )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FolderError(f"{out}: is already there and is no run of this recipe; choose another --out")
    else:
        write_json(path, settings)


def run_settings(
    corpus: EncodedCorpus, sizes: AWDLSTMConfig, stages: Sequence[Stage], run: RunOptions
) -> dict[str, Any]:
    """What must be the same for a run to go on."""
    return {
        "corpus": corpus.facts.fingerprint,
        "sizes": to_dict(sizes),
        "stages": {stage.name: {"recipe": to_dict(stage.recipe), "budget": to_dict(stage.budget)} for stage in stages},
        "seed": run.seed,
        "precision": run.precision,
    }


def train_stages(
    out: Path, corpus: EncodedCorpus, sizes: AWDLSTMConfig, stages: Sequence[Stage], run: RunOptions
) -> dict[str, Path]:
    """Train the stages that are not complete; those begun go on from their checkpoints.

    Returns: the model folder of each stage. Raises: as `pretrain` and `finetune`.
    """
    folders: dict[str, Path] = {}
    for stage in stages:
        folder, training = out / stage.name, _training_folder(out, stage.name)
        if not folder.exists():
            options = replace(run, folder=training, resume=latest_checkpoint(training) is not None)
            if folders:
                base = load_language_model(list(folders.values())[-1])
                parts = finetune(base, corpus, budget=stage.budget, recipe=stage.recipe, run=options)
            else:
                parts = pretrain(corpus, budget=stage.budget, sizes=sizes, recipe=stage.recipe, run=options)
            save_language_model(folder, parts)
        shutil.rmtree(training, ignore_errors=True)
        folders[stage.name] = folder
    return folders


def read_curve(out: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Every validation of a run, as far as it has come: stage, minutes and tokens since its start, perplexity.

    Raises: FolderError if there is no run, or a table of them.
    """
    folder = Path(out)
    settings = read_json(folder / SETTINGS_FILE)
    if "stages" not in settings:
        raise FolderError(f"{folder}: holds runs of several models; give one of the folders in it")
    found, minutes, tokens = [], 0.0, 0
    for stage in settings["stages"]:
        logs = [place / TRAINING_LOG for place in (folder / stage, _training_folder(folder, stage))]
        log = next((path for path in logs if path.is_file()), None)
        if log is None:
            break
        with open(log, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        found += [
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
            minutes, tokens = minutes + float(rows[-1]["seconds"]) / 60, tokens + int(rows[-1]["tokens"])
    return found


def _training_folder(out: Path, stage: str) -> Path:
    return out / f"{stage}.training"


def _flat(tree: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """The leaves of nested objects by their dotted names."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{where}{key}.") if isinstance(value, Mapping) and value else {f"{where}{key}": value}
    return flat
