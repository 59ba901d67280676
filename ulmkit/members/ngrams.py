"""N-grams of words, counted by id; character n-grams are words here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ulmkit.errors import ConfigError, DataError
from ulmkit.text.words import WordSequence


@dataclass(frozen=True)
class NGrams:
    """The n-grams that a linear member counts. Feature ids: words first, then pairs, then triples.

    Attributes:
        word_count: Number of words, W; word ids are below it.
        codes: For pairs, and for triples if there are any: (n-grams,) int64, sorted. The code of words a, b, c is
            (a W + b) W + c.

    Raises:
        ConfigError: If codes are not sorted or of another type.
    """

    word_count: int
    codes: tuple[np.ndarray, ...] = ()

    def __post_init__(self) -> None:
        for codes in self.codes:
            if codes.dtype != np.int64 or codes.ndim != 1 or (np.diff(codes) <= 0).any():
                raise ConfigError(f"codes: expected int64 that rise, got {codes.dtype} of shape {codes.shape}")

    def __len__(self) -> int:
        return self.word_count + sum(map(len, self.codes))

    def word_ids(self) -> list[np.ndarray]:
        """Find the words of n-grams: ids of those of pairs (pairs, 2), and of triples (triples, 3) if there are any."""
        return [
            np.stack([codes // self.word_count**place % self.word_count for place in reversed(range(order))], axis=1)
            for order, codes in enumerate(self.codes, start=2)
        ]

    def with_words(self, word_count: int) -> "NGrams":
        """Give the same n-grams the codes of another number of words, which is above every word id in them."""
        codes = (ids @ word_count ** np.arange(ids.shape[1])[::-1] for ids in self.word_ids())
        return NGrams(word_count, tuple(codes))

    def counts(self, words: WordSequence) -> Any:
        """Count n-grams; those with a word or an n-gram that is not known are left out.

        Returns:
            (documents, features) scipy.sparse.csr_array, float32.
        """
        from scipy.sparse import csc_array, csr_array

        levels = self.occurrences(words)
        columns = np.concatenate([features for features, _ in levels])
        rows = words.documents()[np.concatenate([begins for _, begins in levels])]
        values = np.ones(len(rows), dtype=np.float32)
        # Documents come in order, so that turning columns into rows needs no sort; a few are sorted sooner as rows.
        make = csc_array if len(rows) > len(self) else csr_array
        counted = make((values, (rows, columns)), shape=(len(words), len(self))).tocsr()
        if counted.nnz < np.iinfo(np.int32).max:  # scikit-learn's solvers take no longer ones
            counted.indices, counted.indptr = counted.indices.astype(np.int32), counted.indptr.astype(np.int32)
        return counted

    def occurrences(self, words: WordSequence) -> list[tuple[np.ndarray, np.ndarray]]:
        """Find the known n-grams of documents.

        Returns:
            For words, for pairs, and for triples if there are any: the feature of each occurrence, (occurrences,)
            int64, and the place in `words.ids` at which it begins, (occurrences,) int64.
        """
        levels = []
        first = 0
        for order, (codes, begins) in enumerate(_codes(words, self.word_count, len(self.codes) + 1)):
            if order == 0:
                levels.append((codes, begins))
                first += self.word_count
                continue
            table = self.codes[order - 1]
            found = np.searchsorted(table, codes)
            is_known = table[np.minimum(found, len(table) - 1)] == codes if len(table) else found < 0
            levels.append((first + found[is_known], begins[is_known]))
            first += len(table)
        return levels


def frequent_words(words: WordSequence, min_documents: int) -> np.ndarray:
    """Ids of the words that at least `min_documents` documents have, sorted.

    Raises:
        DataError: If there are none.
    """
    is_known = words.ids >= 0
    ids, owners = words.ids[is_known], words.documents()[is_known]
    kept = np.flatnonzero(_document_counts(ids, owners, int(ids.max(initial=-1)) + 1) >= max(1, min_documents))
    if not len(kept):
        raise DataError(
            f"texts: expected words that occur in {min_documents} documents, found none in the training text"
        )
    return kept


def find_ngrams(words: WordSequence, word_count: int, longest: int, min_documents: Sequence[int]) -> NGrams:
    """Collect the n-grams of documents.

    Args:
        words: Documents, with word ids below `word_count` and -1.
        word_count: Number of words.
        longest: Most words of an n-gram, 1 to 3.
        min_documents: For pairs, and for triples: documents that an n-gram has to occur in.
    """
    owners = words.documents()
    levels = list(_codes(words, word_count, longest))[1:]
    return NGrams(
        word_count,
        tuple(
            _frequent(codes, owners[begins], least)
            for (codes, begins), least in zip(levels, min_documents, strict=False)
        ),
    )


def _codes(words: WordSequence, word_count: int, longest: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Codes of the n-grams of known words of each length, with the place in `words.ids` at which each begins."""
    owners = words.documents()
    is_known = words.ids >= 0
    begins = np.flatnonzero(is_known)
    levels = [(words.ids[begins], begins)]
    codes = words.ids
    for length in range(2, longest + 1):
        begin = len(owners) - length + 1
        if begin <= 0:
            levels.append((np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)))
            continue
        codes = codes[:begin] * word_count + words.ids[length - 1 :]
        is_known = is_known[:begin] & (words.ids[length - 1 :] >= 0)
        begins = np.flatnonzero(is_known & (owners[:begin] == owners[length - 1 :]))
        levels.append((codes[begins], begins))
    return levels


def _frequent(codes: np.ndarray, owners: np.ndarray, min_documents: int) -> np.ndarray:
    """The codes, sorted, that at least `min_documents` documents have."""
    if min_documents <= 1:
        return np.unique(codes)
    distinct, number = np.unique(codes, return_inverse=True)
    return distinct[_document_counts(number, owners, len(distinct)) >= min_documents]


def _document_counts(numbers: np.ndarray, owners: np.ndarray, size: int) -> np.ndarray:
    """Number of documents that have each of `size` numbers, (size,) int; `owners` are the documents of `numbers`."""
    from scipy.sparse import csc_array

    shape = (int(owners.max(initial=-1)) + 1, size)
    found = csc_array((np.ones(len(numbers), dtype=np.int8), (owners, numbers)), shape=shape)
    return np.diff(found.indptr)
