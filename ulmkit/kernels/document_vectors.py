"""PV-DBOW: vectors of documents and of their n-grams, learned by negative sampling."""

import itertools
from dataclasses import dataclass

import numpy as np
import torch

from ulmkit.kernels.cpu.library import DocumentVectors, choose_path, library

VECTOR_MULTIPLE = 16
"""The length of vectors must be a multiple of this."""

_NOISE_DRAWS = 1 << 22
_NOISE_POWER = 0.75
_NOISE_WEIGHT = 5.0
_FIRST_RATE, _LAST_RATE = 0.05, 0.002


@dataclass(frozen=True)
class CountedDocuments:
    """Documents as counts of their n-grams, in the arrays of a csr_array.

    Attributes:
        offsets: (documents + 1,) int64, where the n-grams of each document begin.
        features: (n,) int32, n-grams of the documents, each once a document.
        counts: (n,) int32, how often a document has each.
        keep: (features,) float32, probability that a token of an n-gram is learned from.
    """

    offsets: np.ndarray
    features: np.ndarray
    counts: np.ndarray
    keep: np.ndarray


def learn_ngram_vectors(documents: CountedDocuments, size: int, passes: int, seed: int = 0) -> np.ndarray:
    """Learn vectors of n-grams that tell which documents they are in.

    loss of a token f of document d = -log sigmoid(u_d . v_f) - k E_g log sigmoid(-u_d . v_g)

    g is drawn from n-grams with p_g ~ n_g^0.75, and k = 5. The vectors u_d are learned with v and then dropped.

    Args:
        documents: The documents; they are learned from in random order.
        size: Length of the vectors, a multiple of `VECTOR_MULTIPLE`.
        passes: Passes over the documents.
        seed: Seed of the first vectors, and of all that is drawn.

    Returns:
        v, (features, size) float32; 0 for n-grams that no document has.

    Source: Le & Mikolov 2014, arXiv:1405.4053, section 2.3 (PV-DBOW), with the negative sampling and the noise of
        Mikolov et al. 2013, arXiv:1310.4546, section 2.2, equation 4. Deviation: one n-gram of noise for each token
        counts k times, which is the same loss with more variance and takes a third of the time.
    """
    count, features = len(documents.offsets) - 1, len(documents.keep)
    noise = _noise(documents)
    vectors = np.zeros((features, size), dtype=np.float32)
    if not len(noise):
        return vectors
    random = np.random.default_rng([seed, 5])
    document_vectors = (random.random((count, size), dtype=np.float32) - np.float32(0.5)) / np.float32(size)
    path = choose_path(torch.float32)[0]
    rates = np.linspace(_FIRST_RATE, _LAST_RATE, passes + 1)
    for first_rate, last_rate in itertools.pairwise(rates):
        pass_seed = int(random.integers(1 << 63))
        if path is None:
            pass_by_document(documents, noise, document_vectors, vectors, (first_rate, last_rate), pass_seed)
        else:
            pass_by_token(path, documents, noise, document_vectors, vectors, (first_rate, last_rate), pass_seed)
    return vectors


def pass_by_document(
    documents: CountedDocuments,
    noise: np.ndarray,
    document_vectors: np.ndarray,
    vectors: np.ndarray,
    rates: tuple[float, float],
    seed: int,
) -> None:
    """Pass over documents once without compiled kernels, with one step for all tokens of a document.

    Args:
        documents: The documents.
        noise: (G,) int32, n-grams to draw from.
        document_vectors: u, (documents, size) float32, which are changed.
        vectors: v, (features, size) float32, which are changed.
        rates: Learning rates of the first and of the last document.
        seed: Seed of all that is drawn.
    """
    random = np.random.default_rng(seed)
    order = random.permutation(len(document_vectors))
    for rate, document in zip(np.linspace(*rates, len(order)), order, strict=True):
        part = slice(documents.offsets[document], documents.offsets[document + 1])
        tokens = np.repeat(documents.features[part], documents.counts[part])
        tokens = tokens[random.random(len(tokens)) < documents.keep[tokens]]
        drawn = noise[random.integers(len(noise), size=len(tokens))]
        u = document_vectors[document].copy()
        near, far = vectors[tokens], vectors[drawn]
        up = (rate / (1.0 + np.exp(near @ u))).astype(np.float32)
        down = np.where(drawn == tokens, 0.0, rate * _NOISE_WEIGHT / (1.0 + np.exp(-(far @ u)))).astype(np.float32)
        document_vectors[document] += up @ near - down @ far
        np.add.at(vectors, tokens, up[:, None] * u)
        np.add.at(vectors, drawn, -down[:, None] * u)


def pass_by_token(
    path: str,
    documents: CountedDocuments,
    noise: np.ndarray,
    document_vectors: np.ndarray,
    vectors: np.ndarray,
    rates: tuple[float, float],
    seed: int,
) -> None:
    """Pass over documents once with compiled kernels, with one step for each token; see `pass_by_document`.

    Args:
        path: Path of the kernels, see `choose_path`.
        documents: The documents.
        noise: (G,) int32, n-grams to draw from.
        document_vectors: u, (documents, size) float32, which are changed.
        vectors: v, (features, size) float32, which are changed.
        rates: Learning rates of the first and of the last document.
        seed: Seed of all that is drawn.
    """
    count, size = document_vectors.shape
    totals = np.add.reduceat(np.append(documents.counts, 0), documents.offsets[:-1])
    order, tokens = np.empty(count, dtype=np.int64), np.empty(int(totals.max(initial=0)), dtype=np.int32)
    arrays = {
        "offsets": documents.offsets,
        "features": documents.features,
        "counts": documents.counts,
        "keep": documents.keep,
        "noise": noise,
        "document_vectors": document_vectors,
        "feature_vectors": vectors,
        "order": order,
        "tokens": tokens,
    }
    assert size % VECTOR_MULTIPLE == 0
    assert all(array.flags.c_contiguous for array in arrays.values())
    task = DocumentVectors(
        documents=count,
        size=size,
        noise_size=len(noise),
        **{name: array.ctypes.data for name, array in arrays.items()},
        noise_weight=_NOISE_WEIGHT,
        first_rate=rates[0],
        last_rate=rates[1],
        seed=seed,
    )
    library().document_vectors(path, task)


def _noise(documents: CountedDocuments) -> np.ndarray:
    """N-grams to draw noise from, (G,) int32, each in proportion to its count to the power 3/4."""
    totals = np.bincount(documents.features, weights=documents.counts, minlength=len(documents.keep)) ** _NOISE_POWER
    if not totals.any():
        return np.empty(0, dtype=np.int32)
    ends = np.round(np.cumsum(totals) / totals.sum() * _NOISE_DRAWS).astype(np.int64)
    return np.repeat(np.arange(len(totals), dtype=np.int32), np.diff(ends, prepend=0))
