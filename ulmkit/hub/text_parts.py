"""Vocabulary and tokenizer of a model folder, loaded and checked. Imports without torch."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ulmkit.config import check_choice
from ulmkit.errors import DataError, FolderError
from ulmkit.files import FileEntry, check_files
from ulmkit.hub.folder_config import WEIGHTS_FILE, config_errors
from ulmkit.text.corpus.encoded_corpus import TOKENIZER_FOLDER, VOCABULARY_FILE
from ulmkit.text.tokens.tokenizers import TOKENIZERS, Tokenizer, load_tokenizer
from ulmkit.text.tokens.vocabulary import Vocabulary


def save_text_parts(folder: Path, vocabulary: Vocabulary, tokenizer: Tokenizer) -> dict[str, object]:
    """Write a vocabulary and a tokenizer into a folder. Returns: their entries of config.json."""
    vocabulary.save(folder / VOCABULARY_FILE)
    (folder / TOKENIZER_FOLDER).mkdir()
    tokenizer.save(folder / TOKENIZER_FOLDER)
    return {
        "tokenizer": {"name": tokenizer.name, "fingerprint": tokenizer.fingerprint},
        "vocabulary": {"size": len(vocabulary), "fingerprint": vocabulary.fingerprint},
    }


def load_text_parts(folder: Path, config: Mapping[str, Any]) -> tuple[Vocabulary, Tokenizer]:
    """Check a folder's files, and load its vocabulary and tokenizer."""
    expected = config["tokenizer"]
    with config_errors(folder):
        check_choice("tokenizer", expected["name"], TOKENIZERS)
    tokenizer_files = [f"{TOKENIZER_FOLDER}/{name}" for name in TOKENIZERS[expected["name"]].files]
    files = {name: FileEntry(**entry) for name, entry in config["files"].items()}
    needed = (WEIGHTS_FILE, VOCABULARY_FILE, *tokenizer_files)
    check_files(folder, files, "copy the model folder again", needed=needed)
    vocabulary = Vocabulary.load(folder / VOCABULARY_FILE)
    recorded = config["vocabulary"].get("fingerprint")
    if vocabulary.fingerprint != recorded:
        raise FolderError(
            f"{folder / VOCABULARY_FILE}: expected the vocabulary {recorded} that the model was trained with, "
            f"got {vocabulary.fingerprint}; copy the model folder again"
        )
    tokenizer = load_tokenizer(folder / TOKENIZER_FOLDER, expected["name"])
    with config_errors(folder):
        check_belong_together(config["vocabulary"]["size"], vocabulary, tokenizer)
    if tokenizer.fingerprint != expected.get("fingerprint"):
        warnings.warn(
            f"{folder}: this installation may split some texts differently from the one that the model was trained "
            f"with: {_tokenizer_difference(config, tokenizer.name)}",
            stacklevel=4,
        )
    return vocabulary, tokenizer


def _tokenizer_difference(config: Mapping[str, Any], tokenizer: str) -> str:
    """Say in what the tokenizer of a model folder differs from this installation's."""
    trained = config.get("versions") or {}
    installed = TOKENIZERS[tokenizer].package_versions()
    different = [name for name in installed if trained.get(name) != installed[name]]
    if not different:
        return "the rules that clean text up are of another version; train the model again to use those of today"
    listing = ", ".join(f"{name} {trained.get(name, 'unknown')} (installed: {installed[name]})" for name in different)
    return f"it had {listing}; install that to get the same tokens"


def check_belong_together(vocab_size: int, vocabulary: Vocabulary, tokenizer: Tokenizer) -> None:
    """Raise DataError unless the model has a row for each token and the tokens are the tokenizer's."""
    if len(vocabulary) != vocab_size:
        raise DataError(f"vocabulary: expected {vocab_size} tokens, as the model has, got {len(vocabulary)}")
    closed = tokenizer.closed_vocabulary()
    if closed is not None and closed != vocabulary:
        raise DataError(
            f"vocabulary: expected the {len(closed)} tokens of the {tokenizer.name} tokenizer, got {len(vocabulary)}, "
            "not all the same; use the tokenizer and the vocabulary of one corpus"
        )
