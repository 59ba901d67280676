"""Pairs: folders with a forward and a backward model, each a complete model folder."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ulmkit.errors import DataError, FolderError
from ulmkit.files import expand_user
from ulmkit.hub.cards import CARD_FILE, pair_card
from ulmkit.hub.facts import TrainingFacts, facts_to_json, package_versions
from ulmkit.hub.folder_config import DIRECTIONS, FORMAT_VERSION, Weights, read_config, read_facts, write_config
from ulmkit.hub.model_folder import load_classifier, load_language_model, save_classifier, save_language_model
from ulmkit.hub.parts import ClassifierParts, LanguageModelParts, Pair
from ulmkit.safe_writes import atomic_folder, atomic_write
from ulmkit.tasks import TASKS


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
    member = _read_matching(Path(forward), Path(backward))
    with _pair_folder(folder, facts or TrainingFacts(), member, overwrite) as temporary:
        shutil.copytree(forward, temporary / "forward")
        shutil.copytree(backward, temporary / "backward")
    return Path(folder)


def save_language_model_pair(
    folder: str | os.PathLike[str],
    forward: LanguageModelParts,
    backward: LanguageModelParts,
    *,
    weights: Weights = "float32",
    overwrite: bool = False,
) -> Path:
    """Write a forward and a backward language model as one pair folder, atomically.

    Args:
        folder: Folder to write.
        forward: The model that reads forward.
        backward: The model that reads backward.
        weights: How the weights are stored, see `save_language_model`.
        overwrite: Replace an existing folder.

    Returns:
        The folder.

    Raises:
        DataError: If the two do not belong together.
        FolderError: If the folder exists or cannot be written.
        ConfigError: If a fact is not a JSON value, or weights cannot be stored so.
    """
    _check_directions(forward, backward)
    facts = pair_facts(forward.facts, backward.facts)
    with _pair_folder(folder, facts, {"kind": "language_model"}, overwrite) as temporary:
        save_language_model(temporary / "forward", forward, weights=weights)
        save_language_model(temporary / "backward", backward, weights=weights)
    return Path(folder)


def save_classifier_pair(
    folder: str | os.PathLike[str],
    forward: ClassifierParts,
    backward: ClassifierParts,
    facts: TrainingFacts | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a forward and a backward classifier as one pair folder, atomically.

    Args:
        folder: Folder to write.
        forward: The classifier that reads forward.
        backward: The classifier that reads backward.
        facts: Facts of the pair; `pair_facts` of its members if None.
        overwrite: Replace an existing folder.

    Returns:
        The folder.

    Raises:
        DataError: If the two do not belong together.
        FolderError: If the folder exists or cannot be written.
        ConfigError: If a fact is not a JSON value.
    """
    _check_directions(forward, backward)
    facts = facts or pair_facts(forward.facts, backward.facts)
    member = {"kind": "classifier", "task": forward.task.name}
    with _pair_folder(folder, facts, member, overwrite) as temporary:
        save_classifier(temporary / "forward", forward)
        save_classifier(temporary / "backward", backward)
        _read_matching(temporary / "forward", temporary / "backward")
    return Path(folder)


def _check_directions(*members: LanguageModelParts | ClassifierParts) -> None:
    """Raise DataError unless the members of a pair read forward and backward, in this order."""
    for direction, parts in zip(DIRECTIONS, members, strict=True):
        if parts.direction != direction:
            raise DataError(f"{direction}: expected a {direction} model, got a {parts.direction} one")


def pair_facts(forward: TrainingFacts, backward: TrainingFacts) -> TrainingFacts:
    """Facts of a pair: those that its members share, and the metrics of each by direction.

    Args:
        forward: Facts of the forward member.
        backward: Facts of the backward member.

    Returns:
        The facts. What differs, such as the minutes of a training, stands in the members' own folders.
    """
    members = dict(zip(DIRECTIONS, (forward, backward), strict=True))
    shared: dict[str, Any] = {
        field.name: getattr(forward, field.name)
        for field in fields(TrainingFacts)
        if getattr(forward, field.name) == getattr(backward, field.name)
    }
    base = None
    if forward.base is not None and backward.base is not None:
        base = pair_facts(forward.base, backward.base)
    notes = {name: value for name, value in forward.notes.items() if backward.notes.get(name) == value}
    for direction, facts in members.items():
        unshared = {name: value for name, value in facts.notes.items() if name not in notes}
        notes |= {direction: unshared} if unshared else {}
    return replace(
        TrainingFacts(**shared),
        base=base,
        validation_before=_by_direction({name: facts.validation_before for name, facts in members.items()}),
        validation=_by_direction({name: facts.validation for name, facts in members.items()}),
        limits=tuple(dict.fromkeys([*forward.limits, *backward.limits])),
        notes=notes,
    )


def _by_direction(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Join the metrics of the members under names such as "forward_perplexity"."""
    return {f"{direction}_{name}": value for direction, values in metrics.items() for name, value in values.items()}


@contextmanager
def _pair_folder(
    folder: str | os.PathLike[str], facts: TrainingFacts, member: Mapping[str, Any], overwrite: bool
) -> Iterator[Path]:
    """Yield a temporary folder for both members; with config and card it becomes `folder`.

    Args:
        folder: Folder to write.
        facts: Facts of the pair.
        member: Config of a member, of which kind and task are read.
        overwrite: Replace an existing folder.
    """
    config = {
        "format_version": FORMAT_VERSION,
        "kind": "pair",
        "members": member["kind"],
        "task": member.get("task"),
        "versions": package_versions(),
        "facts": facts_to_json(facts),
    }
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        yield temporary
        with atomic_write(temporary / CARD_FILE) as file:
            file.write(pair_card(Path(folder).name, facts, TASKS.get(str(config["task"]))))
        write_config(temporary, config)


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


def is_pair(folder: str | os.PathLike[str]) -> bool:
    """Tell whether a model folder holds a pair.

    Raises:
        FolderError: If it is no model folder.
    """
    return bool(read_config(folder)["kind"] == "pair")


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
