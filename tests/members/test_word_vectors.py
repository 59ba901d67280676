"""Word vectors: learned, rounded, kept with a language model, and used by document vectors."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ulmkit.errors import ConfigError
from ulmkit.members.fitting import DocumentVectors, DocumentWords, VectorSetting
from ulmkit.members.word_vectors import WordVectors, _passages, learn_word_vectors
from ulmkit.text.words import WordSequence, join_words

WORDS = tuple(f"w{number}" for number in range(90))


def _documents(count: int, length: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Documents of two classes, with words 0 to 29 or 30 to 59, and as many of 60 to 89."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    half = length // 2
    return [
        np.concatenate([draw.integers(30 * k, 30 * k + 30, half), draw.integers(60, 90, half)]) for k in labels
    ], labels


@pytest.fixture(scope="module")
def word_vectors() -> WordVectors:
    documents, _ = _documents(600, 30, 0)
    learned = learn_word_vectors([join_words(documents[:250]), join_words(documents[250:])], WORDS)
    assert learned is not None
    return learned


def test_words_of_the_same_topic_have_vectors_in_the_same_direction(word_vectors: WordVectors) -> None:
    assert set(word_vectors.words) == set(WORDS)
    vectors = word_vectors.vectors[[word_vectors.words.index(word) for word in WORDS[:60]]]
    vectors = vectors - vectors.mean(axis=0)
    alike = vectors @ vectors.T
    assert alike[:30, :30].mean() > 0 > alike[:30, 30:].mean()


def test_frequent_words_come_first_and_rare_ones_have_no_vector() -> None:
    learned = learn_word_vectors([join_words([np.repeat([1, 0, 2], [55, 60, 49])])], WORDS)
    assert learned is not None
    assert learned.words == ("w0", "w1")
    assert learn_word_vectors([join_words([np.array([0, 1, -1])])], WORDS) is None


def test_passages_do_not_cross_documents() -> None:
    text = join_words([np.arange(1000), np.arange(3), np.array([], dtype=np.int64), np.arange(400)])
    assert _passages(text).offsets.tolist() == [0, 400, 800, 1000, 1003, 1403]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"codes": np.zeros((2, 4), dtype=np.float32)}, "codes: expected int8 of 2 words"),
        ({"codes": np.zeros((3, 4), dtype=np.int8)}, "codes: expected int8 of 2 words"),
        ({"scales": np.ones(3, dtype=np.float32)}, r"scales: expected float32 of shape \(2,\)"),
        ({"scales": np.array([1, -1], dtype=np.float32)}, "scales: expected positive numbers"),
        ({"keep": np.array([0.5, 1.5], dtype=np.float32)}, "keep: expected positive numbers of at most 1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changed: dict[str, np.ndarray], message: str) -> None:
    ones = np.ones(2, dtype=np.float32)
    fine = WordVectors(("a", "b"), np.zeros((2, 4), dtype=np.int8), ones, ones)
    with pytest.raises(ConfigError, match=message):
        replace(fine, **changed)


def test_few_documents_are_told_apart_by_words_that_none_of_them_has(word_vectors: WordVectors) -> None:
    few, labels = _documents(12, 8, 1)
    others, answers = _documents(300, 8, 2)
    documents = DocumentWords(join_words(few + others), WORDS, True)
    rows, rest = np.arange(12), np.arange(12, 312)
    accuracies = []
    for known in (None, word_vectors):
        vectors = DocumentVectors(documents, rows, word_vectors=known)
        member = vectors.fit(vectors.vectors(rows), labels, 2)
        said = member.log_probabilities(_renumbered(documents, rest, member.words))
        accuracies.append((said.argmax(axis=1) == answers).mean())
    assert accuracies[1] > max(0.95, accuracies[0])


@pytest.mark.parametrize("scales", [(1.0, 0.0), (1.0, 0.3), (0.0, 1.0)])
def test_the_member_is_the_regression_on_the_vectors(scales: tuple[float, float], word_vectors: WordVectors) -> None:
    texts, labels = _documents(40, 12, 3)
    documents = DocumentWords(join_words(texts), WORDS, True)
    rows = np.arange(40)
    vectors = DocumentVectors(documents, rows, word_vectors=word_vectors)
    dense = vectors.vectors(rows)
    assert dense.shape == (40, 96 + word_vectors.size)
    assert dense.std(axis=0) == pytest.approx(np.ones(dense.shape[1]), rel=1e-3)
    member = vectors.fit(dense, labels, 2, VectorSetting(10.0, scales), tolerance=1e-8)
    used = np.hstack([dense[:, :96] * scales[0], dense[:, 96:] * scales[1]]).astype(np.float64) * 0.1
    expected = LogisticRegression(C=10.0, solver="newton-cholesky", tol=1e-8).fit(used, labels).predict_log_proba(used)
    assert member.log_probabilities(_renumbered(documents, rows, member.words)) == pytest.approx(expected, abs=1e-5)


def test_the_vector_of_a_pair_is_the_mean_of_its_words(word_vectors: WordVectors) -> None:
    documents = DocumentWords(join_words([np.array([0, 1])] * 3), (*WORDS[:1], "new"), True)
    vectors = DocumentVectors(documents, np.arange(3), word_vectors=word_vectors)
    matrix = vectors._matrix[:, 96:]
    pair = len(vectors._words)
    assert vectors._words[:2] == ("w0", "new")
    assert len(matrix) == pair + 1
    assert matrix[1].tolist() == [0.0] * word_vectors.size
    assert matrix[pair] == pytest.approx(matrix[0] / 2.0)


def _renumbered(documents: DocumentWords, rows: np.ndarray, words: tuple[str, ...]) -> WordSequence:
    places = np.array([words.index(word) if word in words else -1 for word in documents.words])
    return documents.sequence.select(rows).renumber(places)
