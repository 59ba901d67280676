"""What `predict` and `score` read, and the rows that they write."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support import tiny
from support.command import CLASSIFY, TINY, table_row, ulmkit

from ulmkit.cli import text_rows
from ulmkit.tasks import find_label_kind
from ulmkit.text.read.documents import DocumentSource


def test_predict_and_score_keep_columns_and_leave_labels_unread(tmp_path: Path) -> None:
    tiny.classifier().save(tmp_path / "classifier")
    tiny.language_model().save(tmp_path / "lm")
    texts = [text for text, _ in tiny.reviews(3, 9000)]
    rows = [{"id": f"\u00e4 {at}", "text": text, "label": at + 0.5} for at, text in enumerate(texts)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for command in (("predict", tmp_path / "classifier"), ("score", tmp_path / "lm")):
        told = ulmkit(*command, tmp_path / "t.jsonl", "--column", "id")
        found = [json.loads(line) for line in told.out.splitlines()]
        assert [(row["id"], row["text"]) for row in found] == [(row["id"], row["text"]) for row in rows]
        ulmkit(*command, tmp_path / "t.jsonl", "--column", "id", "-o", tmp_path / "t.csv", "--overwrite")
        with open(tmp_path / "t.csv", encoding="utf-8", newline="") as file:
            assert [row["id"] for row in csv.DictReader(file)] == [row["id"] for row in rows]
    scored = ulmkit("score", tmp_path / "lm", tmp_path / "t.jsonl", "--column", "label").out.splitlines()
    assert [json.loads(line)["label"] for line in scored] == ["0.5", "1.5", "2.5"]
    shown = {command: ulmkit(command, "--help").out for command in ("predict", "score")}
    for option in ("--label-column", "--group-column", "--time-column", "--split-by", "--valid-fraction", "--workers"):
        assert not any(option in told for told in shown.values()), option


@pytest.mark.parametrize("command", ["predict", "evaluate", "drift"])
def test_threads_are_set_once_a_network_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    tiny.classifier().save(tmp_path / "classifier")
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    data = tiny.write_csv(tmp_path / "t.csv", tiny.reviews(24, 9000))
    ulmkit(command, tmp_path / "classifier", data, "--threads", 3)
    assert asked[:1] == [3]


def test_embed_writes_a_row_for_each_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_rows, "_CHUNK_TEXTS", 7)
    tiny.language_model().save(tmp_path / "lm")
    texts = [text for text, _ in tiny.reviews(40)]
    data = tiny.write_csv(tmp_path / "t.csv", [(text, "a") for text in texts])
    told = ulmkit("embed", tmp_path / "lm", data, "-o", tmp_path / "v.npy", "--json", tmp_path / "v.json")
    expected = tiny.language_model().embed(texts)
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), expected, atol=1e-6)
    assert told.out.startswith(f"40 vectors of {expected.shape[1]} numbers written to ")
    assert json.loads((tmp_path / "v.json").read_text())["features"] == expected.shape[1]
    assert (
        "--out: expected a file name that ends in .npy"
        in ulmkit("embed", tmp_path / "lm", data, "-o", tmp_path / "v.csv", status=2).error
    )
    ulmkit("embed", tmp_path / "lm", "--text", "good", "-o", tmp_path / "one.npy")
    np.testing.assert_allclose(np.load(tmp_path / "one.npy"), tiny.language_model().embed(["good"]), atol=1e-6)


def test_nested_values_in_csv_are_written_as_they_are(tmp_path: Path) -> None:
    data = tiny.write_csv(tmp_path / "a.csv", [("x", "\u00e4rger"), ("y", "freude")] * 10)
    ulmkit("train", "none", data, "-o", tmp_path / "c", *CLASSIFY, "--steps", 2, *TINY)
    ulmkit("predict", tmp_path / "c", data, "-o", tmp_path / "p.csv")
    with open(tmp_path / "p.csv", encoding="utf-8", newline="") as file:
        assert '"\u00e4rger": ' in next(csv.DictReader(file))["probabilities"]


def test_score_takes_what_other_tasks_read(tmp_path: Path) -> None:
    tiny.language_model().save(tmp_path / "lm")
    (tmp_path / "w.jsonl").write_text(json.dumps({"tokens": ["the", "film"], "labels": ["O", "O"]}) + "\n")
    told = ulmkit("score", tmp_path / "lm", tmp_path / "w.jsonl", "--task", "tokens")
    assert json.loads(told.out)["text"] == "the film"


def test_token_labels_of_words_of_conll_files_and_of_plain_text(tmp_path: Path) -> None:
    words = [["John", "lives", "in", "Berlin", "."], ["So", "be", "it"]]
    labels = [["B-PER", "O", "O", "B-LOC", "O"], ["O", "O", "O"]]
    pairs = [list(zip(*each, strict=True)) for each in zip(words, labels, strict=True)]
    conll = tmp_path / "a.conll"
    conll.write_text("\n".join("".join(f"{word} {label}\n" for word, label in each) for each in pairs * 10))
    training = ("--steps", 2, "--task", "tokens", *TINY, "--tokenizer", "spacy", "--min-freq", 1)
    ulmkit("train", "none", conll, "-o", tmp_path / "c", *CLASSIFY, *training)
    (tmp_path / "bare.conll").write_text("\n".join("".join(f"{word}\n" for word in each) for each in words))
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"words": each, "id": "7"}) + "\n" for each in words))
    (tmp_path / "a.txt").write_text("".join(" ".join(each) + "\n" for each in words))
    tiny.write_csv(tmp_path / "a.csv", [(" ".join(each),) for each in words], header=("line",))
    given = {
        "bare.conll": (),
        "a.jsonl": ("--text-column", "words", "--column", "id"),
        "a.txt": ("--lines",),
        "a.csv": ("--text-column", "line"),
    }
    for name, options in given.items():
        told = ulmkit(
            "predict", tmp_path / "c", tmp_path / name, *options, "--json", tmp_path / "p.json", "--overwrite"
        )
        rows = [json.loads(line) for line in told.out.splitlines()]
        assert [[word for word, _ in row["label"]] for row in rows] == words, name
        assert sum(json.loads((tmp_path / "p.json").read_text())["labels"].values()) == 8
        assert ("id" in rows[0]) == (name == "a.jsonl")
    assert len(ulmkit("predict", tmp_path / "c", conll).out.splitlines()) == 20
    (row,) = ulmkit("predict", tmp_path / "c", "--text", "John lives").out.splitlines()
    assert [word for word, _ in json.loads(row)["label"]] == ["John", "lives"]


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl"])
def test_predictions_are_not_evaluated_as_right_labels(models: Path, tmp_path: Path, name: str) -> None:
    rows = [(text, "neg" if label == "pos" else "pos") for text, label in tiny.reviews(20, 900)]
    tiny.write_csv(tmp_path / "data.csv", rows, ("text", "truth"))
    model, out = models / "classifier", tmp_path / name
    ulmkit("predict", model, tmp_path / "data.csv", "--out", out, "--column", "truth")
    assert ulmkit("evaluate", model, out, status=2).error == (
        f"ulmkit: {name}: expected the right labels, got the columns that predict writes, whose label is a prediction; "
        "name the column of the right labels with --label-column, or say --label-column label if it is that"
    )
    right = ulmkit("evaluate", model, out, "--label-column", "truth", "--no-baselines").out
    assert float(table_row(right, "accuracy")[0].split()[0]) < 0.5
    same = ulmkit("evaluate", model, out, "--label-column", "label", "--no-baselines").out
    assert table_row(same, "accuracy")[0].startswith("1.0000")


@pytest.mark.parametrize(("column", "expected"), [("row", True), ("id", False)])
def test_predicted_numbers_are_told_by_the_rows_before_them(tmp_path: Path, column: str, expected: bool) -> None:
    data = tiny.write_csv(tmp_path / "p.csv", [(1, 2.5, "so it was"), (2, 1.5, "no")], (column, "label", "text"))
    (layout,) = DocumentSource(data, label_kind=find_label_kind("number")).reading().layouts
    assert layout.has_predictions is expected


def test_training_on_predictions_says_so(tmp_path: Path) -> None:
    rows = [(at, label, 0.9, "{}", text) for at, (text, label) in enumerate(tiny.reviews(40), start=1)]
    data = tiny.write_csv(tmp_path / "p.csv", rows, ("row", "label", "probability", "probabilities", "text"))
    told = ulmkit("train", "none", data, "-o", tmp_path / "c", "--tokenizer", "whitespace", "--workers", 1)
    assert "predicted labels: p.csv has the columns that predict writes" in told.err
