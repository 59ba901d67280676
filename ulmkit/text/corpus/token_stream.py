"""Documents one after another as one long sequence of tokens."""

from collections.abc import Sequence

import numpy as np

from ulmkit.errors import DataError
from ulmkit.text.corpus.shards import ShardReader


class TokenStream:
    """The tokens of documents in an order of their own, read from any place.

    Args:
        tokens: All tokens of a corpus.
        offsets: (documents,) start of each document in `tokens`, in the order of the stream.
        lengths: (documents,) length of each document, in the order of the stream.
        bos_id: Id of xxbos, which stays first in a reversed document; None if the vocabulary has none.
        reverse: Read each document from its end.
    """

    def __init__(
        self,
        tokens: ShardReader,
        offsets: np.ndarray,
        lengths: np.ndarray,
        bos_id: int | None = None,
        reverse: bool = False,
    ) -> None:
        self._tokens = tokens
        self._offsets = offsets
        self._lengths = lengths
        self._bos_id = bos_id
        self.reverse = reverse
        starts = np.arange(len(offsets))
        if not reverse and len(offsets):  # neighbours in the corpus are read at once
            starts = np.flatnonzero(np.concatenate(([True], offsets[1:] != offsets[:-1] + lengths[:-1])))
        ends = np.cumsum(lengths)
        self._run_offsets = offsets[starts]
        self._run_ends = ends[np.concatenate((starts[1:], [len(offsets)])) - 1] if len(offsets) else ends

    def __len__(self) -> int:
        return int(self._run_ends[-1]) if len(self._run_ends) else 0

    @property
    def documents(self) -> int:
        """Number of documents of the stream, empty ones included."""
        return len(self._offsets)

    def reordered(self, order: Sequence[int] | np.ndarray) -> "TokenStream":
        """Put the documents in another order: `order[k]` is the place in this stream of the new stream's document k."""
        places = np.asarray(order, dtype=np.int64)
        return TokenStream(self._tokens, self._offsets[places], self._lengths[places], self._bos_id, self.reverse)

    def reversed(self) -> "TokenStream":
        """Read each document from its other end, in the same order of documents; xxbos stays first."""
        return TokenStream(self._tokens, self._offsets, self._lengths, self._bos_id, not self.reverse)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read the tokens at start, ..., stop - 1.

        Returns:
            (stop - start,) int64.

        Raises:
            DataError: Unless 0 <= start <= stop <= len(stream).
        """
        if not 0 <= start <= stop <= len(self):
            raise DataError(f"stream: expected 0 <= start <= stop <= {len(self)}, got {start} and {stop}")
        tokens_read = np.empty(stop - start, dtype=np.int64)
        run = int(np.searchsorted(self._run_ends, start, side="right"))
        position = start
        while position < stop:
            end = int(self._run_ends[run])
            begin = int(self._run_ends[run - 1]) if run else 0
            part = self._read_run(run, position - begin, min(stop, end) - begin, end - begin)
            tokens_read[position - start : position - start + len(part)] = part
            position = min(stop, end)
            run += 1
        return tokens_read

    def _read_run(self, run: int, start: int, stop: int, length: int) -> np.ndarray:
        offset = int(self._run_offsets[run])
        if start >= stop:
            return np.zeros(0, np.int64)
        if not self.reverse:
            return self._tokens.read(offset + start, offset + stop)
        first = self._tokens.read(offset, offset + 1)
        kept = int(first[0] == self._bos_id)
        end = offset + length + kept
        back = self._tokens.read(end - stop, end - max(start, kept))[::-1]
        return back if start >= kept else np.concatenate((first, back))


def reversed_order(ids: np.ndarray, bos_id: int | None) -> np.ndarray:
    """Return the places of a document's tokens from its end; its xxbos, if it begins with one, stays first."""
    kept = int(len(ids) > 0 and ids[0] == bos_id)
    return np.concatenate((np.arange(kept), np.arange(len(ids) - 1, kept - 1, -1)))


def reverse_document(ids: np.ndarray, bos_id: int | None) -> np.ndarray:
    """Reverse a document; its xxbos, if it begins with one, stays first."""
    return ids[reversed_order(ids, bos_id)]
