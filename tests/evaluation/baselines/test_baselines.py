import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator

from ulmkit.errors import DataError
from ulmkit.evaluation import NBSVM, MajorityClass, TfidfLogistic, TfidfRidge
from ulmkit.evaluation.baselines.estimators import fit_best, held_out_folds, log_count_ratio
from ulmkit.evaluation.baselines.ngrams import NGrams

WORDS = [["sun", "beach", "warm"], ["snow", "ski", "cold"], ["rain", "wind", "storm"]]
FILLER = ["the", "day", "was", "and", "we", "saw", "of", "a"]


def made_texts(documents: int, classes: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Filler, and for each document two words of its class and one of any."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, documents)
    texts = []
    for label in labels:
        words = [*rng.choice(FILLER, 6), *rng.choice(WORDS[label], 2), rng.choice(WORDS[rng.integers(classes)])]
        texts.append(" ".join(rng.permutation(words)))
    return texts, labels


@pytest.mark.parametrize("baseline", [TfidfLogistic, NBSVM])
@pytest.mark.parametrize("classes", [2, 3])
def test_baselines_learn(baseline, classes):
    texts, labels = made_texts(120, classes)
    held_texts, held_labels = made_texts(100, classes, seed=1)
    model = baseline(classes).fit(texts, labels)
    p = model.predict_proba(held_texts)
    assert p.shape == (100, classes)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert (p.argmax(axis=1) == held_labels).mean() > 0.85
    assert model.chosen_strength in baseline.strengths
    np.testing.assert_array_equal(baseline(classes).fit(texts, labels).predict_proba(held_texts), p)


@pytest.mark.parametrize("baseline", [TfidfLogistic, NBSVM])
def test_several_labels(baseline):
    rng = np.random.default_rng(0)
    labels = np.column_stack([rng.random((150, 2)) < 0.5, np.zeros(150, dtype=bool)])
    texts = [" ".join(["a", *WORDS[0][: 2 * row[0]], *WORDS[1][: 2 * row[1]]]) for row in labels]
    p = baseline(3).fit(texts[:100], labels[:100]).predict_proba(texts[100:])
    assert ((p[:, :2] > 0.5) == labels[100:, :2]).mean() > 0.95
    np.testing.assert_allclose(p[:, 2], 0.5 / 101)  # never seen: its smoothed share


def test_a_class_that_was_never_seen_gets_a_column_and_little_probability():
    texts, labels = made_texts(60, 2)
    for baseline in (TfidfLogistic(3, strength=10.0), NBSVM(3, strength=1.0)):
        p = baseline.fit(texts, labels).predict_proba(texts)
        assert p.shape == (60, 3)
        assert (p[:, 2] < 0.05).all()


def test_one_document_and_one_class_are_enough_to_fit():
    for baseline in (TfidfLogistic(2), NBSVM(2)):
        p = baseline.fit(["only one"], np.array([0])).predict_proba(["another"])
        np.testing.assert_allclose(p, [[0.75, 0.25]])


def test_majority_class():
    model = MajorityClass(3).fit(["x"] * 4, np.array([1, 1, 0, 1]))
    np.testing.assert_allclose(model.predict_proba(["y", "z"]), [[0.25, 0.75, 0.0]] * 2)
    sets = MajorityClass(2).fit(["x"] * 2, np.array([[1, 0], [1, 1]], dtype=bool))
    np.testing.assert_allclose(sets.predict_proba(["y"]), [[1.0, 0.5]])


def test_ridge_predicts_a_number():
    texts, labels = made_texts(150, 3)
    held_texts, held_labels = made_texts(100, 3, seed=1)
    error = np.abs(TfidfRidge().fit(texts, labels * 10.0).predict_proba(held_texts) - held_labels * 10.0).mean()
    assert error < 0.6 * np.abs(held_labels * 10.0 - labels.mean() * 10.0).mean()


def test_fields_have_features_of_their_own():
    assert NGrams()("New York, new") == ["new", "york", "new", "new york", "york new"]
    assert NGrams()(("a b", "b")) == ["a", "b", "a b", "1:b"]
    assert NGrams(longest=3)("a b c") == ["a", "b", "c", "a b", "b c", "a b c"]
    assert NGrams(longest=3)("a b") == ["a", "b", "a b"]
    assert NGrams(list)("日本") == ["日", "本", "日 本"]
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 80)
    texts = [("yes", "no") if label else ("no", "yes") for label in labels]
    p = TfidfLogistic(2).fit(texts, labels).predict_proba(texts)
    assert (p.argmax(axis=1) == labels).all()


def test_log_count_ratio_by_hand():
    x = csr_matrix(np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]))
    r = log_count_ratio(x, np.array([True, True, False]))
    p, q = np.array([3.0, 2.0, 1.0]) / 6, np.array([1.0, 2.0, 2.0]) / 5
    np.testing.assert_allclose(r, np.log(p / q))


class Constant(BaseEstimator):
    """Answers its strength, whatever the features."""

    def __init__(self, strength=1.0):
        self.strength = strength

    def fit(self, x, labels):
        self.documents_ = x.shape[0]
        return self

    def predict_proba(self, x):
        return np.full(x.shape[0], self.strength)


def test_strength_is_chosen_on_held_out_documents():
    x, labels = csr_matrix((30, 1)), np.full(30, 1.0)
    chosen = fit_best(Constant(), x, labels, (0.1, 1.0, 10.0))
    assert (chosen.strength, chosen.documents_) == (1.0, 30)
    assert fit_best(Constant(), x, np.full(30, 9.0), (0.1, 1.0, 10.0)).strength == 10.0
    assert fit_best(Constant(), x, labels, (0.1,)).strength == 0.1


def test_a_given_strength_is_used():
    texts, labels = made_texts(60, 2)
    assert TfidfLogistic(2, strength=3.0).fit(texts, labels).chosen_strength == 3.0


def test_folds_hold_out_each_document_once_and_large_sets_a_fifth():
    folds = list(held_out_folds(np.arange(23) % 2))
    assert len(folds) == 5
    assert sorted(np.concatenate([held for _, held in folds])) == [*range(23)]
    assert all(sorted([*train, *held]) == [*range(23)] for train, held in folds)
    ((train, held),) = held_out_folds(np.arange(2500) % 2)
    assert (len(train), len(held)) == (2000, 500)
    assert list(held_out_folds(np.zeros(1, dtype=int))) == []


@pytest.mark.parametrize("baseline", [MajorityClass(2), TfidfLogistic(2), NBSVM(2)])
def test_refusals(baseline):
    for texts, labels, message in [
        ([], np.array([], dtype=int), "at least one, got 0 for 0"),
        (["a"], np.array([0, 1]), "got 2 for 1"),
        (["a", "b"], np.array([0, 2]), "expected classes 0 to 1, got 2"),
        (["a", "b"], np.array([0, -1]), "got -1"),
        (["a"], np.ones((1, 3), dtype=bool), "expected 2 columns, got 3"),
    ]:
        with pytest.raises(DataError, match=message):
            baseline.fit(texts, labels)


def test_refusals_before_fitting_and_without_words():
    for baseline in (MajorityClass(2), TfidfLogistic(2), NBSVM(2), TfidfRidge()):
        with pytest.raises(DataError, match=f"{baseline.name.replace('+', '.')}: expected a fitted baseline"):
            baseline.predict_proba(["a"])
    with pytest.raises(DataError, match="found none in any training text"):
        TfidfLogistic(2).fit(["...", "!"], np.array([0, 1]))
    with pytest.raises(DataError, match="finite numbers, got nan"):
        TfidfRidge().fit(["a"], np.array([np.nan]))
    with pytest.raises(DataError, match=r"a number for each text, at least one, got \(2,\) for 1"):
        TfidfRidge().fit(["a"], np.array([1.0, 2.0]))
