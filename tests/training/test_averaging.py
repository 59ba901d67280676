import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.toy_task import ToyTask
from torch import nn

from ulmkit.errors import ConfigError
from ulmkit.training import Budget, OptimizerConfig, Schedule, Trainer, TrainerConfig, full
from ulmkit.training.averaging import WeightAverage, is_non_monotone


@pytest.mark.parametrize(
    ("losses", "loss", "window", "expected"),
    [
        ([], 9.0, 0, False),
        ([5.0], 6.0, 0, True),
        ([5.0], 5.0, 0, False),
        ([5.0, 4.0], 4.5, 1, False),  # only the first is early enough
        ([5.0, 4.0], 5.5, 1, True),
        ([5.0, 4.0, 3.9], 4.5, 1, True),
        ([5.0, 4.0, 3.9], 4.5, 2, False),
        ([5.0, 4.0, 3.9], 9.0, 3, False),
        ([3.0, math.nan], 4.0, 1, True),
        ([math.nan, 3.0, 3.0], 4.0, 1, True),
    ],
)
def test_the_trigger_by_hand(losses, loss, window, expected):
    assert is_non_monotone(losses, loss, window) is expected


@given(st.lists(st.floats(0, 10), max_size=12), st.floats(0, 10), st.integers(0, 6))
def test_the_trigger_is_that_of_algorithm_1(losses, loss, window):
    t = len(losses)
    assert is_non_monotone(losses, loss, window) == (t > window and any(loss > losses[i] for i in range(t - window)))


def make_average(window: int | None) -> tuple[nn.Parameter, WeightAverage]:
    parameter = nn.Parameter(torch.zeros(2, 3))
    return parameter, WeightAverage({"w": parameter}, window)


def test_the_mean_of_all_weights_from_the_trigger_on():
    parameter, average = make_average(1)
    seen = []
    for step in range(30):
        with torch.no_grad():
            parameter.copy_(torch.randn(2, 3, generator=torch.Generator().manual_seed(step)))
        average.update()
        if step >= 10:
            seen.append(parameter.detach().clone())
        if step % 3 == 0:
            average.observe({0: 5.0, 3: 4.0, 6: 4.5, 9: 6.0}.get(step, 1.0))  # the third is within the window
    assert average.steps == 20
    last = parameter.detach().clone()
    with average.applied():
        torch.testing.assert_close(parameter.detach(), torch.stack(seen).mean(dim=0))
    assert torch.equal(parameter, last)
    average.apply()
    torch.testing.assert_close(parameter.detach(), torch.stack(seen).mean(dim=0))


def test_before_the_trigger_nothing_is_averaged():
    parameter, average = make_average(5)
    average.update()
    with average.applied():
        assert torch.equal(parameter, torch.zeros(2, 3))
    average.apply()
    assert average.steps == 0


def test_the_weights_come_back_after_an_error():
    parameter, average = make_average(None)
    average.update()
    with torch.no_grad():
        parameter.add_(1.0)
    average.update()
    with pytest.raises(ValueError, match="stop"), average.applied():
        assert torch.equal(parameter, torch.full((2, 3), 0.5))
        raise ValueError("stop")
    assert torch.equal(parameter, torch.ones(2, 3))


def test_settings_with_which_nothing_would_happen():
    with pytest.raises(ConfigError, match="validate_every: expected at least 7 validations for nt_asgd with window 5"):
        TrainerConfig(optimizer=OptimizerConfig(name="nt_asgd"), validate_every=6)
    with pytest.raises(ConfigError, match="to be triggered, got None"):
        TrainerConfig(optimizer=OptimizerConfig(name="nt_asgd"), validate_every=None)
    with pytest.raises(ConfigError, match="patience_rule: expected patience with 'non_monotone', got None"):
        TrainerConfig(patience_rule="non_monotone")
    with pytest.raises(ConfigError, match=r"window: expected a whole number of at least 0, got 2\.5"):
        OptimizerConfig(window=2.5)


def trained(optimizer: str, tmp_path=None, validations: list | None = None, **options) -> ToyTask:
    task = ToyTask(batches_per_epoch=4)
    seen = []
    original = task.validate

    def validate() -> dict[str, float]:
        seen.append(copy.deepcopy(task.model.state_dict()))
        metrics = original()
        return metrics if validations is None else {"loss": validations[len(seen) - 1]}

    task.validate = validate
    config = TrainerConfig(
        optimizer=OptimizerConfig(name=optimizer, weight_decay=0.0, window=0), validate_every=Budget(steps=4), **options
    )
    phases = full(3, budget=Budget(steps=20), peak_rate=0.05, schedule=Schedule("constant"))
    task.result = Trainer(task, config, phases, tmp_path).fit()
    task.seen_weights = seen
    return task


def test_the_path_is_that_of_sgd_and_the_result_its_mean():
    plain = trained("sgd", validations=[5.0] * 5)
    averaged = trained("nt_asgd", validations=[5.0, 4.0, 4.5, 4.0, 4.0])
    from_the_start = trained("asgd", validations=[5.0] * 5)
    for name in ("bottom.weight", "top.bias"):
        path = [weights[name] for weights in plain.seen_weights]
        found = [weights[name] for weights in averaged.seen_weights]
        for step in range(3):  # the third validation is the trigger
            torch.testing.assert_close(found[step], path[step])
        assert not torch.allclose(found[4], path[4])
        torch.testing.assert_close(averaged.model.state_dict()[name], found[4])
        assert not torch.allclose(from_the_start.seen_weights[0][name], path[0])


def test_the_best_weights_are_means():
    task = trained("nt_asgd", validations=[5.0, 6.0, 4.0, 5.0, 5.0], restore_best=True)
    assert torch.equal(task.model.state_dict()["top.weight"], task.seen_weights[2]["top.weight"])


def test_training_ends_at_the_first_validation_that_is_not_monotone():
    options = {"patience": 2, "patience_rule": "non_monotone"}
    task = trained("asgd", validations=[5.0, 4.0, 3.0, 5.5, 2.0], **options)
    assert task.result.steps == 16  # 5.5 is above 5.0, the best of those more than two before it
    assert task.result.stopped_because == "patience"
    assert trained("asgd", validations=[5.0, 4.0, 3.0, 4.5, 3.5], **options).result.steps == 20
