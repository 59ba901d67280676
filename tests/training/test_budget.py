import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.toy_task import FakeClock

from ulmkit.errors import ConfigError
from ulmkit.training import Budget
from ulmkit.training.budget import Cadence, RunState, StepPlan, Stopwatch, TimePlan, make_plan


def test_steps_of_budgets():
    assert Budget(epochs=2.5).in_steps(10) == 25
    assert Budget(epochs=0.01).in_steps(10) == 1
    assert Budget(steps=7).in_steps(10) == 7


@given(steps=st.integers(1, 1000), shares=st.lists(st.floats(0.01, 10), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_split_keeps_the_sum(steps, shares):
    if steps >= len(shares):
        parts = [part.steps for part in Budget(steps=steps).split(shares)]
        assert sum(parts) == steps
        assert min(parts) >= 1
    parts = [part.epochs for part in Budget(epochs=3.0).split(shares)]
    assert math.fsum(parts) == pytest.approx(3.0)
    assert parts[0] / parts[-1] == pytest.approx(shares[0] / shares[-1])


def test_step_plan():
    plan = make_plan([Budget(epochs=1), Budget(steps=3)], steps_per_epoch=5)
    assert isinstance(plan, StepPlan)
    stopwatch = Stopwatch()
    never = Cadence(None, 5)
    assert plan.position(RunState(phase=0, phase_step=0), stopwatch, never) == (0.0, 0, 5, False)
    assert plan.position(RunState(phase=0, phase_step=5), stopwatch, never) == (5 / 8, 5, 5, True)
    assert plan.position(RunState(phase=1, phase_step=1), stopwatch, never) == (6 / 8, 1, 3, False)


def test_time_left_is_estimated_at_the_pace_of_this_session():
    clock = FakeClock()
    stopwatch = Stopwatch(clock, former_seconds=5000)  # for the first half, with pauses
    plan = make_plan([Budget(steps=100)], steps_per_epoch=10)
    assert plan.seconds_left(0.5, 0.5, stopwatch) is None
    clock.now = 20
    assert plan.seconds_left(0.6, 0.5, stopwatch) == pytest.approx(80)
    begun_now = Stopwatch(clock)
    clock.now = 50
    assert plan.seconds_left(0.6, 0.0, begun_now) == pytest.approx(20)


def test_time_plan_counts_validation_apart():
    clock = FakeClock()
    stopwatch = Stopwatch(clock)
    plan = TimePlan([Budget(minutes=1), Budget(minutes=1)])
    never = Cadence(None, 10)
    assert plan.position(RunState(phase=0, fraction_done=0.0, step=0), stopwatch, never) == (0.0, 0.0, 10_000, False)
    clock.now = 30
    assert plan.position(RunState(phase=0, fraction_done=0.0, step=30), stopwatch, never) == (0.25, 5000, 10_000, False)
    with stopwatch.aside("validation"):
        clock.now = 50  # 20 seconds, so that 100 are left to train in, and the final validation takes 20 of them
    fraction_done, step, _, _ = plan.position(RunState(phase=0, fraction_done=0.25, step=30), stopwatch, Cadence(1, 10))
    assert (fraction_done, step) == (30 / 80, pytest.approx(7500))
    clock.now = 60
    assert plan.position(RunState(phase=0, fraction_done=fraction_done, step=40), stopwatch, Cadence(1, 10)).done


def test_time_plan_leaves_out_validations_that_take_too_much_of_it():
    clock = FakeClock()
    stopwatch = Stopwatch(clock)
    plan = TimePlan([Budget(minutes=10)])
    assert plan.affords_validation(stopwatch)  # what it costs is not known yet
    clock.now = 100
    with stopwatch.aside("validation"):
        clock.now = 110
    assert plan.affords_validation(stopwatch)  # 10 of 60 seconds are gone, 20 more fit in
    fraction_done, *_ = plan.position(RunState(phase=0, fraction_done=0.1, step=10), stopwatch, Cadence(20, 10))
    assert fraction_done == 100 / (600 - 10 - 5 * 10)  # 18 are to come, but only five are afforded
    with stopwatch.aside("validation"):
        clock.now = 141
    assert not plan.affords_validation(stopwatch)
    fraction_done, *_ = plan.position(RunState(phase=0, fraction_done=0.1, step=10), stopwatch, Cadence(20, 10))
    assert fraction_done == 100 / (600 - 41 - 31)  # the last one is done all the same


def test_time_plan_never_goes_back():
    clock = FakeClock()
    stopwatch = Stopwatch(clock)
    plan = TimePlan([Budget(minutes=1)])
    clock.now = 6
    position = plan.position(RunState(phase=0, fraction_done=0.5, step=6), stopwatch, Cadence(None, 10))
    assert position.fraction_done == 0.5


def test_time_plan_always_allows_a_first_step():
    clock = FakeClock()
    stopwatch = Stopwatch(clock)
    clock.now = 1000
    plan = TimePlan([Budget(minutes=1)])
    assert not plan.position(RunState(phase=0, fraction_done=0.0, step=0), stopwatch, Cadence(None, 1)).done


def test_cadence():
    assert [Cadence(4, 10).due(fraction, 0, 0) for fraction in (0, 0.24, 0.25, 0.99, 1.0)] == [0, 0, 1, 3, 4]
    assert [Cadence(Budget(epochs=0.5), 10).due(0, step, 0) for step in (4, 5, 10)] == [0, 1, 2]
    assert [Cadence(Budget(steps=3), 10).due(0, step, 0) for step in (2, 3, 9)] == [0, 1, 3]
    assert [Cadence(Budget(minutes=2), 10).due(0, 0, seconds) for seconds in (119, 120, 240)] == [0, 1, 2]
    assert Cadence(None, 10).due(1.0, 99, 99) == 0


def test_cadence_still_to_come():
    assert Cadence(None, 10).remaining(0.5, 100, 1, 1) == 0
    assert Cadence(4, 10).remaining(0.3, 100, 1, 1) == 3
    assert Cadence(4, 10).remaining(0.3, 0, 1, 1) == 0
    assert Cadence(Budget(minutes=1), 10).remaining(0.3, 150, 1, 1) == 3
    assert Cadence(Budget(steps=9), 10).remaining(0.3, 100, 1, 1) == 11


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(), "budget: expected exactly one of `epochs`, `steps`, `minutes`, got none"),
        (
            lambda: Budget(epochs=1, steps=2),
            "expected exactly one of `epochs`, `steps`, `minutes`, got `epochs` and `steps`",
        ),
        (lambda: Budget(epochs=0), "epochs: expected a number above 0, got 0"),
        (lambda: Budget(minutes=-3), "minutes: expected a number above 0, got -3"),
        (lambda: Budget(steps=1.5), "steps: expected a whole number of at least 1, got 1.5"),
        (lambda: Budget(minutes=1).in_steps(3), "budget: expected epochs or steps, got minutes=1"),
        (lambda: Budget(epochs=1).split([]), "shares: expected at least one, got none"),
        (lambda: Budget(epochs=1).split([1, 0]), "shares: expected a number above 0, got 0"),
        (lambda: Budget(steps=1).split([1, 1]), "steps: expected at least 2, one for each phase, got 1"),
        (lambda: make_plan([Budget(minutes=1), Budget(epochs=1)], 5), "budgets: expected minutes for every phase or"),
        (lambda: Cadence(0, 5), "times per run: expected a whole number of at least 1, got 0"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
