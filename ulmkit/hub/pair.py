"""Pairs: folders with a forward and a backward model, each a complete model folder."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ulmkit.errors import DataError, FolderError
from ulmkit.files import expand_user
from ulmkit.hub.ensemble import load_ensemble
from ulmkit.hub.facts import TrainingFacts, facts_to_json, package_versions
from ulmkit.hub.folder_config import DIRECTIONS, FORMAT_VERSION, read_config, read_facts, write_config
from ulmkit.hub.model_card import CARD_FILE, pair_card
from ulmkit.hub.model_folder import load_classifier, load_language_model
from ulmkit.hub.parts import ClassifierParts, EnsembleParts, LanguageModelParts
from ulmkit.safe_writes import atomic_folder, atomic_write
from ulmkit.tasks import TASKS


@dataclass(frozen=True)
class Pair:
    """A forward and a backward model of one kind; classifiers have the same labels in the same order.

    Attributes:
        forward: The model that reads forward.
        backward: The model that reads backward.
        facts: Facts of the pair, such as its metrics.
    """

    forward: LanguageModelParts | ClassifierParts
    backward: LanguageModelParts | ClassifierParts
    facts: TrainingFacts


def save_pair(
    folder: str | os.PathLike[str],
    forward: str | os.PathLike[str],
    backward: str | os.PathLike[str],
    facts: TrainingFacts | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Copy a forward and a backward model folder into one pair folder, atomically.

    Args:
        folder: Folder to write.
        forward: Folder of the forward model.
        backward: Folder of the backward model.
        facts: Facts of the pair, such as its metrics.
        overwrite: Replace an existing folder.

    Returns:
        The folder.

    Raises:
        DataError: If the two do not belong together.
        FolderError: If a model cannot be read or the pair cannot be written.
    """
    facts = facts or TrainingFacts()
    member = _read_matching(Path(forward), Path(backward))
    config = {
        "format_version": FORMAT_VERSION,
        "kind": "pair",
        "members": member["kind"],
        "task": member.get("task"),
        "versions": package_versions(),
        "facts": facts_to_json(facts),
    }
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        shutil.copytree(forward, temporary / "forward")
        shutil.copytree(backward, temporary / "backward")
        with atomic_write(temporary / CARD_FILE) as file:
            file.write(pair_card(Path(folder).name, facts, TASKS.get(str(config["task"]))))
        write_config(temporary, config)
    return Path(folder)


def load_pair(folder: str | os.PathLike[str]) -> Pair:
    """Load both models of a pair.

    Raises:
        FolderError: If the folder is not a pair, or a model in it is incomplete, truncated or altered.
    """
    path = expand_user(folder)
    read_config(path, "pair")
    try:
        member = _read_matching(path / "forward", path / "backward")
    except DataError as error:
        raise FolderError(f"{path}: {error}") from error
    load = load_classifier if member["kind"] == "classifier" else load_language_model
    return Pair(load(path / "forward"), load(path / "backward"), read_facts(path))


def load_model(folder: str | os.PathLike[str]) -> LanguageModelParts | ClassifierParts | EnsembleParts | Pair:
    """Load a model folder of any kind.

    Raises:
        FolderError: If it is incomplete, truncated, altered, or of a newer format version.
    """
    kind = read_config(folder)["kind"]
    if kind == "pair":
        return load_pair(folder)
    if kind == "ensemble":
        return load_ensemble(folder)
    return load_classifier(folder) if kind == "classifier" else load_language_model(folder)


def _read_matching(forward: Path, backward: Path) -> dict[str, Any]:
    """Read the config of a forward model; raise DataError unless the other is a backward model that matches it."""
    sources = dict(zip(DIRECTIONS, (forward, backward), strict=True))
    configs = {direction: read_config(source) for direction, source in sources.items()}
    for direction, config in configs.items():
        if config.get("direction") != direction:
            raise DataError(
                f"{sources[direction]}: expected a {direction} model, got {config.get('direction') or config['kind']!r}"
            )
    for name in ("kind", "label_names"):
        expected, actual = (configs[direction].get(name) for direction in DIRECTIONS)
        if actual != expected:
            raise DataError(f"{backward}: expected {name} {expected!r}, as the forward model has, got {actual!r}")
    return configs["forward"]
