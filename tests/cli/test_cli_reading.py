"""Reports of the data that commands read, and the options that say how to read it."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import tiny
from support.command import CLASSIFY, TINY, ulmkit

from ulmkit.text.read import standard_input


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "classifier"
    tiny.classifier().save(folder)
    return folder


def test_training_and_evaluation_say_what_they_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rows = [f"good film {at};Pos" if at % 2 else f"bad film {at};neg" for at in range(20)]
    (data / "reviews.csv").write_text("text;label\n" + "\n".join([*rows, "no label;", ";pos"]) + "\n")
    (data / "notes.md").write_text("not data")
    lines = [
        "read: data: csv, separated by ';', text 'text', label 'label'",
        "skipped: 1: notes.md (not a data file)",
        "classes: 3: Pos 10, neg 10, pos 1",
        "labels that look alike: 'Pos' and 'pos'; correct them if they are one",
    ]
    arguments = (*CLASSIFY, "--steps", 2, *TINY, "--json", tmp_path / "t.json")
    trained = ulmkit("train", "none", data, "--out", tmp_path / "c", *arguments)
    prepared = ulmkit("prepare", data, "--out", tmp_path / "p", "--task", "single", "--json", tmp_path / "p.json")
    evaluated = ulmkit("evaluate", tmp_path / "c", data, "--no-baselines", "--json", tmp_path / "e.json")
    for told in (trained, evaluated):
        assert set(lines) <= set(told.err.splitlines())
        assert any(line.startswith("without text: 1 (") for line in told.err.splitlines())
    for line in lines:
        name, _, text = line.partition(": ")
        assert any(row.startswith(name) and row.endswith(text) for row in prepared.out.splitlines()), line
    for name in "tpe":
        reading = json.loads((tmp_path / f"{name}.json").read_text())["reading"]
        assert reading["layouts"][0]["separator"] == ";"
        assert reading["passed_over"] == {"notes.md": "not a data file"}
        assert reading["classes"] == {"Pos": 10, "neg": 10, "pos": 1}


def test_predictions_in_the_data_folder_are_not_read_as_data(tmp_path: Path, classifier: Path) -> None:
    tiny.write_csv(tmp_path / "reviews.csv", tiny.reviews(4))
    ulmkit("predict", classifier, tmp_path, "--out", tmp_path / "predictions.csv")
    told = ulmkit("predict", classifier, tmp_path)
    assert len(told.out.splitlines()) == 4
    assert "skipped: 1: predictions.csv (predictions or scores that ulmkit wrote)" in told.err


def test_a_file_without_header(tmp_path: Path, classifier: Path) -> None:
    first, second, third = (text.replace(",", "") for text, _ in tiny.reviews(3))
    (tmp_path / "a.csv").write_text(f"{first}\n{second}\n\n{third}\n")
    line = ulmkit("predict", classifier, tmp_path / "a.csv", status=2).error
    assert "which looks like data; if the file has no header, say so" in line
    assert f"got '{first[:20]}" in line
    told = ulmkit("predict", classifier, tmp_path / "a.csv", "--no-header")
    assert [json.loads(row)["text"] for row in told.out.splitlines()] == [first, second, "", third]
    assert told.err.splitlines()[0] == "read: a.csv: csv, without header, text '1'"


def test_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classifier: Path) -> None:
    standard_input.spool_standard_input.cache_clear()
    (tmp_path / "-").mkdir()  # a folder of that name is not meant
    monkeypatch.chdir(tmp_path)
    rows = "text\tid\n" + "".join(f"{text}\t{number}\n" for number, (text, _) in enumerate(tiny.reviews(2)))
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(rows.encode()), closed=False))
    told = ulmkit("predict", classifier, "-", "--column", "id")
    standard_input.spool_standard_input.cache_clear()
    assert [json.loads(row)["id"] for row in told.out.splitlines()] == ["0", "1"]
    assert told.err == "read: standard input: csv, separated by tabs, text 'text'\n"


def test_answers_say_in_json_what_was_read(tmp_path: Path, models: Path) -> None:
    data = tmp_path / "a.csv"
    data.write_text("text;id\none;1\n\ntwo;2\n")
    for command, model in (("predict", "classifier"), ("score", "lm")):
        with pytest.warns(UserWarning, match="1 blank lines are not counted as rows and get no answer"):
            ulmkit(command, models / model, data, "--json", tmp_path / f"{command}.json")
        values = json.loads((tmp_path / f"{command}.json").read_text())
        assert (values["texts"], values["reading"]["layouts"][0]["separator"]) == (2, ";")
        ulmkit(command, models / model, "--text", "a", "--json", tmp_path / "text.json", "--overwrite")
        assert json.loads((tmp_path / "text.json").read_text())["reading"] == {}


def test_rate_search_says_what_it_read(tmp_path: Path, models: Path) -> None:
    data = tmp_path / "a.csv"
    data.write_text("text;id\n" + "".join(f"good film number {number};1\n" for number in range(60)))
    arguments = ("--steps", 12, "--batch-size", 2, "--bptt", 4, "--plot", tmp_path / "p.png")
    told = ulmkit("lr-find", models / "lm", data, *arguments, "--json", tmp_path / "r.json")
    assert "read: a.csv: csv, separated by ';', text 'text'" in told.err
    assert json.loads((tmp_path / "r.json").read_text())["reading"]["layouts"][0]["separator"] == ";"
