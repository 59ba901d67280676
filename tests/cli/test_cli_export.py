"""`ulmkit export` and what is left of it."""

import json

import pytest
import tiny
from command import ulmkit

from ulmkit.kernels.cpu.library import load_library

pytestmark = pytest.mark.skipif(isinstance(load_library(), str), reason="the kernel library is not built")


@pytest.fixture
def folder(tmp_path):
    tiny.classifier().save(tmp_path / "classifier")
    tiny.write_csv(tmp_path / "labelled.csv", tiny.reviews(60, first=1000))
    return tmp_path


def test_export_prints_the_comparison_and_the_model_predicts(folder):
    told = ulmkit(
        "export", folder / "classifier", folder / "labelled.csv", "--out", folder / "int8", "--split", "all",
        "--json", folder / "export.json",
    )  # fmt: skip
    assert "accuracy before" in told.out
    assert "megabytes after" in told.out
    figures = json.loads((folder / "export.json").read_text())
    assert figures["comparison"]["documents"] == 60
    assert figures["megabytes after"] < figures["megabytes before"]
    predicted = ulmkit("predict", folder / "int8", "--text", tiny.review("pos", 5000))
    assert json.loads(predicted.out.splitlines()[0])["label"] == "pos"
    evaluated = ulmkit("evaluate", folder / "int8", folder / "labelled.csv", "--split", "all")
    assert "accuracy" in evaluated.out


def test_export_refuses(folder):
    told = ulmkit("export", folder / "classifier", folder / "labelled.csv", "--out", folder / "classifier", status=2)
    assert "is already there; choose another name, or say to overwrite it (--overwrite)" in told.error
    told = ulmkit(
        "export", folder / "classifier", folder / "labelled.csv", "--out", folder / "int8", "--to", "int4", status=2
    )
    assert "to: got 'int4'; did you mean 'int8'" in told.error
    told = ulmkit(
        "export", folder / "classifier", folder / "labelled.csv", "--out", folder / "int8", "--split", "test", status=2
    )
    assert "test" in told.error
    assert not (folder / "int8").exists()
