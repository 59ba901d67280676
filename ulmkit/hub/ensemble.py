"""Folders of ensembles: classifiers of several members.

config.json         format version, kind, task, labels, members, checksums, training facts
vocabulary.json     the token of each id
tokenizer/          what the tokenizer needs
model.safetensors   weights of the combiner, and shares of the classes
members/NAME/       a linear member: words.json, model.safetensors;
                    features: model.safetensors, a language model folder for each direction;
                    a network: a classifier folder
held_out.json       answers for held-out documents and measures of them, as numbers without their text
README.md           model card

Imports without torch, which linear members do not need.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ulmkit.arrays import load_arrays, save_arrays
from ulmkit.errors import ConfigError, FolderError
from ulmkit.files import expand_user, list_files
from ulmkit.hub.cards import CARD_FILE, ensemble_card
from ulmkit.hub.facts import facts_from_json, facts_to_json, package_versions
from ulmkit.hub.folder_config import FORMAT_VERSION, WEIGHTS_FILE, MemberEntry, config_errors, read_config, write_config
from ulmkit.hub.held_out import load_held_out, save_held_out
from ulmkit.hub.parts import ClassifierParts, EnsembleParts, FeatureParts, Member, member_name
from ulmkit.hub.text_parts import load_text_parts, save_text_parts
from ulmkit.json_records import record_from_json
from ulmkit.members.combiner import Combiner
from ulmkit.members.linear import LinearMember
from ulmkit.members.ngrams import NGrams
from ulmkit.safe_writes import atomic_folder, atomic_write
from ulmkit.tasks import find_task
from ulmkit.text.tokens.vocabulary import Vocabulary

_MEMBERS = "members"
_WORDS_FILE = "words.json"
_ADVICE = "copy the model folder again"


def save_ensemble(folder: str | os.PathLike[str], parts: EnsembleParts, *, overwrite: bool = False) -> Path:
    """Write an ensemble's folder, atomically.

    Args:
        folder: Folder to write.
        parts: The ensemble.
        overwrite: Replace an existing folder.

    Returns:
        The folder.

    Raises:
        FolderError: If the folder exists or cannot be written.
    """
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        combiner = {"weights": parts.combiner.weights, "bias": parts.combiner.bias}
        if parts.class_shares is not None:
            combiner["class_shares"] = parts.class_shares
        save_arrays(temporary / WEIGHTS_FILE, combiner)
        text_entries = save_text_parts(temporary, parts.vocabulary, parts.tokenizer)
        (temporary / _MEMBERS).mkdir()
        entries = [_save_member(temporary / _MEMBERS, member) for member in parts.members]
        if parts.held_out is not None:
            save_held_out(temporary, parts.held_out)
        config = {
            "format_version": FORMAT_VERSION,
            "kind": "ensemble",
            "task": parts.task.name,
            "label_names": list(parts.label_names),
            "members": [asdict(entry) for entry in entries],
            **text_entries,
            "versions": package_versions(),
            "facts": facts_to_json(parts.facts),
            "files": {name: vars(entry) for name, entry in list_files(temporary).items()},
        }
        with atomic_write(temporary / CARD_FILE) as file:
            file.write(ensemble_card(Path(folder).name, parts))
        write_config(temporary, config)
    return Path(folder)


def load_ensemble(folder: str | os.PathLike[str]) -> EnsembleParts:
    """Load an ensemble; its networks are on the CPU and in evaluation mode.

    Raises:
        FolderError: If it is of another kind, incomplete, truncated, altered, or of a newer format version.
    """
    path = expand_user(folder)
    config = read_config(path, "ensemble")
    vocabulary, tokenizer = load_text_parts(path, config)
    with config_errors(path):
        entries = [record_from_json(MemberEntry, entry, f"members.{n}") for n, entry in enumerate(config["members"])]
        members = tuple(_load_member(path / _MEMBERS, entry, config["files"]) for entry in entries)
        arrays = _arrays(path / WEIGHTS_FILE, ("weights", "bias"))
        return EnsembleParts(
            find_task(config["task"]),
            vocabulary,
            tokenizer,
            tuple(config["label_names"]),
            members,
            Combiner(arrays["weights"], arrays["bias"]),
            facts_from_json(config["facts"]),
            held_out=load_held_out(path, config["files"], len(config["label_names"])),
            class_shares=arrays.get("class_shares"),
        )


def _save_member(folder: Path, member: Member) -> MemberEntry:
    name = member_name(member)
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower())
    alike = sum(re.fullmatch(rf"{slug}(-\d+)?", path.name) is not None for path in folder.iterdir())
    place = f"{slug}-{alike + 1}" if alike else slug
    path = folder / place
    if not isinstance(member, LinearMember):
        return _save_networks(path, name, member)
    path.mkdir()
    weights = {"coefficients": member.coefficients, "intercept": member.intercept}
    Vocabulary(member.words).save(path / _WORDS_FILE)
    weights |= {f"codes.{order}": codes for order, codes in enumerate(member.ngrams.codes)}
    if member.feature_weights is not None:
        weights["feature_weights"] = member.feature_weights
    save_arrays(path / WEIGHTS_FILE, weights)
    return MemberEntry(
        folder=place,
        kind="linear",
        name=name,
        weighting=member.weighting,
        joins_tokens=member.joins_tokens,
        unit=member.unit,
        one_against_rest=member.one_against_rest,
    )


def _save_networks(path: Path, name: str, member: FeatureParts | ClassifierParts) -> MemberEntry:
    from ulmkit.hub.model_folder import save_classifier, save_language_model

    if isinstance(member, ClassifierParts):
        save_classifier(path, member)
        return MemberEntry(folder=path.name, kind="network", name=name)
    path.mkdir()
    for parts in member.language_models:
        save_language_model(path / parts.direction, replace(parts, word_vectors=None))
    save_arrays(path / WEIGHTS_FILE, {"coefficients": member.coefficients, "intercept": member.intercept})
    directions = tuple(parts.direction for parts in member.language_models)
    return MemberEntry(folder=path.name, kind="features", name=name, directions=directions)


def _load_member(folder: Path, entry: MemberEntry, files: Mapping[str, Any]) -> Member:
    if not re.fullmatch(r"[a-z0-9-]+", entry.folder):
        raise ConfigError(f"members: expected the name of a folder in {_MEMBERS}, got {entry.folder!r}")
    path = folder / entry.folder
    if entry.kind == "network":
        from ulmkit.hub.model_folder import load_classifier

        return load_classifier(path)
    for name in (WEIGHTS_FILE, *([_WORDS_FILE] if entry.kind == "linear" else [])):
        if f"{_MEMBERS}/{entry.folder}/{name}" not in files:
            raise FolderError(f"{path / name}: expected it in the list of the folder's files, got none; {_ADVICE}")
    if entry.kind == "features":
        from ulmkit.hub.model_folder import load_language_model

        arrays = _arrays(path / WEIGHTS_FILE, ("coefficients", "intercept"))
        language_models = tuple(load_language_model(path / direction) for direction in entry.directions)
        return FeatureParts(language_models, arrays["coefficients"], arrays["intercept"])
    if entry.weighting is None:
        raise ConfigError(f"members: expected a weighting for {entry.name!r}, got none")
    words = Vocabulary.load(path / _WORDS_FILE).tokens
    arrays = _arrays(path / WEIGHTS_FILE, ("coefficients", "intercept"))
    codes = tuple(arrays[f"codes.{order}"] for order in range(sum(name.startswith("codes.") for name in arrays)))
    return LinearMember(
        name=entry.name,
        words=words,
        joins_tokens=entry.joins_tokens,
        unit=entry.unit,
        ngrams=NGrams(len(words), codes),
        weighting=entry.weighting,
        feature_weights=arrays.get("feature_weights"),
        coefficients=arrays["coefficients"],
        intercept=arrays["intercept"],
        one_against_rest=entry.one_against_rest,
    )


def _arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of a file. Raises: FolderError if one of `names` is missing, or a value is NaN or infinite."""
    arrays = load_arrays(path)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise FolderError(f"{path}: expected {', '.join(names)}, found no {missing[0]}; {_ADVICE}")
    return arrays
