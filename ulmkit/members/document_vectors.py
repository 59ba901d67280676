"""Document vectors: directions in which the n-grams of much text vary together, learnt without labels.

    X: (documents, features) positive pointwise mutual information of n-grams, rows of unit length (`weigh`)
    X ~ U diag(s) V^T                        truncated singular value decomposition
    z_1 = x_1 V,  z_2 = x_2 V                the two halves of each document
    W: W^T E[z_1 z_2^T] W = diag(r),  W^T (E[z z^T] + a I) W = I
    vector(x) = x V W diag(r^power)

r are the regularized canonical correlations of the halves: what both halves of a document say is about the document,
the rest is chance. A higher power trusts the most correlated directions more.

A logistic regression on these vectors is one on x itself, with the weights V W diag(r^power) w: afterwards it needs no
vectors, and reads a text of any length as a stream.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ulmkit.text.words import WordSequence

_CHUNK = 8  # words; documents that are shorter than two chunks are cut in the middle
_RIDGE = 0.3  # a, relative to the mean variance: with less, rare boilerplate agrees best
_LEAST_CORRELATION = 0.02


@dataclass(frozen=True)
class Directions:
    """Directions of documents.

    Attributes:
        basis: V W, (features, d) float32.
        correlations: r, (d,) float32, falling, above 0.
    """

    basis: np.ndarray
    correlations: np.ndarray

    def matrix(self, power: float) -> np.ndarray:
        """V W diag(r^power), (features, d): maps features to document vectors."""
        return np.asarray(self.basis * self.correlations**power)


def halves(words: WordSequence) -> tuple[WordSequence, WordSequence]:
    """Cut documents into two halves, which take turns every few words; the words of the other half become unknown."""
    lengths = np.diff(words.offsets)
    place = np.arange(len(words.ids)) - np.repeat(words.offsets[:-1], lengths)
    is_second = place // np.repeat(np.clip((lengths + 1) // 2, 1, _CHUNK), lengths) % 2 == 1
    first, second = (np.where(is_second == half, words.ids, -1) for half in (False, True))
    return WordSequence(first, words.offsets), WordSequence(second, words.offsets)


def correlated_directions(basis: np.ndarray, first: np.ndarray, second: np.ndarray) -> Directions:
    """Find the directions in which the two halves of documents agree.

    Args:
        basis: V, (features, d) from `principal_directions`.
        first: (n, d) first halves of documents, x_1 V.
        second: (n, d) their second halves, x_2 V.

    Returns:
        The directions; those in which the halves do not agree are left out.

    Source: Kakade & Foster 2007, "Multi-view regression via canonical correlation analysis". Deviation: the covariance
        is regularized, both halves have the same directions, and a power of r that is chosen by held-out
        labels takes the place of the canonical norm's sqrt(r / (1 - r)).
    """
    from scipy.linalg import eigh

    count = max(len(first), 1)
    first, second = (half.astype(np.float64) - half.sum(axis=0) / count for half in (first, second))
    between = (first.T @ second + second.T @ first) / (2 * count)
    within = (first.T @ first + second.T @ second) / (2 * count)
    within += _RIDGE * max(within.trace() / len(within), 1e-12) * np.eye(len(within))
    values, vectors = eigh(between, within)
    kept = np.argsort(-values)
    kept = kept[values[kept] > _LEAST_CORRELATION]
    if not len(kept):
        kept = np.array([values.argmax()])
    correlations = np.clip(values[kept], _LEAST_CORRELATION, 1.0)
    return Directions((basis @ vectors[:, kept]).astype(np.float32), correlations.astype(np.float32))


def principal_directions(features: Any, size: int, seed: int = 0) -> np.ndarray:
    """Compute the strongest directions of documents.

    Args:
        features: (documents, features) csr_array, float32, from `weigh`.
        size: Number of directions, d; at most the rank.
        seed: Seed of the random projection.

    Returns:
        V, (features, d) float32, orthonormal columns, strongest first; a column of 0 for features that are all 0.

    Source: Halko, Martinsson & Tropp 2011, "Finding structure with randomness", algorithm 4.4; the matrix is that of
        Levy & Goldberg 2014, "Neural word embedding as implicit matrix factorization", section 3, for documents as
        contexts, which PV-DBOW (Le & Mikolov 2014, section 2.3) factorises by sampling.
    """
    size = max(1, min(size, *features.shape))
    oversampled = min(size + 16, *features.shape)
    transposed = features.T.tocsr()
    sketch = np.random.default_rng(seed).standard_normal((features.shape[0], oversampled), dtype=np.float32)
    for _ in range(3):
        sketch, _ = np.linalg.qr(features @ (transposed @ sketch))
    small = np.asarray(transposed @ sketch).T  # (d, features) = Q^T X
    values, vectors = np.linalg.eigh(small.astype(np.float64) @ small.T)
    strongest = np.argsort(-values)[:size]
    strongest = strongest[: max(1, np.count_nonzero(values > 1e-10 * values.max()))]
    basis = (small.T @ vectors[:, strongest]) / np.sqrt(np.maximum(values[strongest], np.finfo(np.float32).tiny))
    return np.asarray(basis, dtype=np.float32)
