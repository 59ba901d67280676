import csv
import json
import os
import struct
import sys

import pytest
import torch
from tensorboardX.proto import event_pb2

from ulmkit.errors import FolderError, MissingPackageError
from ulmkit.files import TRAINING_LOG
from ulmkit.training import JSONL_NAME, StepResult
from ulmkit.training.log import TrainingLog
from ulmkit.training.reporter import Meter


def read(folder):
    rows = [json.loads(line) for line in (folder / JSONL_NAME).read_text().splitlines()]
    with open(folder / TRAINING_LOG, newline="") as file:
        return rows, list(csv.DictReader(file))


def test_rows_are_there_as_soon_as_they_are_added(tmp_path):
    log = TrainingLog(tmp_path / "new")
    log.add({"kind": "train", "step": 1, "rates": [0.1, 0.2], "loss": float("inf"), "momentum": None})
    rows, table = read(tmp_path / "new")
    assert rows == [{"kind": "train", "step": 1, "rates": [0.1, 0.2], "loss": None, "momentum": None}]
    assert table == [{"kind": "train", "step": "1", "rates": "0.1 0.2", "loss": "", "momentum": ""}]
    log.add({"kind": "validation", "step": 1, "valid_loss": 2.5})
    rows, table = read(tmp_path / "new")
    assert len(rows) == len(table) == 2
    assert table[0]["valid_loss"] == ""
    assert table[1] == {"kind": "validation", "step": "1", "rates": "", "loss": "", "momentum": "", "valid_loss": "2.5"}
    log.add({"kind": "validation", "step": 2, "valid_loss": 2.0})
    assert [row["valid_loss"] for row in read(tmp_path / "new")[1]] == ["", "2.5", "2.0"]


def test_reopening_drops_what_came_after_the_checkpoint(tmp_path):
    log = TrainingLog(tmp_path)
    for step in (1, 2, 3):
        log.add({"kind": "train", "step": step})
    again = TrainingLog(tmp_path, log.rows[:2])
    again.add({"kind": "train", "step": 3})
    rows, table = read(tmp_path)
    assert [row["step"] for row in rows] == [1, 2, 3] == [int(row["step"]) for row in table]


@pytest.mark.parametrize("name", ["training_log.csv", "training_log.jsonl"])
def test_a_pipe_in_place_of_a_file_is_refused_at_once(name, tmp_path):
    os.mkfifo(tmp_path / name)
    with pytest.raises(FolderError, match=f"{name}: expected a regular file or none, got a pipe or a device; remove"):
        TrainingLog(tmp_path)


def test_without_a_folder():
    log = TrainingLog(None)
    log.add({"kind": "train", "step": 1})
    assert log.rows == [{"kind": "train", "step": 1}]


def test_a_missing_tensorboard_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingPackageError, match=r"run: pip install 'ulmkit\[tensorboard\]'"):
        TrainingLog(tmp_path, tensorboard=tmp_path / "events")


def events(folder):
    """The events in the files of a folder: records of a length, its checksum, the event and its checksum."""
    found = []
    for file in sorted(folder.iterdir()):
        data = file.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            found.append(event_pb2.Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def test_tensorboard_has_the_numbers_of_each_row(tmp_path):
    log = TrainingLog(None, tensorboard=tmp_path / "events")
    log.add({"kind": "train", "step": 3, "loss": 1.5, "phase": "all", "rates": [1.0]})
    log.add({"kind": "validation", "step": 4, "valid_loss": 2.0})
    log.close()
    scalars = [
        (value.tag, value.simple_value, event.step)
        for event in events(tmp_path / "events")
        for value in event.summary.value
    ]
    assert scalars == [("train/loss", 1.5, 3), ("validation/valid_loss", 2.0, 4)]


def test_tensorboard_forgets_steps_that_are_repeated(tmp_path):
    TrainingLog(None, [{"kind": "train", "step": 3}], tensorboard=tmp_path).close()
    assert [event.step for event in events(tmp_path) if event.HasField("session_log")] == [4]


def result(loss, weight, **metrics):
    return StepResult(torch.tensor(loss), 1, metrics, weight)


def test_meter_by_hand():
    meter = Meter()
    assert meter.is_empty
    assert meter.means() == {}
    meter.add(result(1.0, 1.0, a=2.0))
    meter.add(result(4.0, 3.0, a=torch.tensor(6.0), b=7.0))
    assert meter.means() == {"loss": 3.25, "a": 5.0, "b": 7.0}
    other = Meter()
    other.load_state_dict(json.loads(json.dumps(meter.state_dict())))
    other.add(result(3.25, 4.0))
    assert other.means() == {"loss": 3.25, "a": 5.0, "b": 7.0}
    other.merge(meter.state_dict())
    assert other.means()["loss"] == 3.25
    assert other.is_finite()
    other.add(result(float("nan"), 1.0))
    assert not other.is_finite()
    other.clear()
    assert other.is_empty
