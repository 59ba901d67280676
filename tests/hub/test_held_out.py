"""The record of held-out documents in a model folder."""

import json
from pathlib import Path

import numpy as np
import pytest
from support import tiny
from test_altered_folders import sign

from ulmkit import TextClassifier
from ulmkit.errors import FolderError
from ulmkit.hub import load_model
from ulmkit.hub.held_out import HELD_OUT_FILE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny.classifier().save(tmp_path / "classifier")
    return tmp_path / "classifier"


def test_answers_survive_saving(folder: Path) -> None:
    saved, loaded = tiny.classifier().parts.held_out, load_model(folder).held_out
    assert saved is not None
    assert loaded.answers.source == saved.answers.source == "12 validation documents"
    for name in ("labels", "predicted", "confidence", "mass_above"):
        np.testing.assert_array_equal(getattr(loaded.answers, name), getattr(saved.answers, name))
    assert tiny.review("pos", 0)[:20] not in (folder / HELD_OUT_FILE).read_text()


def test_folders_without_a_record_load(folder: Path) -> None:
    (folder / HELD_OUT_FILE).unlink()
    with pytest.raises(FolderError, match=r"held_out\.json: no such file, but the folder lists it"):
        load_model(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["files"][HELD_OUT_FILE]
    (folder / "config.json").write_text(json.dumps(config))
    sign(folder)
    assert load_model(folder).held_out is None
    with pytest.raises(FolderError, match=r"this classifier has none; give labelled documents .* or train it again"):
        TextClassifier.load(folder).selective(0.5)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("labels", [2] * 12, "expected labels from 0 to 1"),
        ("labels", [True] * 12, "expected a list of numbers as labels"),
        ("predicted", [10**30] * 12, "expected a list of numbers as predicted"),
        ("confidence", [0.5] * 11, "expected columns of one length"),
        ("confidence", [7.0] * 12, "expected a confidence from 0 to 1"),
        ("mass_above", "none", "expected a list of numbers as mass_above"),
        ("source", None, "expected an object with a source"),
        ("values", {"words": [1.0], "length": [1.0]}, "expected columns of one length"),
        ("values", {"length": [1.0] * 12}, "expected finite numbers of a known measure, got 'length'"),
        ("values", [], "expected an object with values"),
        ("values", {"words": ["x"]}, "expected a list of numbers as words"),
        ("classes", [5] * 12, "expected predicted from 0 to 1"),
    ],
)
def test_altered_records_are_refused(folder: Path, key: str, value: object, message: str) -> None:
    content = json.loads((folder / HELD_OUT_FILE).read_text())
    content["texts" if key in ("values", "classes") else "answers"][key.replace("classes", "predicted")] = value
    (folder / HELD_OUT_FILE).write_text(json.dumps(content))
    with pytest.raises(FolderError, match="altered"):
        load_model(folder)
    sign(folder)
    with pytest.raises(FolderError, match=message):
        load_model(folder)
