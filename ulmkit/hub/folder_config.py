"""The config.json of a model folder: writing, reading, checking."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ulmkit.config import check_choice, check_whole
from ulmkit.errors import FolderError
from ulmkit.files import FileEntry, expand_user, fingerprint, read_json
from ulmkit.hub.facts import TrainingFacts, facts_from_json
from ulmkit.hub.format_1 import upgrade_config
from ulmkit.json_records import record_from_json
from ulmkit.model.config import CHUNK_STEPS, GRADIENT_STEPS
from ulmkit.safe_writes import write_json

FORMAT_VERSION = 2
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
DIRECTIONS = ("forward", "backward")
EXPORT_KIND = "exported_classifier"
"""Kind of a folder that serves a classifier without ulmkit, which ulmkit does not read."""

Direction = Literal["forward", "backward"]
Kind = Literal["language_model", "classifier", "pair", "ensemble"]

Weights = Literal["float32", "bfloat16", "int8"]


@dataclass(frozen=True, kw_only=True)
class TokenizerEntry:
    """Name and fingerprint of a folder's tokenizer."""

    name: str
    fingerprint: str | None = None


@dataclass(frozen=True, kw_only=True)
class VocabularyEntry:
    """Size and fingerprint of a folder's vocabulary."""

    size: int
    fingerprint: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReadingEntry:
    """Steps of a document that a classifier reads at a time and learns from."""

    chunk_steps: int = CHUNK_STEPS
    gradient_steps: int = GRADIENT_STEPS


@dataclass(frozen=True, kw_only=True)
class _FolderRecord:
    """Types of the entries of config.json that every kind of folder has."""

    format_version: int
    facts: Mapping[str, object]
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _PairRecord(_FolderRecord):
    """Types of the entries of a pair's config.json."""

    kind: Literal["pair"]
    members: Literal["language_model", "classifier"] | None = None
    task: str | None = None


@dataclass(frozen=True, kw_only=True)
class _ModelRecord(_FolderRecord):
    """Types of the entries of a model's config.json; configs are read when the model is made."""

    direction: Direction
    files: Mapping[str, FileEntry]
    vocabulary: VocabularyEntry
    tokenizer: TokenizerEntry
    encoder: Mapping[str, object]
    weights: Weights = "float32"
    parameters: int | None = None


@dataclass(frozen=True, kw_only=True)
class _LanguageModelRecord(_ModelRecord):
    """Types of the entries of a language model's config.json."""

    kind: Literal["language_model"]
    softmax: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class _ClassifierRecord(_ModelRecord):
    """Types of the entries of a classifier's config.json."""

    kind: Literal["classifier"]
    task: str
    head: Mapping[str, object]
    label_names: tuple[str, ...]
    reading: ReadingEntry
    temperature: float = 1.0


@dataclass(frozen=True, kw_only=True)
class MemberEntry:
    """One member of an ensemble.

    Attributes:
        folder: Its folder in `members/`.
        kind: What it is.
        name: Its name in reports.
        weighting: How a linear member's counts become features.
        joins_tokens: Whether a linear member joins tokens to words.
        unit: What a linear member counts.
        one_against_rest: Whether each class of a linear member has a model of its own.
        directions: Directions of the language models whose features it reads.
    """

    folder: str
    kind: Literal["linear", "features", "network"]
    name: str
    weighting: Literal["tf-idf", "binary", "mean"] | None = None
    joins_tokens: bool = True
    unit: Literal["words", "characters"] = "words"
    one_against_rest: bool = False
    directions: tuple[Direction, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _EnsembleRecord(_FolderRecord):
    """Types of the entries of an ensemble's config.json."""

    kind: Literal["ensemble"]
    task: str
    label_names: tuple[str, ...]
    members: tuple[MemberEntry, ...]
    files: Mapping[str, FileEntry]
    vocabulary: VocabularyEntry
    tokenizer: TokenizerEntry


_RECORDS: dict[str, type[_FolderRecord]] = {
    "language_model": _LanguageModelRecord,
    "classifier": _ClassifierRecord,
    "pair": _PairRecord,
    "ensemble": _EnsembleRecord,
}


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write config.json with a fingerprint of its content."""
    write_json(folder / CONFIG_FILE, {**config, "fingerprint": fingerprint(config)})


def read_config(folder: str | os.PathLike[str], kind: Kind | None = None) -> dict[str, Any]:
    """Read config.json of a model folder of any kind, without its weights.

    Args:
        folder: The model folder.
        kind: The kind that the folder must be of; None for any.

    Returns:
        The content in the layout of the current format version.

    Raises:
        FolderError: If the folder or the file is missing, is not JSON or not a model's, was altered, is of another
            kind, or of a newer format version.
    """
    path = expand_user(folder)
    if not path.is_dir():
        raise FolderError(f"{path}: no such folder; give the folder of a saved model")
    if not (path / CONFIG_FILE).is_file():
        raise FolderError(f"{path}: expected {CONFIG_FILE} in a model folder, found none; is it the right folder?")
    config = read_json(path / CONFIG_FILE)
    if not isinstance(config, dict):
        raise FolderError(f"{path / CONFIG_FILE}: expected a JSON object, got {type(config).__name__}")
    if config.get("kind") == EXPORT_KIND:
        raise FolderError(f"{path}: is an export, to be served without ulmkit; give the classifier it was made from")
    version = config.get("format_version", 0)
    with config_errors(path):
        check_whole("format_version", version)
    if version > FORMAT_VERSION:
        raise FolderError(
            f"{path}: has format version {version}, this ulmkit reads up to {FORMAT_VERSION}; "
            "upgrade with: pip install --upgrade ulmkit"
        )
    if config.pop("fingerprint", None) != fingerprint(config):
        raise FolderError(f"{path / CONFIG_FILE}: its fingerprint is wrong, it was altered; copy the folder again")
    with config_errors(path):
        if version == 1:
            config = upgrade_config(config)
        check_choice("kind", config.get("kind"), _RECORDS)
        record_from_json(_RECORDS[config["kind"]], config, "")
    if kind not in (None, config["kind"]):
        raise FolderError(
            f"{path}: expected a folder of kind {kind!r}, got {config['kind']!r}; give a {kind.replace('_', ' ')}"
        )
    return config


def holds_language_model(folder: str | os.PathLike[str]) -> bool:
    """Tell whether a model folder holds a language model, or a pair of them, rather than a classifier."""
    config = read_config(folder)
    return "language_model" in (config["kind"], config.get("members"))


def read_facts(folder: str | os.PathLike[str]) -> TrainingFacts:
    """Training facts of a model folder of any kind.

    Raises:
        FolderError: If the folder's config.json cannot be read, or its facts are not what ulmkit writes.
    """
    config = read_config(folder)
    with config_errors(Path(folder)):
        return facts_from_json(config["facts"])


@contextmanager
def config_errors(folder: Path) -> Iterator[None]:
    """Turn the refusal, in this block, of a value in a folder's config.json into a FolderError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise FolderError(
            f"{folder / CONFIG_FILE}: does not describe a model ({error}); it was altered, or written by another "
            "version of ulmkit; copy the folder again, or upgrade with: pip install --upgrade ulmkit"
        ) from error
