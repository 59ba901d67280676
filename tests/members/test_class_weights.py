"""Class weights of linear members: a document of weight k counts like k copies of it."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from ulmkit.evaluation.baselines.estimators import OneAgainstRest, document_weights, fit_best
from ulmkit.members.co_training import CoTraining
from ulmkit.members.combiner import fit_combiner
from ulmkit.members.fitting import (
    DocumentVectors,
    DocumentWords,
    VectorSetting,
    choose_setting,
    fit_logistic,
    fit_nb_svm,
    fit_tfidf,
)
from ulmkit.text.words import join_words

COPIES = np.array([1, 4, 2])
RANDOM = np.random.default_rng(7)


def _labels(classes: int) -> np.ndarray:
    return np.arange(60) % 4 % classes


def _overlapping(count: int = 120) -> tuple[DocumentWords, np.ndarray]:
    """Documents of two classes, one of them rare, that only a few words tell apart."""
    draw = np.random.default_rng(2)
    labels = (np.arange(count) % 5 == 0).astype(int)
    documents = [np.concatenate([draw.integers(4 * k, 4 * k + 6, 2), draw.integers(12, 40, 12)]) for k in labels]
    return DocumentWords(join_words(documents), tuple(f"w{number}" for number in range(40)), True), labels


def test_weights_of_documents() -> None:
    assert document_weights(None, np.array([0, 1])) is None
    np.testing.assert_array_equal(document_weights((1.0, 4.0), np.array([1, 0, 1])), [4.0, 1.0, 4.0])


@pytest.mark.parametrize("classes", [2, 3])
def test_softmax_regression_counts_copies(classes: int) -> None:
    features, labels = RANDOM.normal(size=(60, 3)), _labels(classes)
    copies = np.repeat(np.arange(60), COPIES[labels])
    weighted = fit_logistic(features, labels, classes, 1.0, 1e-8, COPIES[:classes].tolist())
    copied = fit_logistic(features[copies], labels[copies], classes, 1.0, 1e-8)
    for got, expected in zip(weighted, copied, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-4)
    plain = fit_logistic(features, labels, classes, 1.0, 1e-8)
    assert np.abs(weighted[1] - plain[1]).max() > 0.1


@pytest.mark.parametrize("classes", [2, 3])
def test_one_against_the_rest_counts_copies(classes: int) -> None:
    x, labels = csr_array(RANDOM.normal(size=(60, 3))), _labels(classes)
    copies = np.repeat(np.arange(60), COPIES[labels])
    weighted = OneAgainstRest(classes, class_weights=COPIES[:classes].tolist()).fit(x, labels).predict_proba(x)
    copied = OneAgainstRest(classes).fit(x[copies], labels[copies]).predict_proba(x)
    np.testing.assert_allclose(weighted, copied, atol=5e-3)
    assert np.abs(weighted - OneAgainstRest(classes).fit(x, labels).predict_proba(x)).max() > 0.05


def test_a_combiner_counts_copies() -> None:
    labels = _labels(3)
    members = [np.log(RANDOM.dirichlet(np.ones(3), size=60)) for _ in range(2)]
    copies = np.repeat(np.arange(60), COPIES[labels])
    weighted = fit_combiner(members, labels, COPIES.tolist())
    copied = fit_combiner([logs[copies] for logs in members], labels[copies])
    np.testing.assert_allclose(weighted.weights, copied.weights, atol=1e-3)
    np.testing.assert_allclose(weighted.bias, copied.bias, atol=1e-3)
    assert weighted.bias.argmax() == 1


def test_settings_are_chosen_by_the_weighted_loss() -> None:
    """One setting tells the common class apart a little, the other the rare one a little less."""
    labels = np.array([0] * 80 + [1] * 10 + [2] * 10)
    signal = {"common": (labels == 0) * 4.0, "rare": (labels == 2) * 4.0}
    features = {name: (values + RANDOM.normal(size=100))[:, None] for name, values in signal.items()}

    def choose(weights: tuple[float, ...] | None) -> str:
        return choose_setting(
            ["common", "rare"], lambda name, _: features[name], lambda _: 1.0, labels, 3, 1e-4, weights
        )

    assert choose(None) == "common"
    assert choose((0.01, 1.0, 1.0)) == "rare"


def test_strengths_are_chosen_by_the_weighted_loss() -> None:
    class Constant(OneAgainstRest):
        def predict_proba(self, x: object) -> np.ndarray:
            return np.tile([1.0 - self.strength, self.strength], (12, 1))

    x, labels = csr_array(np.ones((60, 1))), (np.arange(60) % 5 == 0).astype(int)
    strengths = (0.05, 0.2, 0.5, 0.8)
    assert fit_best(Constant(2), x, labels, strengths).strength == 0.2
    assert fit_best(Constant(2, class_weights=(1.0, 4.0)), x, labels, strengths).strength == 0.5
    assert fit_best(Constant(2, class_weights=(1.0, 16.0)), x, labels, strengths).strength == 0.8


@pytest.mark.parametrize("fit", [fit_tfidf, fit_nb_svm])
def test_sparse_members_move_to_the_heavier_class(fit) -> None:  # type: ignore[no-untyped-def]
    documents, labels = _overlapping()
    shares = []
    for weights in (None, (1.0, 50.0)):
        member, _ = fit(documents, np.arange(120), labels, 2, (0.01,), weights)
        places = np.array([member.words.index(word) if word in member.words else -1 for word in documents.words])
        logs = member.log_probabilities(documents.sequence.renumber(places))
        shares.append(logs.argmax(axis=1).mean())
    assert shares[0] < 0.2
    assert shares[1] > 0.4


def test_vectors_and_co_training_move_to_the_heavier_class() -> None:
    documents, labels = _overlapping()
    rows, given = np.arange(120), np.arange(30)
    vectors = DocumentVectors(documents, rows)
    shares = []
    for weights in (None, (1.0, 50.0)):
        member = vectors.fit(vectors.vectors(given), labels[given], 2, VectorSetting(1.0), class_weights=weights)
        taught = CoTraining([vectors], rows, 2).fit(given, labels[given], np.array([], dtype=int), None, weights)
        logs = [each.log_probabilities(documents.sequence) for each in (member, *taught.vectors, taught.nb_svm)]
        shares.append([each.argmax(axis=1).mean() for each in logs])
    assert max(shares[0]) < 0.35
    assert min(np.subtract(shares[1], shares[0])) > 0.15
