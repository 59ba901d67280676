import os
import signal
import subprocess
import sys
import textwrap

import pytest
import torch

import ulmkit.training.checkpoint as checkpoint_module
from ulmkit.errors import FolderError
from ulmkit.files import fingerprint, read_json
from ulmkit.safe_writes import write_json
from ulmkit.training import Checkpoint, latest_checkpoint, load_checkpoint, save_checkpoint
from ulmkit.training.checkpoint import checkpoints


def make(value=1.0):
    weight = torch.full((3, 4), value)
    state = {
        "bits": torch.tensor([1, 0], dtype=torch.uint8),
        "half": [torch.ones(2, dtype=torch.bfloat16), {"deep": torch.zeros(0)}],
        "plain": {"a": 1, "b": 0.1 + 0.2, "c": None, "d": "text", "e": [True, False]},
    }
    return Checkpoint({"weight": weight, "tied": weight, "row": weight[1], "column": weight[:, 1]}, state)


def test_round_trip(tmp_path):
    saved = make()
    path = save_checkpoint(tmp_path, 12, saved)
    assert path == latest_checkpoint(tmp_path) == tmp_path / "checkpoint-00000012"
    loaded = load_checkpoint(path)
    assert loaded.model.keys() == saved.model.keys()
    assert all(torch.equal(loaded.model[key], saved.model[key]) for key in saved.model)
    assert loaded.state["plain"] == saved.state["plain"]
    assert loaded.state["half"][0].dtype == torch.bfloat16
    assert torch.equal(loaded.state["bits"], saved.state["bits"])
    assert loaded.state["half"][1]["deep"].shape == (0,)


def test_the_newest_two_are_kept(tmp_path):
    for step in (1, 10, 20):
        save_checkpoint(tmp_path, step, make())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-00000010", "checkpoint-00000020"]
    save_checkpoint(tmp_path, 20, make(5.0))
    assert load_checkpoint(latest_checkpoint(tmp_path)).model["weight"][0, 0] == 5.0
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-00000010", "checkpoint-00000020"]


def test_the_newest_is_that_of_the_most_steps(tmp_path):
    for step in (99_999_999, 100_000_000):
        (tmp_path / f"checkpoint-{step:08d}").mkdir()
    assert latest_checkpoint(tmp_path).name == "checkpoint-100000000"


def test_what_killed_processes_left_is_removed(tmp_path):
    for name in (".checkpoint-00000003.a1b2c3d4", ".checkpoint-00000004.x", ".notes.a1b2c3d4"):
        (tmp_path / name).mkdir()
    save_checkpoint(tmp_path, 5, make())
    names = [".checkpoint-00000004.x", ".notes.a1b2c3d4", "checkpoint-00000005"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize("content", ["[" * 100_000, '{"format_version": ' + "9" * 5000 + "}", b"\xff"])
def test_json_that_is_deep_endless_or_not_utf_8(tmp_path, content):
    path = save_checkpoint(tmp_path, 1, make())
    (path / "state.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(FolderError, match="state.json: not valid JSON"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", ["model.safetensors", "state.safetensors", "state.json"])
def test_a_pipe_is_not_opened(tmp_path, name):
    path = save_checkpoint(tmp_path, 1, make())
    (path / name).unlink()
    os.mkfifo(path / name)
    with pytest.raises(FolderError, match=f"{name}: expected a regular file"):
        load_checkpoint(path)


def test_weights_that_are_not_finite(tmp_path):
    with pytest.raises(FolderError, match="got NaN or infinity in '(column|row|weight)'"):
        load_checkpoint(save_checkpoint(tmp_path, 1, make(float("nan"))))


def test_nothing_there(tmp_path):
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path / "missing") is None
    with pytest.raises(FolderError, match="missing/state.json: no such file"):
        load_checkpoint(tmp_path / "missing")


@pytest.mark.parametrize("name", ["model.safetensors", "state.safetensors", "state.json"])
def test_truncated(tmp_path, name):
    path = save_checkpoint(tmp_path, 1, make())
    whole = (path / name).read_bytes()
    for kept in (0, 5, len(whole) // 2, len(whole) - 2):
        (path / name).write_bytes(whole[:kept])
        with pytest.raises(FolderError, match=f"{name}: .*truncated"):
            load_checkpoint(path)


@pytest.mark.parametrize("name", ["model.safetensors", "state.safetensors"])
def test_missing_or_altered_tensors(tmp_path, name):
    path = save_checkpoint(tmp_path, 1, make())
    content = bytearray((path / name).read_bytes())
    content[-1] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(FolderError, match=f"{name}: its checksum is wrong"):
        load_checkpoint(path)
    (path / name).unlink()
    with pytest.raises(FolderError, match=f"{name}: no such file; the checkpoint is incomplete"):
        load_checkpoint(path)


def test_altered_json(tmp_path):
    path = save_checkpoint(tmp_path, 1, make())
    document = read_json(path / "state.json")
    for version in (1, 99):
        write_json(path / "state.json", document | {"format_version": version})
        with pytest.raises(FolderError, match=f"expected format version 2, got {version}; remove it and begin anew"):
            load_checkpoint(path)
    document["state"]["plain"]["a"] = 2
    write_json(path / "state.json", document)
    with pytest.raises(FolderError, match="its fingerprint is wrong"):
        load_checkpoint(path)
    write_json(path / "state.json", [])
    with pytest.raises(FolderError, match="expected a checkpoint's state, got something else"):
        load_checkpoint(path)


@pytest.mark.parametrize("key", ["sha256", "state"])
def test_missing_keys(tmp_path, key):
    path = save_checkpoint(tmp_path, 1, make())
    document = read_json(path / "state.json")
    del document[key], document["fingerprint"]
    write_json(path / "state.json", document | {"fingerprint": fingerprint(document)})
    with pytest.raises(
        FolderError, match=f"checkpoint-00000001: expected '{key}' in it, got none; remove it and begin"
    ):
        load_checkpoint(path)


def test_only_tensors_and_json(tmp_path):
    with pytest.raises(TypeError, match=r"checkpoint/a/0: expected tensors, .* got <class 'set'>"):
        save_checkpoint(tmp_path, 1, Checkpoint({}, {"a": [set()]}))
    with pytest.raises(TypeError, match="checkpoint/a: expected dict keys to be strings, got 3"):
        save_checkpoint(tmp_path, 1, Checkpoint({}, {"a": {3: 1}}))
    assert list(tmp_path.iterdir()) == []


def test_failure_while_writing_keeps_the_former(tmp_path, monkeypatch):
    former = save_checkpoint(tmp_path, 1, make())

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "write_json", full_disk)
    with pytest.raises(FolderError, match="the disk is full"):
        save_checkpoint(tmp_path, 2, make())
    assert latest_checkpoint(tmp_path) == former
    load_checkpoint(former)
    assert [path.name for path in tmp_path.iterdir()] == [former.name]


@pytest.mark.slow
def test_kill_while_writing_keeps_the_former(tmp_path):
    program = textwrap.dedent("""
        import sys, torch
        import ulmkit.training.checkpoint as module
        state = module.Checkpoint({"weight": torch.ones(3)}, {"a": torch.ones(2)})
        module.save_checkpoint(sys.argv[1], 1, state)
        def stop(*_):
            print("writing", flush=True)
            sys.stdin.read()
        module.write_json = stop
        module.save_checkpoint(sys.argv[1], 2, state)
    """)
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"writing\n"
        process.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.iterdir())) == 2
    assert latest_checkpoint(tmp_path).name == "checkpoint-00000001"
    assert torch.equal(load_checkpoint(latest_checkpoint(tmp_path)).model["weight"], torch.ones(3))
