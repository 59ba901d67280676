"""Columns found by their usual names, whatever the case and the spaces around it; names that are given are exact."""

import json
from dataclasses import fields

import pytest
from support.data_files import read, write, write_parquet

from ulmkit.errors import DataError
from ulmkit.tasks import find_label_kind
from ulmkit.text.read.columns import ReadFields, ReadOptions
from ulmkit.text.read.document import Document
from ulmkit.text.read.documents import DocumentSource

ROWS = [("first", "x", "other"), ("second", "y", "more")]


def write_table(folder, kind, names):
    """Write a table with the columns text, label and a further one of text, by these names."""
    if kind == "parquet":
        columns = dict(zip(names, map(list, zip(*ROWS, strict=True)), strict=True))
        return write_parquet(folder / "a.parquet", columns)
    if kind in ("jsonl", "json"):
        rows = [dict(zip(names, row, strict=True)) for row in ROWS]
        content = json.dumps(rows) if kind == "json" else "\n".join(map(json.dumps, rows))
    else:
        separator = "\t" if kind == "tsv" else ","
        content = "\n".join(separator.join(row) for row in [names, *ROWS]) + "\n"
    return write(folder / f"a.{kind}", content)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet"])
@pytest.mark.parametrize("names", [("Text", "LABEL", "note"), (" TEXT ", "Label ", "note"), ("text", "label", "Note")])
def test_usual_names_in_any_case(tmp_path, kind, names):
    path = write_table(tmp_path, kind, names)
    assert read(path) == [Document("first", "x"), Document("second", "y")]
    source = DocumentSource(path, label_kind=find_label_kind("single"))
    (layout,) = source.reading().layouts
    stripped = [name.strip() if kind in ("csv", "tsv") else name for name in names]
    assert (*layout.text_columns, *layout.label_columns) == tuple(stripped[:2])


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_exact_name_wins(tmp_path, kind):
    assert read(write_table(tmp_path, kind, ("text", "label", "Text")))[0] == Document("first", "x")
    assert read(write_table(tmp_path, kind, ("text", "label", "Label")))[0] == Document("first", "x")


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_several_that_differ_by_case_are_refused(tmp_path, kind):
    path = write_table(tmp_path, kind, ("Text", "label", "TEXT"))
    with pytest.raises(DataError, match="one column 'text', got 'Text' and 'TEXT'; name it with text_column"):
        read(path)
    assert read(path, text_column="TEXT")[0] == Document("other", "x")
    path = write_table(tmp_path, kind, ("text", "Label", "LABEL"))
    with pytest.raises(DataError, match="one column 'label', got 'Label' and 'LABEL'; name it with label_column"):
        read(path)
    assert read(path, label_column="LABEL")[0] == Document("first", "other")
    assert read(path, labels=False)[0] == Document("first")


def test_names_that_are_given_are_exact(tmp_path):
    path = write_table(tmp_path, "csv", ("Text", "Label", "note"))
    with pytest.raises(DataError, match="has no column 'text'; did you mean 'Text'"):
        read(path, text_column="text")
    with pytest.raises(DataError, match="has no column 'label'; did you mean 'Label'"):
        read(path, label_column="label")


def test_column_named_for_something_else_is_not_the_text(tmp_path):
    path = write(tmp_path / "a.csv", "Text,body\nx,first\ny,second\n")
    assert read(path, label_column="Text") == [Document("first", "x"), Document("second", "y")]


def test_words_and_several_labels(tmp_path):
    row = {"Tokens": ["a", "b"], "NER_Tags": ["X", "O"]}
    assert read(write(tmp_path / "a.jsonl", json.dumps(row) + "\n"), task="tokens") == [
        Document("a b", ("X", "O"), ("a", "b"))
    ]
    path = write(tmp_path / "a.csv", "text,Labels\none,a|b\n")
    assert read(path, task="multi") == [Document("one", ("a", "b"))]


def test_label_column_that_begins_late(tmp_path):
    rows = [{"Text": f"text {number}"} for number in range(30)] + [{"Text": "last", "Label": "x"}]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    assert read(path)[-1] == Document("last", "x")


def test_an_object_with_a_text_is_a_row(tmp_path):
    path = write(tmp_path / "a.json", json.dumps({"Text": "one", "Label": "x", "parts": [{"note": "no row"}]}))
    assert read(path) == [Document("one", "x")]


def test_header_of_one_column(tmp_path):
    path = write(tmp_path / "a.csv", "TEXT\none of three words\n")
    assert [document.text for document in read(path)] == ["one of three words"]


def test_keywords_of_read_documents_are_the_fields_of_its_options() -> None:
    assert {field.name for field in fields(ReadOptions)} == ReadFields.__annotations__.keys()
