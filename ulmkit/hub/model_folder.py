"""Model folders: complete, usable offline, and free of code.

    config.json         format version, kind, direction, sizes, labels, checksums, training facts
    vocabulary.json     the token of each id
    tokenizer/          what the tokenizer needs
    model.safetensors   weights by name; the embedding once, though it is the softmax's weight too
    README.md           model card; may be edited, all other files are checked on loading
    training_log.csv    rows of the training log, if the model was just trained
    held_out.json       answers for held-out documents and measures of them, as numbers without their text
    word_vectors/       words and their vectors, of a language model that has them

Language models and classifiers have the same layout. A pair (see `ulmkit.hub.pair`) holds two such folders.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ulmkit.config import check_choice, to_dict
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.files import TRAINING_LOG, csv_lines, expand_user, list_files
from ulmkit.hub.cards import CARD_FILE, model_card
from ulmkit.hub.facts import facts_from_json, facts_to_json, package_versions
from ulmkit.hub.folder_config import (
    DIRECTIONS,
    FORMAT_VERSION,
    WEIGHTS_FILE,
    Weights,
    config_errors,
    read_config,
    write_config,
)
from ulmkit.hub.held_out import load_held_out, save_held_out
from ulmkit.hub.parts import ClassifierParts, LanguageModelParts
from ulmkit.hub.text_parts import check_belong_together, load_text_parts, save_text_parts
from ulmkit.hub.word_vectors import load_word_vectors, save_word_vectors
from ulmkit.json_records import record_from_json
from ulmkit.model.aligned import count_parameters
from ulmkit.model.cells import cell_from_dict
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.config import AWDLSTMConfig, LanguageModelConfig
from ulmkit.model.int8_encoder import Int8Encoder
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.safe_writes import atomic_folder, atomic_write
from ulmkit.tasks import find_task
from ulmkit.tensors import load_shapes, save_tensors
from ulmkit.training.log import LogRow
from ulmkit.training.monitor import load_model_weights

_NAMES_SHOWN = 5

Model = TypeVar("Model", AWDLSTMLanguageModel, AWDLSTMClassifier)


def save_language_model(
    folder: str | os.PathLike[str],
    parts: LanguageModelParts,
    *,
    weights: Weights = "float32",
    overwrite: bool = False,
) -> Path:
    """Write a language model folder, atomically.

    Args:
        folder: Folder to write.
        parts: The model.
        weights: How the weights are stored: "float32", or "bfloat16" in half the size, rounded to 8 bits of precision.
        overwrite: Replace an existing folder.

    Returns:
        The folder.

    Raises:
        FolderError: If the folder exists or cannot be written.
        ConfigError: If a fact is not a JSON value, or weights cannot be stored so.
        DataError: If vocabulary, tokenizer and model do not belong together.
    """
    check_choice("weights", weights, ("float32", "bfloat16"))
    softmax = to_dict(parts.model.config)
    described = {"encoder": softmax.pop("encoder"), "softmax": softmax}
    return _save(folder, "language_model", parts, described, weights, overwrite)


def save_classifier(folder: str | os.PathLike[str], parts: ClassifierParts, *, overwrite: bool = False) -> Path:
    """Write a classifier folder, atomically.

    Args:
        folder: Folder to write.
        parts: The classifier.
        overwrite: Replace an existing folder.

    Returns:
        The folder.

    Raises:
        FolderError: If the folder exists or cannot be written.
        ConfigError: If a fact is not a JSON value.
        DataError: If vocabulary, tokenizer and model do not belong together, or a class has no name.
    """
    model, labels = parts.model, parts.label_names
    expected = parts.task.label_count(model.head.config)
    if len(labels) != expected:
        raise DataError(f"label_names: expected {expected} for task {parts.task.name!r}, got {len(labels)}")
    described: dict[str, Any] = {
        "encoder": to_dict(model.config),
        "task": parts.task.name,
        "head": to_dict(model.head.config),
        "label_names": list(labels),
        "reading": {"chunk_steps": model.chunk_steps, "gradient_steps": model.gradient_steps},
    }
    if parts.temperature != 1.0:
        described["temperature"] = parts.temperature
    weights: Weights = "int8" if isinstance(model.encoder, Int8Encoder) else "float32"
    return _save(folder, "classifier", parts, described, weights, overwrite)


def load_language_model(folder: str | os.PathLike[str]) -> LanguageModelParts:
    """Load a language model folder; the model is on the CPU and in evaluation mode.

    Raises:
        FolderError: If it is of another kind, incomplete, truncated, altered, or of a newer format version.
    """
    path = expand_user(folder)
    config = read_config(path, "language_model")
    vocabulary, tokenizer = load_text_parts(path, config)
    with config_errors(path):
        softmax = {**config["softmax"], "encoder": _encoder_config(config)}
        sizes = record_from_json(LanguageModelConfig, softmax, "softmax")
        facts = facts_from_json(config["facts"])
    model = _load_model(path, config, lambda: AWDLSTMLanguageModel(sizes, len(vocabulary)))
    held_out = load_held_out(path, config["files"])
    word_vectors = load_word_vectors(path, config["files"])
    return LanguageModelParts(
        model, vocabulary, tokenizer, config["direction"], facts, held_out=held_out, word_vectors=word_vectors
    )


def load_classifier(folder: str | os.PathLike[str]) -> ClassifierParts:
    """Load a classifier folder; the model is on the CPU and in evaluation mode.

    Raises:
        FolderError: If it is of another kind, incomplete, truncated, altered, or of a newer format version.
    """
    path = expand_user(folder)
    config = read_config(path, "classifier")
    vocabulary, tokenizer = load_text_parts(path, config)
    labels = tuple(config["label_names"])
    with config_errors(path):
        task = find_task(config["task"])
        head = record_from_json(task.head_type, config["head"], "head")
        if len(labels) != task.label_count(head) or len(set(labels)) != len(labels):
            raise ConfigError(f"label_names: expected {task.label_count(head)} different names, got {len(labels)}")
        encoder = _encoder_config(config)
        facts = facts_from_json(config["facts"])

    def make() -> AWDLSTMClassifier:
        model = AWDLSTMClassifier(encoder, len(vocabulary), head, **config["reading"])
        return model.to_int8() if config.get("weights") == "int8" else model

    model = _load_model(path, config, make)
    held_out = load_held_out(path, config["files"], len(labels))
    with config_errors(path):
        return ClassifierParts(
            task,
            model,
            vocabulary,
            tokenizer,
            labels,
            config["direction"],
            facts,
            held_out=held_out,
            temperature=float(config.get("temperature", 1.0)),
        )


def _save(
    folder: str | os.PathLike[str],
    kind: str,
    parts: LanguageModelParts | ClassifierParts,
    described: Mapping[str, Any],
    weights: Weights,
    overwrite: bool,
) -> Path:
    model, vocabulary, tokenizer = parts.model, parts.vocabulary, parts.tokenizer
    check_choice("direction", parts.direction, DIRECTIONS)
    check_belong_together(model.encoder.vocab_size, vocabulary, tokenizer)
    tensors = model.state_dict()
    if weights == "bfloat16":
        tensors = {name: tensor.to(torch.bfloat16) for name, tensor in tensors.items()}
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        save_tensors(temporary / WEIGHTS_FILE, tensors)
        text_entries = save_text_parts(temporary, vocabulary, tokenizer)
        if parts.history:
            _write_log(temporary / TRAINING_LOG, parts.history)
        if parts.held_out is not None:
            save_held_out(temporary, parts.held_out)
        if isinstance(parts, LanguageModelParts) and parts.word_vectors is not None:
            save_word_vectors(temporary, parts.word_vectors)
        config = {
            "format_version": FORMAT_VERSION,
            "kind": kind,
            "direction": parts.direction,
            "weights": weights,
            **described,
            "parameters": count_parameters(model),
            **text_entries,
            "versions": package_versions(),
            "facts": facts_to_json(parts.facts),
            "files": {name: vars(entry) for name, entry in list_files(temporary).items()},
        }
        with atomic_write(temporary / CARD_FILE) as file:
            file.write(model_card(Path(folder).name, parts, weights))
        write_config(temporary, config)
    return Path(folder)


def _write_log(path: Path, rows: Sequence[LogRow]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_write(path) as file:
        file.write(",".join(columns) + "\n" + csv_lines(rows, columns))


def _encoder_config(config: Mapping[str, Any]) -> AWDLSTMConfig:
    values = {**config["encoder"]}
    if not isinstance(values.get("cell"), Mapping):
        raise ConfigError(f"encoder.cell: expected an object, got {values.get('cell')!r:.60}")
    values["cell"] = cell_from_dict(values["cell"], "encoder")
    return record_from_json(AWDLSTMConfig, values, "encoder")


def _load_model(folder: Path, config: Mapping[str, Any], make: Callable[[], Model]) -> Model:
    """Make the model that a config describes and load its weights, once they are known to fit.

    The model is made on the meta device first: sizes that are not the weights' are refused before any memory is taken.

    Args:
        folder: The model folder.
        config: Its config.
        make: Makes the model with weights of any values.
    """
    path = folder / WEIGHTS_FILE
    shapes = load_shapes(path)
    with config_errors(folder), torch.random.fork_rng(devices=[]):
        if config["encoder"].get("layers", 1) > len(shapes):
            raise ConfigError(f"layers: expected at most {len(shapes)}, the tensors in {WEIGHTS_FILE}")
        with torch.device("meta"):
            expected = _shapes(make().state_dict())
        _check_shapes(path, shapes, expected)
        model = make()
    read_weights(path, model)
    return model.eval()


def read_weights(path: Path, model: nn.Module) -> None:
    """Load a safetensors file into a model, strictly by name.

    Raises:
        FolderError: If the file is missing or truncated, a value is NaN or infinite, or names or shapes do not match;
            lists those that differ.
    """
    _check_shapes(path, load_shapes(path), _shapes(model.state_dict()))
    load_model_weights(path, model)


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _check_shapes(path: Path, actual: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise FolderError unless a file has the tensors of a model, in their shapes."""
    missing = sorted(expected.keys() - actual.keys())
    unexpected = sorted(actual.keys() - expected.keys())
    if missing or unexpected:
        raise FolderError(
            f"{path}: weights do not match the model that config.json describes; "
            f"missing: {_listing(missing)}; unexpected: {_listing(unexpected)}"
        )
    shapes = [
        f"{name} {shape} in place of {expected[name]}" for name, shape in actual.items() if shape != expected[name]
    ]
    if shapes:
        raise FolderError(f"{path}: shapes do not match the model that config.json describes: {_listing(shapes)}")


def _listing(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
