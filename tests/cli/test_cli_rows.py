"""Rows of `predict` and `score`: one for each row of the input, with its number, written as they come."""

import csv
import json
from pathlib import Path

import pytest
from support import tiny
from support.command import ulmkit

from ulmkit.cli import text_rows


def _rows(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("command", [("predict", "classifier"), ("score", "lm")])
@pytest.mark.parametrize(
    ("name", "content", "texts"),
    [
        ("a.csv", 'id,text\n1,the film\n2,\n3,"a\nstory"\n', ["the film", "", "a\nstory"]),
        ("a.csv", "id,text\n1,\n2, \n", ["", " "]),
        ("a.jsonl", '{"text": "the film"}\n{"text": ""}\n{"text": "a story"}\n', ["the film", "", "a story"]),
        ("a.tsv", "id\ttext\n1\tthe film\n2\t\n3\ta story\n", ["the film", "", "a story"]),
    ],
)
def test_every_row_has_an_answer_with_its_number(
    command: tuple[str, str], name: str, content: str, texts: list[str], models: Path, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    told = ulmkit(command[0], models / command[1], tmp_path / name)
    rows = _rows(told.out)
    assert [(row["row"], row["text"]) for row in rows] == list(enumerate(texts, start=1))
    blank = sum(not text.strip() for text in texts)
    said = f"without text: {blank} of {len(texts)} rows, whose results mean nothing"
    assert (said in told.err) == (blank > 0)
    assert ("name it with --text-column" in told.err) == (blank == len(texts))


def test_numbers_are_those_of_the_whole_table(models: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,part\nthe,train\nfilm,test\na,train\nstory,test\n")
    options = ("--split-column", "part", "--split", "test")
    rows = _rows(ulmkit("predict", models / "classifier", tmp_path / "a.csv", *options).out)
    assert [(row["row"], row["text"]) for row in rows] == [(2, "film"), (4, "story")]


def test_a_text_without_rows_has_no_number(models: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the film\na story\n")
    (row,) = _rows(ulmkit("predict", models / "classifier", tmp_path / "a.txt").out)
    assert "row" not in row
    (row,) = _rows(ulmkit("score", models / "lm", "--text", "the film").out)
    assert "row" not in row
    rows = _rows(ulmkit("predict", models / "classifier", tmp_path / "a.txt", "--lines").out)
    assert [row["row"] for row in rows] == [1, 2]


@pytest.mark.parametrize("command", [("predict", "classifier"), ("score", "lm")])
def test_rows_of_a_folder_name_their_files(command: tuple[str, str], models: Path, tmp_path: Path) -> None:
    for name, text in (("new/b.txt", "the film"), ("new/a.txt", "a story"), ("old/a.txt", "the story")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    rows = _rows(ulmkit(command[0], models / command[1], tmp_path).out)
    found = {row["file"]: row["text"] for row in rows}
    assert found == {"new/a.txt": "a story", "new/b.txt": "the film", "old/a.txt": "the story"}
    assert all("row" not in row for row in rows)


def test_rows_of_tables_in_a_folder_are_numbered_in_each(models: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("text\nthe\nfilm\n")
    (tmp_path / "in" / "b.csv").write_text("text\na\n")
    answers = tmp_path / "in" / "answers.csv"
    ulmkit("predict", models / "classifier", tmp_path / "in", "--out", answers)
    with open(answers, encoding="utf-8", newline="") as file:
        found = [(row["file"], row["row"], row["text"]) for row in csv.DictReader(file)]
    assert found == [("a.csv", "1", "the"), ("a.csv", "2", "film"), ("b.csv", "1", "a")]
    again = ulmkit("predict", models / "classifier", tmp_path / "in")
    assert len(_rows(again.out)) == 3
    assert "predictions or scores that ulmkit wrote" in again.err


def test_chunks_give_the_rows_of_the_whole_and_are_written_at_once(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tiny.write_csv(tmp_path / "a.csv", tiny.reviews(50))
    for command in (("predict", models / "classifier"), ("score", models / "lm")):
        monkeypatch.setattr(text_rows, "_CHUNK_TEXTS", 1024)
        whole = ulmkit(*command, data, "--json", tmp_path / "whole.json", "--overwrite")
        monkeypatch.setattr(text_rows, "_CHUNK_TEXTS", 7)
        chunked = ulmkit(*command, data, "--json", tmp_path / "chunked.json", "--overwrite")
        for one, other in zip(_rows(whole.out), _rows(chunked.out), strict=True):
            assert one.keys() == other.keys()
            assert (one["row"], one["text"], one.get("label")) == (other["row"], other["text"], other.get("label"))
        summary = json.loads((tmp_path / "chunked.json").read_text())
        assert (summary["texts"], summary["rows"]) == (50, _rows(chunked.out))
        ulmkit(*command, data, "-o", tmp_path / "c.csv", "--overwrite")
        with open(tmp_path / "c.csv", encoding="utf-8", newline="") as file:
            assert [row["text"] for row in csv.DictReader(file)] == [row["text"] for row in _rows(whole.out)]


def test_rows_before_a_damaged_one_are_printed_and_none_is_left_in_a_file(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_rows, "_CHUNK_TEXTS", 2)
    (tmp_path / "a.csv").write_text("text,id\n" + "the film,1\n" * 30 + "a story\n")
    told = ulmkit("predict", models / "classifier", tmp_path / "a.csv", status=2)
    assert len(_rows(told.out)) == 30
    assert "a.csv, line 32: expected 2 fields, got 1" in told.err
    ulmkit("predict", models / "classifier", tmp_path / "a.csv", "-o", tmp_path / "p.csv", status=2)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
