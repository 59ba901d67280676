"""Drift: alarms that are rarely false, shifts that are found, texts that are unlike the others."""

from dataclasses import replace

import numpy as np
import pytest

from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation.drift import (
    DriftReport,
    TextMeasures,
    UnlikeText,
    adjust,
    class_shares,
    compare_classes,
    compare_numbers,
    find_periods,
    unlikeness,
)

LABELS = ("a", "b", "c")


def measures(draw: np.random.Generator, count: int, shift: float = 0.0, shares=(0.5, 0.3, 0.2)) -> TextMeasures:
    values = {
        "bits_per_character": draw.normal(2.0 + shift, 0.5, count),
        "unknown_rate": draw.choice([0.0, 0.0, 0.05], count),
        "words": draw.integers(5, 200, count).astype(np.float64),
        "confidence": draw.uniform(0.4, 1.0, count),
    }
    return TextMeasures(values, draw.choice(3, count, p=shares))


def has_drifted(held_out: TextMeasures, new: TextMeasures, level: float = 0.05, min_effect: float = 0.0) -> bool:
    periods = find_periods(held_out, new, None, LABELS, level=level, min_effect=min_effect)
    return periods[0].has_drifted


def test_without_drift_the_alarm_is_about_as_rare_as_the_level() -> None:
    draw = np.random.default_rng(0)
    alarms = [has_drifted(measures(draw, 150), measures(draw, 120)) for _ in range(60)]
    assert np.mean(alarms) <= 0.1


def test_one_test_alone_keeps_its_level() -> None:
    draw = np.random.default_rng(1)
    numbers = [compare_numbers("words", draw.normal(size=90), draw.normal(size=110)).p_value for _ in range(100)]
    classes = [compare_classes(draw.choice(3, 90), draw.choice(3, 110), 3).p_value for _ in range(100)]
    for p_values in (numbers, classes):
        assert 0.03 <= np.mean(np.array(p_values) < 0.1) <= 0.18


def test_planted_drift_is_found() -> None:
    draw = np.random.default_rng(2)
    held_out = measures(draw, 300)
    assert has_drifted(held_out, measures(draw, 100, shift=0.4), 0.01, 0.1)
    assert has_drifted(held_out, measures(draw, 100, shares=(0.2, 0.3, 0.5)), 0.01, 0.1)
    (found,) = find_periods(held_out, measures(draw, 100, shift=0.4), None, LABELS, level=0.01, min_effect=0.1)
    worst = min(found.comparisons, key=lambda each: each.p_value)
    assert worst.measure == "bits_per_character"
    assert worst.after - worst.before == pytest.approx(0.4, abs=0.15)
    assert worst.greater > 0.65


def test_with_many_texts_a_small_difference_is_significant_but_no_alarm() -> None:
    draw = np.random.default_rng(3)
    held_out, new = measures(draw, 20_000), measures(draw, 20_000, shift=0.03)
    assert has_drifted(held_out, new, 0.01, 0.0)
    assert not has_drifted(held_out, new, 0.01, 0.1)


def test_the_period_that_differs_is_named_and_small_ones_are_left_out() -> None:
    draw = np.random.default_rng(4)
    new = TextMeasures.join([measures(draw, 100), measures(draw, 100, shift=1.0), measures(draw, 19, shift=9.0)])
    periods = ["2024-W01"] * 100 + ["2024-W02"] * 100 + ["2024-W03"] * 19
    found = find_periods(measures(draw, 300), new, periods, LABELS, level=0.01, min_effect=0.1)
    assert [(period.name, period.texts, period.has_drifted) for period in found] == [
        ("2024-W01", 100, False),
        ("2024-W02", 100, True),
        ("2024-W03", 19, False),
    ]
    assert found[2].comparisons == ()
    report = DriftReport(219, 300, 0.01, 0.1, found, {"a": (0.5, 0.4)}, (UnlikeText("7", 0.99, "a text"),))
    assert report.has_drifted
    assert report.to_dict()["has_drifted"] is True
    assert report.to_dict()["is_compared"] is True
    too_few = replace(report, periods=found[2:])
    assert (too_few.is_compared, too_few.has_drifted) == (False, False)
    assert "too few to compare" in report.table()
    assert report.table().count("drift") == 1
    assert report.validation_metrics()["effect"] == max(each.effect for period in found for each in period.comparisons)


def test_the_effect_of_classes_is_the_share_that_moved() -> None:
    comparison = compare_classes(np.array([0] * 50 + [1] * 50), np.array([0] * 80 + [1] * 20), 2)
    assert comparison.effect == pytest.approx(0.3)
    assert comparison.p_value < 0.001
    assert compare_classes(np.zeros(50, dtype=int), np.zeros(50, dtype=int), 2).p_value == 1.0
    rare = compare_classes(np.array([0] * 95 + [1, 2, 3, 4, 5]), np.array([0] * 95 + [6, 7, 8, 9, 10]), 11)
    assert rare.p_value == 1.0  # five rare ones on either side


def test_holm_by_hand() -> None:
    assert adjust([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert adjust([0.9, 0.8]) == [1.0, 1.0]
    assert adjust([]) == []


def test_unlike_texts_are_above_the_held_out_ones() -> None:
    held_out = TextMeasures({"bits_per_character": np.arange(100.0), "unknown_rate": np.zeros(100)})
    new = TextMeasures(
        {"bits_per_character": np.array([-1.0, 49.5, 200.0, 200.0]), "unknown_rate": np.array([0, 0, 0, 1.0])}
    )
    np.testing.assert_allclose(unlikeness(held_out, new), [0.25, 0.5, 0.75, 1.0])
    sure = TextMeasures({"confidence": np.array([0.9, 0.99])})
    assert unlikeness(sure, TextMeasures({"confidence": np.array([0.5, 1.0])})).tolist() == [1.0, 0.0]
    words = TextMeasures({"words": np.array([1.0, 9.0])})
    assert unlikeness(words, words).tolist() == [0.5, 0.5]  # nothing tells


def test_class_shares_by_label() -> None:
    old, new = (TextMeasures({"words": np.ones(len(each))}, np.array(each)) for each in ([0, 0, 1, 1], [0, 1]))
    assert class_shares(old, new, ("a", "b")) == {"a": (0.5, 0.5), "b": (0.5, 0.5)}
    assert class_shares(TextMeasures({"words": np.ones(2)}), new, ("a", "b")) == {}


def test_impossible_measures_and_options_are_refused() -> None:
    with pytest.raises(DataError, match="expected finite numbers of a known measure, got 'length'"):
        TextMeasures({"length": np.ones(2)})
    with pytest.raises(DataError, match=r"expected columns of one length, got \[2, 3\]"):
        TextMeasures({"words": np.ones(2)}, np.zeros(3, dtype=int))
    with pytest.raises(DataError, match="finite"):
        TextMeasures({"words": np.array([np.nan])})
    known = TextMeasures({"words": np.ones(30)})
    with pytest.raises(ConfigError, match="level: expected"):
        find_periods(known, known, None, (), level=1.0, min_effect=0.1)
    with pytest.raises(DataError, match="expected a measure that held-out and new texts share"):
        find_periods(known, TextMeasures({"confidence": np.ones(30)}), None, (), level=0.1, min_effect=0.1)
