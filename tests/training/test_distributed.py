import json
import textwrap

import pytest
import torch
from support.torchrun import torchrun_code
from support.toy_task import ToyTask

from ulmkit.errors import ConfigError
from ulmkit.training import (
    Budget,
    OptimizerConfig,
    Trainer,
    TrainerConfig,
    World,
    gradual_unfreezing,
    join_world,
    leave_world,
    load_model_weights,
)

PROGRAM = textwrap.dedent("""
    import json, sys
    import torch
    from test_distributed import config, phases
    from support.toy_task import ToyTask
    from ulmkit.training import Trainer, join_world, leave_world
    torch.set_num_threads(1)
    folder, resume, stop = sys.argv[1], sys.argv[2] == "resume", int(sys.argv[3])
    world = join_world()
    task = ToyTask(dropout=0.0, rank=world.rank, ranks=world.size, carry=float(sys.argv[4]))
    task.model.norm.eval()
    task.model.norm.train = lambda mode=True: task.model.norm  # batch statistics differ between halves of a batch
    loss, calls = task.loss, []
    def stopping(batch):
        calls.append(1)
        if len(calls) == stop:
            raise SystemExit("stopped")
        return loss(batch)
    task.loss = stopping
    result = Trainer(task, config(), phases(), folder, world=world).fit(resume=resume)
    weights = [round(value, 9) for value in task.weights().tolist()]
    print(json.dumps([world.rank, result.steps, result.tokens, weights]), flush=True)
    leave_world()
""")


def config():
    optimizer = OptimizerConfig(name="sgd", momentum=0.9)
    return TrainerConfig(optimizer=optimizer, accumulation=2, clip=1.0, checkpoint_every=Budget(steps=4))


def phases():
    return gradual_unfreezing(3, budget=Budget(steps=9), peak_rate=0.02)


def launch(folder, resume="begin", stop=0, carry=0.1, check=True):
    done = torchrun_code(PROGRAM, folder, resume, stop, carry, check=check)
    return sorted(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    task = ToyTask(dropout=0.0, carry=0.0)  # what is carried is each rank's own
    task.model.norm.eval()
    task.model.norm.train = lambda mode=True: task.model.norm
    alone = Trainer(task, config(), phases(), tmp_path / "one").fit()
    first, second = launch(tmp_path / "two", carry=0.0)
    assert first[1:] == second[1:]
    assert first[1:3] == [alone.steps, alone.tokens]
    torch.testing.assert_close(torch.tensor(first[3]), task.weights().float(), atol=1e-5, rtol=1e-4)
    one = (tmp_path / "one/training_log.jsonl").read_text().splitlines()
    two = (tmp_path / "two/training_log.jsonl").read_text().splitlines()
    assert len(one) == len(two)
    for a, b in zip(map(json.loads, one), map(json.loads, two), strict=True):
        assert b.get("loss", 0.0) == pytest.approx(a.get("loss", 0.0), rel=1e-4)
        assert b["tokens"] == a["tokens"]


@pytest.mark.slow
def test_two_processes_resume(tmp_path):
    whole = launch(tmp_path / "whole")
    launch(tmp_path / "parts", stop=13, check=False)
    assert [path.name for path in (tmp_path / "parts").glob("checkpoint-*")] == ["checkpoint-00000004"]
    parts = launch(tmp_path / "parts", "resume")
    assert parts == whole
    best = ToyTask()
    load_model_weights(tmp_path / "parts/best.safetensors", best.model)


@pytest.mark.slow
@pytest.mark.parametrize("first_does", ["world.gather('b')", "time.sleep(60)"])
def test_an_error_of_one_process_ends_both(first_does):
    code = textwrap.dedent(f"""
        import time
        from ulmkit.errors import DataError
        from ulmkit.training import joined_world
        try:
            with joined_world("cpu") as world:
                if world.rank == 1:
                    raise DataError("text: got none")
                {first_does}
        except Exception as error:
            print(type(error).__name__, error, flush=True)
    """)
    assert torchrun_code(code, check=False).stdout.splitlines() == ["TrainingError process 1: text: got none"]


def test_alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    world = join_world()
    assert world == World()
    assert world.is_first
    assert world.sum([1.0, 2.0]) == [1.0, 2.0]
    assert world.gather("a") == ["a"]
    assert world.broadcast("b") == "b"
    assert world.call_on_first(lambda: "c") == "c"
    assert world.sum_tensor(torch.ones(2)).tolist() == [1.0, 1.0]
    world.check_divides(7)
    leave_world()


@pytest.mark.parametrize(("batch_size", "ranks", "nearest"), [(7, 2, 8), (32, 3, 33), (1, 4, 4)])
def test_shares_are_equal(batch_size, ranks, nearest):
    World(0, ranks).check_divides(ranks * 5)
    message = f"batch_size: expected a multiple of {ranks}, .* got {batch_size}; take {nearest}, or another"
    with pytest.raises(ConfigError, match=message):
        World(0, ranks).check_divides(batch_size)


def test_rank_outside_the_world(monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"RANK: expected 0 <= rank < 2 \(WORLD_SIZE\), got 2"):
        join_world()


def test_a_gpu_by_number_is_for_one_process(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="device: expected auto, cpu or cuda for 2 processes, .* got 'cuda:1'"):
        join_world("cuda:1")


def test_a_gpu_for_each_process(monkeypatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend, timeout: chosen.append(backend))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="a GPU for each process, got 1 here for process 2; start 1 on this machine"):
        join_world()
    assert join_world("cpu") == World(1, 2)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert join_world() == World(1, 2)
    assert chosen == ["gloo", 1, "cpu:gloo,cuda:nccl"]
