"""The vocabulary: tokens by id, built from counts, immutable."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ulmkit.config import check_whole
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.files import fingerprint, read_json
from ulmkit.safe_writes import write_json
from ulmkit.text.tokens.rules import BOS, EOS, PAD, SPECIALS, UNK

FORMAT_VERSION = 1

_UNK_NAMES = (UNK, "<unk>")
_EOS_NAMES = (EOS, "<eos>")


class Vocabulary:
    """Tokens in the order of their ids. Immutable; two vocabularies with the same tokens are equal.

    Args:
        tokens: Distinct tokens, in the order of their ids from 0.

    Raises:
        DataError: If there is none or one occurs twice.
    """

    __slots__ = ("_ids", "_tokens")

    def __init__(self, tokens: Iterable[str]) -> None:
        self._tokens = tuple(tokens)
        self._ids = {token: index for index, token in enumerate(self._tokens)}
        if not self._tokens:
            raise DataError("vocabulary: expected at least one token, got none; is the text empty?")
        if len(self._ids) != len(self._tokens):
            twice = next(token for index, token in enumerate(self._tokens) if self._ids[token] != index)
            raise DataError(f"vocabulary: expected distinct tokens, got {twice!r} more than once; remove the second")

    @classmethod
    def build(
        cls, counts: Mapping[str, int], max_vocab: int = 60_000, min_freq: int = 3, specials: Sequence[str] = SPECIALS
    ) -> "Vocabulary":
        """Build a vocabulary of the most frequent tokens, after the special ones.

        Args:
            counts: Occurrences of each token.
            max_vocab: Tokens at most, special ones included.
            min_freq: Occurrences below which a token is left out.
            specials: Tokens that come first, whatever their counts.

        Returns:
            Special tokens, then the others by falling count, ties by the token's text.

        Raises:
            ConfigError: If max_vocab has no room beside the specials or min_freq is not positive.
            DataError: If nothing is left.
        """
        check_whole("min_freq", min_freq)
        if max_vocab <= len(specials):
            raise ConfigError(f"max_vocab: expected more than the {len(specials)} special tokens, got {max_vocab!r}")
        special_set = frozenset(specials)
        kept = [token for token, count in counts.items() if count >= min_freq and token not in special_set]
        kept.sort(key=lambda token: (-counts[token], token))
        if not kept:
            raise DataError(
                f"vocabulary: expected a token that occurs at least {min_freq} times (min_freq), got none among "
                f"{len(counts)} distinct ones; lower min_freq or give more text"
            )
        return cls([*specials, *kept[: max_vocab - len(specials)]])

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens, in the order of their ids."""
        return self._tokens

    def __len__(self) -> int:
        return len(self._tokens)

    def id(self, token: str) -> int | None:
        """The id of `token`, or None if it is not in the vocabulary."""
        return self._ids.get(token)

    def __contains__(self, token: object) -> bool:
        return token in self._ids

    def encode(self, tokens: Sequence[str]) -> np.ndarray:
        """Look up the ids of tokens.

        Returns:
            (len(tokens),) int64; a token that is not in the vocabulary gets the unknown token's id.

        Raises:
            DataError: If a token is not in the vocabulary and there is no unknown token; the message names it.
        """
        unk = self.unk_id
        if unk is None:
            unknown = next((token for token in tokens if token not in self._ids), None)
            if unknown is not None:
                raise DataError(
                    f"token: expected one of the {len(self)} tokens of the vocabulary, got {unknown!r}, and the "
                    f"vocabulary has no {UNK!r} for words that it lacks; use the vocabulary that belongs to this text, "
                    "or train the model again: vocabularies are now made with that token"
                )
        get = self._ids.get
        return np.fromiter((get(token, unk) for token in tokens), dtype=np.int64, count=len(tokens))

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Look up the tokens of ids.

        Raises:
            DataError: If an id is negative or not below the size.
        """
        numbers = [int(number) for number in ids]
        for number in numbers:
            if not 0 <= number < len(self._tokens):
                raise DataError(f"id: expected 0 <= id < {len(self._tokens)} (the vocabulary's size), got {number}")
        return [self._tokens[number] for number in numbers]

    @property
    def unk_id(self) -> int | None:
        """The id of "xxunk", or of "<unk>" in a word-level corpus; None if there is neither."""
        return self._first_id(_UNK_NAMES)

    @property
    def pad_id(self) -> int | None:
        """The id of "xxpad", or None."""
        return self._ids.get(PAD)

    @property
    def bos_id(self) -> int | None:
        """The id of "xxbos", or None."""
        return self._ids.get(BOS)

    @property
    def eos_id(self) -> int | None:
        """The id of "xxeos", or of "<eos>" in a word-level corpus; None if there is neither."""
        return self._first_id(_EOS_NAMES)

    def _first_id(self, names: Iterable[str]) -> int | None:
        return next((self._ids[name] for name in names if name in self._ids), None)

    @property
    def fingerprint(self) -> str:
        """A short name for the tokens and their order."""
        return fingerprint("vocabulary", FORMAT_VERSION, self._tokens)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tokens to a JSON file."""
        write_json(path, {"format_version": FORMAT_VERSION, "tokens": list(self._tokens)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Vocabulary":
        """Read the vocabulary that `save` wrote.

        Raises:
            FolderError: If the file is missing, truncated, altered or of another format version.
        """
        content: Any = read_json(path)
        if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
            version = content.get("format_version") if isinstance(content, dict) else type(content).__name__
            raise FolderError(f"{path}: expected a vocabulary of format version {FORMAT_VERSION}, got {version!r}")
        tokens = content.get("tokens")
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise FolderError(f"{path}: expected a list of strings as 'tokens'; the file was altered")
        try:
            return cls(tokens)
        except DataError as error:
            raise FolderError(f"{Path(path)}: {error}") from error

    def __eq__(self, other: object) -> bool:
        return self._tokens == other._tokens if isinstance(other, Vocabulary) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._tokens)

    def __reduce__(self) -> tuple[type["Vocabulary"], tuple[tuple[str, ...]]]:
        return Vocabulary, (self._tokens,)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self._tokens)} tokens)"
