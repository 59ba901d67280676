"""Model folders: complete, usable offline, and free of code.

    config.json         format version, kind, direction, sizes, labels, checksums, training facts
    vocabulary.json     the token of each id
    tokenizer/          what the tokenizer needs
    model.safetensors   weights by name; the embedding once, though it is the softmax's weight too
    README.md           model card; may be edited, all other files are checked on loading
    training_log.csv    rows of the training log, if the model was just trained

Language models and classifiers have the same layout. A pair (see `ulmkit.hub.pair`) holds two such folders.
"""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ulmkit.config import check_choice
from ulmkit.errors import DataError, FolderError
from ulmkit.files import TRAINING_LOG, atomic_folder, atomic_write, check_files, csv_lines, list_files
from ulmkit.hub.facts import facts_to_json, package_versions
from ulmkit.hub.folder_config import (
    CONFIG_FILE,
    DIRECTIONS,
    FORMAT_VERSION,
    config_facts,
    config_part,
    described_encoder,
    described_head,
    described_language_model,
    encoder_config,
    head_config,
    language_model_config,
    read_config,
    read_task,
    vocabulary_size,
    weights_type,
    write_config,
)
from ulmkit.hub.model_card import CARD_FILE, model_card
from ulmkit.hub.parts import ClassifierParts, LanguageModelParts, Row
from ulmkit.hub.weights import WEIGHTS_FILE, read_weights, write_weights
from ulmkit.model.aligned import count_parameters
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.int8_encoder import Int8Encoder
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.text.tokens.tokenizers import Tokenizer, load_tokenizer
from ulmkit.text.tokens.vocabulary import Vocabulary

VOCABULARY_FILE = "vocabulary.json"
TOKENIZER_FOLDER = "tokenizer"

Model = TypeVar("Model", bound=nn.Module)


def save_language_model(folder: str | os.PathLike[str], parts: LanguageModelParts, *, overwrite: bool = False) -> Path:
    """Write a language model folder, atomically.

    Args:
        folder: Folder to write.
        parts: The model.
        overwrite: Replace an existing folder.

    Returns:
        The folder.

    Raises:
        FolderError: If the folder exists or cannot be written.
        ConfigError: If a fact is not a JSON value.
        DataError: If vocabulary, tokenizer and model do not belong together.
    """
    return _save(folder, "language_model", parts, described_language_model(parts.model.config), overwrite)


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
    described = {
        **described_encoder(model.config),
        **described_head(parts.task, model.head.config),
        "label_names": list(labels),
        "reading": {"chunk_steps": model.chunk_steps, "gradient_steps": model.gradient_steps},
    }
    return _save(folder, "classifier", parts, described, overwrite)


def load_language_model(folder: str | os.PathLike[str]) -> LanguageModelParts:
    """Load a language model folder; the model is on the CPU and in evaluation mode.

    Raises:
        FolderError: If it is of another kind, incomplete, truncated, altered, or of a newer format version.
    """
    path = Path(folder)
    config = _read_checked(path, "language_model")
    model_config = language_model_config(path, config)
    vocab_size = vocabulary_size(path, config)
    model = _with_weights(path, lambda: AWDLSTMLanguageModel(model_config, vocab_size))
    vocabulary, tokenizer = _load_text_parts(path, config, vocab_size)
    return LanguageModelParts(model, vocabulary, tokenizer, config["direction"], config_facts(path, config))


def load_classifier(folder: str | os.PathLike[str]) -> ClassifierParts:
    """Load a classifier folder; the model is on the CPU and in evaluation mode.

    Raises:
        FolderError: If it is of another kind, incomplete, truncated, altered, or of a newer format version.
    """
    path = Path(folder)
    config = _read_checked(path, "classifier")
    encoder = encoder_config(path, config)
    task = read_task(path, config)
    head = head_config(path, config)
    vocab_size = vocabulary_size(path, config)
    labels = config_part(path, config, "label_names", list)
    reading = config_part(path, config, "reading", dict)
    if len(labels) != task.label_count(head):
        raise FolderError(f"{path / CONFIG_FILE}: label_names: expected {task.label_count(head)}, got {len(labels)}")
    is_int8 = weights_type(path, config) == "int8"

    def make() -> AWDLSTMClassifier:
        model = AWDLSTMClassifier(encoder, vocab_size, head, **reading)
        return model.to_int8() if is_int8 else model

    model = _with_weights(path, make)
    vocabulary, tokenizer = _load_text_parts(path, config, vocab_size)
    facts = config_facts(path, config)
    return ClassifierParts(task, model, vocabulary, tokenizer, tuple(labels), config["direction"], facts)


def _save(
    folder: str | os.PathLike[str],
    kind: str,
    parts: LanguageModelParts | ClassifierParts,
    described: Mapping[str, Any],
    overwrite: bool,
) -> Path:
    model, vocabulary, tokenizer = parts.model, parts.vocabulary, parts.tokenizer
    check_choice("direction", parts.direction, DIRECTIONS)
    _check_belong_together("vocabulary", model.encoder.vocab_size, vocabulary, tokenizer, DataError)
    config = {
        "format_version": FORMAT_VERSION,
        "kind": kind,
        "direction": parts.direction,
        "weights": "int8" if isinstance(model.encoder, Int8Encoder) else "float32",
        **described,
        "parameters": count_parameters(model),
        "tokenizer": {"name": tokenizer.name, "fingerprint": tokenizer.fingerprint},
        "vocabulary": {"size": len(vocabulary), "fingerprint": vocabulary.fingerprint},
        "versions": package_versions(),
        "facts": facts_to_json(parts.facts),
    }
    with atomic_folder(folder, overwrite=overwrite) as temporary:
        write_weights(temporary / WEIGHTS_FILE, model)
        vocabulary.save(temporary / VOCABULARY_FILE)
        (temporary / TOKENIZER_FOLDER).mkdir()
        tokenizer.save(temporary / TOKENIZER_FOLDER)
        if parts.history:
            _write_log(temporary / TRAINING_LOG, parts.history)
        config["files"] = list_files(temporary)
        with atomic_write(temporary / CARD_FILE) as file:
            file.write(model_card(Path(folder).name, parts))
        write_config(temporary, config)
    return Path(folder)


def _write_log(path: Path, rows: Sequence[Row]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_write(path) as file:
        file.write(",".join(columns) + "\n" + csv_lines(rows, columns))


def _read_checked(folder: Path, kind: str) -> dict[str, Any]:
    config = read_config(folder)
    if config["kind"] != kind:
        raise FolderError(
            f"{folder}: expected a folder of kind {kind!r}, got {config['kind']!r}; give a {kind.replace('_', ' ')}"
        )
    check_files(folder, config_part(folder, config, "files", dict), "copy the model folder again")
    return config


def _with_weights(folder: Path, make: Callable[[], Model]) -> Model:
    """Make a model and load the folder's weights; torch's random state is preserved."""
    with torch.random.fork_rng(devices=[]):
        try:
            model = make()
        except (TypeError, ValueError) as error:
            raise FolderError(f"{folder / CONFIG_FILE}: does not describe a model ({error}); it was altered") from error
    read_weights(folder / WEIGHTS_FILE, model)
    return model.eval()


def _load_text_parts(folder: Path, config: Mapping[str, Any], vocab_size: int) -> tuple[Vocabulary, Tokenizer]:
    vocabulary = Vocabulary.load(folder / VOCABULARY_FILE)
    tokenizer = load_tokenizer(folder / TOKENIZER_FOLDER)
    recorded = config_part(folder, config, "vocabulary", dict).get("fingerprint")
    if vocabulary.fingerprint != recorded:
        raise FolderError(
            f"{folder / VOCABULARY_FILE}: expected the vocabulary {recorded} that the model was trained with, "
            f"got {vocabulary.fingerprint}; copy the model folder again"
        )
    _check_belong_together(str(folder), vocab_size, vocabulary, tokenizer, FolderError)
    expected = config_part(folder, config, "tokenizer", dict)
    if tokenizer.name != expected.get("name"):
        raise FolderError(f"{folder / TOKENIZER_FOLDER}: expected {expected.get('name')!r}, got {tokenizer.name!r}")
    if tokenizer.fingerprint != expected.get("fingerprint"):
        warnings.warn(
            f"{folder}: this installation may split some texts differently from the one the model was trained with "
            f"(trained: {config.get('versions')}, installed: {package_versions()}); install those versions to get the "
            "same tokens",
            stacklevel=4,
        )
    return vocabulary, tokenizer


def _check_belong_together(
    what: str, vocab_size: int, vocabulary: Vocabulary, tokenizer: Tokenizer, error: type[Exception]
) -> None:
    """Raise `error` unless the model has a row for each token and the tokens are the tokenizer's."""
    if len(vocabulary) != vocab_size:
        raise error(f"{what}: expected {vocab_size} tokens, as the model has, got {len(vocabulary)}")
    closed = tokenizer.closed_vocabulary()
    if closed is not None and closed != vocabulary:
        raise error(
            f"{what}: expected the {len(closed)} tokens of the {tokenizer.name} tokenizer, got {len(vocabulary)}, "
            "not all the same; use the tokenizer and the vocabulary of one corpus"
        )
