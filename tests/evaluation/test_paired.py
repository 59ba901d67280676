import math

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from ulmkit.errors import DataError
from ulmkit.evaluation import compare_paired


def answers(both: int, neither: int, better: int, worse: int) -> tuple[np.ndarray, np.ndarray]:
    """Right (1) and wrong (0) answers of two models: so many of each kind."""
    before = [1] * both + [0] * neither + [0] * better + [1] * worse
    after = [1] * both + [0] * neither + [1] * better + [0] * worse
    return np.array(before), np.array(after)


def test_metrics_by_hand():
    found = compare_paired(*answers(both=60, neither=20, better=5, worse=15), "accuracy")
    assert (found.documents, found.better, found.worse) == (100, 5, 15)
    assert (found.before, found.after) == (0.75, 0.65)
    assert found.difference == pytest.approx(-0.10)
    # Agresti & Min: cells of 60.5, 20.5, 5.5 and 15.5 among 102
    center, half = -10 / 102, 1.959964 * math.sqrt(((5.5 + 15.5) - 10**2 / 102) / 102**2)
    assert found.interval == pytest.approx((center - half, center + half), abs=1e-7)
    assert found.shows_a_drop


@pytest.mark.parametrize(("better", "worse"), [(5, 15), (3, 9), (1, 8), (6, 6), (9, 3), (0, 12)])
def test_p_value_is_that_of_mcnemar(better, worse):
    found = compare_paired(*answers(80, 10, better, worse), "accuracy")
    exact = binomtest(worse, better + worse, 0.5, alternative="greater").pvalue
    assert found.p_value == pytest.approx(exact)


@pytest.mark.parametrize(
    ("better", "worse", "p_value"), [(0, 0, 1.0), (1, 0, 1.0), (0, 1, 0.5), (0, 4, 1 / 16), (0, 5, 1 / 32)]
)
def test_few_changes_are_counted_exactly(better, worse, p_value):
    found = compare_paired(*answers(50, 50, better, worse), "accuracy")
    assert found.p_value == pytest.approx(p_value)
    assert found.shows_a_drop == (p_value < 0.05)


def test_the_interval_has_a_width_where_nothing_changed():
    few, many = (compare_paired(*answers(n, 0, 0, 0), "accuracy").interval for n in (10, 1000))
    assert few[0] < -0.1 < many[0] < 0 < many[1] < 0.1 < few[1]


def test_the_interval_covers_the_truth_nineteen_times_of_twenty():
    draw = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        change = draw.choice([1, -1, 0], p=[0.05, 0.08, 0.87], size=200)
        before = np.where(change == 0, draw.integers(2, size=200), change < 0)
        low, high = compare_paired(before, before + change, "accuracy").interval
        covered += low <= -0.03 <= high
    assert 0.92 < covered / 400 < 0.99


def test_many_documents_lost_of_few_are_a_drop():
    found = compare_paired(*answers(both=4, neither=2, better=0, worse=4), "accuracy")
    assert found.p_value > 0.05
    assert found.shows_a_drop


def test_many_changed_scores_by_the_normal_limit():
    d = np.random.default_rng(1).normal(-0.02, 1.0, size=1200)
    few = compare_paired(np.zeros(900), d[:900], "error", bounded=False)
    many = compare_paired(np.zeros(1200), d, "error", bounded=False)
    for found, n in ((few, 900), (many, 1200)):
        z = d[:n].sum() / math.sqrt(d[:n] @ d[:n])
        assert found.p_value == pytest.approx(norm.cdf(z), abs=0.02)


def test_scores_without_bounds():
    before = -np.abs(np.random.default_rng(0).normal(size=300))
    worse, same = compare_paired(before, before - 0.2, "error", bounded=False), before + 0.0
    assert worse.shows_a_drop
    assert worse.interval == pytest.approx((-0.2, -0.2))
    assert not compare_paired(before, same, "error", bounded=False).shows_a_drop


def test_table_and_dictionary():
    found = compare_paired(*answers(60, 20, 5, 15), "accuracy")
    assert "accuracy before" in found.table()
    assert "5, 15" in found.table()
    assert found.to_dict()["interval"] == pytest.approx(list(found.interval))


@pytest.mark.parametrize("after", [np.ones(3), np.ones((2, 1)), np.ones(0)])
def test_scores_that_do_not_belong_together(after):
    with pytest.raises(DataError, match="scores: expected one per document from each model"):
        compare_paired(np.ones(2) if len(after) else after, after, "accuracy")
