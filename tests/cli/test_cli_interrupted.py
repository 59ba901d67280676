"""Ctrl-C in the middle: what is saved, what is said, and going on to the very same weights."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
from command import CLASSIFY, SMALL, TUNE, ulmkit
from safetensors.torch import load_file

from ulmkit.cli import training_commands
from ulmkit.training import LineProgress, ProgressInfo


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_csv(tmp_path_factory.mktemp("data") / "reviews.csv", tiny.reviews())


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lm") / "lm"
    tiny.language_model().save(folder)
    return folder


class _CtrlC(LineProgress):
    """Presses Ctrl-C at a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step

    def update(self, info: ProgressInfo) -> None:
        if info.step == self._step:
            signal.raise_signal(signal.SIGINT)


def _interrupt(monkeypatch: pytest.MonkeyPatch, step: int, *arguments: Any) -> str:
    with monkeypatch.context() as patched:
        patched.setattr(training_commands, "make_progress", lambda: _CtrlC(step))
        return ulmkit(*arguments, status=130).err


@pytest.mark.parametrize("stage", ["pretrain", "finetune", "train"])
def test_going_on_gives_the_weights_of_an_uninterrupted_run(
    stage: str, reviews: Path, language_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = {
        "pretrain": ("pretrain", reviews, *SMALL, "--dropout", 0.5),
        "finetune": ("finetune", language_model, reviews, *TUNE),
        "train": ("train", language_model, reviews, *CLASSIFY, "--unfreezing", "gradual", "--no-baselines"),
    }[stage]
    command = (*command, "--steps", 12, "--device", "cpu", "--threads", 1)
    ulmkit(*command, "--out", tmp_path / "whole")
    said = _interrupt(monkeypatch, 7, *command, "--out", tmp_path / "halves")
    assert "training stopped at step 7" in said
    assert f"{tmp_path / 'halves.training' / 'checkpoint-00000007'}" in said
    assert "the same command with --resume goes on" in said
    assert not (tmp_path / "halves").exists()
    ulmkit(*command, "--out", tmp_path / "halves", "--resume")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["halves", "whole"]
    whole, halves = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "halves"))
    assert whole.keys() == halves.keys()
    for name, tensor in whole.items():
        assert tensor.numpy().tobytes() == halves[name].numpy().tobytes(), name
    rows = [(tmp_path / name / "training_log.csv").read_text().count("\n") for name in ("whole", "halves")]
    assert rows[1] >= rows[0]


def test_what_is_refused_beside_a_stopped_training(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("pretrain", reviews, *SMALL, "--steps", 12, "--out", tmp_path / "lm")
    assert "expected a checkpoint to resume, got none" in ulmkit(*command, "--resume", status=2).error
    assert list(tmp_path.iterdir()) == []
    _interrupt(monkeypatch, 3, *command)
    before = tiny.contents(tmp_path)
    again = ulmkit(*command, status=2)
    assert "checkpoint-00000003: is there from an earlier run; go on with it by --resume, or remove" in again.error
    other = ulmkit(*command[:-2], "--steps", 20, "--out", tmp_path / "lm", "--resume", status=2)
    assert "was made by another run" in other.err
    assert tiny.contents(tmp_path) == before


def test_a_folder_that_is_there_is_refused_before_any_work(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("work was done")

    (tmp_path / "lm").mkdir()
    (tmp_path / "lm" / "own.txt").write_text("keep me")
    with monkeypatch.context() as patched:
        patched.setattr(training_commands, "prepare", work)
        patched.setattr(training_commands.LanguageModel, "load", work)
        for command in (("pretrain", reviews), ("finetune", "nosuch", reviews), ("train", "nosuch", reviews)):
            told = ulmkit(*command, "--out", tmp_path / "lm", status=2)
            assert "lm: is already there; choose another --out, or say --overwrite" in told.error
    command = ("pretrain", reviews, *SMALL, "--steps", 2, "--out", tmp_path / "lm")
    _interrupt(monkeypatch, 1, *command, "--overwrite")
    assert (tmp_path / "lm" / "own.txt").read_text() == "keep me"
    assert (tmp_path / "lm.training").is_dir()
    ulmkit(*command, "--overwrite", "--resume")
    assert not (tmp_path / "lm" / "own.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["lm"]


def test_ctrl_c_while_the_text_is_prepared(reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training_commands, "prepare", stopped)
    assert "ulmkit: stopped" in ulmkit("pretrain", reviews, "--out", tmp_path / "lm", status=130).err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_real_ctrl_c(reviews: Path, tmp_path: Path) -> None:
    command = [str(part) for part in ("pretrain", reviews, *SMALL, "--steps", 5000, "--out", tmp_path / "lm")]
    code = "from ulmkit.cli import main; main()"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *command], stderr=subprocess.PIPE, text=True, env=environment
    )
    while not (tmp_path / "lm.training" / "training_log.csv").exists():
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in said
    assert list((tmp_path / "lm.training").glob("checkpoint-*"))
