"""Tokens on their way into a corpus: tokenized in order, spooled to disk under provisional numbers."""

import itertools
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ulmkit.text.corpus.chunks import ChunkItem, EncodedChunk, characters, encode_chunk
from ulmkit.text.corpus.shards import ShardReader, ShardWriter
from ulmkit.text.corpus.workers import WorkerPool
from ulmkit.text.read.document import Document
from ulmkit.text.tokens.tokenizer import Tokenizer

_CHUNK_CHARACTERS = 500_000
_CHUNK_DOCUMENTS = 2_000
_SMALL_CHARACTERS = 1_500_000  # starting workers takes longer than tokenizing this much here
_BLOCK_TOKENS = 1 << 20
_SPOOL_TYPE = np.dtype(np.uint32)


def encode_documents(
    documents: Iterable[Document], tokenizer: Tokenizer, tokenizer_folder: Path, per_word: bool, workers: int
) -> Generator[tuple[list[Document], EncodedChunk], None, None]:
    """Documents in chunks, each with its tokens, in order; few chunks are in memory at a time.

    Args: tokenizer_folder: where `tokenizer` was saved, for the workers. per_word: takes words as they are cut.
        workers: processes; 1, or little text, is done in this one.
    """
    chunks = _chunks(documents)
    first: list[list[Document]] = []
    size = 0
    for chunk in chunks:
        first.append(chunk)
        size += sum(characters(_item(document, per_word)) for document in chunk)
        if size >= _SMALL_CHARACTERS:
            break
    waiting: deque[list[Document]] = deque()

    def items() -> Iterator[list[ChunkItem]]:
        for chunk in itertools.chain(first, chunks):
            waiting.append(chunk)
            yield [_item(document, per_word) for document in chunk]

    if workers == 1 or size < _SMALL_CHARACTERS:
        for item in items():
            yield waiting.popleft(), encode_chunk(tokenizer, item)
    else:
        with WorkerPool(tokenizer_folder, workers) as pool:
            for encoded in pool.encode(items()):
                yield waiting.popleft(), encoded


def _item(document: Document, per_word: bool) -> ChunkItem:
    return list(document.tokens) if per_word and document.tokens is not None else document.text


def _chunks(documents: Iterable[Document]) -> Iterator[list[Document]]:
    chunk: list[Document] = []
    size = 0
    for document in documents:
        chunk.append(document)
        size += characters(document.text)
        if size >= _CHUNK_CHARACTERS or len(chunk) == _CHUNK_DOCUMENTS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


class TokenSpool:
    """All tokens on disk as uint32 numbers of `types`, written in order, then read as often as needed."""

    def __init__(self, folder: Path, stem: str) -> None:
        self.numbers: dict[str, int] = {}
        self._writer = ShardWriter(folder, stem, _SPOOL_TYPE)
        self._reader: ShardReader | None = None

    def add(self, encoded: EncodedChunk) -> None:
        """Append a chunk's tokens."""
        numbers = self.numbers
        provisional = [numbers.setdefault(token, len(numbers)) for token in encoded.types]
        self.write(np.array(provisional, dtype=_SPOOL_TYPE)[encoded.ids])

    def write(self, numbers: np.ndarray) -> None:
        """Append numbers as they are."""
        self._writer.write(numbers)

    @property
    def types(self) -> list[str]:
        """The distinct tokens, by number."""
        return list(self.numbers)

    @property
    def tokens(self) -> ShardReader:
        """What was written."""
        if self._reader is None:
            self._writer.close()
            self._reader = ShardReader(self._writer.paths, _SPOOL_TYPE)
        return self._reader

    def blocks(self) -> Iterator[np.ndarray]:
        """All numbers in order, a piece at a time."""
        for start in range(0, len(self.tokens), _BLOCK_TOKENS):
            yield self.tokens.read(start, min(start + _BLOCK_TOKENS, len(self.tokens)))

    def counts(self, lengths: np.ndarray, splits: Sequence[str], size: int) -> dict[str, np.ndarray]:
        """How often each number below `size` occurs in each split. lengths, splits: by document."""
        names = sorted(set(splits))
        codes = np.array([names.index(name) for name in splits], dtype=np.int16)
        ends = np.cumsum(lengths)
        found = np.zeros((len(names), size), dtype=np.int64)
        for at, block in enumerate(self.blocks()):
            documents = np.searchsorted(ends, np.arange(len(block)) + at * _BLOCK_TOKENS, side="right")
            here = codes[documents]
            for code in np.unique(here):
                found[code] += np.bincount(block[here == code], minlength=size)
        return dict(zip(names, found, strict=True))

    def documents(self, offsets: np.ndarray, lengths: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
        """The numbers of each of the documents `rows`."""
        for row in rows:
            yield self.tokens.read(int(offsets[row]), int(offsets[row] + lengths[row]))

    def rewrite(self, writer: ShardWriter, ids: np.ndarray) -> None:
        """Write all tokens to `writer`, number n as `ids[n]`."""
        for block in self.blocks():
            writer.write(ids[block])

    def remove(self) -> None:
        """Delete the files."""
        self._writer.close()
        self._reader = None
        for path in self._writer.paths:
            path.unlink()
