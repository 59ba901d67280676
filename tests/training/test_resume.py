import json
import os
import signal

import pytest
import torch
from support.toy_task import ToyTask

import ulmkit.training.run as run_module
from ulmkit.errors import ConfigError, FolderError, UlmkitError
from ulmkit.files import TRAINING_LOG
from ulmkit.tensors import save_tensors
from ulmkit.training import (
    JSONL_NAME,
    Budget,
    OptimizerConfig,
    Schedule,
    Trainer,
    TrainerConfig,
    TrainingInterrupted,
    full,
    gradual_unfreezing,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)


def config(**options):
    optimizer = OptimizerConfig(name=options.pop("optimizer", "adamw"), momentum=0.5, window=0)
    values = {"accumulation": 2, "clip": 1.0, "log_every_steps": 3, "validate_every": Budget(steps=7)} | options
    return TrainerConfig(optimizer=optimizer, **values)


def make(name="one_cycle", steps=20):
    phases = gradual_unfreezing(3, budget=Budget(steps=steps), peak_rate=0.02, schedule=Schedule(name))
    return ToyTask(batches_per_epoch=7), phases


def interrupt_at(task, number):
    """Send Ctrl-C from within this batch; its step is still finished."""
    original, seen = task.loss, []

    def loss(batch):
        seen.append(1)
        result = original(batch)
        if len(seen) == number:
            os.kill(os.getpid(), signal.SIGINT)
        return result

    task.loss = loss


def comparable(rows):
    return [{k: v for k, v in row.items() if k not in ("seconds", "tokens_per_second")} for row in rows]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "nt_asgd", "asgd"])
@pytest.mark.parametrize("schedule", ["one_cycle", "slanted_triangular"])
def test_20_steps_equal_10_and_10(tmp_path, optimizer, schedule):
    """Mid-phase, mid-epoch, between two rows of the log, with dropout, batch norm and a carried state."""
    whole, phases = make(schedule)
    expected = Trainer(whole, config(optimizer=optimizer), phases, tmp_path / "whole").fit()

    first, phases = make(schedule)
    interrupt_at(first, 17)  # epochs of 7 batches are 4 steps (2, 2, 2, 1): batch 17 is in step 10
    with pytest.raises(
        TrainingInterrupted, match="stopped at step 10: .*checkpoint-00000010; run again with resume=True"
    ) as stop:
        Trainer(first, config(optimizer=optimizer), phases, tmp_path / "parts").fit()
    assert stop.value.checkpoint == latest_checkpoint(tmp_path / "parts")

    torch.manual_seed(99)
    second, phases = make(schedule)
    result = Trainer(second, config(optimizer=optimizer), phases, tmp_path / "parts").fit(resume=True)
    assert second.seen[0] == (2, 4)
    assert torch.equal(second.weights(), whole.weights())
    assert torch.equal(second.carry, whole.carry)
    assert comparable(result.history) == comparable(expected.history)
    assert (result.steps, result.tokens, result.best_value) == (20, expected.tokens, expected.best_value)
    lines = (tmp_path / "parts" / JSONL_NAME).read_text().splitlines()
    assert comparable(map(json.loads, lines)) == comparable(expected.history)
    assert len((tmp_path / "parts" / TRAINING_LOG).read_text().splitlines()) == 1 + len(expected.history)


@pytest.mark.parametrize(("worse_from", "window", "trigger"), [(6, 0, 6), (6, 1, 9), (12, 0, 12), (12, 1, 12)])
def test_nt_asgd_goes_on(tmp_path, worse_from, window, trigger):
    """Interrupted at step 10: the mean so far is kept, and so are the validations that the trigger compares with."""

    def make_scored():
        task, phases = make()
        steps = task.model.norm.num_batches_tracked
        task.validate = lambda: {"score": 2.0 if int(steps) >= worse_from else 1.0}
        return task, phases

    options = {"accumulation": 1, "validate_every": Budget(steps=3), "clip": 1.0, "log_every_steps": 3}
    settings = TrainerConfig(optimizer=OptimizerConfig(name="nt_asgd", window=window), **options)
    whole, phases = make_scored()
    expected = Trainer(whole, settings, phases, tmp_path / "whole").fit()
    assert expected.averaged_steps == 20 - trigger

    first, phases = make_scored()
    interrupt_at(first, 10)
    with pytest.raises(TrainingInterrupted):
        Trainer(first, settings, phases, tmp_path / "parts").fit()
    second, phases = make_scored()
    result = Trainer(second, settings, phases, tmp_path / "parts").fit(resume=True)
    assert result.averaged_steps == expected.averaged_steps
    assert torch.equal(second.weights(), whole.weights())


@pytest.mark.parametrize("stop", [1, 4, 7, 10, 16, 19])
def test_resume_anywhere(tmp_path, stop):
    """A session that is lost after a checkpoint at any step, having gone on for a while."""
    whole, phases = make()
    expected = Trainer(whole, config(), phases).fit()
    first, phases = make()
    first.loss = failing_after(first.loss, 7 * stop // 4 + 1)  # 7 batches are 4 steps
    with pytest.raises(ZeroDivisionError):
        Trainer(first, config(checkpoint_every=Budget(steps=stop)), phases, tmp_path).fit()
    second, phases = make()
    result = Trainer(second, config(checkpoint_every=None), phases, tmp_path).fit(resume=True)
    assert torch.equal(second.weights(), whole.weights())
    assert comparable(result.history) == comparable(expected.history)


def failing_after(loss, batches):
    seen = []

    def failing(batch):
        seen.append(1)
        return loss(batch) if len(seen) <= batches else 1 / 0

    return failing


@pytest.mark.parametrize(("validate_every", "patience"), [(12, 1), (Budget(steps=1), 2)])
def test_resume_with_patience(tmp_path, validate_every, patience):
    """Lost some steps after the checkpoint at step 8 or 16, having ended a phase or seen better values since."""

    def make_scored():
        task, phases = make(steps=24)
        steps = task.model.norm.num_batches_tracked
        task.validate = lambda: {"score": 100 if int(steps) in (4, 10, 11) else -int(steps)}
        return task, phases

    options = {"accumulation": 1, "validate_every": validate_every, "patience": patience, "restore_best": True}
    whole, phases = make_scored()
    expected = Trainer(whole, config(**options), phases, tmp_path / "whole").fit()
    for lost_after in (9, 10, 11, 13, 16, 17):
        parts = tmp_path / f"lost after {lost_after}"
        first, phases = make_scored()
        first.loss = failing_after(first.loss, lost_after)
        with pytest.raises(ZeroDivisionError):
            Trainer(first, config(checkpoint_every=Budget(steps=8), **options), phases, parts).fit()
        second, phases = make_scored()
        result = Trainer(second, config(**options), phases, parts).fit(resume=True)
        assert torch.equal(second.weights(), whole.weights()), lost_after
        assert comparable(result.history) == comparable(expected.history), lost_after
        assert (result.best_value, result.best_step) == (expected.best_value, expected.best_step), lost_after
        assert result.stopped_because == expected.stopped_because, lost_after


def test_best_value_found_again_after_a_crash_is_no_reason_to_stop(tmp_path):
    """A checkpoint at step 8, a better validation at 10, the crash after it; then the same again with patience 1."""
    options = {"accumulation": 1, "checkpoint_every": Budget(steps=8), "validate_every": Budget(steps=5), "patience": 1}
    values = {5: 5.0, 10: 4.0, 15: 3.0, 20: 2.0}
    for lost_after in (12, 100):
        task = ToyTask(batches_per_epoch=7)
        task.validate = lambda: {"score": values[int(task.model.norm.num_batches_tracked)]}  # noqa: B023
        task.loss = failing_after(task.loss, lost_after)
        trainer = Trainer(task, config(**options), full(3, budget=Budget(steps=20), peak_rate=0.01), tmp_path)
        if lost_after == 12:
            with pytest.raises(ZeroDivisionError):
                trainer.fit()
    result = trainer.fit(resume=True)
    assert (result.stopped_because, result.steps, result.best_step) == ("budget", 20, 20)


def test_finished_run_is_not_repeated(tmp_path):
    task, phases = make()
    expected = Trainer(task, config(restore_best=True), phases, tmp_path).fit()
    again, phases = make()
    result = Trainer(again, config(restore_best=True), phases, tmp_path).fit(resume=True)
    assert again.seen == []
    assert torch.equal(again.weights(), task.weights())
    assert result.history == expected.history


def test_interrupted_validation_is_repeated(tmp_path):
    whole, phases = make()
    Trainer(whole, config(), phases).fit()
    task, phases = make()
    validate = task.validate
    task.validate = lambda: (torch.rand(5), os.kill(os.getpid(), signal.SIGINT), validate())[2]
    with pytest.raises(TrainingInterrupted, match="stopped at step 7"):
        Trainer(task, config(), phases, tmp_path).fit()
    assert task.validations == 0
    second, phases = make()
    result = Trainer(second, config(), phases, tmp_path).fit(resume=True)
    assert [row["step"] for row in result.history if row["kind"] == "validation"] == [7, 14, 20]
    assert torch.equal(second.weights(), whole.weights())


def test_second_interrupt_stops_at_once(tmp_path):
    task, phases = make()
    loss, handler = task.loss, signal.getsignal(signal.SIGINT)

    def twice(batch):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return loss(batch)

    task.loss = twice
    with pytest.raises(TrainingInterrupted, match="stopped at step 0: nothing was saved; begin again") as stop:
        Trainer(task, config(), phases, tmp_path).fit()
    assert stop.value.checkpoint is None
    assert signal.getsignal(signal.SIGINT) is handler


def test_interrupt_without_a_folder():
    task, phases = make()
    interrupt_at(task, 3)
    with pytest.raises(TrainingInterrupted, match="stopped at step 2: nothing was saved"):
        Trainer(task, config(), phases).fit()


def interrupted(folder):
    task, phases = make()
    interrupt_at(task, 5)
    with pytest.raises(TrainingInterrupted):
        Trainer(task, config(), phases, folder).fit()
    return phases


def test_other_settings_are_refused(tmp_path):
    interrupted(tmp_path)

    def resume(task, config, phases, message):
        with pytest.raises(ConfigError, match=message):
            Trainer(task, config, phases, tmp_path).fit(resume=True)

    task, phases = make()
    resume(task, config(clip=0.5), phases, r"another run \(config.clip: was 1.0, now 0.5\); use the same settings")
    resume(task, config(optimizer="sgd"), phases, r"config.optimizer.name: was 'adamw', now 'sgd'")
    resume(task, config(), make(steps=30)[1], r"phases\[0\].budget.steps: was 6, now 10|was 7, now 10")
    resume(task, config(), make("constant")[1], "phases.0..schedule.name: was 'one_cycle', now 'constant'")
    other = ToyTask(batches_per_epoch=9)
    resume(other, config(), phases, "batches_per_epoch: was 7, now 9")
    other, _ = make()
    other.model.top = torch.nn.Linear(6, 1, bias=False)
    other.groups[2] = list(other.model.top.parameters())
    resume(other, config(), phases, r"parameters.top.bias: was \[1\], now None")
    resume(task, config(), full(3, budget=Budget(steps=20), peak_rate=0.1), "phases: was")


def test_another_identity_is_refused(tmp_path):
    identity = {"data": "3f9a", "recipe": {"dropouts": [0.1, 0.2]}, "precision": "fp32"}

    def fit(resume=True, **identity):
        task, phases = make()
        if not resume:
            interrupt_at(task, 5)
        return Trainer(task, config(), phases, tmp_path, identity=identity or None).fit(resume)

    with pytest.raises(TrainingInterrupted):
        fit(resume=False, **identity)
    with pytest.raises(ConfigError, match="another run .identity.data: was '3f9a', now '0000'.; use the same settings"):
        fit(**identity | {"data": "0000"})
    with pytest.raises(ConfigError, match=r"identity.recipe.dropouts\[1\]: was 0.2, now 0.3"):
        fit(**identity | {"recipe": {"dropouts": (0.1, 0.3)}})
    with pytest.raises(ConfigError, match="identity.backend: was None, now 'torch'"):
        fit(**identity, backend="torch")
    with pytest.raises(ConfigError, match="identity.data: was '3f9a', now None"):
        fit()
    assert fit(**identity | {"recipe": {"dropouts": (0.1, 0.2)}}).steps == 20


@pytest.mark.parametrize(
    ("place", "key"), [((), "total_seconds"), ((), "settings"), (("run",), "validated_step"), (("monitor",), "to_beat")]
)
def test_checkpoint_that_lacks_something(tmp_path, place, key):
    phases = interrupted(tmp_path)
    path = latest_checkpoint(tmp_path)
    checkpoint = load_checkpoint(path)
    inner = checkpoint.state
    for name in place:
        inner = inner[name]
    inner["renamed"] = inner.pop(key)
    save_checkpoint(tmp_path, 3, checkpoint)
    with pytest.raises(FolderError, match=f"checkpoint-00000003: expected '{key}' in it, .*; remove it and begin anew"):
        Trainer(make()[0], config(), phases, tmp_path).fit(resume=True)


def test_best_weights_without_their_value(tmp_path):
    task, phases = make()
    interrupt_at(task, 17)
    with pytest.raises(TrainingInterrupted):
        Trainer(task, config(), phases, tmp_path).fit()
    save_tensors(tmp_path / "best.safetensors", task.model.state_dict())
    with pytest.raises(FolderError, match="best.safetensors: expected 'best' in it, .*; remove it and begin anew"):
        Trainer(make()[0], config(), phases, tmp_path).fit(resume=True)


def test_harmless_settings_may_change(tmp_path):
    phases = interrupted(tmp_path)
    task, _ = make()
    result = Trainer(task, config(checkpoint_every=Budget(steps=2), restore_best=True), phases, tmp_path).fit(
        resume=True
    )
    assert result.steps == 20


def test_truncated_checkpoint(tmp_path):
    phases = interrupted(tmp_path)
    path = latest_checkpoint(tmp_path) / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FolderError, match="state.safetensors: its checksum is wrong; the file is truncated"):
        Trainer(make()[0], config(), phases, tmp_path).fit(resume=True)


def test_failure_while_saving_leaves_the_former_checkpoint(tmp_path, monkeypatch):
    original = run_module.save_checkpoint

    def failing(folder, step, checkpoint):
        if step == 6:
            raise FolderError("disk: is full")
        return original(folder, step, checkpoint)

    monkeypatch.setattr(run_module, "save_checkpoint", failing)
    task, phases = make()
    with pytest.raises(FolderError, match="disk: is full"):
        Trainer(task, config(checkpoint_every=Budget(steps=3)), phases, tmp_path).fit()
    assert latest_checkpoint(tmp_path).name == "checkpoint-00000003"
    monkeypatch.undo()
    assert Trainer(task, config(checkpoint_every=None), phases, tmp_path).fit(resume=True).steps == 20


def test_a_better_best_written_after_the_checkpoint_counts(tmp_path):
    values = iter([5.0, 1.0, 7.0, 7.0, 7.0])
    task, phases = make()
    task.validate = lambda: {"score": next(values)}
    task.loss = failing_after(task.loss, 33)  # lost after the second validation, at step 14
    options = {"checkpoint_every": Budget(steps=12)}
    with pytest.raises(ZeroDivisionError):
        Trainer(task, config(**options), phases, tmp_path).fit()
    second, _ = make()
    second.validate = lambda: {"score": next(values)}
    result = Trainer(second, config(**options), phases, tmp_path).fit(resume=True)
    assert (result.best_value, result.best_step, result.best_metrics) == (1.0, 14, {"score": 1.0})


def test_a_damaged_newest_checkpoint_is_replaced_by_the_one_before(tmp_path):
    whole, phases = make()
    expected = Trainer(whole, config(), phases).fit()
    first, phases = make()
    first.loss = failing_after(first.loss, 22)
    with pytest.raises(ZeroDivisionError):
        Trainer(first, config(checkpoint_every=Budget(steps=4)), phases, tmp_path).fit()
    newest = latest_checkpoint(tmp_path)
    assert newest.name == "checkpoint-00000012"
    (newest / "model.safetensors").write_bytes(b"")
    second, phases = make()
    with pytest.warns(UserWarning, match=r"00000012/model.safetensors: .* \(resuming from checkpoint-00000008 instead"):
        result = Trainer(second, config(checkpoint_every=None), phases, tmp_path).fit(resume=True)
    assert torch.equal(second.weights(), whole.weights())
    assert comparable(result.history) == comparable(expected.history)
    assert not newest.exists()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("run",), []),
        (("run", "step"), "3"),
        (("run", "phase"), -1),
        (("run", "rates"), ["a", "b", "c"]),
        (("run", "rates"), [0.1]),
        (("run", "momentum"), {}),
        (("seconds",), "1"),
        (("total_seconds",), {"validation": None}),
        (("optimizer",), {"bottom.weight": {}, "top.weight": 3}),
        (("optimizer", "top.weight"), {"exp_avg": 1}),
        (("optimizer", "top.weight", "exp_avg"), torch.zeros(7)),
        (("monitor", "to_beat"), "[" * 5000),
        (("monitor", "worse_in_a_row"), None),
        (("monitor", "losses"), "3"),
        (("monitor", "losses"), '["a"]'),
        (("rows",), [1]),
        (("rows",), [{}]),
        (("ranks",), []),
        (("ranks", 0, "epoch"), -1),
        (("ranks", 0, "batch"), 1.5),
        (("ranks", 0, "meter"), {"sums": {"loss": "x"}, "weights": {"loss": 1}}),
        (("ranks", 0, "rng", "torch"), torch.zeros(3, dtype=torch.uint8)),
        (("ranks", 0, "rng", "python"), [3, [1], None]),
        (("settings",), None),
    ],
)
def test_a_state_of_other_types_is_refused(tmp_path, place, value):
    phases = interrupted(tmp_path)
    checkpoint = load_checkpoint(latest_checkpoint(tmp_path))
    *parents, last = place
    inner = checkpoint.state
    for name in parents:
        inner = inner[name]
    inner[last] = value
    save_checkpoint(tmp_path, 3, checkpoint)
    with pytest.raises(UlmkitError, match="checkpoint-00000003: "):
        Trainer(make()[0], config(), phases, tmp_path).fit(resume=True)
