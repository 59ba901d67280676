"""Near-duplicates across the two sides of a split.

Two documents are near-duplicates if the sets of their shingles, runs of 5 tokens, have a Jaccard resemblance of at
least 0.8 (Broder 1997, On the resemblance and containment of documents, section 2). Candidates come from MinHash with
64 hash functions in 16 bands of 4 rows (Leskovec, Rajaraman & Ullman 2014, Mining of Massive Datasets, section 3.4): a
pair of resemblance s becomes a candidate with probability 1 - (1 - s^4)^16, which is 0.9998 at s = 0.8. The resemblance
of each candidate is then computed exactly, so none is counted that is not one. A document shorter than a shingle is one
shingle.

Boilerplate repeated thousands of times yields very many candidates. Those that share the most bands are compared
first; after 64 rejected candidates the search for a document stops, and documents already found are skipped. There are
therefore at most as many comparisons as documents on one side plus 64 times the documents on the other.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ulmkit.text.workers import chunked

SHINGLE_TOKENS = 5
THRESHOLD = 0.8
HASHES = 64
BAND_ROWS = 4
_BANDS = HASHES // BAND_ROWS
BLOCK_TOKENS = 1 << 17  # a block's hashes (1 MiB) stay in cache
_MAX_REJECTED = 64  # candidates per document of the other side
_WINDOW = 1024  # candidates per document and band that are ranked at a time
_MIX = np.uint64(0x9E3779B97F4A7C15)

Block = tuple[np.ndarray, np.ndarray]  # ids of documents one after another, their lengths


@dataclass(frozen=True)
class NearDuplicates:
    """Duplicates found on one side of a split, a value for each of its documents in order.

    Attributes:
        exact: (documents,) bool, the other side has the same tokens.
        near: (documents,) bool, the other side has a near-duplicate; an exact one is near too.
    """

    exact: np.ndarray
    near: np.ndarray

    def select(self, mask: np.ndarray) -> "NearDuplicates":
        """Select some of the documents by a (documents,) bool mask."""
        return NearDuplicates(self.exact[mask], self.near[mask])

    def counts(self) -> dict[str, int]:
        """Count the documents, the exact and the near duplicates: {"documents", "exact", "near"}."""
        return {"documents": len(self.near), "exact": int(self.exact.sum()), "near": int(self.near.sum())}


def blocks(documents: Iterable[np.ndarray]) -> Iterator[Block]:
    """Join documents, each (tokens,) ids, to blocks of a size that is quick to hash."""
    for chunk in chunked(documents, len, BLOCK_TOKENS):
        yield np.concatenate(chunk), np.array(list(map(len, chunk)))


class DuplicateIndex:
    """Documents of one side, hashed, to look for near-duplicates in the other.

    Memory: about 8 bytes per token and 0.2 kB per document.

    Args:
        side: The documents in blocks.
    """

    def __init__(self, side: Iterable[Block]) -> None:
        shingles = [np.zeros(0, np.uint64)]
        counts = [0]
        wholes = [np.zeros(0, np.uint64)]
        band_keys: list[np.ndarray] = []
        for ids, lengths in side:
            block = _hash_block(ids, lengths)
            distinct = list(block.shingles())
            counts += map(len, distinct)
            shingles.append(np.concatenate(distinct))
            wholes.append(block.wholes)
            band_keys.append(block.keys)
        self._shingles = np.concatenate(shingles)
        del shingles
        self._ends = np.cumsum(counts, dtype=np.int64)
        self.filled = np.diff(self._ends) > 0
        self.wholes = np.concatenate(wholes)
        self.keys: np.ndarray = np.empty((_BANDS, len(self.wholes)), np.uint64)
        end = len(self.wholes)
        while band_keys:  # from the last to the first, so that no second copy of all is made
            block_keys = band_keys.pop()
            self.keys[:, end - block_keys.shape[1] : end] = block_keys
            end -= block_keys.shape[1]
        self.order: np.ndarray = np.empty(self.keys.shape, np.int32)
        for keys, order in zip(self.keys, self.order, strict=True):
            order[:] = np.argsort(keys, kind="stable")
            keys[:] = keys[order]

    def shingles(self, row: int) -> np.ndarray:
        """Return the distinct shingles of a document of this side, sorted."""
        return self._shingles[self._ends[row] : self._ends[row + 1]]

    def find(self, others: Iterable[Block]) -> NearDuplicates:
        """Find the indexed documents that have a near-duplicate among `others`, read once and block by block."""
        exact, near = np.zeros(len(self.wholes), bool), np.zeros(len(self.wholes), bool)
        order = self.order
        keys = self.keys
        for ids, lengths in others:
            block = _hash_block(ids, lengths)
            exact |= self.filled & np.isin(self.wholes, block.wholes)
            near |= exact
            if order.shape[1] > np.count_nonzero(~near):
                is_left = ~near[order]  # the same number in each band
                order, keys = order[is_left].reshape(_BANDS, -1), keys[is_left].reshape(_BANDS, -1)
            # The block's documents are the outer loop: each is hashed and compared once, then forgotten, so the larger
            # side is never in memory. Within it, `near` shrinks the candidates, so boilerplate is not compared again.
            for other, candidates in _candidates(block, order, keys):
                self._compare(np.unique(block.hashes_of(other)), candidates, near)
        return NearDuplicates(exact, near)

    def find_others(self, others: Iterable[Block]) -> np.ndarray:
        """Find the documents of the other side that have a near-duplicate in the index.

        Args:
            others: The other side, read once, one block in memory at a time.

        Returns:
            (documents of the other side,) bool.
        """
        none_near = np.zeros(len(self.wholes), bool)
        parts = [np.zeros(0, bool)]
        for ids, lengths in others:
            block = _hash_block(ids, lengths)
            is_shared = (block.counts > 0) & np.isin(block.wholes, self.wholes[self.filled])
            for other, candidates in _candidates(block, self.order, self.keys):
                if not is_shared[other]:
                    shingles = np.unique(block.hashes_of(other))
                    likeliest = _likeliest(candidates, none_near)[:_MAX_REJECTED]
                    is_shared[other] = any(resemblance(self.shingles(k), shingles) >= THRESHOLD for k in likeliest)
            parts.append(is_shared)
        return np.concatenate(parts)

    def _compare(self, shingles: np.ndarray, candidates: Sequence[np.ndarray], near: np.ndarray) -> None:
        """Set `near` for the candidates, the indexed documents of each shared band, that resemble `shingles`."""
        rejected: set[int] = set()
        while likeliest := [row for row in _likeliest(candidates, near) if row not in rejected]:
            for row in likeliest:
                near[row] = resemblance(self.shingles(row), shingles) >= THRESHOLD
                if not near[row]:
                    rejected.add(row)
                if len(rejected) == _MAX_REJECTED:
                    return


def _candidates(block: "_HashedBlock", order: np.ndarray, keys: np.ndarray) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yield each document of the block that shares a band, with the indexed documents of each band it shares."""
    first = np.stack([np.searchsorted(*pair, side="left") for pair in zip(keys, block.keys, strict=True)])
    last = np.stack([np.searchsorted(*pair, side="right") for pair in zip(keys, block.keys, strict=True)])
    is_shared = (last > first) & (block.counts > 0)
    for other in np.flatnonzero(is_shared.any(axis=0)).tolist():
        bands = np.flatnonzero(is_shared[:, other])
        yield other, [order[band, first[band, other] : last[band, other]] for band in bands]


def _likeliest(candidates: Sequence[np.ndarray], near: np.ndarray) -> list[int]:
    """List candidates that are not yet `near`, at least a window of each band, those in the most bands first."""
    documents, bands = np.unique(np.concatenate([_window(band, near) for band in candidates]), return_counts=True)
    return documents[np.argsort(-bands, kind="stable")].tolist()


def _window(band: np.ndarray, near: np.ndarray) -> np.ndarray:
    window = band[:0]
    for start in range(0, len(band), _WINDOW):
        piece = band[start : start + _WINDOW]
        window = np.concatenate((window, piece[~near[piece]]))
        if len(window) >= _WINDOW:
            break
    return window


def resemblance(left: np.ndarray, right: np.ndarray) -> float:
    """Jaccard resemblance |A ∩ B| / |A ∪ B| of two sorted arrays of distinct hashes; 0 for two empty ones.

    Source: Broder 1997, On the resemblance and containment of documents, section 2.
    """
    common = len(np.intersect1d(left, right, assume_unique=True))
    union = len(left) + len(right) - common
    return common / union if union else 0.0


@dataclass(frozen=True)
class _HashedBlock:
    hashes: np.ndarray  # shingles of all documents, one after another
    starts: np.ndarray  # (documents,) where each begins
    counts: np.ndarray  # (documents,) how many each has
    wholes: np.ndarray  # (documents,) hash of the whole document
    keys: np.ndarray  # (bands, documents) hash of each band's rows

    def hashes_of(self, document: int) -> np.ndarray:
        return self.hashes[self.starts[document] : self.starts[document] + self.counts[document]]

    def shingles(self) -> Iterator[np.ndarray]:
        for document in range(len(self.counts)):
            yield np.unique(self.hashes_of(document))


def _mixed(values: np.ndarray) -> np.ndarray:
    """Mix 64 bits by a bijection under which near values have nothing in common (splitmix64's finalizer)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _hash_block(ids: np.ndarray, lengths: np.ndarray) -> _HashedBlock:
    tokens = _mixed((ids.astype(np.uint64) + np.uint64(1)) * _MIX)
    begins = np.cumsum(lengths) - lengths
    counts = np.where(lengths > 0, np.maximum(lengths - SHINGLE_TOKENS + 1, 1), 0)
    starts = np.cumsum(counts) - counts
    position = np.arange(counts.sum()) + np.repeat(begins - starts, counts)  # of each shingle's first token
    end = np.repeat(begins + lengths, counts)
    padded = np.concatenate((tokens, np.zeros(SHINGLE_TOKENS, np.uint64)))
    hashes = np.zeros(len(position), np.uint64)
    for step in range(SHINGLE_TOKENS):
        hashes = hashes * _MIX + np.where(position + step < end, padded[position + step], np.uint64(0))
    hashes = _mixed(hashes)
    within = np.arange(len(tokens)) - np.repeat(begins, lengths)
    wholes = _sums(_mixed(tokens + within.astype(np.uint64) * _MIX), begins, lengths)
    return _HashedBlock(hashes, starts, counts, wholes, _band_keys(hashes, starts, counts))


def _sums(values: np.ndarray, begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Sum each document's values, modulo 2^64."""
    total = np.concatenate((np.zeros(1, np.uint64), np.cumsum(values, dtype=np.uint64)))
    return total[begins + lengths] - total[begins]


def _band_keys(hashes: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Hash each band's 4 MinHashes to one number; MinHash k is min over a_k * shingle + b_k.

    Returns:
        (bands, documents) uint64.
    """
    keys = np.zeros((_BANDS, len(counts)), np.uint64)
    filled = np.flatnonzero(counts)
    if not len(filled):
        return keys
    generator = np.random.RandomState(0)  # a frozen stream: reports stay comparable
    factors = generator.randint(0, 2**63, size=(HASHES, 2), dtype=np.int64).astype(np.uint64)
    for number, (factor, shift) in enumerate(factors):
        smallest = np.minimum.reduceat(hashes * (factor | np.uint64(1)) + shift, starts[filled])
        keys[number // BAND_ROWS, filled] = _mixed(keys[number // BAND_ROWS, filled] * _MIX + smallest)
    return keys
