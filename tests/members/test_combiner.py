"""Softmax regression on the members' log-probabilities."""

import numpy as np
import pytest
from scipy.special import log_softmax

from ulmkit.errors import ConfigError
from ulmkit.members.combiner import Combiner, fit_combiner


def _member(labels: np.ndarray, strength: float, seed: int, classes: int = 3) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(len(labels), classes))
    return np.asarray(log_softmax(strength * np.eye(classes)[labels] + noise, axis=1))


LABELS = np.arange(600) % 3


def test_by_hand() -> None:
    logs = [np.log([[0.8, 0.2]]), np.log([[0.4, 0.6]])]
    combined = Combiner(np.array([1.0, 0.5]), np.array([0.1, 0.0]))(logs)
    scores = np.log([0.8, 0.2]) + 0.5 * np.log([0.4, 0.6]) + [0.1, 0.0]
    np.testing.assert_allclose(combined[0], log_softmax(scores))


def test_the_better_member_gets_more_weight_and_none_a_negative_one() -> None:
    good, poor, wrong = _member(LABELS, 3, 0), _member(LABELS, 1, 1), -_member(LABELS, 2, 2)
    combiner = fit_combiner([good, poor, wrong], LABELS)
    assert combiner.weights[0] > combiner.weights[1] > 0
    assert combiner.weights[2] == 0


def test_overconfidence_is_corrected() -> None:
    logs = np.asarray(log_softmax(5 * _member(LABELS, 2, 0), axis=1))
    combined = fit_combiner([logs], LABELS)([logs])
    rows = np.arange(len(LABELS))
    assert combined[rows, LABELS].mean() > logs[rows, LABELS].mean() + 0.1
    confidence = np.exp(combined.max(axis=1)).mean()
    assert abs(confidence - (combined.argmax(axis=1) == LABELS).mean()) < 0.03


def test_few_documents_leave_the_weights_near_those_of_an_average() -> None:
    members = [_member(LABELS, 3, 0), _member(LABELS, 1, 1)]
    few = fit_combiner([logs[:4] for logs in members], LABELS[:4])
    assert np.abs(few.weights - 0.5).max() < 0.35


def test_a_class_that_no_document_has_keeps_its_bias_finite() -> None:
    combiner = fit_combiner([_member(LABELS, 2, 0)], LABELS % 2)
    assert np.isfinite(combiner.bias).all()


def test_another_number_of_members_is_refused() -> None:
    with pytest.raises(ConfigError, match="members: expected 2, got 1"):
        Combiner(np.ones(2), np.zeros(2))([np.zeros((1, 2))])
