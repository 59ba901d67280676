"""Labels and texts as people have them in Python and in files: tables, gaps, lists, one column per label."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas
import pyarrow
import pytest
from support import tiny
from support.command import ulmkit

from ulmkit import DataOptions, LanguageModel, TextClassifier
from ulmkit.errors import ConfigError, DataError
from ulmkit.pipeline import prepare
from ulmkit.pipeline.held_out import data_warnings

TABLE = pandas.DataFrame({"id": [1, 2, 3], "text": ["the film", "a story", "with some actors"]})
SCRATCH = (
    "--tokenizer",
    "bytes",
    "--embedding-size",
    16,
    "--hidden-size",
    16,
    "--layers",
    1,
    "--steps",
    3,
    "--method",
    "finetune",
)
TOPICS = {"billing": "card refund", "delivery": "parcel late", "quality": "broken loose"}


class PolarsTable:
    """A table as polars has it: its columns by name, and no place for texts."""

    columns = ("id", "text")

    def __iter__(self):
        return iter(self.columns)


@pytest.mark.parametrize(
    "table",
    [TABLE, {"text": ["the film"]}, pyarrow.table({"text": ["the film"]}), PolarsTable()],
    ids=["pandas", "dict", "arrow", "polars"],
)
def test_tables_are_refused_as_texts(table: object) -> None:
    message = rf"texts: expected a list of texts, got {type(table).__name__}; give its column: list\(table\['text'\]\)"
    for ask in (tiny.classifier().predict, tiny.classifier().predict_proba, tiny.language_model().score):
        with pytest.raises(DataError, match=message):
            ask(table)
    with pytest.raises(DataError, match=f"piece: expected a str, got {type(table).__name__}; feed one text"):
        tiny.classifier().stream().feed(table)
    with pytest.raises(DataError, match=f"prompt: expected a str, got {type(table).__name__}"):
        tiny.language_model().generate(table)
    with pytest.raises(DataError, match=f"a list of documents, got {type(table).__name__}; give its rows"):
        TextClassifier.train(table, None, method="finetune", steps=1)


def test_a_set_of_texts_is_refused() -> None:
    for ask in (tiny.classifier().predict, tiny.language_model().embed):
        with pytest.raises(DataError, match="got a set, which has no order; put them in a list"):
            ask({"the film"})


@pytest.mark.parametrize("value", [None, 5, b"the film", Path("texts.csv"), np.array("the film")])
def test_what_holds_no_texts_is_refused(value: object) -> None:
    with pytest.raises(DataError, match=f"texts: expected a list of texts, got {type(value).__name__}; put the texts"):
        tiny.classifier().predict(value)


def test_columns_of_tables_are_lists_of_texts() -> None:
    classifier = tiny.classifier()
    expected = classifier.predict(TABLE["text"].tolist())
    columns = [
        TABLE["text"],
        TABLE["text"].astype("string"),
        TABLE["text"].to_numpy(),
        list(TABLE["text"]),
        pyarrow.table({"text": TABLE["text"].tolist()})["text"],
        (text for text in TABLE["text"]),
    ]
    assert [classifier.predict(column) for column in columns] == [expected] * len(columns)
    assert tiny.language_model().score(TABLE["text"]) == tiny.language_model().score(TABLE["text"].tolist())


@pytest.mark.parametrize("missing", [None, float("nan"), pandas.NA])
def test_missing_texts_are_named_by_their_row(missing: object) -> None:
    texts = pandas.Series(["the film", missing], dtype=object)
    for ask in (tiny.classifier().predict, tiny.language_model().score):
        with pytest.raises(
            DataError, match=r"text 1: expected a str or a tuple of str, got .*; leave it out, or give an"
        ):
            ask(texts)


def test_gaps_in_columns_of_pandas_are_missing_labels() -> None:
    rows = tiny.reviews(40)
    gaps = pandas.Series([label if number not in (3, 7) else None for number, (_, label) in enumerate(rows)])
    columns = [gaps.astype("string"), gaps.astype("category"), gaps.map({"neg": 0.0, "pos": 1.0}).astype("Int64")]
    for column in [*columns, gaps.map({"neg": 0.0, "pos": 1.0})]:
        corpus = prepare(list(zip([text for text, _ in rows], column, strict=True)), tiny.WORDS, task="single")
        assert corpus.label_names in (("neg", "pos"), ("0", "1"))
        assert sum(split.labelled for split in corpus.facts.splits.values()) == 38
    dates = pandas.to_datetime(pandas.Series(["2024-05-01", None] * 20))
    with pytest.raises(DataError, match=r"document 0: expected text, a whole number or a bool as label, got Timestamp"):
        prepare(list(zip([text for text, _ in rows], dates, strict=True)), tiny.WORDS, task="single")


def _write(path: Path, labels: list[str], header: str = "text,label") -> Path:
    rows = [f"{'good' if number % 2 else 'bad'} film number {number},{label}" for number, label in enumerate(labels)]
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def test_whole_numbers_and_spaces_in_a_column_make_one_class_each(tmp_path: Path) -> None:
    spaces = _write(tmp_path / "spaces.csv", ["neg", "pos", " neg", "pos "] * 10)
    assert prepare(spaces, tiny.WORDS, task="single").label_names == ("neg", "pos")
    numbers = prepare(_write(tmp_path / "numbers.csv", ["0", "1", "0.0", "1.0"] * 10), tiny.WORDS, task="single")
    assert numbers.label_names == ("0", "1")
    labels = numbers.labels(np.arange(len(numbers)))
    assert labels.tolist() == [0, 1] * 20
    known = prepare(numbers.folder, task="single")
    again = _write(tmp_path / "again.csv", ["1.0", "0.0"] * 4)
    options = DataOptions(split_by="given", workers=1)
    evaluated = prepare(
        again, options, task="single", tokenizer=known.tokenizer, vocabulary=known.vocabulary, label_names=("0", "1")
    )
    assert evaluated.labels(np.arange(8)).tolist() == [1, 0] * 4
    with pytest.raises(DataError, match=r"labels: expected classes, got numbers with decimals such as '1\.5'"):
        prepare(_write(tmp_path / "stars.csv", ["1.5", "2.0"] * 10), tiny.WORDS, task="single")


def test_doubtful_labels_are_warned_of(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", ["neg", "Neg", "NaN", "pos"] * 10)
    corpus = prepare(path, tiny.WORDS, task="single")
    warning = "labels that look like missing values are classes: 'NaN'; leave the label of an unlabelled document empty"
    assert warning in data_warnings(corpus)
    told = ulmkit("prepare", path, "--task", "single", "--tokenizer", "bytes", "--out", tmp_path / "corpus")
    assert warning in told.err
    assert "'Neg' and 'neg'; correct them if they are one" in told.out


def test_classes_of_one_document_are_warned_of(tmp_path: Path) -> None:
    single = [f"rare {number}" for number in range(7)]
    path = _write(tmp_path / "a.csv", ["neg", "pos"] * 10 + single)
    corpus = prepare(path, DataOptions(tokenizer="whitespace", split_by="given", workers=1), task="single")
    assert data_warnings(corpus) == [
        "classes with one document to learn from, too few to tell them: 7: 'rare 0', 'rare 1', 'rare 2', 'rare 3', "
        "'rare 4', ...; label more of them, join classes, or leave them out"
    ]
    options = ["--tokenizer", "whitespace", "--workers", 1, "--method", "linear"]
    told = ulmkit("train", "none", path, "-o", tmp_path / "c", *options)
    assert "one document to learn from, too few to tell them: 7: 'rare 0'," in told.err


def test_new_words_after_a_training_that_held_out_none(tmp_path: Path) -> None:
    rows = [
        (f"{noun} {word}", label) for noun in ("film", "shop") for word, label in (("fine", "pos"), ("poor", "neg"))
    ]
    classifier = TextClassifier.train(
        rows * 10,
        None,
        method="finetune",
        steps=2,
        sizes=tiny.ENCODER,
        data_options=tiny.WORDS,
        run=tiny.RUN,
        recipe=tiny.CLASSIFY,
    )
    assert classifier.parts.vocabulary.unk_id is not None
    assert classifier.predict(["film great"])[0] in ("neg", "pos")
    base = LanguageModel.pretrain(
        [text for text, _ in rows] * 10,
        steps=1,
        sizes=tiny.SIZES,
        data_options=tiny.WORDS,
        run=tiny.RUN,
        recipe=tiny.LEARN,
    )
    assert base.score(["film great"])[0].unknown_tokens == 1


def _topics() -> list[tuple[str, list[str]]]:
    names = list(TOPICS)
    chosen = [[name for place, name in enumerate(names) if number >> place & 1] for number in range(8)]
    numbered = enumerate(chosen * 5)
    return [(" ".join([*(TOPICS[name] for name in labels), f"hello {number}"]), labels) for number, labels in numbered]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ULMKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def _train(*arguments: object, status: int = 0):
    return ulmkit("train", "none", *arguments, "--task", "multi", "--no-baselines", *SCRATCH, status=status)


def test_one_column_per_label_on_the_command_line(here: Path) -> None:
    rows = [(text, *(int(name in labels) for name in TOPICS)) for text, labels in _topics()]
    tiny.write_csv(here / "a.csv", rows, ("text", *TOPICS))
    columns = [part for name in TOPICS for part in ("--label-column", name)]
    _train("a.csv", *columns, "--out", "m")
    assert TextClassifier.load("m").labels == tuple(TOPICS)
    refused = ulmkit("train", "none", "a.csv", *columns, "--out", "n", *SCRATCH, status=2).error
    assert "--label-column: expected one column (--task single), got billing, delivery, quality" in refused
    assert "expected names, got 0 and 1 alone" in _train("a.csv", *columns[:2], "--out", "n", status=2).error
    twice = _train("a.csv", *columns, *columns[:2], "--out", "n", status=2).error
    assert "--label-column: expected each column once, got billing, delivery, quality, billing" in twice
    with pytest.raises(ConfigError, match="label_column: expected each column once, got a, a"):
        DataOptions(label_column=("a", "a"))


def test_predictions_of_several_labels_are_read_as_labels(here: Path) -> None:
    tiny.write_csv(here / "a.csv", [(text, json.dumps(labels)) for text, labels in _topics()])
    tiny.write_csv(here / "b.csv", [(text, labels) for text, labels in _topics()])
    assert "['billing', 'delivery']" in (here / "b.csv").read_text()
    corpora = [prepare(name, DataOptions(tokenizer="bytes", workers=1), task="multi") for name in ("a.csv", "b.csv")]
    expected = [[name in labels for name in TOPICS] for _, labels in _topics()]
    assert [corpus.labels(np.arange(40)).tolist() for corpus in corpora] == [expected] * 2
    _train("a.csv", "--out", "m")
    for out in ("p.csv", "p.jsonl"):
        ulmkit("predict", "m", "a.csv", "--out", out, "--threshold", 0.51)
        corpus = prepare(out, DataOptions(tokenizer="bytes", workers=1, label_column="label"), task="multi")
        answers = TextClassifier.load("m").predict([text for text, _ in _topics()], threshold=0.51)
        names = [
            [name for name, has in zip(corpus.label_names, row, strict=True) if has]
            for row in corpus.labels(np.arange(40))
        ]
        assert names == answers
        with open(here / "p.csv", encoding="utf-8", newline="") as file:
            assert json.loads(next(csv.DictReader(file))["label"]) == answers[0]


def test_labels_between_commas_are_refused(here: Path) -> None:
    tiny.write_csv(here / "a.csv", [(text, ", ".join(labels)) for text, labels in _topics()])
    line = _train("a.csv", "--out", "m", status=2).error
    assert "labels: expected \"|\" between the labels of a text, got 'billing, delivery'" in line
    assert "write a|b, or a list" in line


def test_vectors_of_0_and_1_are_refused_at_their_place(here: Path) -> None:
    lines = [
        json.dumps({"text": text, "labels": [int(name in labels) for name in TOPICS]}) for text, labels in _topics()
    ]
    (here / "a.jsonl").write_text("\n".join(lines))
    line = _train("a.jsonl", "--out", "m", status=2).error
    assert "a.jsonl, line 1: column 'labels': expected names of labels, got a vector of 0;" in line
    assert "--label-column several times" in line
