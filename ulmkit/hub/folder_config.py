"""The config.json of a model folder: writing, reading, checking, upgrading."""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

from ulmkit.config import from_dict, to_dict
from ulmkit.errors import ConfigError, FolderError
from ulmkit.files import fingerprint, read_json, write_json
from ulmkit.hub.facts import TrainingFacts, facts_from_json
from ulmkit.hub.facts_upgrade import upgrade_facts
from ulmkit.model.cells import cell_from_dict
from ulmkit.model.config import AWDLSTMConfig, LanguageModelConfig
from ulmkit.model.heads import HeadConfig
from ulmkit.tasks import TASKS, Task, find_task

FORMAT_VERSION = 2
CONFIG_FILE = "config.json"
KINDS = ("language_model", "classifier", "pair")
DIRECTIONS = ("forward", "backward")
WEIGHTS_TYPES = ("float32", "int8")
_SOFTMAX_OPTIONS = ("decoder_bias", "softmax_experts", "latent_dropout")

Direction = Literal["forward", "backward"]
Part = TypeVar("Part")


def write_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write config.json with a fingerprint of its content."""
    write_json(folder / CONFIG_FILE, {**config, "fingerprint": fingerprint(config)})


def read_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Read config.json of a language model, a classifier or a pair, without its weights.

    Returns:
        The content in the layout of the current format version: format_version, kind, facts and, except for a pair,
        direction are present.

    Raises:
        FolderError: If the folder or the file is missing, is not JSON or not a model's, was altered, or is of a newer
            format version.
    """
    path = Path(folder)
    if not path.is_dir():
        raise FolderError(f"{path}: no such folder; give the folder of a saved model")
    if not (path / CONFIG_FILE).is_file():
        raise FolderError(f"{path}: expected {CONFIG_FILE} in a model folder, found none; is it the right folder?")
    config = read_json(path / CONFIG_FILE)
    if not isinstance(config, dict):
        raise FolderError(f"{path / CONFIG_FILE}: expected a JSON object, got {type(config).__name__}")
    version = config_part(path, config, "format_version", int)
    if version > FORMAT_VERSION:
        raise FolderError(
            f"{path}: has format version {version}, this ulmkit reads up to {FORMAT_VERSION}; "
            "upgrade with: pip install --upgrade ulmkit"
        )
    if version < 1:
        raise FolderError(f"{path / CONFIG_FILE}: format_version: expected 1 or more, got {version}")
    kind = config_part(path, config, "kind", str)
    if kind not in KINDS:
        raise FolderError(f"{path / CONFIG_FILE}: kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    config_part(path, config, "facts", dict)
    if config.pop("fingerprint", None) != fingerprint(config):
        raise FolderError(f"{path / CONFIG_FILE}: its fingerprint is wrong, it was altered; copy the folder again")
    if kind != "pair" and config.get("direction") not in DIRECTIONS:
        raise FolderError(
            f"{path / CONFIG_FILE}: direction: expected forward or backward, got {config.get('direction')!r}"
        )
    return _upgraded(config) if version == 1 else config


_HEAD_OPTIONS = {
    "label_smoothing",
    "class_weights",
    "positive_weights",
    "value_range",
    "number_loss",
    "number_mean",
    "number_deviation",
}
"""Options that some tasks' heads have."""


def _upgraded(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json of format version 1 in the layout of version 2.

    Version 1 had one flat "encoder": the vocabulary's size, the softmax's options, and the cell's name and options
    stood in it, options that were added later only where they differed from their defaults. A head had the options of
    the heads of all tasks, and its task's name as "kind".
    """
    upgraded = {**config, "format_version": 2, "facts": upgrade_facts(config["facts"])}
    if isinstance(config.get("head"), Mapping):
        head = dict(config["head"])
        upgraded["task"] = head.pop("kind", None)
        if upgraded["task"] in TASKS:
            options = {field.name for field in dataclasses.fields(TASKS[upgraded["task"]].head_type)}
            head = {name: value for name, value in head.items() if name in options or name not in _HEAD_OPTIONS}
        upgraded["head"] = head
    if not isinstance(config.get("encoder"), Mapping):
        return upgraded
    encoder = dict(config["encoder"])
    encoder.pop("vocab_size", None)
    cell = {"name": encoder.pop("cell", "lstm")}
    for name in ("mogrifier_rounds", "mogrifier_rank"):
        if name in encoder:
            value = encoder.pop(name)
            if cell["name"] == "mogrifier":
                cell[name.removeprefix("mogrifier_")] = value
    softmax = {name: encoder.pop(name) for name in _SOFTMAX_OPTIONS if name in encoder}
    if config["kind"] == "language_model":
        upgraded["softmax"] = softmax
    return {**upgraded, "encoder": {**encoder, "cell": cell}}


def read_facts(folder: str | os.PathLike[str]) -> TrainingFacts:
    """Training facts of a language model, a classifier or a pair.

    Raises:
        FolderError: If the folder's config.json cannot be read, or its facts are not what ulmkit writes.
    """
    return config_facts(Path(folder), read_config(folder))


def config_facts(folder: Path, config: Mapping[str, Any]) -> TrainingFacts:
    """Training facts of a config that `read_config` gave.

    Raises:
        FolderError: If they are not what ulmkit writes.
    """
    try:
        return facts_from_json(config["facts"], "facts")
    except ConfigError as error:
        raise FolderError(f"{folder / CONFIG_FILE}: {error}; it was altered") from error


def config_part(folder: Path, config: Mapping[str, Any], name: str, kind: type[Part]) -> Part:
    """Get an entry of a config. Raises: FolderError if it is missing or not of the type `kind`."""
    value = config.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise FolderError(f"{folder / CONFIG_FILE}: {name}: expected {kind.__name__}, got {value!r}; it was altered")
    return value


def weights_type(folder: Path, config: Mapping[str, Any]) -> str:
    """Get the type of the encoder's weights, "float32" or "int8". Raises: FolderError if it is another one."""
    weights = config.get("weights", WEIGHTS_TYPES[0])
    if weights not in WEIGHTS_TYPES:
        raise FolderError(
            f"{folder / CONFIG_FILE}: weights: expected one of {', '.join(WEIGHTS_TYPES)}, got {weights!r}; "
            "upgrade with: pip install --upgrade ulmkit"
        )
    return weights


def encoder_config(folder: Path, config: Mapping[str, Any]) -> AWDLSTMConfig:
    """Get the encoder's sizes, cell and dropouts. Raises: FolderError if no model can have them."""
    values = config_part(folder, config, "encoder", dict)
    where = f"{folder / CONFIG_FILE}: encoder"
    with _altered():
        cell = cell_from_dict(config_part(folder, values, "cell", dict), where)
        return from_dict(AWDLSTMConfig, {**values, "cell": cell}, where)


def language_model_config(folder: Path, config: Mapping[str, Any]) -> LanguageModelConfig:
    """Get the config of a language model, encoder and softmax. Raises: FolderError if no model can have it."""
    values = {**config_part(folder, config, "softmax", dict), "encoder": encoder_config(folder, config)}
    with _altered():
        return from_dict(LanguageModelConfig, values, f"{folder / CONFIG_FILE}: softmax")


def described_encoder(config: AWDLSTMConfig) -> dict[str, Any]:
    """Describe an encoder, as a part of config.json."""
    return {"encoder": to_dict(config)}


def described_language_model(config: LanguageModelConfig) -> dict[str, Any]:
    """Describe a language model, as a part of config.json."""
    softmax = to_dict(config)
    return {"encoder": softmax.pop("encoder"), "softmax": softmax}


def vocabulary_size(folder: Path, config: Mapping[str, Any]) -> int:
    """Get the number of rows of the embedding. Raises: FolderError if it is missing."""
    return config_part(folder, config_part(folder, config, "vocabulary", dict), "size", int)


def described_head(task: Task, head: HeadConfig) -> dict[str, Any]:
    """Describe a head, its task and its options, as a part of config.json."""
    return {"task": task.name, "head": to_dict(head)}


def read_task(folder: Path, config: Mapping[str, Any]) -> Task:
    """Get the task of a classifier. Raises: FolderError if it is unknown."""
    with _altered():
        return find_task(config_part(folder, config, "task", str))


def head_config(folder: Path, config: Mapping[str, Any]) -> HeadConfig:
    """Get the config of a classifier's head. Raises: FolderError if the head of its task cannot have it."""
    values = config_part(folder, config, "head", dict)
    with _altered():
        return from_dict(read_task(folder, config).head_type, values, f"{folder / CONFIG_FILE}: head")


@contextmanager
def _altered() -> Iterator[None]:
    """Turn a refused value in this block into a FolderError."""
    try:
        yield
    except (ConfigError, TypeError) as error:
        raise FolderError(f"{error}; {CONFIG_FILE} was altered, or written by another version of ulmkit") from error
