"""Tokens on their way into a corpus: tokenized in order, spooled to disk under provisional numbers."""

import contextlib
import functools
import pickle
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

import numpy as np

from ulmkit.text.corpus.chunks import ChunkItem, EncodedChunk, characters, encode_chunk
from ulmkit.text.corpus.shards import ShardReader, ShardWriter
from ulmkit.text.corpus.split_columns import SplitColumns
from ulmkit.text.corpus.splits import Splits
from ulmkit.text.read.document import Document
from ulmkit.text.tokens.tokenizer import Tokenizer
from ulmkit.text.workers import map_chunks

_BLOCK_TOKENS = 1 << 20
_SPOOL_TYPE = np.dtype(np.uint32)


def encode_documents(
    documents: Iterable[Document], tokenizer: Tokenizer, per_word: bool, workers: int
) -> Generator[tuple[list[Document], EncodedChunk], None, None]:
    """Tokenize documents in chunks, in order; few chunks are in memory at a time.

    Args:
        documents: Read once.
        tokenizer: Sent to the workers pickled.
        per_word: Keep the documents' own division into words.
        workers: Number of processes; small inputs are tokenized in the calling process.
    """

    def content(document: Document) -> ChunkItem:
        return list(document.tokens) if per_word and document.tokens is not None else document.text

    encode = functools.partial(encode_chunk, tokenizer)
    return map_chunks(
        encode, documents, workers, content=content, characters=lambda document: characters(document.text)
    )


class DocumentSpool:
    """Documents on disk, written in one pass over the data and read as often as needed.

    A trained tokenizer needs the training texts before any text can be tokenized, and which texts are for training is
    known only when all documents have been read.

    Args:
        documents: Read once.
        path: The file to write.
    """

    def __init__(self, documents: Iterable[Document], path: Path) -> None:
        self._path = path
        self.columns = SplitColumns()
        with open(path, "wb") as file:
            for document in documents:
                self.columns.add(document)
                pickle.dump(document, file, protocol=pickle.HIGHEST_PROTOCOL)

    def __iter__(self) -> Iterator[Document]:
        with open(self._path, "rb") as file:
            for _ in range(len(self.columns)):
                yield pickle.load(file)

    def remove(self) -> None:
        """Delete the file."""
        self._path.unlink()


class TokenSpool:
    """Tokens on disk as uint32 numbers of `types`, written in order, then read as often as needed."""

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
        """Distinct tokens, by number."""
        return list(self.numbers)

    @property
    def tokens(self) -> ShardReader:
        """Everything written so far, which ends the writing."""
        if self._reader is None:
            self._writer.close()
            self._reader = ShardReader(self._writer.paths, _SPOOL_TYPE)
        return self._reader

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all numbers in order, a block at a time."""
        for start in range(0, len(self.tokens), _BLOCK_TOKENS):
            yield self.tokens.read(start, min(start + _BLOCK_TOKENS, len(self.tokens)))
            self.tokens.release()

    def counts(self, lengths: np.ndarray, splits: Splits, size: int) -> dict[str, np.ndarray]:
        """Count the occurrences of each number below `size` in each split.

        Args:
            lengths: (documents,) int.
            splits: Split of each document.
            size: Number of distinct tokens.

        Returns:
            (size,) int64 by split.
        """
        names = sorted(splits.occurring)
        codes = splits.ordered(names).codes
        ends = np.cumsum(lengths, dtype=np.int64)
        counts = np.zeros((len(names), size), dtype=np.int64)
        for number, block in enumerate(self.blocks()):
            documents = np.searchsorted(ends, np.arange(len(block)) + number * _BLOCK_TOKENS, side="right")
            block_codes = codes[documents]
            for code in np.unique(block_codes):
                counts[code] += np.bincount(block[block_codes == code], minlength=size)
        return dict(zip(names, counts, strict=True))

    def documents(self, offsets: np.ndarray, lengths: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the numbers of each of the documents `rows`."""
        tokens = 0
        for row in rows:
            yield self.tokens.read(int(offsets[row]), int(offsets[row] + lengths[row]))
            tokens += int(lengths[row])
            if tokens >= _BLOCK_TOKENS:
                self.tokens.release()
                tokens = 0

    def rewrite(self, writer: ShardWriter, ids: np.ndarray) -> None:
        """Write all tokens to `writer`, number n as `ids[n]`, and close it."""
        with contextlib.closing(writer):
            for block in self.blocks():
                writer.write(ids[block])

    def close(self) -> None:
        """End the writing."""
        self._writer.close()

    def remove(self) -> None:
        """Delete the files."""
        self.close()
        self._reader = None
        for path in self._writer.paths:
            path.unlink()
