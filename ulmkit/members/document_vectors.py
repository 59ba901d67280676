"""Document vectors: means of n-gram vectors that are learned without labels.

    v_f: vectors of n-grams that tell which documents they are in          (`learn_ngram_vectors`)
    x_f = k_f / sum_g k_g over the different n-grams of a document, k: `keep_shares`    (`weigh`)
    vector(x) = x V

Rare n-grams count most, and how often a document has one does not matter.

A logistic regression on these vectors is one on x itself, with the weights V w: afterwards it needs no vectors, and
reads a text of any length as a stream.
"""

from typing import Any

import numpy as np

VECTOR_SIZE = 96
"""Length of the vectors that are learned."""

WANTED_TOKENS = 5e7
"""Tokens to learn the vectors of words from, in all passes together."""

_KEPT_SHARE = 1e-4
_MOST_TOKENS = 4e8
_PASSES = (8, 50)  # least, while that is not too many tokens, and most
_LEAST_SPREAD = 1e-3


def keep_shares(counts: Any) -> np.ndarray:
    """Share of the tokens of each n-gram to learn from, so that frequent ones do not drown the others.

    k_f = min(1, sqrt(t / p_f) + t / p_f),  p_f: the share of f among all tokens, t = 0.0001

    Args:
        counts: (documents, features) csr_array of counts.

    Returns:
        (features,) float32, above 0.

    Source: Mikolov et al. 2013, arXiv:1310.4546, section 2.3, in the form of their program word2vec.
    """
    totals = np.bincount(counts.indices, weights=counts.data, minlength=counts.shape[1])
    ratios = _KEPT_SHARE * max(totals.sum(), 1.0) / np.maximum(totals, 1.0)
    return np.minimum(1.0, np.sqrt(ratios) + ratios).astype(np.float32)


def learn_vectors(counts: Any, keep: np.ndarray, seed: int = 0, wanted_tokens: float = WANTED_TOKENS) -> np.ndarray:
    """Learn V, the vectors of n-grams, in as many passes as their number asks for.

    Args:
        counts: (documents, features) csr_array of counts.
        keep: (features,) float32, from `keep_shares`.
        seed: Seed of the learning.
        wanted_tokens: Tokens to learn from, in all passes together.

    Returns:
        (features, 96) float32.
    """
    from ulmkit.kernels.document_vectors import CountedDocuments, learn_ngram_vectors

    documents = CountedDocuments(
        counts.indptr.astype(np.int64), counts.indices.astype(np.int32), counts.data.astype(np.int32), keep
    )
    return learn_ngram_vectors(documents, VECTOR_SIZE, passes_for(counts, keep, wanted_tokens), seed)


def passes_for(counts: Any, keep: np.ndarray, wanted_tokens: float = WANTED_TOKENS) -> int:
    """Passes over documents that make about `wanted_tokens` tokens: 8 to 50, or fewer for much text, but at least 1."""
    tokens = max(float((counts.data * keep[counts.indices]).sum()), 1.0)
    least, most = _PASSES
    return int(np.clip(max(wanted_tokens / tokens, min(least, _MOST_TOKENS / tokens)), 1, most))


def unit_spread(vectors: np.ndarray, features: Any) -> np.ndarray:
    """Scale V so that the vectors of documents have a standard deviation of 1 in each place.

    Args:
        vectors: V, (features, d).
        features: (documents, features) csr_array, x of each document.

    Returns:
        (features, d) float32.
    """
    found = np.asarray(features @ vectors)
    length = float(np.sqrt(np.square(found).mean())) if found.size else 0.0
    spread = np.maximum(found.std(axis=0), _LEAST_SPREAD * length)  # that of documents that are alike is rounding
    return np.asarray(vectors / np.where(spread > 0, spread, 1.0), dtype=np.float32)
