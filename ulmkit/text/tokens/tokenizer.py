"""What a tokenizer is to the rest of the package."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ulmkit.files import write_json
from ulmkit.text.tokens.vocabulary import Vocabulary

Text = str | tuple[str, ...]
"""One text, or the several fields of one document (a pair of texts, a title and a body)."""

FORMAT_VERSION = 1
TOKENIZER_FILE = "tokenizer.json"


@runtime_checkable
class Tokenizer(Protocol):
    """Text to tokens and back. Picklable; knows no vocabulary but a closed one of its own."""

    name: str

    @property
    def fingerprint(self) -> str:
        """A short name that changes whenever the tokens of some text could change."""
        ...

    def tokenize(self, text: Text) -> list[str]:
        """The tokens of a text, or of the fields of a document."""
        ...

    def tokenize_many(self, texts: Sequence[Text]) -> list[list[str]]:
        """The tokens of each text, in this process."""
        ...

    def tokenize_part(self, part: str, before: str, is_last: bool) -> list[str]:
        """The tokens of one part of a text that was cut at stable prefixes.

        Args: part: the characters. before: the character before them, "" at the start of the text.
            is_last: the text ends with this part.
        Returns: tokens whose concatenation over the parts equals `tokenize` of the whole text.
        """
        ...

    def stable_prefix(self, text: str) -> int:
        """How many leading characters of `text` have tokens that nothing which may follow can change.

        Args: text: starts where a stable prefix ended, or at the start of the whole text.
        """
        ...

    def detokenize(self, tokens: Sequence[str]) -> str:
        """The text that `tokens` stand for, as people would write it."""
        ...

    def closed_vocabulary(self) -> Vocabulary | None:
        """The tokenizer's own vocabulary, or None if a vocabulary is to be built from counts."""
        ...

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write all that `load_tokenizer` needs into `folder`."""
        ...


def save_settings(folder: str | os.PathLike[str], name: str, settings: dict[str, Any]) -> None:
    """Write tokenizer.json: format version, the tokenizer's name, its settings."""
    write_json(Path(folder) / TOKENIZER_FILE, {"format_version": FORMAT_VERSION, "name": name, "settings": settings})
