"""Linear members: features, log-probabilities, and fitting."""

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfTransformer

from ulmkit.errors import ConfigError
from ulmkit.members.document_vectors import keep_shares, passes_for
from ulmkit.members.fitting import (
    NB_SVM_STRENGTHS,
    TFIDF_STRENGTHS,
    DocumentVectors,
    DocumentWords,
    VectorSetting,
    choose_setting,
    fit_logistic,
    fit_nb_svm,
    fit_tfidf,
    least_loss,
)
from ulmkit.members.linear import class_log_probabilities, inverse_document_frequency, weigh
from ulmkit.text.words import join_words

RANDOM = np.random.default_rng(3)
COUNTS = csr_array(RANDOM.poisson(0.7, (12, 9)).astype(np.float32))


def _documents(count: int, classes: int, length: int = 30) -> tuple[DocumentWords, np.ndarray]:
    """Documents of 60 words; each class prefers ten of them."""
    draw = np.random.default_rng(1)
    labels = np.arange(count) % classes
    documents = []
    for label in labels:
        telling = draw.integers(10 * label, 10 * label + 10, length // 3)
        documents.append(draw.permutation(np.concatenate([telling, draw.integers(0, 60, length - len(telling))])))
    words = tuple(f"w{number}" for number in range(60))
    return DocumentWords(join_words(documents), words, True), labels


def test_tfidf_is_that_of_scikit_learn() -> None:
    expected = TfidfTransformer(sublinear_tf=True).fit_transform(COUNTS)
    ours = weigh(COUNTS, "tf-idf", inverse_document_frequency(COUNTS))
    np.testing.assert_allclose(ours.toarray(), expected.toarray(), rtol=1e-5)


def test_mean_by_hand() -> None:
    counts = csr_array(np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]], dtype=np.float32))
    weights = np.array([0.25, 0.75, 0.5], dtype=np.float32)
    np.testing.assert_allclose(weigh(counts, "mean", weights).toarray(), [[0.25, 0.75, 0.0], [0.0, 0.0, 1.0]])


def test_shares_to_keep_by_hand() -> None:
    counts = csr_array(np.array([[8000.0, 1.0, 0.0], [0.0, 1999.0, 0.0]], dtype=np.float32))
    ratios = 1e-4 / np.array([0.8, 0.2])
    np.testing.assert_allclose(keep_shares(counts), [*(np.sqrt(ratios) + ratios), 1.0], rtol=1e-6)


@pytest.mark.parametrize("weighting", ["tf-idf", "binary", "mean"])
def test_features_of_a_document_do_not_depend_on_the_others(weighting: str) -> None:
    weights = keep_shares(COUNTS)
    together = weigh(COUNTS, weighting, weights).toarray()
    for row in range(COUNTS.shape[0]):
        np.testing.assert_array_equal(weigh(COUNTS[[row]], weighting, weights).toarray()[0], together[row])
    empty = csr_array((1, COUNTS.shape[1]), dtype=np.float32)
    assert weigh(empty, weighting, weights).nnz == 0


def test_weights_are_asked_for() -> None:
    with pytest.raises(ConfigError, match="feature_weights: expected them for weighting 'mean', got None"):
        weigh(COUNTS, "mean", None)


def test_log_probabilities_sum_to_one() -> None:
    scores = RANDOM.normal(size=(5, 4)) * 30
    for logs in (
        class_log_probabilities(scores),
        class_log_probabilities(scores, one_against_rest=True),
        class_log_probabilities(scores[:, :1]),
    ):
        np.testing.assert_allclose(np.exp(logs).sum(axis=1), 1.0)
    np.testing.assert_allclose(class_log_probabilities(np.array([[2.0]]))[0, 1], -np.log1p(np.exp(-2.0)))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("fit", [fit_tfidf, fit_nb_svm])
def test_linear_members_learn(fit, classes: int) -> None:  # type: ignore[no-untyped-def]
    documents, labels = _documents(120, classes)
    rows = np.arange(80)
    member, strength = fit(documents, rows, labels[rows], classes)
    assert strength in (*TFIDF_STRENGTHS, *NB_SVM_STRENGTHS)
    assert member.words == tuple(sorted(member.words, key=documents.words.index))
    places = np.array([member.words.index(word) if word in member.words else -1 for word in documents.words])
    logs = member.log_probabilities(documents.sequence.select(np.arange(80, 120)).renumber(places))
    assert (logs.argmax(axis=1) == labels[80:]).mean() > 0.85


def test_nb_svm_folds_the_log_count_ratio_into_its_weights() -> None:
    from ulmkit.evaluation.baselines.estimators import OneAgainstRest, fit_best

    documents, labels = _documents(60, 3)
    rows = np.arange(60)
    member, _ = fit_nb_svm(documents, rows, labels, 3)
    features = weigh(member.ngrams.counts(documents.sequence), "binary", None)
    expected = fit_best(OneAgainstRest(3, count_ratio=True), features, labels, (0.01, 0.1, 1.0)).predict_proba(features)
    np.testing.assert_allclose(np.exp(member.log_probabilities(documents.sequence)), expected, atol=1e-5)


@pytest.mark.parametrize(("classes", "triples"), [(2, False), (3, False), (3, True)])
def test_document_vectors_fold_into_linear_weights(classes: int, triples: bool) -> None:
    documents, labels = _documents(150, classes)
    vectors = DocumentVectors(documents, np.arange(150), triples=triples)
    known = vectors.vectors(np.arange(150))
    assert known.shape == (150, 96)
    np.testing.assert_allclose(known.std(axis=0), 1.0, rtol=1e-4)
    rows = np.arange(12)
    member = vectors.fit(known[rows], labels[rows], classes)
    assert member.coefficients.shape == (len(member.ngrams), 1 if classes == 2 else classes)
    assert len(member.ngrams.codes) == (2 if triples else 1)
    logs = member.log_probabilities(documents.sequence)
    assert (logs.argmax(axis=1) == labels)[12:].mean() > 0.85


def test_a_class_without_documents_stays_possible() -> None:
    features = RANDOM.normal(size=(20, 3))
    weights, intercept = fit_logistic(features, np.arange(20) % 2, 3, 1.0)
    p = np.exp(class_log_probabilities(features @ weights + intercept))
    assert 0.0 < p[:, 2].max() < 0.3
    weights, intercept = fit_logistic(features, np.ones(20, dtype=int), 2, 1.0)
    assert np.exp(class_log_probabilities(features @ weights + intercept))[:, 1].min() > 0.9
    weights, intercept = fit_logistic(features, np.full(20, 2), 3, 1.0)
    assert class_log_probabilities(features @ weights + intercept).argmax(axis=1).tolist() == [2] * 20


def test_settings_are_chosen_by_held_out_loss() -> None:
    labels = np.arange(60) % 2
    good = labels[:, None] + 0.3 * RANDOM.normal(size=(60, 1))
    bad = RANDOM.normal(size=(60, 1))
    chosen = choose_setting(["bad", "good"], lambda name, _: good if name == "good" else bad, lambda _: 1.0, labels, 2)
    assert chosen == "good"
    assert choose_setting(["first", "second"], lambda *_: good, lambda _: 1.0, labels[:1], 2) == "first"


def test_preferred_settings_are_left_for_more_than_one_standard_error() -> None:
    usual = np.full(16, 2.0)
    noise = np.tile([1.0, -1.0], 8)
    error = noise.std(ddof=1) / 4.0
    worse, better = usual + noise - 0.9 * error, usual + noise - 1.1 * error
    for losses, preferred, expected in (
        ([usual, worse], 1, 0),
        ([usual, better], 1, 1),
        ([usual, worse], None, 1),
        ([usual + 1.0, usual, worse], 2, 1),
        ([usual, usual], 1, 0),
    ):
        assert least_loss(np.stack(losses), preferred) == expected
    assert least_loss(np.zeros((3, 0)), 1) == 0


def test_shapes_that_do_not_fit_are_refused() -> None:
    documents, labels = _documents(20, 2)
    member, _ = fit_tfidf(documents, np.arange(20), labels, 2)
    for name in ("coefficients", "feature_weights"):
        with pytest.raises(ConfigError, match=f"{name}: expected {len(member.ngrams)} of them, got 3"):
            dataclasses.replace(member, **{name: getattr(member, name)[:3]})
    with pytest.raises(ConfigError, match="words: expected"):
        dataclasses.replace(member, words=("a",))


@pytest.mark.parametrize("counts", [np.ones(20, dtype=int), np.arange(20)], ids=["no mutual information", "some"])
def test_documents_that_are_alike_are_not_told_apart(counts: np.ndarray, recwarn: pytest.WarningsRecorder) -> None:
    words = np.repeat(np.arange(20), counts)
    documents = DocumentWords(join_words([words] * 40), tuple(f"w{number}" for number in range(20)), True)
    vectors = DocumentVectors(documents, np.arange(40))
    rows = np.arange(20)
    member = vectors.fit(vectors.vectors(rows), rows % 2, 2, VectorSetting(100.0))
    np.testing.assert_allclose(np.exp(member.log_probabilities(documents.sequence)), 0.5, atol=1e-3)
    assert not recwarn.list


@pytest.mark.parametrize("classes", [2, 3])
def test_a_regression_on_more_features_than_documents_is_at_its_optimum(classes: int) -> None:
    """The gradient of the penalized loss is 0: W / strength + X^T (P - Y), and 1^T (P - Y)."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20, 300))
    labels = np.arange(20) % classes
    weights, intercept = fit_logistic(features, labels, classes, 0.5, 1e-9)
    shares = np.exp(class_log_probabilities(features @ weights + intercept))
    away = shares - np.eye(classes)[labels]
    away = away[:, 1:] if classes == 2 else away
    assert np.abs(weights / 0.5 + features.T @ away).max() < 1e-4
    assert np.abs(away.sum(axis=0)).max() < 1e-4


def test_passes_make_the_wanted_tokens_within_bounds() -> None:
    keep = np.ones(4, dtype=np.float32)
    for each, wanted, expected in ((1e3, 5e7, 50), (1e6, 3e7, 30), (1e7, 5e7, 8), (1e8, 5e7, 4), (1e9, 5e7, 1)):
        counts = csr_array(np.full((1, 4), each / 4))
        assert passes_for(counts, keep, wanted) == expected
