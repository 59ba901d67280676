"""Choice of the number of threads, on a simulated machine whose other programs take some of its processors."""

import random
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.toy_task import FakeClock, ToyTask, one_phase

from ulmkit.config import MAX_THREADS_PER_PROCESSOR, check_threads
from ulmkit.errors import ConfigError
from ulmkit.training import Budget, Trainer, TrainerConfig, full
from ulmkit.training.thread_tuner import ThreadTuner, next_trial, thread_counts

TOKENS = 1000


@dataclass
class Machine:
    """Speed grows with the threads; those that find no free processor make all others wait."""

    processors: int
    busy: int = 0
    noise: float = 0.0

    def speed(self, threads: int) -> float:
        quiet = 1000.0 * threads**0.9
        collapse = 0.2 if threads > self.processors - self.busy else 1.0
        return quiet * collapse * (1 + self.noise * (random.random() - 0.5))


def train(tuner: ThreadTuner, machine: Machine, clock: FakeClock, seconds: float) -> tuple[int, list[str]]:
    """Take steps for a time; return the tokens and the changes."""
    end = clock.now + seconds
    tokens, changes = 0, []
    while clock.now < end:
        duration = TOKENS / machine.speed(tuner.threads)
        clock.now += duration
        tokens += TOKENS
        if (change := tuner.finish_step(TOKENS, duration)) is not None:
            changes.append(str(change))
    return tokens, changes


def test_counts():
    assert thread_counts(1) == [1]
    assert thread_counts(2) == [2, 1]
    assert thread_counts(4) == [4, 3, 2, 1]
    assert thread_counts(16) == [16, 15, 12, 8, 6, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("current", "speeds", "expected"),
    [
        (2, {2: 10.0}, 1),
        (2, {2: 10.0, 1: 6.0}, None),
        (1, {1: 10.0}, 2),
        (4, {4: 10.0, 3: 9.0}, 2),
        (4, {4: 10.0, 3: 30.0}, 2),
        (4, {4: 10.0, 3: 30.0, 2: 19.0}, None),
        (3, {3: 10.0, 2: 6.0}, 4),
        (3, {3: 10.0, 2: 6.0, 4: 13.0}, None),
    ],
)
def test_next_trial(current, speeds, expected):
    assert next_trial([4, 3, 2, 1] if max(speeds) > 2 else [2, 1], current, speeds) == expected


@pytest.mark.parametrize("processors", [2, 4, 16])
def test_quiet_machine_loses_less_than_a_hundredth(processors):
    random.seed(0)
    clock, machine = FakeClock(), Machine(processors, noise=0.2)
    tokens, changes = train(ThreadTuner(processors, clock), machine, clock, 600)
    assert not changes
    machine.noise = 0.0
    assert tokens > 0.985 * 600 * machine.speed(processors)  # a hundredth, and the first round


@pytest.mark.parametrize(("processors", "busy"), [(2, 1), (4, 1), (4, 2), (16, 1), (16, 4)])
def test_goes_down_while_the_machine_is_busy_and_up_again(processors, busy):
    random.seed(0)
    clock, machine = FakeClock(), Machine(processors, noise=0.1)
    tuner = ThreadTuner(processors, clock)
    train(tuner, machine, clock, 100)
    machine.busy = busy
    tokens, changes = train(tuner, machine, clock, 200)
    assert tuner.current == processors - busy
    assert changes[0].startswith("the machine is busy: ")
    assert tokens > 0.8 * 200 * machine.speed(processors - busy)
    machine.busy = 0
    _, changes = train(tuner, machine, clock, 200)
    assert tuner.current > 0.9 * processors  # with many, the last one gains too little to tell


def test_run_that_starts_on_a_busy_machine_notices_within_five_steps():
    clock, machine = FakeClock(), Machine(2, busy=1)
    tuner = ThreadTuner(2, clock)
    _, changes = train(tuner, machine, clock, 5 * TOKENS / machine.speed(2))
    assert changes == ["the machine is busy: 1 thread instead of 2: 2.7 times as fast"]


def test_a_step_that_hangs_changes_nothing():
    clock = FakeClock()
    tuner = ThreadTuner(2, clock)
    for step in range(200):
        seconds = (50.0 if step == 100 else 1.0) * (1.8 if tuner.threads == 1 else 1.0)
        clock.now += seconds
        assert tuner.finish_step(TOKENS, seconds) is None
    assert tuner.current == 2


@given(st.lists(st.floats(0.0, 100.0), min_size=1, max_size=100), st.integers(1, 9))
@settings(max_examples=100, deadline=None)
def test_any_durations_keep_the_number_in_range(durations, most):
    clock = FakeClock()
    tuner = ThreadTuner(most, clock)
    for seconds in durations:
        clock.now += seconds
        tuner.finish_step(TOKENS, seconds)
        assert 1 <= tuner.threads <= most
        assert 1 <= tuner.current <= most


class BusyTask(ToyTask):
    """Each batch takes as long as on a machine of two processors, one of them busy."""

    def __init__(self, clock, busy=1):
        super().__init__()
        self.clock, self.machine, self.used = clock, Machine(2, busy), []

    def loss(self, batch):
        self.used.append(torch.get_num_threads())
        self.clock.now += 1000 / self.machine.speed(torch.get_num_threads())
        return super().loss(batch)


class Messages:
    def __init__(self):
        self.lines = []

    def start(self):
        pass

    def update(self, info):
        pass

    def message(self, text):
        self.lines.append(text)

    def close(self):
        pass


@pytest.fixture
def two_threads():
    former = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(former)


def fit(phases, threads, busy=1):
    clock, messages = FakeClock(), Messages()
    task = BusyTask(clock, busy)
    config = TrainerConfig(validate_every=None, log_every_steps=1, threads=threads)
    result = Trainer(task, config, phases, progress=messages, clock=clock).fit()
    return task, result, messages.lines


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    ("threads", "budget"), [(None, Budget(minutes=1)), ("auto", Budget(minutes=1)), ("auto", Budget(steps=30))]
)
def test_a_run_adapts(threads, budget):
    task, result, lines = fit(full(3, budget=budget, peak_rate=0.01), threads)
    assert task.used[:5] == [2, 2, 2, 1, 1]
    assert task.used.count(2) < 7
    assert lines == ["step 5: the machine is busy: 1 thread instead of 2: 2.7 times as fast; going on with that"]
    assert [row["threads"] for row in result.history[3:6]] == [2, 1, 1]
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("threads", [None, 2])
def test_a_run_of_fixed_steps_keeps_its_threads_and_advises_once(threads):
    task, result, lines = fit(one_phase(40), threads)
    assert lines == [
        "step 3: the machine is busy: 1 thread instead of 2: 2.7 times as fast; give --threads 1, or --threads auto"
    ]
    assert {row["threads"] for row in result.history} == {2}
    assert task.used.count(1) == 2
    quiet, quiet_result, no_lines = fit(one_phase(40), threads, busy=0)
    assert not no_lines
    assert torch.equal(task.weights(), quiet.weights())
    assert [row["loss"] for row in result.history] == [row["loss"] for row in quiet_result.history]


@pytest.mark.usefixtures("two_threads")
def test_a_number_is_used_as_given():
    task, result, lines = fit(full(3, budget=Budget(minutes=1), peak_rate=0.01), 1)
    assert set(task.used) == {1}
    assert not lines
    assert {row["threads"] for row in result.history} == {1}


@pytest.mark.parametrize("threads", [0, -1, True, 1.5, 40_000, "many", "2"])
def test_threads_out_of_range_are_refused(threads):
    with pytest.raises(ConfigError, match=f"threads: expected auto or a whole number from 1 to .*, got {threads!r}"):
        check_threads("threads", threads)


def test_threads_in_range():
    for threads in (None, "auto", 1, MAX_THREADS_PER_PROCESSOR):
        check_threads("threads", threads)
