import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from toy_task import ToyTask

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
    sys.path.insert(0, sys.argv[1])
    import torch
    from test_distributed import config, phases
    from toy_task import ToyTask
    from ulmkit.training import Trainer, join_world, leave_world
    torch.set_num_threads(1)
    folder, resume, stop = sys.argv[2], sys.argv[3] == "resume", int(sys.argv[4])
    world = join_world()
    task = ToyTask(dropout=0.0, rank=world.rank, ranks=world.size, carry=float(sys.argv[5]))
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
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    command += [sys.executable, "-c", PROGRAM, str(Path(__file__).parent), str(folder), resume, str(stop), str(carry)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert not check or done.returncode == 0, done.stderr[-3000:]
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


def test_alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    world = join_world()
    assert world == World()
    assert world.is_first
    assert world.sum([1.0, 2.0]) == [1.0, 2.0]
    assert world.gather("a") == ["a"]
    assert world.from_first("b") == "b"
    leave_world()


def test_rank_outside_the_world(monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"RANK: expected 0 <= rank < 2 \(WORLD_SIZE\), got 2"):
        join_world()
