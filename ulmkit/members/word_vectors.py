"""Word vectors: learned from much general text, for tasks whose own text is too little to learn them from.

They are those of `ulmkit.members.document_vectors`, of words alone, learned from passages of the text that a language
model was pretrained on, and kept beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ulmkit.errors import ConfigError
from ulmkit.members.document_vectors import keep_shares, learn_vectors
from ulmkit.members.ngrams import NGrams
from ulmkit.text.words import WordSequence

_MOST_WORDS = 50_000
_MIN_OCCURRENCES = 50
_PASSAGE_WORDS = 400
_WANTED_TOKENS = 1e9  # of all passes together
_LARGEST_CODE = 127


@dataclass(frozen=True)
class WordVectors:
    """Vectors of words, rounded to 8 bits.

    v_w = scale_w code_w

    Attributes:
        words: The words.
        codes: (words, size) int8.
        scales: (words,) float32, positive.
        keep: (words,) float32, above 0 and at most 1, see `keep_shares`.

    Raises:
        ConfigError: If shapes or types do not fit each other, or a number is out of its range.
    """

    words: tuple[str, ...]
    codes: np.ndarray
    scales: np.ndarray
    keep: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.words)
        if self.codes.dtype != np.int8 or self.codes.ndim != 2 or len(self.codes) != count:
            raise ConfigError(f"codes: expected int8 of {count} words, got {self.codes.dtype} {self.codes.shape}")
        for name, array, most in (("scales", self.scales, np.inf), ("keep", self.keep, 1.0)):
            if array.dtype != np.float32 or array.shape != (count,):
                raise ConfigError(f"{name}: expected float32 of shape {(count,)}, got {array.dtype} {array.shape}")
            if not ((array > 0) & (array <= most)).all():
                raise ConfigError(f"{name}: expected positive numbers of at most {most:g}, got others")

    @property
    def size(self) -> int:
        """Length of the vectors."""
        return self.codes.shape[1]

    @cached_property
    def vectors(self) -> np.ndarray:
        """(words, size) float32."""
        return self.codes * self.scales[:, None]


def learn_word_vectors(texts: Sequence[WordSequence], words: Sequence[str], seed: int = 0) -> WordVectors | None:
    """Learn the vectors of the most frequent words of much text.

    Args:
        texts: Parts of the text; each document is cut into passages of 400 words.
        words: The word of each id.
        seed: Seed of the learning.

    Returns:
        The vectors, the most frequent words first; None if no word occurs 50 times.

    Source: Le & Mikolov 2014, arXiv:1405.4053, section 2.3 (PV-DBOW), for passages in place of documents.
    """
    from scipy.sparse import vstack

    occurrences = np.zeros(len(words), dtype=np.int64)
    for part in texts:
        occurrences += np.bincount(part.ids[part.ids >= 0], minlength=len(words))
    order = np.argsort(-occurrences, kind="stable")[:_MOST_WORDS]
    kept = order[occurrences[order] >= _MIN_OCCURRENCES]
    if not len(kept):
        return None
    ids = np.full(len(words), -1)
    ids[kept] = np.arange(len(kept))
    ngrams = NGrams(len(kept))
    counts = vstack([ngrams.counts(_passages(part).renumber(ids)) for part in texts], format="csr")
    keep = keep_shares(counts)
    vectors = learn_vectors(counts, keep, seed, _WANTED_TOKENS)
    scales = np.maximum(np.abs(vectors).max(axis=1) / _LARGEST_CODE, np.finfo(np.float32).tiny).astype(np.float32)
    codes = np.round(vectors / scales[:, None]).astype(np.int8)
    return WordVectors(tuple(words[number] for number in kept), codes, scales, keep)


def _passages(text: WordSequence) -> WordSequence:
    """Cut each document into passages."""
    bounds = zip(text.offsets[:-1], text.offsets[1:], strict=True)
    begins = [np.arange(begin, end, _PASSAGE_WORDS) for begin, end in bounds]
    return WordSequence(text.ids, np.concatenate([*begins, text.offsets[-1:]]))
