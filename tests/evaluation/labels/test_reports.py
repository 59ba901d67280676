"""Figures of single labels, several labels and numbers."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation import (
    evaluate_multi,
    evaluate_number,
    evaluate_single,
    expected_calibration_error,
    wilson_interval,
)
from ulmkit.files import json_safe

NAMES = ("a", "b", "c")
P = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [0.4, 0.35, 0.25]])
Y = np.array([0, 1, 1, 2, 0])


def strict_json(report) -> dict:
    return json.loads(json.dumps(report.to_dict(), allow_nan=False))


def test_single_label_by_hand():
    report = evaluate_single(P, Y, NAMES, by={"source": ["x", "y", "y", "x", "x"]})
    assert report.confusion == ((2, 0, 0), (1, 1, 0), (0, 0, 1))
    assert (report.documents, report.accuracy, report.error) == (5, 0.8, pytest.approx(0.2))
    assert report.majority_label in ("a", "b")
    assert report.majority_accuracy == 0.4
    a, b, c = report.classes
    assert (a.precision, a.recall, a.f1, a.support) == (pytest.approx(2 / 3), 1.0, pytest.approx(0.8), 2)
    assert (b.precision, b.recall, b.f1, b.support) == (1.0, 0.5, pytest.approx(2 / 3), 2)
    assert (c.precision, c.recall, c.f1, c.support) == (1.0, 1.0, 1.0, 1)
    assert report.macro_f1 == pytest.approx((0.8 + 2 / 3 + 1.0) / 3)
    assert report.negative_log_likelihood == pytest.approx(-sum(map(math.log, (0.7, 0.6, 0.3, 0.6, 0.4))) / 5)
    first, second = report.by["source"]
    assert (first.value, first.documents, first.errors, first.error) == ("x", 3, 0, 0.0)
    assert (second.value, second.documents, second.errors, second.error) == ("y", 2, 1, 0.5)
    assert second.interval == wilson_interval(1, 2)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 5), documents=st.integers(1, 40))
def test_single_label_equals_scikit_learn(seed, classes, documents):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), documents)
    y = rng.integers(0, classes, documents)
    report = evaluate_single(p, y, [str(k) for k in range(classes)])
    guess = p.argmax(1)
    assert report.accuracy == pytest.approx(metrics.accuracy_score(y, guess))
    assert report.macro_f1 == pytest.approx(metrics.f1_score(y, guess, average="macro"))
    assert report.negative_log_likelihood == pytest.approx(metrics.log_loss(y, p, labels=range(classes)))
    assert report.confusion == tuple(map(tuple, metrics.confusion_matrix(y, guess, labels=range(classes))))
    if len(set(y.tolist())) == classes:
        scores = p[:, 1] if classes == 2 else p
        assert report.roc_auc == pytest.approx(metrics.roc_auc_score(y, scores, multi_class="ovr"))
    else:
        assert report.roc_auc is None
    strict_json(report)


def test_single_label_where_metrics_are_undefined():
    report = evaluate_single(np.array([[1.0, 0.0, 0.0]]), np.array([0]), NAMES, majority=2)
    assert report.roc_auc is None
    assert report.majority_accuracy == 0.0
    assert report.classes[2].precision is None
    assert report.classes[2].recall is None
    assert report.classes[2].f1 is None
    assert report.macro_f1 == 1.0  # over the one class that is there
    assert strict_json(report)["classes"][1]["recall"] is None
    never_right = evaluate_single(np.array([[1.0, 0.0]]), np.array([1]), NAMES[:2])
    assert never_right.negative_log_likelihood == pytest.approx(-math.log(1e-15))


def test_tables_show_metrics_and_dashes():
    table = evaluate_single(P, Y, NAMES, by={"source": [1, 2, 2, 1, 1]}).table()
    for part in ("accuracy", "0.8000 (95%", "majority class", "precision", "true \\ predicted", "source"):
        assert part in table
    assert " -" in evaluate_single(np.array([[1.0, 0.0]]), np.array([0]), NAMES[:2]).table()
    many = evaluate_single(np.eye(13), np.arange(13), [str(k) for k in range(13)])
    assert "true \\ predicted" not in many.table()


@pytest.mark.parametrize(
    ("p", "y", "names", "options", "message"),
    [
        (P[:, :1], Y, ("a",), {}, "at least two classes, got 1"),
        (P[:0], Y[:0], NAMES, {}, "at least one labelled document"),
        (P[:, :2], Y, NAMES, {}, r"expected shape \(5, 3\), got \(5, 2\)"),
        (P, np.array([0, 1, 3, 0, 0]), NAMES, {}, "expected classes 0 to 2, got 3 for document 2"),
        (P, np.array([0, -1, 1, 0, 0]), NAMES, {}, "got -1 for document 1"),
        (P * 2, Y, NAMES, {}, "sum to 1; give probabilities, not logits"),
        (np.where(P == 0.7, np.nan, P), Y, NAMES, {}, "sum to 1"),
        (P, Y, NAMES, {"majority": 3}, "majority: expected a class from 0 to 2, got 3"),
        (P, Y, NAMES, {"by": {"year": [1]}}, "by column 'year': expected a value for each of 5 documents, got 1"),
    ],
)
def test_single_label_refusals(p, y, names, options, message):
    with pytest.raises(DataError, match=message):
        evaluate_single(p, y, names, **options)


def test_wilson_interval():
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3 (score, without continuity correction).
    for successes, trials, low, high in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]:
        assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(29, 29) == pytest.approx((0.8830, 1.0), abs=5e-5)
    for successes, trials in [(1, 0), (-1, 3), (4, 3)]:
        with pytest.raises(DataError, match=f"got {successes} of {trials}"):
            wilson_interval(successes, trials)


def test_calibration_error_by_hand():
    confidence = np.array([0.95, 0.95, 0.55, 0.6, 1.0])
    correct = np.array([True, False, True, True, True])
    # two bins: all are in (0.5, 1]: |4/5 - 0.81| ; ten: (0.9, 1]: 3/5 |2/3 - 2.9/3|, (0.5, 0.6]: 2/5 |1 - 0.575|
    assert expected_calibration_error(confidence, correct, bins=2) == pytest.approx(abs(0.8 - 0.81))
    assert expected_calibration_error(confidence, correct, bins=10) == pytest.approx(0.6 * 0.3 + 0.4 * 0.425)
    assert expected_calibration_error(np.array([0.0, 0.5]), np.array([False, True]), bins=2) == pytest.approx(0.25)
    with pytest.raises(ConfigError, match=r"bins: .* got 0"):
        expected_calibration_error(confidence, correct, bins=0)


def test_multi_label_by_hand():
    p = np.array([[0.9, 0.1], [0.8, 0.6], [0.2, 0.5], [0.1, 0.2]])
    y = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], dtype=bool)
    report = evaluate_multi(p, y, ("u", "v"), by={"k": "xxyy"})
    u, v = report.classes
    assert (u.precision, u.recall, u.f1) == (1.0, pytest.approx(2 / 3), pytest.approx(0.8))
    assert (v.precision, v.recall, v.f1) == (0.5, 1.0, pytest.approx(2 / 3))
    assert report.micro_f1 == pytest.approx(2 * 3 / (4 + 4))
    assert report.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)
    assert report.subset_accuracy == 0.5
    assert report.majority_subset_accuracy == 0.75
    assert report.binary_cross_entropy == pytest.approx(
        -sum(map(math.log, (0.9, 0.9, 0.8, 0.4, 0.8, 0.5, 0.1, 0.8))) / 8
    )
    assert report.by["k"][0].error == 0.5
    assert u.roc_auc == pytest.approx(metrics.roc_auc_score(y[:, 0], p[:, 0]))
    assert report.micro_f1 == pytest.approx(metrics.f1_score(y, p >= 0.5, average="micro"))
    assert evaluate_multi(p, y, ("u", "v"), threshold=0.15).classes[0].predicted == 3
    assert "micro F1" in report.table()
    strict_json(report)


def test_multi_label_without_any_label():
    report = evaluate_multi(np.zeros((2, 2)), np.zeros((2, 2), dtype=bool), ("u", "v"))
    assert report.subset_accuracy == 1.0
    assert strict_json(report)["micro_f1"] is None
    assert report.binary_cross_entropy == 0.0
    assert report.macro_f1 is None


def test_multi_label_never_right():
    report = evaluate_multi(np.ones((2, 2)), np.zeros((2, 2), dtype=bool), ("u", "v"))
    assert report.binary_cross_entropy == pytest.approx(-math.log(1e-15))


def test_multi_label_refusals():
    y = np.ones((2, 2), dtype=bool)
    for p, targets, message in [
        (np.ones((2, 2)), y[:, :1], r"targets: expected shape \(documents, 2\)"),
        (np.ones((0, 2)), y[:0], "with documents"),
        (np.ones((2, 1)), y, r"probabilities: expected shape \(2, 2\), got \(2, 1\)"),
        (np.full((2, 2), 1.5), y, "from 0 to 1"),
        (np.full((2, 2), np.nan), y, "from 0 to 1"),
    ]:
        with pytest.raises(DataError, match=message):
            evaluate_multi(p, targets, ("u", "v"))
    with pytest.raises(ConfigError, match=r"threshold: .* got 1.0"):
        evaluate_multi(np.ones((2, 2)), y, ("u", "v"), threshold=1.0)


def test_number_by_hand():
    report = evaluate_number(np.array([1.0, 2.0, 4.0, 4.0]), np.array([1.0, 3.0, 2.0, 6.0]))
    assert report.mae == pytest.approx(5 / 4)
    assert report.rmse == pytest.approx(1.5)
    assert report.r2 == pytest.approx(1 - 9 / 14)
    assert report.mean_mae == pytest.approx(1.5)
    assert "RMSE" in report.table()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=1, max_size=20))
def test_number_equals_scipy(pairs):
    from scipy import stats

    p, y = np.array(pairs, dtype=float).T
    report = evaluate_number(p, y)
    if len(set(p)) > 1 and len(set(y)) > 1:
        assert report.pearson == pytest.approx(stats.pearsonr(p, y).statistic)
        assert report.spearman == pytest.approx(stats.spearmanr(p, y).statistic)
    else:
        assert report.pearson is None
        assert report.spearman is None
    assert report.r2 == (None if len(set(y)) == 1 else pytest.approx(metrics.r2_score(y, p)))
    strict_json(report)


def test_number_refusals():
    with pytest.raises(DataError, match=r"got \(1,\) for \(2,\)"):
        evaluate_number(np.ones(1), np.ones(2))
    with pytest.raises(DataError, match="at least one, got"):
        evaluate_number(np.ones(0), np.ones(0))
    with pytest.raises(DataError, match="targets: expected finite numbers, got nan for document 1"):
        evaluate_number(np.ones(2), np.array([1.0, np.nan]))


def test_json_safe():
    value = {1: (np.float32(0.5), np.int64(3)), "x": [math.nan, math.inf, None, "t", True], "y": np.arange(2)}
    assert json_safe(value) == {"1": [0.5, 3], "x": [None, None, None, "t", True], "y": [0, 1]}
