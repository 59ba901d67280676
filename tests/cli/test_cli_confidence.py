"""Abstention and sets of labels on the command line."""

import csv
import json
from pathlib import Path

import pytest
from support import tiny
from support.command import ulmkit

from ulmkit import TextClassifier


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of which those without a telling word have labels at random."""
    rows = [*tiny.reviews(200, 5000), *[("the film was with some actors", "pos"), ("a story", "neg")] * 15]
    return tiny.write_csv(tmp_path_factory.mktemp("data") / "held-out.csv", rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [text for text, _ in tiny.reviews(20, 7000)]
    return tiny.write_csv(tmp_path_factory.mktemp("data") / "t.csv", [(text, "") for text in [*texts, "the film was"]])


def test_every_text_has_a_row_and_abstained_ones_say_why(models: Path, held_out: Path, data: Path) -> None:
    command = ("predict", models / "classifier", data, "--abstain-above-error", 0.2, "--held-out", held_out)
    told = ulmkit(*command, "--conformal-sets", 0.1, "--json", models / "told.json", "--overwrite")
    rows = [json.loads(line) for line in told.out.splitlines()]
    assert len(rows) == 21
    selection = TextClassifier.load(models / "classifier").selective(0.2, held_out=held_out).selection
    for row in rows:
        assert (row["label"] is None) == (row["probability"] <= selection.threshold)
        reason = f"confidence {row['probability']:.4f} is not above {selection.threshold:.4f}"
        assert row["abstained"] == (reason if row["label"] is None else None)
        assert row["label"] in (None, row["label_set"][0])
    abstained = sum(row["label"] is None for row in rows)
    values = json.loads((models / "told.json").read_text())
    assert values["abstained"] == abstained == 21 - sum(values["labels"].values())
    assert values["selection"]["threshold"] == selection.threshold
    assert values["conformal_sets"]["documents"] == selection.documents
    assert f"no label for {abstained} of 21 texts" in told.err
    assert selection.describe() in told.err


def test_abstained_texts_have_an_empty_cell_in_csv(models: Path, held_out: Path, data: Path, tmp_path: Path) -> None:
    classifier = TextClassifier.load(models / "classifier")
    command = ("predict", models / "classifier", data, "--abstain-above-error", 0.2, "--held-out", held_out)
    ulmkit(*command, "--certainty", 0.99, "-o", tmp_path / "p.csv")
    with open(tmp_path / "p.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = classifier.selective(0.2, certainty=0.99, held_out=held_out).predict([row["text"] for row in rows])
    assert [row["label"] for row in rows] == [label or "" for label in expected]
    assert [row["abstained"] == "" for row in rows] == [label is not None for label in expected]


def test_evaluate_prints_coverage_and_error(models: Path, held_out: Path, tmp_path: Path) -> None:
    labelled = tiny.write_csv(tmp_path / "labelled.csv", tiny.reviews(60, 9000))
    command = ("evaluate", models / "classifier", labelled, "--no-baselines")
    assert "surest documents answered" in ulmkit(*command).out
    promises = ("--abstain-above-error", 0.2, "--conformal-sets", 0.2, "--held-out", held_out)
    told = ulmkit(*command, *promises, "--json", tmp_path / "e.json")
    values = json.loads((tmp_path / "e.json").read_text())["confidence"]
    report = TextClassifier.load(models / "classifier").selective(0.2, held_out=held_out).evaluate(labelled)
    assert values["selective"]["coverage"] == report.coverage
    assert values["errors_by_coverage"]["100%"] == pytest.approx(
        1.0 - json.loads((tmp_path / "e.json").read_text())["classifier"]["accuracy"]
    )
    assert report.table() in told.out
    assert "sets with the right label" in told.out


def test_refusals_name_the_options(models: Path, data: Path) -> None:
    predict = ("predict", models / "classifier", data)
    error = ulmkit(*predict, "--abstain-above-error", 0.05, status=2).error
    assert "--abstain-above-error: expected at least 0." in error
    assert "(--held-out): 0.05 takes 117 even without a mistake" in error
    error = ulmkit(*predict, "--held-out", data, status=2).error
    assert error.endswith("has no effect without --abstain-above-error or --conformal-sets; add one or drop this")
    error = ulmkit(*predict, "--certainty", 0.9, status=2).error
    assert "--certainty: has no effect without --abstain-above-error" in error
    error = ulmkit("evaluate", models / "lm", data, "--conformal-sets", 0.1, status=2).error
    assert "only for classifiers, got a language model" in error
