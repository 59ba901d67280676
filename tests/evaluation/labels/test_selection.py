"""Selective classification: bounds that hold, the largest coverage that reaches an error, and clear refusals."""

import numpy as np
import pytest
from scipy.stats import binom

from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation import (
    HeldOutAnswers,
    choose_selection,
    coverage_table,
    errors_by_coverage,
    evaluate_selection,
)
from ulmkit.evaluation.labels.selection import COVERAGES, documents_needed, error_bound


def answers(confidence: np.ndarray, is_right: np.ndarray) -> HeldOutAnswers:
    labels = np.zeros(len(confidence), dtype=np.int64)
    return HeldOutAnswers("made up", labels, (~is_right).astype(np.int64), confidence, np.zeros(len(confidence)))


def calibrated(draw: np.random.Generator, count: int) -> HeldOutAnswers:
    """Answers that are right as often as their confidence, uniform from 0.5 to 1, says: error (1 - t) / 2 above t."""
    confidence = draw.uniform(0.5, 1.0, count)
    return answers(confidence, draw.random(count) < confidence)


def test_answers_of_probabilities() -> None:
    outputs = np.array([[0.7, 0.2, 0.1], [0.25, 0.35, 0.4]], dtype=np.float32)
    found = HeldOutAnswers.of(outputs, [0, 0], "two")
    assert found.predicted.tolist() == [0, 2]
    assert found.is_right.tolist() == [True, False]
    np.testing.assert_allclose(found.confidence, [0.7, 0.4], atol=1e-7)
    np.testing.assert_allclose(found.mass_above, [0.0, 0.75], atol=1e-7)
    with pytest.raises(DataError, match=r"one length, at least 1, got \[\(0,\)\]"):
        answers(np.array([]), np.array([], dtype=bool))
    with pytest.raises(DataError, match="a confidence from 0 to 1, got 0.5, 1.5"):
        answers(np.array([0.5, 1.5]), np.array([True, True]))


def test_a_sample_of_answers_keeps_their_order() -> None:
    known = answers(np.linspace(0, 1, 50), np.ones(50, dtype=bool))
    assert known.sample(50) is known
    few = known.sample(10)
    assert len(few) == 10
    assert (np.diff(few.confidence) > 0).all()


@pytest.mark.parametrize(("errors", "documents"), [(0, 59), (3, 40), (39, 40)])
def test_the_bound_solves_its_equation(errors: int, documents: int) -> None:
    bound = float(error_bound(errors, documents, 0.95))
    assert binom.cdf(errors, documents, bound) == pytest.approx(0.05)


def test_the_bound_of_all_wrong_is_one() -> None:
    assert error_bound(np.array([5, 0]), np.array([5, 5]), 0.95).tolist() == [1.0, pytest.approx(1 - 0.05**0.2)]


def test_the_largest_coverage_that_reaches_the_error_is_chosen() -> None:
    confidence = np.arange(1, 1001) / 1001
    found = choose_selection(answers(confidence, confidence > 0.3), 0.05)
    assert found.answered == 700
    assert found.coverage == pytest.approx(0.7)
    assert found.errors == 0
    assert found.bound <= 0.05
    assert found.accepts(np.array([[0.31, 0.1], [0.2, 0.29]])).tolist() == [True, False]
    assert found.accepts(np.empty((0, 2))).tolist() == []
    assert choose_selection(answers(confidence, confidence > 0.3), 0.4).coverage == 1.0


def test_ties_are_answered_together_or_not_at_all() -> None:
    confidence = np.repeat([0.6, 1.0], [400, 600])
    found = choose_selection(answers(confidence, confidence == 1.0), 0.05)
    assert (found.threshold, found.answered) == (0.6, 600)


def test_the_promise_holds_over_draws_of_held_out_documents() -> None:
    draw = np.random.default_rng(0)
    thresholds = [max(0.5, choose_selection(calibrated(draw, 1000), 0.2).threshold) for _ in range(100)]
    errors = (1.0 - np.array(thresholds)) / 2
    assert np.mean(errors > 0.2) <= 0.05
    assert np.median(errors) > 0.13  # and it is not kept by hardly answering


def test_choosing_among_thresholds_does_not_break_the_promise() -> None:
    """Confidence says nothing, and the error is a little above the one asked for: each threshold is a false one."""
    draw = np.random.default_rng(1)
    chosen = 0
    for _ in range(200):
        try:
            choose_selection(answers(draw.random(200), draw.random(200) > 0.21), 0.2)
            chosen += 1
        except ConfigError:
            pass
    assert chosen <= 200 * 0.05


def test_an_error_that_is_out_of_reach_is_refused_with_what_would_do() -> None:
    draw = np.random.default_rng(0)
    few = answers(draw.random(60), np.ones(60, dtype=bool))
    refusal = (
        r"max_error: expected at least 0\.\d+, the lowest error that 60 documents .* 95% certainty, .* got 0.05; allow"
    )
    with pytest.raises(ConfigError, match=refusal):
        choose_selection(few, 0.05)
    with pytest.raises(ConfigError, match=r"\(`held_out`\): 0.05 takes 117 even without a mistake"):
        choose_selection(few, 0.05)
    assert documents_needed(0.05) == 117
    assert choose_selection(answers(draw.random(117), np.ones(117, dtype=bool)), 0.05).coverage == 1.0
    with pytest.raises(ConfigError, match=r"with \d+ of the surest [\d,]+ wrong, got 0.05; .*\(`held_out`\)$"):
        choose_selection(answers(draw.random(1000), draw.random(1000) > 0.3), 0.05)
    for value in (0.0, 1.0, -0.1):
        with pytest.raises(ConfigError, match="max_error: expected"):
            choose_selection(few, value)
        with pytest.raises(ConfigError, match="certainty: expected"):
            choose_selection(few, 0.5, value)


def test_evaluation_counts_answers_and_errors() -> None:
    chosen = choose_selection(calibrated(np.random.default_rng(0), 2000), 0.1)
    report = evaluate_selection(chosen, calibrated(np.random.default_rng(1), 2000))
    assert report.answered == pytest.approx(2000 * chosen.coverage, rel=0.2)
    assert report.error == report.errors / report.answered < 0.1
    assert f"{report.coverage:.4f} ({report.answered:,} of 2,000)" in report.table()
    none = evaluate_selection(chosen, answers(np.array([0.1]), np.array([True])))
    assert (none.answered, none.error, none.error_interval) == (0, None, None)
    assert "no answers" in none.table()
    assert none.validation_metrics() == {"abstained": 1.0, "error": 0.0}


def test_the_error_falls_with_the_coverage() -> None:
    confidence = np.arange(100) / 100
    errors = errors_by_coverage(answers(confidence, confidence >= 0.3))
    assert errors == {"100%": 0.3, "90%": pytest.approx(20 / 90), "75%": pytest.approx(5 / 75), "50%": 0.0, "25%": 0.0}
    assert "surest documents answered" in coverage_table(answers(confidence, confidence >= 0.2))


def test_coverages_go_down() -> None:
    assert COVERAGES[0] == 1.0
    assert (np.diff(COVERAGES) < 0).all()
    assert len(COVERAGES) == 20
