"""Tokenizer protocol: what the rest of the package relies on, whatever the kind of tokenizer."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ulmkit.files import fingerprint
from ulmkit.safe_writes import write_json
from ulmkit.text.tokens.rules import BOS, UNK
from ulmkit.text.tokens.vocabulary import Vocabulary

Text = str | tuple[str, ...]
"""One text, or the several fields of one document (a pair of texts, a title and a body)."""

WordTokens = tuple[list[list[str]], list[np.ndarray]]
"""The tokens of each document; for each document (words,) int64, the position of each word's last token."""

FORMAT_VERSION = 1
TOKENIZER_FILE = "tokenizer.json"


class PieceTokenizer(Protocol):
    """Tokenizer of one text that comes in pieces.

    All that `feed` returns, put together, equals `Tokenizer.tokenize` of the pieces put together, wherever the text was
    cut.
    """

    @property
    def held_characters(self) -> int:
        """Characters that are kept because their tokens are not settled."""
        ...

    def feed(self, piece: str, is_last: bool) -> list[str]:
        """Take in the next piece, perhaps an empty one.

        Args:
            piece: The characters that follow those fed before.
            is_last: Whether the text ends with this piece.

        Returns:
            The tokens that nothing that may follow can change, and that were not returned before.
        """
        ...


class _WholeText:
    """Holds a text until it is complete."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = tokenizer
        self._pieces: list[str] = []

    @property
    def held_characters(self) -> int:
        return sum(map(len, self._pieces))

    def feed(self, piece: str, is_last: bool) -> list[str]:
        self._pieces.append(piece)
        return self._tokenizer.tokenize("".join(self._pieces)) if is_last else []


@runtime_checkable
class Tokenizer(Protocol):
    """Text to tokens and back.

    Picklable, safe to share between threads, and without any vocabulary but a closed one of its own.
    """

    name: str
    units: str = "tokens"
    """Kind of its tokens, for people."""
    word_gap: str = ""
    """Put before each word but the first of a text that is cut into words, unless the tokens mark where words begin."""

    @property
    def settings(self) -> dict[str, str]:
        """Values that `from_settings` makes the tokenizer from, by name."""
        return {}

    @property
    def fingerprint(self) -> str:
        """Short name that changes whenever the tokens of some text could change."""
        return fingerprint(self.name, FORMAT_VERSION, *self.settings.values())

    @property
    def marks(self) -> tuple[str, ...]:
        """Tokens of its own that stand for no word, beside the special tokens."""
        return ()

    @property
    def required_tokens(self) -> tuple[str, ...]:
        """Tokens that every vocabulary for this tokenizer has: those that begin or end each document."""
        return (BOS,)

    def tokenize(self, text: Text) -> list[str]:
        """Tokenize a text, or the fields of a document."""
        ...

    def tokenize_many(self, texts: Sequence[Text]) -> list[list[str]]:
        """Tokenize several texts, in this process."""
        return [self.tokenize(text) for text in texts]

    def tokenize_words(self, documents: Sequence[Sequence[str]]) -> WordTokens:
        """Tokenize documents that are cut into words, word by word: no rule and no subword reaches over a word's end.

        Each word has at least one token (xxunk for a word of white space). A label of a word belongs to the word's last
        token: there a forward encoder has read the whole word.

        Returns:
            The tokens of each document, and for each document (words,) int64, the position of each word's last token.
        """
        lead = self.tokenize("")
        spaced = [[self.word_gap * (place > 0) + word for place, word in enumerate(words)] for words in documents]
        distinct = list(dict.fromkeys(word for words in spaced for word in words))
        encoded = self.tokenize_many(distinct)
        pieces = {word: tokens[len(lead) :] or [UNK] for word, tokens in zip(distinct, encoded, strict=True)}
        tokenized: list[list[str]] = []
        ends: list[np.ndarray] = []
        for words in spaced:
            parts = [pieces[word] for word in words]
            tokenized.append([*lead, *(token for part in parts for token in part)])
            ends.append(len(lead) - 1 + np.cumsum([len(part) for part in parts], dtype=np.int64))
        return tokenized, ends

    def start_stream(self) -> PieceTokenizer:
        """Begin a text that comes in pieces; by default it is held until its end."""
        return _WholeText(self)

    def detokenize(self, tokens: Sequence[str]) -> str:
        """Write the text that tokens stand for, as people would write it."""
        ...

    def starts_word(self, token: str) -> bool:
        """Tell whether a token that is not special follows white space, or is a word by itself."""
        return True

    def spell(self, tokens: Sequence[str]) -> str:
        """Write the text of tokens without white space between them, in the case that the tokens have."""
        return "".join(tokens)

    def closed_vocabulary(self) -> Vocabulary | None:
        """Return the tokenizer's own vocabulary, or None if one is built from counts."""
        return None

    def build_vocabulary(
        self, counts: Mapping[str, int], max_vocab: int | None = None, min_freq: int | None = None
    ) -> Vocabulary:
        """Build a vocabulary from the tokens of a corpus; not called if there is a closed one.

        By default it has the special tokens and the 60,000 most frequent that occur at least 3 times.

        Args:
            counts: Occurrences in the training text of every token of the corpus, 0 for one in held-out text alone.
            max_vocab: Tokens at most, special ones included; None for the tokenizer's default.
            min_freq: Occurrences below which a token is left out; None for the tokenizer's default.

        Raises:
            ConfigError: If max_vocab has no room beside the special tokens, or min_freq is not positive.
            DataError: If no token is left.
        """
        return Vocabulary.build(counts, 60_000 if max_vocab is None else max_vocab, 3 if min_freq is None else min_freq)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write all that `load_tokenizer` needs into `folder`."""
        save_settings(folder, self.name, self.settings)


def text_fields(text: Text) -> tuple[str, ...]:
    """List the fields of a text, one if it has no several."""
    return (text,) if isinstance(text, str) else text


def save_settings(folder: str | os.PathLike[str], name: str, settings: dict[str, Any]) -> None:
    """Write tokenizer.json: format version, the tokenizer's name, its settings."""
    write_json(Path(folder) / TOKENIZER_FILE, {"format_version": FORMAT_VERSION, "name": name, "settings": settings})
