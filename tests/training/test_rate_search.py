import math
import random
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from support.toy_task import ToyTask

from ulmkit.errors import ConfigError, TrainingError
from ulmkit.training import Budget, LineProgress, OptimizerConfig, Phase, StepResult, lr_find
from ulmkit.training.rate_search import running_means, steepest, valley
from ulmkit.training.step import StepRunner

SGD = OptimizerConfig(name="sgd", weight_decay=0.0)


def phase(*groups, factor=1.0):
    return Phase(name="p", groups=groups, budget=Budget(steps=1), peak_rate=0.1, factor=factor)


def test_finds_where_the_loss_falls():
    torch.manual_seed(0)
    task = ToyTask(dropout=0.0, size=64)
    found = lr_find(task, phase(0, 1, 2), SGD, lowest=1e-5, highest=100.0, steps=60)
    assert found.diverged
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 60
    assert found.rates[0] == 1e-5
    assert 1e-4 < found.steepest < 5
    assert 1e-4 < found.valley < 5
    assert found.smoothed[-1] > 4 * min(found.smoothed)


def test_ramp_is_exponential_to_the_highest_rate():
    found = lr_find(ToyTask(), phase(2), SGD, lowest=1e-6, highest=1e-4, steps=9)
    assert not found.diverged
    assert found.rates == pytest.approx(np.geomspace(1e-6, 1e-4, 9).tolist())


def test_each_step_is_shown():
    class Display(LineProgress):
        def update(self, info):
            shown.append((info.step, round(info.fraction_done, 3)))

    shown = []
    lr_find(ToyTask(), phase(2), SGD, lowest=1e-6, highest=1e-4, steps=8, progress=Display())
    assert shown == [(step, step / 8) for step in range(1, 9)]


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back(fails):
    task = ToyTask()
    task.carry = torch.tensor([3.0])
    task.model.eval()
    task.model.top.bias.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    if fails:
        task.batches = lambda epoch, start=0: (task.make_batch(0, 0) if n == 0 else 1 / 0 for n in range(2))
        with pytest.raises(ZeroDivisionError):
            lr_find(task, phase(0, 1, 2))
    else:
        lr_find(task, phase(0, 1, 2), highest=1.0, steps=10)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in task.model.state_dict().items())
    assert task.carry.item() == 3.0
    assert not task.model.training
    assert [p.requires_grad for p in task.model.parameters()] == [True] * 7 + [False]
    assert all(p.grad is None for p in task.model.parameters())


def test_rates_of_groups_keep_their_ratio(monkeypatch):
    task = ToyTask(dropout=0.0)
    seen = []
    run = StepRunner.run
    monkeypatch.setattr(StepRunner, "run", lambda self, b, rates, m: seen.append(rates) or run(self, b, rates, m))
    lr_find(task, phase(1, 2, factor=2.0), SGD, lowest=0.01, highest=0.02, steps=6)
    assert seen[0] == pytest.approx([0, 0.005, 0.01])
    assert seen[-1] == pytest.approx([0, 0.01, 0.02])


def test_running_means_by_hand():
    assert running_means([4.0, 1.0, 1.0], 0.5) == pytest.approx([4.0, (1 + 0.5) / 0.75, (0.75 + 0.5) / 0.875])
    assert running_means([2.0, 3.0], 0.0) == [2.0, 3.0]


def test_steepest_by_hand():
    rates = [10.0**i for i in range(6)]
    assert steepest(rates, [5, 5, 4, 1, 0.5, 3]) == 100.0


def test_valley_by_hand():
    rates = [10.0**i for i in range(9)]
    # the longest fall is 6 5 4 3 2, at places 2 to 6
    assert valley(rates, [3.5, 3.6, 6, 5, 4, 3, 2, 7, 9]) == 1e4


def test_the_longest_fall_is_found_in_any_losses():
    draw = random.Random(0)
    for _ in range(200):
        losses = [draw.randrange(8) for _ in range(9)]
        falls = [fall for n in range(1, 10) for fall in combinations(range(9), n) if falls_along(losses, fall)]
        longest = max(map(len, falls))
        rates = [float(place) for place in range(9)]
        half = {
            next(place for place in fall if losses[place] <= (losses[fall[0]] + losses[fall[-1]]) / 2)
            for fall in falls
            if len(fall) == longest
        }
        assert valley(rates, losses) in half


def falls_along(losses, fall):
    return all(losses[a] > losses[b] for a, b in pairwise(fall))


def test_divergence_at_once():
    task = ToyTask()
    task.loss = lambda batch: StepResult(task.model(batch.inputs).mean() * math.nan, 1)
    with pytest.raises(TrainingError, match="at least 6 steps before the loss diverges, got 0; begin below 1e-07"):
        lr_find(task, phase(0, 1, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lowest": 0.0}, "lowest: expected a number above 0, got 0.0"),
        ({"highest": 1e-8}, r"highest: expected a rate above 1e-07 \(lowest\), got 1e-08"),
        ({"steps": 5}, "steps: expected a whole number of at least 6, got 5"),
    ],
)
def test_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        lr_find(ToyTask(), phase(2), **options)
