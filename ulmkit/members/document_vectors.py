"""Document vectors: directions in which the n-grams of much text vary together, learnt without labels.

    X: (documents, features) positive pointwise mutual information of n-grams, rows of unit length (`weigh`)
    X ~ U diag(s) V^T          truncated singular value decomposition
    vector(x) = x V diag((s / s_1)^power)

A logistic regression on these vectors is one on x itself, with the weights V diag((s / s_1)^power) w: afterwards it
needs no vectors, and reads a text of any length as a stream. A higher power trusts the strongest directions more.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Directions:
    """Principal directions of documents.

    Attributes:
        basis: V, (features, d) float32, orthonormal columns.
        singular_values: s, (d,) float32, falling.
    """

    basis: np.ndarray
    singular_values: np.ndarray

    def matrix(self, power: float) -> np.ndarray:
        """V diag((s / s_1)^power), (features, d): maps features to document vectors."""
        return np.asarray(self.basis * (self.singular_values / self.singular_values[0]) ** power)


def find_directions(features: Any, size: int, seed: int = 0) -> Directions:
    """Compute the strongest directions of documents.

    Args:
        features: (documents, features) csr_array, float32, from `weigh`.
        size: Number of directions, d; at most the rank.
        seed: Seed of the random projection.

    Returns:
        The directions.

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
    strongest = strongest[values[strongest] > 1e-10 * values.max()]
    singular = np.sqrt(values[strongest])
    basis = (small.T @ vectors[:, strongest]) / singular
    return Directions(basis.astype(np.float32), singular.astype(np.float32))
