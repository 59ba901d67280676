"""Conformal sets: the share of sets with the right label, on average over draws of held-out documents."""

import numpy as np
import pytest
from scipy.special import softmax

from ulmkit.errors import ConfigError
from ulmkit.evaluation import HeldOutAnswers, choose_conformal_sets, evaluate_conformal_sets


def drawn(draw: np.random.Generator, count: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are too sure, and the right classes."""
    logits = draw.normal(size=(count, classes)) * 1.5
    labels = np.array([draw.choice(classes, p=row) for row in softmax(logits, axis=1)])
    return softmax(2.0 * logits, axis=1), labels


def test_a_set_has_the_labels_that_little_stands_above() -> None:
    rule = choose_conformal_sets(HeldOutAnswers.of(np.array([[0.6, 0.4]] * 9), [1] * 9, "nine"), 0.1)
    assert rule.level == pytest.approx(0.6)
    outputs = np.array([[0.5, 0.3, 0.2], [0.9, 0.05, 0.05], [0.2, 0.2, 0.6]])
    assert rule.sets(outputs).tolist() == [[True, True, False], [True, False, False], [True, True, True]]
    assert rule.sets(np.empty((0, 3))).shape == (0, 3)


def test_a_classifier_that_is_right_often_enough_gives_single_labels() -> None:
    outputs = np.array([[0.6, 0.4]] * 99)
    rule = choose_conformal_sets(HeldOutAnswers.of(outputs, [1] * 5 + [0] * 94, "made up"), 0.1)
    assert rule.level == 0.0
    assert rule.sets(np.array([[0.5, 0.4, 0.1]])).tolist() == [[True, False, False]]


def test_too_few_documents_give_all_labels() -> None:
    rule = choose_conformal_sets(HeldOutAnswers.of(np.array([[0.6, 0.4]] * 8), [0] * 8, "eight"), 0.1)
    assert rule.level is None
    assert rule.sets(np.array([[0.99, 0.01]])).all()


def test_sets_have_the_right_label_as_often_as_promised() -> None:
    draw = np.random.default_rng(0)
    shares = []
    for _ in range(100):
        rule = choose_conformal_sets(HeldOutAnswers.of(*drawn(draw, 100), "made up"), 0.1)
        shares.append(evaluate_conformal_sets(rule, *drawn(draw, 200)).coverage)
    assert 0.895 <= np.mean(shares) <= 0.96


def test_evaluation_counts_labels() -> None:
    rule = choose_conformal_sets(HeldOutAnswers.of(np.array([[0.6, 0.4]] * 9), [1] * 9, "nine"), 0.1)
    report = evaluate_conformal_sets(rule, np.array([[0.5, 0.3, 0.2], [0.9, 0.05, 0.05]]), np.array([2, 0]))
    assert (report.coverage, report.mean_size, report.singletons) == (0.5, 1.5, 0.5)
    assert "0.5000 (95%: " in report.table()
    assert report.validation_metrics() == {"miscoverage": 0.5, "mean_size": 1.5}


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_impossible_shares_are_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="miscoverage: expected"):
        choose_conformal_sets(HeldOutAnswers.of(np.array([[0.6, 0.4]]), [0], "one"), value)
