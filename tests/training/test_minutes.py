"""Runs bound to wall-clock time, on a clock that the batches and validations move."""

import os
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.toy_task import FakeClock, ToyTask

import ulmkit.training.run as run_module
from ulmkit.training import Budget, Schedule, Trainer, TrainerConfig, TrainingInterrupted, full, gradual_unfreezing

RAMP = Schedule("slanted_triangular", {"ratio": 1000})


class TimedTask(ToyTask):
    """Each batch takes `step_seconds(now)`, each validation `validation_seconds`."""

    def __init__(self, clock, step_seconds, validation_seconds=0.0):
        super().__init__(dropout=0.0)
        self.clock, self.step_seconds, self.validation_seconds = clock, step_seconds, validation_seconds

    def loss(self, batch):
        self.clock.now += self.step_seconds(self.clock.now)
        return super().loss(batch)

    def validate(self):
        self.clock.now += self.validation_seconds
        return super().validate()


def run(step_seconds, minutes=2.0, validation_seconds=0.0, validate_every=None, phases=None):
    clock = FakeClock()
    task = TimedTask(clock, step_seconds, validation_seconds)
    phases = phases or full(3, budget=Budget(minutes=minutes), peak_rate=0.01, schedule=RAMP)
    config = TrainerConfig(validate_every=validate_every, log_every_steps=1)
    return Trainer(task, config, phases, clock=clock).fit(), clock


def rates(result):
    return [row["rates"][-1] / 0.01 for row in result.history if row["kind"] == "train"]


@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.0])
def test_schedule_fills_the_time_whatever_the_speed(seconds):
    result, clock = run(lambda now: seconds)
    assert 120 - 2 * seconds <= clock.now <= 120
    found = rates(result)
    assert max(found) > 1 - 11 * seconds / 120
    assert found[-1] < 0.001 + 2 * seconds / 108


def test_schedule_completes_on_a_machine_that_slows_down():
    result, clock = run(lambda now: 0.5 if now < 60 else 2.0)
    found = rates(result)
    assert clock.now <= 121
    assert found[-1] < 0.04
    top = found.index(max(found))
    assert found[top:] == sorted(found[top:], reverse=True)


def test_validation_is_inside_the_time():
    result, clock = run(lambda now: 1.0, validation_seconds=2.0, validate_every=4)
    assert [row["kind"] for row in result.history].count("validation") == 4
    assert 118 <= clock.now <= 121
    assert rates(result)[-1] < 0.05


def test_validations_that_take_more_than_a_tenth_of_the_time_are_left_out():
    result, clock = run(lambda now: 1.0, validation_seconds=10.0, validate_every=4)
    steps = [row["step"] for row in result.history if row["kind"] == "validation"]
    assert steps == [30, result.steps]
    assert 118 <= clock.now <= 121
    assert rates(result)[-1] < 0.05


def test_one_validation_at_the_end_is_late_by_itself():
    _, clock = run(lambda now: 1.0, validation_seconds=10.0, validate_every=1)
    assert clock.now == pytest.approx(130, abs=1)


def test_slow_saving_makes_no_second_validation_due_at_one_step(tmp_path, monkeypatch):
    clock = FakeClock()
    save = run_module.save_checkpoint

    def save_slowly(*arguments):
        clock.now += 90.0
        return save(*arguments)

    monkeypatch.setattr(run_module, "save_checkpoint", save_slowly)
    config = TrainerConfig(validate_every=Budget(minutes=1), checkpoint_every=Budget(steps=4))
    phases = full(3, budget=Budget(steps=8), peak_rate=0.01)
    result = Trainer(TimedTask(clock, lambda now: 30.0), config, phases, tmp_path, clock=clock).fit()
    assert [row["step"] for row in result.history if row["kind"] == "validation"] == [2, 4, 5, 7, 8]


def test_phases_share_the_time():
    phases = gradual_unfreezing(3, budget=Budget(minutes=2), peak_rate=0.01, shares=(1, 1, 2), schedule=RAMP)
    result, clock = run(lambda now: 1.0, phases=phases)
    names = [row["phase"] for row in result.history]
    assert [names.count(name) for name in ("top 1", "top 2", "all")] == pytest.approx([30, 30, 60], abs=1)
    assert clock.now <= 120
    found = rates(result)
    assert found[0] < 0.01
    assert found[names.index("top 2")] < 0.01
    assert found[names.index("top 2") - 1] < 0.08


def test_one_step_is_taken_however_little_time_there_is():
    result, _ = run(lambda now: 500.0)
    assert result.steps == 1


def test_resumed_run_has_the_time_that_was_left(tmp_path):
    clock = FakeClock()
    phases = full(3, budget=Budget(minutes=2), peak_rate=0.01, schedule=RAMP)
    config = TrainerConfig(validate_every=None, log_every_steps=1)
    task = TimedTask(clock, lambda now: 1.0)
    loss = task.loss

    def stop(batch):
        if len(task.seen) == 50:
            os.kill(os.getpid(), signal.SIGINT)
        return loss(batch)

    task.loss = stop
    with pytest.raises(TrainingInterrupted):
        Trainer(task, config, phases, tmp_path, clock=clock).fit()
    clock.now = 10_000.0
    result = Trainer(TimedTask(clock, lambda now: 1.0), config, phases, tmp_path, clock=clock).fit(resume=True)
    assert clock.now == pytest.approx(10_070, abs=1.5)
    assert result.seconds == pytest.approx(120, abs=1.5)
    assert rates(result)[-1] < 0.03


@given(
    seconds=st.lists(st.floats(0.2, 5.0), min_size=5, max_size=30),
    validation=st.floats(0.0, 8.0),
    times=st.integers(1, 5),
)
@settings(max_examples=15, deadline=None)
def test_never_late_by_more_than_a_validation_and_a_step(seconds, validation, times):
    number = iter(range(10**6))
    _, clock = run(
        lambda now: seconds[next(number) % len(seconds)], 0.8, validation_seconds=validation, validate_every=times
    )
    assert clock.now <= 48 + validation + max(seconds) + 1e-6
