import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmkit.errors import ConfigError
from ulmkit.training import Schedule, constant, flat_cosine, one_cycle, slanted_triangular


def test_slanted_triangular_by_hand():
    # T = 20, cut = 2, ratio 4: p = 0, 1/2, then 1 - (t - 2) / 18
    table = {0: 1 / 4, 1: (1 + 0.5 * 3) / 4, 2: 1.0, 11: (1 + 0.5 * 3) / 4, 20: 1 / 4}
    for step, rate in table.items():
        assert slanted_triangular(step, 20, 0.1, 4) == (pytest.approx(rate), None)


def test_slanted_triangular_where_the_printed_formula_goes_negative():
    # T = 19, cut = 1: the printed denominator is 1 * 9, which gives 1 - 17 / 9 at the last step
    assert slanted_triangular(18, 19).rate == pytest.approx((1 + (1 - 17 / 18) * 31) / 32)


def test_slanted_triangular_without_a_rise():
    assert slanted_triangular(0, 5).rate == 1.0


def test_one_cycle_by_hand():
    # T = 8, rise over 2 steps from 1/25 to 1, momentum 0.95 to 0.85; then down over 6 steps
    table = {
        0: (0.04, 0.95),
        1: (0.52, 0.90),
        2: (1.0, 0.85),
        5: ((1 + 1e-5) / 2, 0.90),
        8: (1e-5, 0.95),
    }
    for step, (rate, momentum) in table.items():
        assert one_cycle(step, 8) == (pytest.approx(rate), pytest.approx(momentum))


def test_flat_cosine_by_hand():
    table = {0: 1.0, 5: 1.0, 6: 1.0, 7: (1 + 1e-5) / 2, 8: 1e-5}
    for step, rate in table.items():
        assert flat_cosine(step, 8).rate == pytest.approx(rate)
    assert flat_cosine(2, 8, flat_fraction=0.0, end_divisor=1e9).rate == pytest.approx((1 + math.sqrt(0.5)) / 2)


def test_constant():
    assert constant(3, 7) == (1.0, None)


@given(
    name=st.sampled_from(["slanted_triangular", "one_cycle", "flat_cosine", "constant"]),
    total=st.integers(1, 500),
    part=st.floats(0, 1),
)
@settings(max_examples=100, deadline=None)
def test_rates_stay_between_0_and_the_peak(name, total, part):
    setting = Schedule(name).at(part * total, total)
    assert 0 < setting.rate <= 1 + 1e-12
    assert setting.momentum is None or 0.85 - 1e-12 <= setting.momentum <= 0.95 + 1e-12


@given(name=st.sampled_from(["slanted_triangular", "one_cycle", "flat_cosine"]), total=st.integers(10, 300))
@settings(max_examples=50, deadline=None)
def test_rates_rise_once_to_the_peak_and_fall_once(name, total):
    rates = [Schedule(name).at(step, total).rate for step in range(total + 1)]
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 0.04


def test_options():
    assert Schedule("slanted_triangular", {"ratio": 2}).at(0, 100).rate == 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Schedule("one_cicle"), "schedule: got 'one_cicle'; did you mean 'one_cycle'"),
        (lambda: Schedule("one_cycle", {"rise_part": 1}), "unknown option 'rise_part'; did you mean 'rise_fraction'"),
        (lambda: Schedule("slanted_triangular", {"ratio": 0.5}), "ratio: expected a number of at least 1, got 0.5"),
        (lambda: slanted_triangular(0, 9, cut_fraction=1.0), "cut_fraction: expected 0 <= p < 1, got 1.0"),
        (lambda: one_cycle(0, 9, start_divisor=0), "start_divisor: expected a number above 0, got 0"),
        (lambda: one_cycle(0, 9, end_divisor=-1), "end_divisor: expected a number above 0, got -1"),
        (lambda: one_cycle(0, 9, high_momentum=1.5), "high_momentum: expected 0 <= p < 1, got 1.5"),
        (lambda: one_cycle(0, 9, low_momentum=-0.5), "low_momentum: expected 0 <= p < 1, got -0.5"),
        (lambda: one_cycle(0, 9, rise_fraction=1), "rise_fraction: expected 0 <= p < 1, got 1"),
        (lambda: flat_cosine(0, 9, flat_fraction=2), "flat_fraction: expected 0 <= p < 1, got 2"),
        (lambda: flat_cosine(0, 9, end_divisor=0), "end_divisor: expected a number above 0, got 0"),
        (lambda: constant(0, 0), "total_steps: expected at least 1, got 0"),
        (lambda: constant(-1, 5), r"step: expected 0 <= step <= 5 \(total_steps\), got -1"),
        (lambda: constant(6, 5), r"step: expected 0 <= step <= 5 \(total_steps\), got 6"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
