import math

import pytest
import torch
from support.toy_task import CONSTANT, ToyTask, one_phase, validation_rows
from torch import nn

from ulmkit.errors import ConfigError, FolderError, TrainingError
from ulmkit.training import (
    Budget,
    OptimizerConfig,
    Phase,
    Schedule,
    StepResult,
    Trainer,
    TrainerConfig,
    World,
    full,
    gradual_unfreezing,
    latest_checkpoint,
    load_checkpoint,
)
from ulmkit.training.step import StepRunner

SGD = OptimizerConfig(name="sgd", weight_decay=0.0)


def train_rows(result):
    return [row for row in result.history if row["kind"] == "train"]


class LineTask:
    """y = w x with one weight, so that every step can be worked by hand."""

    is_language_model = False

    def __init__(self, batches, weight=0.0):
        self.model = nn.Linear(1, 1, bias=False)
        self.model.weight.data.fill_(weight)
        self.groups = [[self.model.weight]]
        self._batches = batches

    def __len__(self):
        return len(self._batches)

    def batches(self, epoch, start=0):
        return iter(self._batches[start:])

    def start_epoch(self, epoch):
        pass

    def loss(self, batch):  # gradient: the mean of batch.values
        values = torch.tensor(batch.values)
        return StepResult((self.model.weight * values).mean(), len(batch.values), {}, batch.weight)

    def validate(self):
        return {"weight": self.model.weight.item()}

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Values:
    def __init__(self, *values, rate_scale=1.0, weight=None):
        self.values, self.rate_scale, self.weight = values, rate_scale, weight


def final_weight(batches, steps, rate=1.0, **config):
    task = LineTask(batches)
    Trainer(task, TrainerConfig(optimizer=SGD, **config), one_phase(steps, rate, 1)).fit()
    return task.model.weight.item()


def test_learns_and_reports():
    task = ToyTask(dropout=0.0)
    before = task.validate()["mse"]
    phases = full(3, budget=Budget(epochs=20), peak_rate=0.02, schedule=Schedule("one_cycle"))
    result = Trainer(task, TrainerConfig(log_every_steps=6), phases).fit()
    assert result.stopped_because == "budget"
    assert (result.steps, result.epochs, result.tokens) == (120, 20.0, 960)
    rows = validation_rows(result)
    assert [row["epoch"] for row in rows] == list(range(1, 21))
    assert rows[-1]["valid_mse"] < 0.2 * before
    assert result.best_value == min(row["valid_mse"] for row in rows)
    assert result.best_path is None
    assert train_rows(result)[0]["size"] == 8


def test_every_batch_once_an_epoch_in_order():
    task = ToyTask(batches_per_epoch=4)
    Trainer(task, TrainerConfig(accumulation=3), full(3, budget=Budget(epochs=2), peak_rate=0.01)).fit()
    assert task.seen == [(epoch, number) for epoch in (0, 1) for number in range(4)]
    assert task.epochs_started == [0, 1]


def test_accumulation_weighs_items_equally():
    # one step on the five values together: gradient 3 = (1 + 2 + 3 + 4 + 5) / 5
    assert final_weight([Values(1.0, 2.0), Values(3.0, 4.0, 5.0)], 1, accumulation=2) == pytest.approx(-3.0)
    assert final_weight([Values(1.0, 2.0, 3.0, 4.0, 5.0)], 1) == pytest.approx(-3.0)


def test_accumulation_uses_given_weights():
    batches = [Values(1.0, weight=3.0), Values(5.0, weight=1.0)]
    assert final_weight(batches, 1, accumulation=2) == pytest.approx(-(3 * 1 + 5) / 4)


def test_accumulation_stops_at_the_end_of_an_epoch():
    # steps: (1, 2), (4), (1, 2), (4)
    batches = [Values(1.0), Values(2.0), Values(4.0)]
    assert final_weight(batches, 4, accumulation=2) == pytest.approx(-2 * (1.5 + 4))


def test_rate_scale_multiplies_the_rate():
    assert final_weight([Values(1.0, rate_scale=0.5), Values(2.0)], 2) == pytest.approx(-(0.5 + 2))
    assert final_weight([Values(1.0, rate_scale=0.5), Values(2.0)], 1, accumulation=2) == pytest.approx(-0.75 * 1.5)


def test_clipping_by_global_norm():
    assert final_weight([Values(3.0), Values(0.5)], 2, clip=1.0) == pytest.approx(-1.5, abs=1e-5)


def test_schedule_reaches_every_step():
    task = LineTask([Values(1.0)])
    phases = one_phase(20, 1.0, 1, Schedule("slanted_triangular", {"ratio": 4}))
    result = Trainer(task, TrainerConfig(optimizer=SGD, log_every_steps=1), phases).fit()
    expected = [phases[0].schedule.at(step, 20).rate for step in range(20)]
    assert [row["rates"][0] for row in train_rows(result)] == expected
    assert task.model.weight.item() == pytest.approx(-sum(expected))


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_momentum_cycles(name):
    task = ToyTask()
    runner = StepRunner(task, OptimizerConfig(name=name), None, World())
    runner.train_groups((2,))
    for step, momentum in ((0, 0.95), (1, 0.90), (2, 0.85)):
        setting = Schedule("one_cycle").at(step, 8)
        runner.run([task.make_batch(0, step)], [0.1, 0.1, 0.1], setting.momentum)
        group = runner.optimizer.param_groups[2]
        assert (group["betas"][0] if name == "adamw" else group["momentum"]) == pytest.approx(momentum)


def test_frozen_groups_do_not_move_and_batch_norm_statistics_do():
    task = ToyTask()
    before = {name: tensor.clone() for name, tensor in task.model.state_dict().items()}
    phases = [Phase(name="top", groups=(2,), budget=Budget(steps=3), peak_rate=0.1)]
    Trainer(task, TrainerConfig(), phases).fit()
    after = task.model.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"top.weight", "top.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert all(parameter.requires_grad and parameter.grad is None for parameter in task.model.parameters())


def test_discriminative_rates_by_phase():
    phases = gradual_unfreezing(3, budget=Budget(steps=6), peak_rate=0.1, schedule=CONSTANT)
    result = Trainer(ToyTask(), TrainerConfig(log_every_steps=2), phases).fit()
    rates = [row["rates"] for row in train_rows(result)]
    assert rates == [[0, 0, 0.1], [0, 0.1 / 2.6, 0.1], [0.1 / 2.6**2, 0.1 / 2.6, 0.1]]
    assert [row["phase"] for row in train_rows(result)] == ["top 1", "top 2", "all"]


def test_optimizer_state_is_kept_while_training_and_dropped_when_frozen(tmp_path):
    def phase(number, *groups):
        return Phase(name=f"{number}", groups=groups, budget=Budget(steps=2), peak_rate=0.01)

    phases = [phase(1, 1, 2), phase(2, 2), phase(3, 1, 2)]
    result = Trainer(ToyTask(), TrainerConfig(), phases, tmp_path).fit()
    state = load_checkpoint(result.checkpoint).state["optimizer"]
    steps = {name: int(entry["step"]) for name, entry in state.items()}
    assert steps == {"middle.weight": 2, "middle.bias": 2, "top.weight": 6, "top.bias": 6}


def make_not_finite(task, at_step, value=math.nan, name="loss"):
    original, calls = getattr(task, name), []

    def loss(batch):
        calls.append(1)
        result = original(batch)
        result.loss = result.loss * (value if len(calls) == at_step else 1.0)
        return result

    setattr(task, name, loss)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_not_finite_loss_names_the_last_good_checkpoint(tmp_path, value):
    task = ToyTask()
    make_not_finite(task, 8, value)
    config = TrainerConfig(checkpoint_every=Budget(steps=3))
    with pytest.raises(
        TrainingError,
        match=f"finite numbers, got {value} at step 7; .*checkpoint-00000006; begin anew with a lower learning rate",
    ) as e:
        Trainer(task, config, one_phase(12), tmp_path).fit()
    assert str(latest_checkpoint(tmp_path)) in str(e.value)
    assert torch.isfinite(task.weights()).all()


def test_not_finite_without_a_checkpoint():
    task = ToyTask()
    make_not_finite(task, 1)
    with pytest.raises(TrainingError, match="the last good checkpoint is none yet"):
        Trainer(task, TrainerConfig(), one_phase(12)).fit()


def test_not_finite_loss_that_is_not_read_at_every_step(tmp_path, monkeypatch):
    """As on a GPU: seen when a row is logged or a checkpoint is due, which is then not written."""

    def run_with(config, folder):
        task = ToyTask()
        make_not_finite(task, 4)
        original = StepRunner.__init__

        def init(self, *args):
            original(self, *args)
            self.reads_loss = False

        with monkeypatch.context() as patch:
            patch.setattr(StepRunner, "__init__", init)
            with pytest.raises(TrainingError, match="got a loss that is infinite or NaN at step") as error:
                Trainer(task, config, one_phase(12), folder).fit()
        return str(error.value)

    message = run_with(TrainerConfig(checkpoint_every=Budget(steps=2)), tmp_path / "a")
    assert "at step 4" in message
    assert "checkpoint-00000002" in message
    assert "at step 5" in run_with(TrainerConfig(log_every_steps=5), tmp_path / "b")


@pytest.mark.parametrize("clip", [None, 1.0])
def test_gradient_not_finite_is_never_saved(tmp_path, clip):
    task = LineTask([Values(0.0)], weight=0.0)  # loss 0, gradient of sqrt at 0 is infinite
    task.loss = lambda batch: StepResult(task.model.weight.abs().sqrt().sum(), 1)
    config = TrainerConfig(optimizer=SGD, clip=clip, checkpoint_every=Budget(steps=1), validate_every=None)
    with pytest.raises(TrainingError, match="got a (weight|gradient of norm|loss)"):
        Trainer(task, config, one_phase(3, 1.0, 1), tmp_path).fit()
    assert latest_checkpoint(tmp_path) is None


def test_folder_with_an_earlier_run(tmp_path):
    Trainer(ToyTask(), TrainerConfig(), one_phase(2), tmp_path).fit()
    with pytest.raises(FolderError, match="checkpoint-00000002: is left from an earlier run; resume it"):
        Trainer(ToyTask(), TrainerConfig(), one_phase(2), tmp_path).fit()
    with pytest.raises(FolderError, match="expected a checkpoint to resume, got none"):
        Trainer(ToyTask(), TrainerConfig(), one_phase(2), tmp_path / "other").fit(resume=True)


def test_seed():
    def weights(seed, draw):
        torch.manual_seed(draw)
        task = ToyTask()
        Trainer(task, TrainerConfig(seed=seed, validate_every=None), one_phase(3)).fit()
        return task.weights()

    assert torch.equal(weights(7, 1), weights(7, 2))
    assert not torch.equal(weights(7, 1), weights(8, 1))
    assert not torch.equal(weights(None, 1), weights(None, 2))


def test_bad_tasks():
    def trainer(change):
        task = ToyTask()
        change(task)
        return lambda: Trainer(task, TrainerConfig(), one_phase(2, groups=len(task.groups))).fit()

    def leave_out(task):
        task.groups[1].pop()

    def twice(task):
        task.groups[1].append(task.groups[0][0])

    def foreign(task):
        task.groups[2].append(nn.Parameter(torch.zeros(7)))

    def empty_group(task):
        task.groups.append([])

    def no_batches(task):
        task.batches_per_epoch = 0

    def empty_epoch(task):
        task.batches = lambda epoch, start=0: iter([])

    def loss_of_many(task):
        task.loss = lambda batch: StepResult(task.model(batch.inputs), 1)

    for change, error, message in (
        (leave_out, ConfigError, "the parameter 'middle.bias' is in none"),
        (twice, ConfigError, "expected each parameter once, got 'bottom.weight' twice"),
        (foreign, ConfigError, r"group 2 has a parameter \(7,\) not of the model"),
        (empty_group, ConfigError, "expected at least one parameter in each, got none in group 3"),
        (no_batches, ConfigError, "task: expected at least one batch per epoch, got 0"),
        (empty_epoch, TrainingError, "epoch 1: expected at least one batch, got none"),
        (loss_of_many, ConfigError, r"loss: expected one number, got shape \(8, 1\)"),
    ):
        with pytest.raises(error, match=message):
            trainer(change)()


@pytest.mark.parametrize(("value", "reason"), [({3}, "set is not JSON serializable"), (math.nan, "not JSON compliant")])
def test_identity_of_anything_but_json(value, reason):
    with pytest.raises(ConfigError, match=f"identity: expected JSON values, got .'data': .*{reason}"):
        Trainer(ToyTask(), TrainerConfig(), one_phase(), identity={"data": value})


def test_bad_phases():
    with pytest.raises(ConfigError, match="phases: expected at least one, got none"):
        Trainer(ToyTask(), TrainerConfig(), [])
    with pytest.raises(ConfigError, match="phase full: expected groups below 3, got 4"):
        Trainer(ToyTask(), TrainerConfig(), one_phase(groups=5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "least"}, "mode: got 'least'"),
        ({"clip": 0.0}, "clip: expected a number above 0, got 0.0"),
        ({"accumulation": 0}, "accumulation: expected a whole number of at least 1, got 0"),
        ({"patience": 1.5}, "patience: expected a whole number of at least 1, got 1.5"),
        ({"log_every_steps": -1}, "log_every_steps: expected a whole number of at least 1, got -1"),
        ({"validate_every": 0}, "validate_every: expected a whole number of at least 1, got 0"),
        ({"validate_every": None, "patience": 2}, "validate_every: expected an interval with patience"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
    ],
)
def test_config_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        TrainerConfig(**options)


def test_ranks_with_different_numbers_of_batches(monkeypatch):
    monkeypatch.setattr(World, "gather", lambda self, value: [value, 5])
    with pytest.raises(ConfigError, match=r"task: expected equally many batches on every rank, got \[6, 5\]"):
        Trainer(ToyTask(), TrainerConfig(), one_phase(2)).fit()
