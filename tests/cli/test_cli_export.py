"""`ulmkit export` and what is left of it."""

import json

import pytest
from support import tiny
from support.command import table_row, ulmkit

from ulmkit import TextClassifier, api
from ulmkit.evaluation import PairedComparison
from ulmkit.kernels.cpu.library import load_library

pytestmark = pytest.mark.skipif(isinstance(load_library(), str), reason="the kernel library is not built")


@pytest.fixture
def folder(tmp_path):
    tiny.classifier().save(tmp_path / "classifier")
    tiny.write_csv(tmp_path / "labelled.csv", tiny.reviews(60, first=1000))
    return tmp_path


def test_export_prints_the_comparison_and_the_model_predicts(folder):
    options = ("--out", folder / "int8", "--split", "all", "--json", folder / "export.json")
    told = ulmkit("export", folder / "classifier", folder / "labelled.csv", *options)
    figures = json.loads((folder / "export.json").read_text())
    comparison = figures["comparison"]
    assert comparison["documents"] == 60
    for name in ("before", "after"):
        assert table_row(told.out, f"accuracy {name}") == [f"{comparison[name]:.4f}"]
        assert table_row(told.out, f"megabytes {name}") == [f"{figures[f'megabytes_{name}']:.4g}"]
    assert set(figures) == {"model", "megabytes_before", "megabytes_after", "comparison"}
    assert figures["megabytes_after"] < figures["megabytes_before"]
    predicted = ulmkit("predict", folder / "int8", "--text", tiny.review("pos", 5000))
    assert json.loads(predicted.out.splitlines()[0])["label"] == "pos"
    evaluated = ulmkit("evaluate", folder / "int8", folder / "labelled.csv", "--split", "all")
    assert table_row(evaluated.out, "accuracy")[0].startswith(f"{comparison['after']:.4f} (95%: ")


def test_export_refuses(folder):
    told = ulmkit("export", folder / "classifier", folder / "labelled.csv", "--out", folder / "classifier", status=2)
    assert "would replace" in told.error
    assert "classifier, which is read; choose another name" in told.error
    told = ulmkit(
        "export", folder / "classifier", folder / "labelled.csv", "--out", folder / "int8", "--to", "int4", status=2
    )
    assert "to: got 'int4'; did you mean 'int8'" in told.error
    told = ulmkit(
        "export", folder / "classifier", folder / "labelled.csv", "--out", folder / "int8", "--split", "test", status=2
    )
    assert "split: got 'test', but labelled.csv names no splits; leave it out" in told.error
    assert not (folder / "int8").exists()


@pytest.mark.parametrize(
    ("task", "before", "low", "noted"),
    [
        ("single", 0.9, -0.02, "a drop of 0.02;"),
        ("single", 0.9, -0.005, None),
        ("number", -3721.4, -37.0, None),
        ("number", -3721.4, -38.0, "a drop of 38;"),
        ("number", -4e-4, -5e-6, "a drop of 5e-06;"),
    ],
)
def test_the_drop_not_excluded_is_weighed_in_the_unit_of_the_labels(folder, monkeypatch, task, before, low, noted):
    found = PairedComparison("measure", 60, before, before, 0.0, (low, -low), 1, 1, 0.5)
    monkeypatch.setattr(api, "export_int8", lambda *_, **__: found)
    monkeypatch.setattr(TextClassifier, "task", task)
    told = ulmkit("export", folder / "classifier", folder / "labelled.csv", "--out", folder / "int8")
    assert ("do not rule out" in told.out) == (noted is not None)
    assert noted is None or noted in told.out


def test_export_for_other_programs(folder):
    told = ulmkit(
        "export", folder / "classifier", "--to", "onnx", "--out", folder / "onnx", "--json", folder / "onnx.json"
    )
    figures = json.loads((folder / "onnx.json").read_text())
    assert set(figures) == {"model", "megabytes", "parity"}
    assert figures["megabytes"] == (folder / "onnx" / "model.onnx").stat().st_size / 1e6
    difference = figures["parity"]["difference"]
    assert table_row(told.out, "largest difference") == [f"{difference:.1e} (allowed: 1e-04)"]
    assert table_row(told.out, "how to use it") == [str(folder / "onnx" / "README.md")]


def test_data_is_for_int8_alone(folder):
    places = (folder / "classifier", folder / "labelled.csv")
    told = ulmkit("export", *places, "--out", folder / "onnx", "--to", "onnx", status=2)
    assert "DATA: expected none with --to onnx" in told.error
    told = ulmkit("export", places[0], "--out", folder / "onnx", "--to", "torch", "--split", "test", status=2)
    assert "DATA: expected none with --to torch" in told.error
    told = ulmkit("export", places[0], "--out", folder / "int8", status=2)
    assert "DATA: expected labelled documents to compare on, got none" in told.error
    assert not (folder / "onnx").exists()
