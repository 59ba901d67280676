"""`ulmkit train CLASSIFIER DATA`: a classifier that is trained further, stopped and resumed, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from support import tiny
from support.command import ulmkit
from support.interrupts import InterruptAtStep

from ulmkit.cli import training_commands
from ulmkit.hub import load_classifier, save_classifier, save_pair

FEW = ("--batch-size", 16, "--precision", "fp32", "--workers", 1, "--no-baselines")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a classifier, `old.csv`, which it was trained on, and `new.csv` with a further class."""
    folder = tmp_path_factory.mktemp("classifiers")
    tiny.language_model().save(folder / "lm")
    old = tiny.write_csv(folder / "old.csv", tiny.reviews())
    command = ("train", folder / "lm", old, "--out", folder / "classifier", "--method", "finetune")
    ulmkit(*command, "--steps", 4, *FEW)
    new = [(text, "so-so" if label == "neg" else label) for text, label in tiny.reviews(40, first=500)]
    tiny.write_csv(folder / "new.csv", new)
    return folder


def test_a_classifier_goes_on_with_new_data(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("train", folder / "classifier", folder / "new.csv", *FEW, "--steps", 4)
    told = ulmkit(*command, "--out", "whole", "--json", "train.json")
    assert "classes kept: 'neg', 'pos'; classes added: 'so-so'\n" in told.err
    assert "old validation documents: 12 labelled documents, split valid of old.csv\n" in told.err
    values = json.loads(Path("train.json").read_text(encoding="utf-8"))
    old = values["facts"]["continuation"]["old_documents"]
    assert f"accuracy, old documents, before  {old['before']:.4f}" in told.out
    assert values["facts"]["continuation"]["added"] == ["so-so"]
    assert values["facts"]["recipe"]["peak_rate"] == 0.0025
    with monkeypatch.context() as patched:
        patched.setattr(training_commands, "make_progress", lambda: InterruptAtStep(2))
        assert "run again with --resume" in ulmkit(*command, "--out", "stopped", status=130).err
    ulmkit(*command, "--out", "stopped", "--resume")
    whole, resumed = (load_file(Path(name) / "model.safetensors") for name in ("whole", "stopped"))
    assert all(bool((resumed[name] == tensor).all()) for name, tensor in whole.items())


def test_changed_old_data_is_not_taken_for_it_unless_it_is_named(folder: Path, tmp_path: Path) -> None:
    new = tiny.write_csv(tmp_path / "new.csv", tiny.reviews(40, first=500))
    changed = tiny.write_csv(tmp_path / "old.csv", tiny.reviews(20, first=900))
    command = ("train", folder / "classifier", new, *FEW, "--steps", 1, "--rate", 0.001)
    told = ulmkit(*command, "--out", tmp_path / "a")
    assert "old validation documents: not found beside the new ones, or changed" in told.err
    assert "old documents" not in told.out
    told = ulmkit(*command, "--out", tmp_path / "b", "--old-data", changed)
    assert "20 labelled documents, all of old.csv, which is not what the classifier was trained on" in told.err
    assert "accuracy, old documents, before" in told.out


def test_what_cannot_go_on_is_refused_in_one_line(folder: Path, tmp_path: Path) -> None:
    new, out = folder / "new.csv", tmp_path / "out"
    told = ulmkit("train", folder / "classifier", new, "--out", out, "--tokenizer", "bytes", status=2)
    assert "--tokenizer: the language model has its own" in told.error
    told = ulmkit("train", folder / "classifier", new, "--out", out, "--drop-class", "negative", status=2)
    assert "--drop-class: got 'negative'; there are: neg, pos" in told.error
    told = ulmkit("train", folder / "lm", new, "--out", out, "--drop-class", "neg", status=2)
    assert "--drop-class: expected a classifier to start from" in told.error
    told = ulmkit("train", folder / "classifier", new, "--out", out, "--task", "multi", status=2)
    assert "--task: expected 'single'" in told.error
    parts = load_classifier(folder / "classifier")
    save_classifier(tmp_path / "backward", replace(parts, direction="backward"))
    save_pair(tmp_path / "pair", folder / "classifier", tmp_path / "backward")
    told = ulmkit("train", tmp_path / "pair", new, "--out", out, status=2)
    assert "expected one classifier, got a pair; train its 'forward' and 'backward' folder further" in told.error
    assert not out.exists()
