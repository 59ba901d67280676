"""Vectors of n-grams: each path against the same steps in Python, and what both ways to pass over documents learn."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ulmkit.kernels import document_vectors
from ulmkit.kernels.cpu.library import PATHS, Library, load_library
from ulmkit.kernels.document_vectors import CountedDocuments, _noise, learn_ngram_vectors, pass_by_token

HALF = 1 << 63


def _library() -> Library:
    library = load_library()
    if isinstance(library, str):
        pytest.skip(library)
    return library


def _documents(count: int = 30, features: int = 20) -> CountedDocuments:
    """Documents of which the even ones have the first half of the n-grams, and the odd ones the second."""
    draw = np.random.default_rng(0)
    rows = [np.sort(draw.permutation(features // 2)[:5] + (number % 2) * (features // 2)) for number in range(count)]
    offsets = np.cumsum([0, *map(len, rows)])
    counts = draw.integers(1, 4, offsets[-1]).astype(np.int32)
    keep = np.linspace(0.3, 1.0, features).astype(np.float32)
    return CountedDocuments(offsets, np.concatenate(rows).astype(np.int32), counts, keep)


def _split_mix(state: int) -> Iterator[int]:
    """SplitMix64 (Steele, Lea & Flood 2014)."""
    mask = (1 << 64) - 1
    while True:
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & mask
        yield z ^ z >> 31


def _expected(
    documents: CountedDocuments, noise: np.ndarray, u: np.ndarray, v: np.ndarray, rates: tuple[float, float], seed: int
) -> None:
    """The steps of document_vectors-inl.h, in float64."""
    random = _split_mix(seed)

    def below(end: int) -> int:
        return (next(random) >> 32) * end >> 32

    def shuffle(values: list[int]) -> None:
        for i in range(len(values), 1, -1):
            other = below(i)
            values[i - 1], values[other] = values[other], values[i - 1]

    def sigmoid(x: float) -> float:
        return 1.0 / (1.0 + np.exp(-x))

    order = list(range(len(u)))
    shuffle(order)
    for place, document in enumerate(order):
        rate = rates[0] + place / len(u) * (rates[1] - rates[0])
        tokens = []
        for at in range(documents.offsets[document], documents.offsets[document + 1]):
            feature = int(documents.features[at])
            drawn = [next(random) >> 40 for _ in range(documents.counts[at])]
            tokens += [feature for each in drawn if each / (1 << 24) < documents.keep[feature]]
        shuffle(tokens)
        others = [int(noise[below(len(noise))]) for _ in range(len(tokens) + 1)]
        for token, other in zip(tokens, others, strict=False):
            up = rate * sigmoid(-u[document] @ v[token])
            down = 0.0 if other == token else rate * 5.0 * sigmoid(u[document] @ v[other])
            step = up * v[token] - down * v[other]
            v[token] += up * u[document]
            v[other] -= down * u[document]
            u[document] += step


@pytest.mark.parametrize("path", PATHS[torch.float32])
@pytest.mark.parametrize("seed", [3, HALF + 5])
def test_each_path_takes_the_same_steps(path: str, seed: int) -> None:
    if path not in _library().paths:
        pytest.skip(f"{path} does not run here")
    documents = _documents()
    draw = np.random.default_rng(1)
    noise = draw.integers(0, 20, 64).astype(np.int32)
    u, v = (draw.normal(0, 0.5, (count, 32)).astype(np.float32) for count in (30, 20))
    expected_u, expected_v = u.astype(np.float64), v.astype(np.float64)
    _expected(documents, noise, expected_u, expected_v, (0.2, 0.1), seed)
    before = v.copy()
    pass_by_token(path, documents, noise, u, v, (0.2, 0.1), seed)
    np.testing.assert_allclose(u, expected_u, atol=2e-5)
    np.testing.assert_allclose(v, expected_v, atol=2e-5)
    assert np.abs(v - before).max() > 0.1


@pytest.mark.parametrize("is_compiled", [True, False])
def test_ngrams_of_the_same_documents_get_similar_vectors(is_compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if is_compiled:
        _library()
    else:
        monkeypatch.setattr(document_vectors, "choose_path", lambda dtype: (None, "not built"))
    documents = _documents(count=200)
    vectors = learn_ngram_vectors(documents, 16, 30)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    likeness = unit @ unit.T
    within = min(likeness[:10, :10].mean(), likeness[10:, 10:].mean())
    assert within > likeness[:10, 10:].mean() + 0.3
    np.testing.assert_array_equal(vectors, learn_ngram_vectors(documents, 16, 30))
    assert np.abs(vectors - learn_ngram_vectors(documents, 16, 30, seed=1)).max() > 0.01


@pytest.mark.parametrize("is_compiled", [True, False])
def test_the_order_of_documents_has_no_say(is_compiled: bool) -> None:
    """Files are often sorted by label. The rate falls during a pass, so the first documents in it move the most."""
    count, features, size = 400, 50, 16
    draw = np.random.default_rng(0)
    ids = np.concatenate([np.sort(draw.permutation(features)[:8]) for _ in range(count)]).astype(np.int32)
    ones = np.ones(features, dtype=np.float32)
    documents = CountedDocuments(np.arange(count + 1) * 8, ids, np.ones(len(ids), dtype=np.int32), ones)
    noise = draw.integers(0, features, 256).astype(np.int32)
    u = np.zeros((count, size), dtype=np.float32)
    v = draw.normal(0, 0.5, (features, size)).astype(np.float32)
    if is_compiled:
        pass_by_token(next(iter(_library().paths)), documents, noise, u, v, (0.05, 0.0), 1)
    else:
        document_vectors.pass_by_document(documents, noise, u, v, (0.05, 0.0), 1)
    moves = np.linalg.norm(u, axis=1)
    assert moves.std() > 0.2 * moves.mean()
    assert abs(np.corrcoef(np.arange(count), moves)[0, 1]) < 0.2


def test_a_step_without_compiled_kernels_by_hand() -> None:
    documents = CountedDocuments(
        np.array([0, 1]), np.array([0], dtype=np.int32), np.array([1], dtype=np.int32), np.ones(2, dtype=np.float32)
    )
    u, v = np.array([[1.0, 2.0]], dtype=np.float32), np.array([[0.5, 0.0], [0.0, 0.25]], dtype=np.float32)
    document_vectors.pass_by_document(documents, np.array([1], dtype=np.int32), u, v, (0.1, 0.1), 0)
    up, down = 0.1 / (1.0 + np.exp(0.5)), 0.5 / (1.0 + np.exp(-0.5))
    np.testing.assert_allclose(u, [[1.0 + up * 0.5, 2.0 - down * 0.25]], rtol=1e-6)
    np.testing.assert_allclose(v, [[0.5 + up, 2.0 * up], [-down, 0.25 - 2.0 * down]], rtol=1e-6)


def test_ngrams_that_no_document_has_get_no_vector() -> None:
    documents = _documents()
    unknown = CountedDocuments(documents.offsets, documents.features, documents.counts, np.ones(25, dtype=np.float32))
    vectors = learn_ngram_vectors(unknown, 16, 2)
    assert vectors.shape == (25, 16)
    assert not vectors[20:].any()
    assert np.abs(vectors[:20]).max(axis=1).min() > 0
    empty = np.zeros(0, dtype=np.int32)
    assert not learn_ngram_vectors(CountedDocuments(np.zeros(3, dtype=np.int64), empty, empty, np.ones(4)), 16, 2).any()


def test_noise_is_drawn_by_the_power_of_counts() -> None:
    documents = CountedDocuments(
        np.array([0, 3]), np.arange(3, dtype=np.int32), np.array([1, 16, 81], dtype=np.int32), np.ones(4)
    )
    shares = np.bincount(_noise(documents), minlength=4) / len(_noise(documents))
    np.testing.assert_allclose(shares, np.array([1, 8, 27, 0]) / 36, atol=1e-6)
