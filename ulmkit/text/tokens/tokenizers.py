"""The tokenizers there are, and reading any of them back from a folder."""

import os
from pathlib import Path

from ulmkit.errors import FolderError, did_you_mean
from ulmkit.files import read_json
from ulmkit.text.tokens.plain_tokenizers import ByteTokenizer, WhitespaceTokenizer
from ulmkit.text.tokens.sentencepiece_tokenizer import SentencePieceTokenizer
from ulmkit.text.tokens.sentencepiece_training import train_sentencepiece
from ulmkit.text.tokens.spacy_tokenizer import SpacyTokenizer
from ulmkit.text.tokens.tokenizer import FORMAT_VERSION, TOKENIZER_FILE, Text, Tokenizer

__all__ = [
    "ByteTokenizer",
    "SentencePieceTokenizer",
    "SpacyTokenizer",
    "Text",
    "Tokenizer",
    "WhitespaceTokenizer",
    "load_tokenizer",
    "train_sentencepiece",
]

_CLASSES = (SpacyTokenizer, SentencePieceTokenizer, WhitespaceTokenizer, ByteTokenizer)


def load_tokenizer(folder: str | os.PathLike[str]) -> Tokenizer:
    """Read the tokenizer that a `save` wrote into `folder`; no network.

    Raises: FolderError if a file is missing or altered, or names a tokenizer or a setting that there is not.
    """
    path = Path(folder) / TOKENIZER_FILE
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
        found = content.get("format_version") if isinstance(content, dict) else type(content).__name__
        raise FolderError(f"{path}: expected a tokenizer of format version {FORMAT_VERSION}, got {found!r}")
    name, settings = content.get("name"), content.get("settings")
    by_name = {tokenizer.name: tokenizer for tokenizer in _CLASSES}
    if name not in by_name or not isinstance(settings, dict):
        advice = did_you_mean(str(name), by_name)
        raise FolderError(f"{path}: expected a tokenizer and its settings, got {name!r} and {settings!r}; {advice}")
    try:
        return by_name[name].from_settings(Path(folder), **settings)
    except TypeError as error:
        raise FolderError(f"{path}: expected the settings of a {name} tokenizer, got {settings!r}") from error
