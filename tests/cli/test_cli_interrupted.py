"""Ctrl-C in the middle: what is saved, what is said, and going on to the very same weights."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from support import tiny
from support.command import CLASSIFY, SMALL, TUNE, ulmkit
from support.interrupts import InterruptAtStep

import ulmkit.quickstart as ulmkit_quickstart
from ulmkit import LanguageModel
from ulmkit.cli import training_commands
from ulmkit.pipeline import language_models
from ulmkit.training import LineProgress, ProgressInfo, TrainingInterrupted


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_csv(tmp_path_factory.mktemp("data") / "reviews.csv", tiny.reviews())


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lm") / "lm"
    tiny.language_model().save(folder)
    return folder


def _interrupt(
    monkeypatch: pytest.MonkeyPatch, step: int, *arguments: Any, number: signal.Signals = signal.SIGINT
) -> str:
    with monkeypatch.context() as patched:
        patched.setattr(training_commands, "make_progress", lambda: InterruptAtStep(step, number))
        return ulmkit(*arguments, status=128 + number).err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_of_schedulers_save_as_ctrl_c_does(
    number: signal.Signals, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("pretrain", reviews, *SMALL, "--steps", 12, "--out", tmp_path / "lm")
    former = signal.signal(number, signal.SIG_DFL)  # under nohup, SIGHUP is ignored
    try:
        assert "; run again with --resume to continue" in _interrupt(monkeypatch, 5, *command, number=number)
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, former)
    ulmkit(*command, "--resume")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lm"]


def test_a_signal_outside_of_training_leaves_nothing_half_written(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("ulmkit.text.corpus.builder._Build.divide", stop)
    output = ulmkit("prepare", reviews, "--out", tmp_path / "corpus", "--tokenizer", "bytes", status=143)
    assert output.err.strip() == "ulmkit: stopped"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stage", ["pretrain", "finetune", "train"])
def test_resuming_gives_the_weights_of_an_uninterrupted_run(
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
    assert said.count("resume") == 1
    assert said.endswith("; run again with --resume to continue\n")
    assert not (tmp_path / "halves").exists()
    ulmkit(*command, "--out", tmp_path / "halves", "--resume")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["halves", "whole"]
    whole, halves = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "halves"))
    assert whole.keys() == halves.keys()
    for name, tensor in whole.items():
        assert tensor.numpy().tobytes() == halves[name].numpy().tobytes(), name
    rows = [(tmp_path / name / "training_log.csv").read_text().count("\n") for name in ("whole", "halves")]
    assert rows[1] == rows[0]


def test_another_training_cannot_resume_from_the_checkpoint(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = tiny.write_csv(tmp_path / "others.csv", tiny.reviews(first=900))
    command = (*SMALL, "--steps", 12, "--out", tmp_path / "lm")
    _interrupt(monkeypatch, 5, "pretrain", reviews, *command)
    assert "another run (identity.data: was" in ulmkit("pretrain", others, *command, "--resume", status=2).err
    backward = ("pretrain", reviews, *command, "--backward", "--resume")
    assert "another run (identity.direction: was 'forward'" in ulmkit(*backward, status=2).error
    ulmkit("pretrain", reviews, *command, "--resume")


def test_what_is_refused_beside_a_stopped_training(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("pretrain", reviews, *SMALL, "--steps", 12, "--out", tmp_path / "lm")
    assert "expected a checkpoint to resume, got none" in ulmkit(*command, "--resume", status=2).error
    assert list(tmp_path.iterdir()) == []
    _interrupt(monkeypatch, 3, *command)
    before = tiny.contents(tmp_path)
    again = ulmkit(*command, status=2)
    assert "checkpoint-00000003: is left from an earlier run; continue it with --resume, or remove" in again.error
    other = ulmkit(*command[:-2], "--steps", 20, "--out", tmp_path / "lm", "--resume", status=2)
    assert "was made by another run" in other.err
    assert tiny.contents(tmp_path) == before


def test_a_folder_that_is_there_is_refused_before_any_work(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("work was done")

    former = '{"format_version": 1, "kind": "language_model", "fingerprint": "keep me"}'
    (tmp_path / "lm").mkdir()
    (tmp_path / "lm" / "config.json").write_text(former)
    with monkeypatch.context() as patched:
        patched.setattr(LanguageModel, "pretrain", work)
        patched.setattr(LanguageModel, "load", work)
        for command in (("pretrain", reviews), ("finetune", "nosuch", reviews), ("train", "nosuch", reviews)):
            told = ulmkit(*command, "--out", tmp_path / "lm", status=2)
            assert "lm: already exists; choose another name, or replace it with --overwrite" in told.error
    command = ("pretrain", reviews, *SMALL, "--steps", 2, "--out", tmp_path / "lm")
    _interrupt(monkeypatch, 1, *command, "--overwrite")
    assert (tmp_path / "lm" / "config.json").read_text() == former
    assert (tmp_path / "lm.training").is_dir()
    ulmkit(*command, "--overwrite", "--resume")
    assert (tmp_path / "lm" / "config.json").read_text() != former
    assert [path.name for path in tmp_path.iterdir()] == ["lm"]


@pytest.mark.parametrize("out", ["", ".", "..", "/"])
@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_a_folder_to_write_has_a_name(
    out: str, options: tuple, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("prepare", "pretrain"):
        told = ulmkit(command, reviews, "--out", out, *options, status=2)
        assert f"ulmkit: {out!r}: expected a path that ends in a folder's name; choose another name" in told.error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_ones_own_is_never_overwritten(reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "config.json").write_text('{"name": "a web app"}')
    for command in ("prepare", "pretrain", "quickstart"):
        data = ("--data", reviews) if command == "quickstart" else (reviews,)
        told = ulmkit(command, *data, "--out", tmp_path / "notes", "--overwrite", status=2)
        assert "notes: already exists and was not written by ulmkit; choose another name" in told.error
    assert tiny.contents(tmp_path) == {"notes/config.json": b'{"name": "a web app"}'}


@pytest.mark.parametrize("name", ["precious.csv", "checkpoint-1", "best.safetensors.txt", "training_log.csv~", ".git"])
def test_a_folder_of_checkpoints_with_files_of_ones_own_is_refused(name: str, reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "lm.training").mkdir()
    (tmp_path / "lm.training" / name).write_text("keep me")
    for data in (reviews, "nosuch.csv"):
        told = ulmkit("pretrain", data, *SMALL, "--steps", 2, "--out", tmp_path / "lm", status=2)
        assert (
            f"lm.training/{name}: was not written by a training; move it elsewhere, or choose another --out"
            in told.error
        )
    assert tiny.contents(tmp_path) == {f"lm.training/{name}": b"keep me"}


def test_a_file_in_place_of_the_folder_of_checkpoints_is_refused(reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "lm.training").write_text("keep me")
    told = ulmkit("pretrain", reviews, *SMALL, "--steps", 2, "--out", tmp_path / "lm", status=2)
    assert "lm.training: expected a folder for checkpoints, got a file; choose another --out" in told.error
    assert tiny.contents(tmp_path) == {"lm.training": b"keep me"}


def test_leftovers_of_a_killed_run_are_removed_and_other_files_are_kept(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "lm.training"
    (folder / ".checkpoint-00000003.x1y2").mkdir(parents=True)
    for name in ("training_log.csv", "training_log.jsonl", ".best.safetensors.x1y2"):
        (folder / name).write_text("")
    command = ("pretrain", reviews, *SMALL, "--steps", 2, "--out", tmp_path / "lm")

    class Visitor(LineProgress):
        def update(self, info: ProgressInfo) -> None:
            (folder / "notes.txt").write_text("keep me")

    monkeypatch.setattr(training_commands, "make_progress", Visitor)
    ulmkit(*command)
    assert (tmp_path / "lm" / "config.json").is_file()
    assert tiny.contents(folder) == {"notes.txt": b"keep me"}
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("option", ["--resume", "--overwrite"])
def test_a_run_killed_after_writing_its_result_goes_on(
    option: str, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("pretrain", reviews, *SMALL, "--steps", 3, "--device", "cpu", "--threads", 1, "--out", tmp_path / "lm")
    with monkeypatch.context() as patched:
        patched.setattr("ulmkit.pipeline.stage_folder._remove", lambda folder: None)
        ulmkit(*command)
    assert (tmp_path / "lm.training" / "checkpoint-00000003").is_dir()
    weights = (tmp_path / "lm" / "model.safetensors").read_bytes()
    assert "lm: already exists" in ulmkit(*command, status=2).error
    ulmkit(*command, option)
    assert [path.name for path in tmp_path.iterdir()] == ["lm"]
    assert (tmp_path / "lm" / "model.safetensors").read_bytes() == weights


def test_an_older_model_beside_an_unfinished_run_is_not_replaced_unasked(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("pretrain", reviews, *SMALL, "--steps", 8, "--out", tmp_path / "lm")
    _interrupt(monkeypatch, 3, *command)
    tiny.language_model().save(tmp_path / "lm")  # newer than the checkpoint, but not its result
    before = tiny.contents(tmp_path)
    assert "lm: already exists" in ulmkit(*command, "--resume", status=2).error
    assert "is left from an earlier run" in ulmkit(*command, "--overwrite", status=2).error
    assert tiny.contents(tmp_path) == before


def test_resuming_is_advised_only_where_it_is_possible(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Twice(InterruptAtStep):
        def update(self, info: ProgressInfo) -> None:
            super().update(info)
            super().update(info)

    with monkeypatch.context() as patched:
        patched.setattr(training_commands, "make_progress", lambda: Twice(1))
        said = ulmkit("pretrain", reviews, *SMALL, "--steps", 5, "--out", tmp_path / "lm", status=130).err
    assert said.endswith(": nothing was saved; begin again\n")
    assert list(tmp_path.iterdir()) == []

    def stopped(*_: object, **__: object) -> None:
        raise TrainingInterrupted("training stopped at step 3", tmp_path)

    monkeypatch.setattr(ulmkit_quickstart, "quickstart", stopped)
    assert ulmkit("quickstart", status=130).err == "\nulmkit: training stopped at step 3\n"


def test_ctrl_c_while_the_text_is_prepared(reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(language_models, "prepare_once", stopped)
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
