import pytest
import torch
from support.toy_task import FakeClock

from ulmkit.training import StepResult, World
from ulmkit.training.budget import Stopwatch
from ulmkit.training.reporter import LogPosition, Meter, Reporter


@pytest.mark.parametrize("former_seconds", [0.0, 3600.0])
def test_speed_is_that_of_this_session(former_seconds):
    clock = FakeClock()
    stopwatch = Stopwatch(clock)
    reporter = Reporter(None, stopwatch, World(), is_language_model=True, shows_each_loss=True)
    stopwatch.former_seconds, stopwatch.total_seconds = former_seconds, {"validation": former_seconds / 2}
    reporter.open(None, [], 50_000, tensorboard=None)
    for clock.now, tokens, speed in ((2.0, 51_000, 500.0), (3.0, 52_000, 1000.0)):
        meter = Meter()
        meter.add(StepResult(torch.tensor(1.0), 1000))
        reporter.train_row(LogPosition("full", 1, 0.5, tokens, 0.5), [0.1], None, 2, meter)
        assert reporter.log.rows[-1]["tokens_per_second"] == speed
