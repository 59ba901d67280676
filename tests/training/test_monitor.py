"""Validation while training: when it happens, the best weights, and patience."""

import math

import pytest
import torch
from support.toy_task import ToyTask, one_phase, validation_rows
from torch import nn

from ulmkit.errors import ConfigError, FolderError
from ulmkit.training import (
    Budget,
    Trainer,
    TrainerConfig,
    gradual_unfreezing,
    load_model_weights,
)


def test_validation_times():
    def steps(every, total=12):
        result = Trainer(ToyTask(), TrainerConfig(validate_every=every), one_phase(total)).fit()
        return [row["step"] for row in validation_rows(result)]

    assert steps(3) == [4, 8, 12]
    assert steps(1) == [12]
    assert steps(Budget(steps=5)) == [5, 10, 12]
    assert steps(Budget(epochs=0.5)) == [3, 6, 9, 12]
    assert steps(None) == []
    assert steps(Budget(minutes=60)) == [12]


def test_validation_is_in_evaluation_mode_without_gradients(monkeypatch):
    task, seen = ToyTask(), []
    monkeypatch.setattr(
        task, "validate", lambda: seen.append((task.model.training, torch.is_grad_enabled())) or {"a": 1.0}
    )
    task.model.eval()
    Trainer(task, TrainerConfig(validate_every=1), one_phase(2)).fit()
    assert seen == [(False, False)]
    assert not task.model.training


def scripted(values, **config):
    """A run of ten steps whose validations, one per step, give these values."""
    task, weights = ToyTask(), []
    values = iter(values)

    def validate():
        weights.append(task.weights())
        return {"first": 0.0, "score": next(values)}

    task.validate = validate
    config = TrainerConfig(validate_every=Budget(steps=1), monitor="score", **config)
    return task, config, weights


@pytest.mark.parametrize("with_folder", [True, False])
def test_best_weights(tmp_path, with_folder):
    task, config, weights = scripted([5, 3, math.nan, 4, 3, 6], restore_best=True)
    result = Trainer(task, config, one_phase(6), tmp_path if with_folder else None).fit()
    assert (result.best_value, result.best_step, result.best_metrics) == (3.0, 2, {"first": 0.0, "score": 3.0})
    assert torch.equal(task.weights(), weights[1])
    if with_folder:
        other = ToyTask()
        load_model_weights(result.best_path, other.model)
        assert torch.equal(other.weights(), weights[1])
        assert validation_rows(result)[2]["valid_score"] is None


@pytest.mark.parametrize("with_folder", [True, False])
@pytest.mark.parametrize(("before", "best_step"), [(3.5, 0), (4.5, 2)])
def test_the_first_weights_stay_unless_they_are_bettered(tmp_path, with_folder, before, best_step):
    """And patience does not count them: without a better value than theirs the run goes on."""
    task, config, weights = scripted([5, 4, 4.2, 6], restore_best=True, patience=3)
    weights.insert(0, task.weights())
    folder = tmp_path if with_folder else None
    metrics = {"first": 0.0, "score": before}
    result = Trainer(task, config, one_phase(4), folder, before=metrics).fit()
    assert (result.steps, result.best_step, result.best_value) == (4, best_step, min(before, 4))
    assert torch.equal(task.weights(), weights[best_step])
    if with_folder:
        again = ToyTask()
        assert Trainer(again, config, one_phase(4), folder, before=metrics).fit(resume=True).best_step == best_step
        assert torch.equal(again.weights(), weights[best_step])


def test_last_weights_without_restore_best(tmp_path):
    task, config, weights = scripted([5, 3, 4])
    result = Trainer(task, config, one_phase(3), tmp_path).fit()
    assert result.best_step == 2
    assert torch.equal(task.weights(), weights[2])


def test_patience_ends_the_run():
    task, config, _ = scripted([1, 2, 3, 2, 5, 4, 3, 9, 9, 9], mode="max", patience=2)
    result = Trainer(task, config, one_phase(10)).fit()
    assert (result.stopped_because, result.steps, result.best_value) == ("patience", 7, 5.0)


def test_patience_ends_a_phase_and_the_next_begins():
    task, config, _ = scripted([1, 2, 0, 0, 0, 0, 0, 0], patience=1)
    phases = gradual_unfreezing(3, budget=Budget(steps=15), peak_rate=0.1)
    result = Trainer(task, config, phases).fit()
    assert [(row["step"], row["phase"]) for row in validation_rows(result)] == [
        (1, "top 1"),
        (2, "top 1"),
        (3, "top 2"),
        (4, "top 2"),
        (5, "all"),
    ]
    assert result.stopped_because == "patience"


def test_patience_ends_a_phase_and_the_next_one_validates_at_its_own_times():
    """Validations at every second of 60 steps: what the end of a phase leaves out is not made up for at once."""
    task, _, _ = scripted([5, 6, *range(4, -100, -1)])
    config = TrainerConfig(validate_every=30, monitor="score", patience=1)
    result = Trainer(task, config, gradual_unfreezing(3, budget=Budget(steps=60), peak_rate=0.01)).fit()
    assert [row["step"] for row in validation_rows(result)] == list(range(2, 45, 2))
    assert (result.stopped_because, result.steps) == ("budget", 4 + 20 + 20)


def test_patience_in_every_phase():
    task, _, _ = scripted(range(100))
    config = TrainerConfig(validate_every=30, monitor="score", patience=1)
    result = Trainer(task, config, gradual_unfreezing(3, budget=Budget(steps=60), peak_rate=0.01)).fit()
    rows = [(row["step"], row["phase"]) for row in validation_rows(result)]
    assert rows == [(2, "top 1"), (4, "top 1"), (6, "top 2"), (8, "all")]


def test_unknown_metric():
    task = ToyTask()
    with pytest.raises(ConfigError, match="monitor: there is no metric 'msee'; did you mean 'mse'"):
        Trainer(task, TrainerConfig(monitor="msee"), one_phase(6)).fit()


def make_fail(task, at_batch):
    original, calls = task.loss, []
    task.loss = lambda batch: calls.append(1) or (1 / 0 if len(calls) == at_batch else original(batch))


def test_a_new_run_forgets_the_best_weights_of_an_earlier_one(tmp_path):
    """The first run dies before its first checkpoint, the second after its own."""
    options = {"monitor": "score", "restore_best": True}
    first = ToyTask()
    first.validate = lambda: {"score": 1.0}
    make_fail(first, at_batch=5)
    with pytest.raises(ZeroDivisionError):
        Trainer(first, TrainerConfig(validate_every=Budget(steps=2), **options), one_phase(), tmp_path).fit()
    assert (tmp_path / "best.safetensors").is_file()
    config = TrainerConfig(validate_every=Budget(steps=6), checkpoint_every=Budget(steps=3), **options)
    second = ToyTask()
    make_fail(second, at_batch=5)
    with pytest.raises(ZeroDivisionError):
        Trainer(second, config, one_phase(), tmp_path).fit()
    assert not (tmp_path / "best.safetensors").exists()
    third = ToyTask()
    third.validate = lambda: {"score": 2.0}
    result = Trainer(third, config, one_phase(), tmp_path).fit(resume=True)
    assert (result.best_value, result.best_step) == (2.0, 6)


def test_weights_of_another_model(tmp_path):
    result = Trainer(ToyTask(), TrainerConfig(), one_phase(2), tmp_path).fit()
    with pytest.raises(FolderError, match=r"best.safetensors: expected the weights of this model; .*bottom.weight"):
        load_model_weights(result.best_path, nn.Linear(2, 2))
