"""Co-training of document vectors and NB-SVM."""

from typing import Any

import numpy as np
import pytest

from ulmkit.members import co_training
from ulmkit.members.co_training import CoTraining, surest
from ulmkit.members.fitting import DocumentVectors, DocumentWords, VectorSetting
from ulmkit.members.word_vectors import WordVectors
from ulmkit.text.words import join_words, word_places

NONE = np.array([], dtype=np.int64)


def _documents(count: int) -> tuple[DocumentWords, np.ndarray]:
    """Documents of two classes in a random order, each with ten words of its class among forty."""
    draw = np.random.default_rng(2)
    labels = draw.integers(0, 2, count)
    documents = [np.concatenate([draw.integers(30 * k, 30 * k + 30, 10), draw.integers(60, 200, 30)]) for k in labels]
    return DocumentWords(join_words(documents), tuple(f"w{number}" for number in range(200)), True), labels


def test_the_surest_documents_of_each_class_in_its_share() -> None:
    p = np.array([0.9, 0.6, 0.8, 0.2, 0.45, 0.1, 0.99])
    logs = np.log(np.stack([p, 1 - p], axis=1))
    is_free = np.array([True] * 6 + [False])
    places, classes = surest(logs, is_free, np.array([0.5, 0.5]), 0.5)
    assert places.tolist() == [0, 2, 5, 3]
    assert classes.tolist() == [0, 0, 1, 1]
    places, classes = surest(logs, is_free, np.array([0.75, 0.25]), 0.65)
    assert places.tolist() == [0, 2, 1, 5]
    assert classes.tolist() == [0, 0, 0, 1]


def test_unlabelled_documents_help_few_labels() -> None:
    documents, labels = _documents(600)
    rows = np.arange(600)
    vectors = DocumentVectors(documents, rows)
    given = np.concatenate([np.flatnonzero(labels == k)[:3] for k in (0, 1)])
    trained = CoTraining([vectors], rows, 2).fit(given, labels[given], NONE)
    others = np.setdiff1d(rows, given)
    alone = vectors.fit(vectors.vectors(given), labels[given], 2)
    right = (trained.log_probabilities.argmax(axis=1) == labels)[others].mean()
    assert right > 0.9
    assert right >= (alone.log_probabilities(documents.sequence).argmax(axis=1) == labels)[others].mean()
    for member in (*trained.vectors, trained.nb_svm):
        said = member.log_probabilities(documents.sequence).argmax(axis=1)
        assert (said == labels)[others].mean() > 0.85


def test_names_are_learned_from_only_if_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody labels them, and they do not count in the estimated shares of the classes."""
    documents, labels = _documents(300)
    rows, names = np.arange(290), np.arange(290, 300)
    vectors = DocumentVectors(documents, rows)
    given = np.concatenate([np.flatnonzero(labels[rows] == 0)[:6], np.flatnonzero(labels[rows] == 1)[:2]])
    shares: list[list[float]] = []

    def choose(logs: np.ndarray, is_free: np.ndarray, estimated: np.ndarray, fraction: float) -> Any:
        shares.append(estimated.tolist())
        return surest(logs, is_free, estimated, fraction)

    monkeypatch.setattr(co_training, "surest", choose)
    alone = CoTraining([vectors], rows, 2).fit(given, labels[given], NONE)
    named = CoTraining([vectors], rows, 2, names)
    without = named.fit(given, labels[given], NONE)
    np.testing.assert_array_equal(without.nb_svm.coefficients, alone.nb_svm.coefficients)
    more = np.concatenate([given, names])
    assert not np.array_equal(named.fit(more, labels[more], NONE).nb_svm.coefficients, alone.nb_svm.coefficients)
    assert shares == [[6.5 / 9, 2.5 / 9]] * len(shares)


def test_characters_teach_members_of_words() -> None:
    """Few words tell the class, so that a few labels teach nothing of them; the characters tell it plainly."""
    draw = np.random.default_rng(3)
    labels = draw.integers(0, 2, 600)
    rows = np.arange(600)
    given = np.concatenate([np.flatnonzero(labels == k)[:3] for k in (0, 1)])
    others = np.setdiff1d(rows, given)
    telling = [draw.integers(60 * k, 60 * k + 60, 2) for k in labels]
    texts = [np.concatenate([each, draw.integers(120, 200, 10)]) for each in telling]
    words = DocumentWords(join_words(texts), tuple(f"w{number}" for number in range(200)), True)
    plain = [draw.integers(20 * k, 20 * k + 20, 30) for k in labels]
    characters = DocumentWords(join_words(plain), tuple(f"c{number}" for number in range(40)), True, "characters")
    views = [DocumentVectors(words, rows), DocumentVectors(characters, rows)]
    right = []
    for used in (views[:1], views):
        trained = CoTraining(used, rows, 2).fit(given, labels[given], NONE)
        said = trained.nb_svm.log_probabilities(words.sequence).argmax(axis=1)
        right.append((said == labels)[others].mean())
    assert right[0] < 0.8
    assert right[1] > 0.9
    assert [member.name for member in trained.vectors] == ["co-trained vectors", "co-trained character vectors"]
    assert [member.unit for member in (*trained.vectors, trained.nb_svm)] == ["words", "characters", "words"]


@pytest.mark.parametrize("triples", [False, True])
def test_words_that_only_word_vectors_know_are_no_features_of_nb_svm(triples: bool) -> None:
    documents, labels = _documents(200)
    rows, given = np.arange(200), np.arange(20)
    words = ("new", *documents.words[:50], "newer")
    codes = np.random.default_rng(0).integers(-127, 128, (len(words), 16)).astype(np.int8)
    ones = np.ones(len(words), dtype=np.float32)
    trained = []
    for known in (None, WordVectors(words, codes, ones, ones)):
        co_trained = CoTraining([DocumentVectors(documents, rows, 0, known, triples=triples)], rows, 2)
        trained.append(co_trained.fit(given, labels[given], NONE, [VectorSetting(1.0)]))
    plain, both = (each.nb_svm for each in trained)
    assert both.words == plain.words
    assert "new" in trained[1].vectors[0].words
    logs = [
        each.log_probabilities(documents.sequence.renumber(word_places(documents.words, each.words)))
        for each in (plain, both)
    ]
    assert np.abs(logs[0] - logs[1]).max() < 1e-5


def test_three_classes_and_a_rare_one() -> None:
    documents, labels = _documents(200)
    labels = np.where(np.arange(200) < 4, 2, labels)
    vectors = DocumentVectors(documents, np.arange(200))
    given = np.arange(20)
    trained = CoTraining([vectors], np.arange(200), 3).fit(given, labels[given], NONE)
    assert trained.log_probabilities.shape == (200, 3)
    assert np.isfinite(trained.log_probabilities).all()


def test_documents_to_judge_on_are_labelled_by_no_member(monkeypatch: pytest.MonkeyPatch) -> None:
    documents, labels = _documents(120)
    vectors = DocumentVectors(documents, np.arange(120))
    given, held_out = np.arange(20), np.arange(20, 60)
    free: list[np.ndarray] = []

    def remember(logs: np.ndarray, is_free: np.ndarray, *others: object) -> tuple[np.ndarray, np.ndarray]:
        free.append(is_free)
        return surest(logs, is_free, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(co_training, "surest", remember)
    CoTraining([vectors], np.arange(120), 2).fit(given, labels[given], held_out)
    assert len(free) == 6  # three rounds, and both members are taught
    assert all(np.flatnonzero(is_free).tolist() == list(range(60, 120)) for is_free in free)
