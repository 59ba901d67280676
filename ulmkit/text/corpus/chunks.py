"""Tokenizing a chunk of documents: what a worker does with each, in its own process or in this one."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ulmkit.text.tokens.rules import FLD
from ulmkit.text.tokens.streaming import StreamingTokens
from ulmkit.text.tokens.tokenizer import Text, Tokenizer, text_fields

PIECE_CHARACTERS = 1 << 20  # of a long text, tokenized at once

ChunkItem = Text | list[str]
"""A text, the fields of a text, or (a list) a text cut into words beforehand."""


@dataclass(frozen=True)
class EncodedChunk:
    """Tokens of a chunk of documents, by numbers of the chunk's own.

    Attributes:
        types: Distinct tokens, in the order in which they first occur.
        ids: (tokens,) indices into `types`, all documents one after another, in the smallest unsigned type.
        lengths: (documents,) int64 tokens of each document.
        words: (documents,) int64 words of each document, runs of characters between white space.
        characters: (documents,) int64 characters of each document.
        boundaries: (documents,) int64 start of the second field of a text (its xxfld), -1 if there is none.
        marks: For each document that is split into words, (words,) int64 last token of each word, which carries the
            word's label.
    """

    types: list[str]
    ids: np.ndarray
    lengths: np.ndarray
    words: np.ndarray
    characters: np.ndarray
    boundaries: np.ndarray
    marks: list[np.ndarray]


def encode_chunk(tokenizer: Tokenizer, items: Sequence[ChunkItem]) -> EncodedChunk:
    """Tokenize `items`; the result does not depend on other chunks, nor on the process that does it."""
    numbers: defaultdict[str, int] = defaultdict(itertools.count().__next__)

    def ids_of(tokens: Sequence[str]) -> np.ndarray:
        return np.fromiter(map(numbers.__getitem__, tokens), np.uint32, count=len(tokens))

    marks: list[np.ndarray] = []
    if any(isinstance(item, list) for item in items):
        tokens, marks = tokenizer.tokenize_words([item if isinstance(item, list) else _words(item) for item in items])
        documents = [ids_of(document) for document in tokens]
    else:
        texts = [item for item in items if not isinstance(item, list)]
        short = iter(tokenizer.tokenize_many([text for text in texts if not _is_long(text)]))
        documents = [
            np.concatenate([ids_of(part) for part in _long_tokens(tokenizer, text)])
            if isinstance(text, str) and _is_long(text)
            else ids_of(next(short))
            for text in texts
        ]
    ids = np.concatenate([np.zeros(0, np.uint32), *documents])
    return EncodedChunk(
        types=list(numbers),
        ids=ids.astype(np.min_scalar_type(len(numbers))),
        lengths=np.array([len(document) for document in documents], dtype=np.int64),
        words=np.array([_count_words(item) for item in items], np.int64),
        characters=np.array([characters(item) for item in items], np.int64),
        boundaries=np.array([_boundary(*pair, numbers) for pair in zip(items, documents, strict=True)], np.int64),
        marks=marks,
    )


def _is_long(item: ChunkItem) -> bool:
    """Tell whether a text, such as a word-level corpus in one file, has too many tokens to hold in memory at once."""
    return isinstance(item, str) and len(item) > PIECE_CHARACTERS


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), PIECE_CHARACTERS):
        yield text[start : start + PIECE_CHARACTERS]


def _long_tokens(tokenizer: Tokenizer, text: str) -> Iterator[list[str]]:
    """Yield the tokens of a text, some at a time."""
    streaming = StreamingTokens(tokenizer)
    for piece in _pieces(text):
        yield streaming.feed(piece)
    yield streaming.finish()


def _count_words(item: ChunkItem) -> int:
    """Count runs of characters between white space; a run that goes on from piece to piece counts once."""
    if not isinstance(item, str):
        return len(item) if isinstance(item, list) else sum(map(_count_words, item))
    words = 0
    is_inside = False
    for piece in _pieces(item):
        words += len(piece.split()) - (is_inside and not piece[0].isspace())
        is_inside = not piece[-1].isspace()
    return words


def characters(item: ChunkItem) -> int:
    """Count the characters of a document, all its fields or words together."""
    return len(item) if isinstance(item, str) else sum(map(len, item))


def _words(item: Text) -> list[str]:
    return [word for field in text_fields(item) for word in field.split()]


def _boundary(item: ChunkItem, ids: np.ndarray, numbers: Mapping[str, int]) -> int:
    """Find the second xxfld among the tokens of a text with fields; -1 if there is none."""
    if not isinstance(item, tuple) or len(item) < 2:
        return -1
    return int(np.flatnonzero(ids == numbers[FLD])[1])
