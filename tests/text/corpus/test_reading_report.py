"""Report of what was read: files, format, columns, documents, classes, and what may be a mistake."""

import json

import pytest
from support.data_files import write

from ulmkit.cli.reading import report_source
from ulmkit.pipeline import DataOptions, prepare
from ulmkit.tasks import find_label_kind
from ulmkit.text.corpus.encoded_corpus import EncodedCorpus
from ulmkit.text.corpus.reading_report import corpus_report, look_alikes, reading_to_json, source_report
from ulmkit.text.read.documents import DocumentSource
from ulmkit.text.read.layout import Layout

OPTIONS = DataOptions(tokenizer="bytes", workers=1, split_by="given")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("ULMKIT_CACHE", str(tmp_path_factory.mktemp("cache")))


def test_report_of_a_folder(tmp_path):
    rows = ["text;label;id", "one;Pos;1", "two;pos;2", ";neg;3", "four;;4"]
    write(tmp_path / "data" / "train.csv", "\n".join(rows))
    write(tmp_path / "data" / "test.csv", "text;label;id\nfive;neg;5\n")
    write(tmp_path / "data" / "notes.md", "not data")
    corpus = prepare(tmp_path / "data", OPTIONS, task="single")
    assert {figure.name: figure.text for figure in corpus_report(corpus.facts)} == {
        "read": "data: csv, separated by ';', text 'text', label 'label'",
        "files": "2: test.csv, train.csv",
        "skipped": "1: notes.md (not a data file)",
        "columns not read": "'id'",
        "documents": "5 (train 4, test 1)",
        "classes": "3: Pos 1, neg 2, pos 1",
        "without a label": "1 (train 1)",
        "without text": "1 (train 1)",
        "labels that look alike": "'Pos' and 'pos'; correct them if they are one",
    }
    values = json.loads(json.dumps(reading_to_json(corpus.facts)))
    assert values["file_names"] == ["test.csv", "train.csv"]
    assert values["passed_over"] == {"notes.md": "not a data file"}
    assert values["layouts"][0]["separator"] == ";"
    assert values["documents"] == {"train": 4, "test": 1}
    assert values["unlabelled"] == {"train": 1, "test": 0}
    assert values["empty"] == {"train": 1, "test": 0}
    assert values["classes"] == {"Pos": 1, "neg": 2, "pos": 1}
    assert values["look_alikes"] == [["Pos", "pos"]]
    assert values["shared_documents"]["test"]["train"]["documents"] == 1


def test_names_are_short_and_a_column_that_may_say_the_split_is_told(tmp_path):
    label = "x" * 500
    path = write(tmp_path / "a.csv", f'text,label,split\none,{label},train\ntwo,"a\nb",train\nthree,{label},test\n')
    corpus = prepare(path, DataOptions(tokenizer="bytes", workers=1, valid_fraction=0.3), task="none")
    report = {line.name: line for line in corpus_report(corpus.facts)}
    advice = "'split': it seems to say the split; name it with --split-column (split_column) if so"
    assert report["column not read"].text == advice
    assert report["column not read"].is_brief
    corpus = prepare(
        path, DataOptions(tokenizer="bytes", workers=1, split_by="given", split_column="split"), task="multi"
    )
    report = {line.name: line for line in corpus_report(corpus.facts)}
    assert "column not read" not in report
    assert report["classes"].text == rf"2: 'a\nb' 1, {'x' * 60!r} 2"


def test_a_name_with_a_comma_is_not_taken_for_two(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\n" + 'one,"shipping, returns"\ntwo,billing\n' * 2)
    corpus = prepare(path, DataOptions(tokenizer="bytes", workers=1, valid_fraction=0.3), task="single")
    report = {line.name: line for line in corpus_report(corpus.facts)}
    assert report["classes"].text == "2: billing 2, 'shipping, returns' 2"


def test_an_unread_column_that_differs_from_one_that_is_read_by_case_is_told(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "one", "label": "x"}\n{"text": "two", "Label": "y"}\n')
    report = {
        line.name: line for line in source_report(DocumentSource(path, label_kind=find_label_kind("single")).reading())
    }
    advice = "'label' is read; make them one column if rows have the one or the other"
    assert report["column not read"].text == f"'Label': {advice}"
    assert report["column not read"].is_brief


def test_cached_corpus_reports_the_files_as_they_are_now(tmp_path):
    write(tmp_path / "data" / "a.csv", "text\tlabel\none\tx\ntwo\ty\n")
    first = prepare(tmp_path / "data", OPTIONS, task="single")
    assert EncodedCorpus.open(first.folder).facts == first.facts
    (tmp_path / "data" / "a.csv").rename(tmp_path / "data" / "b.csv")
    write(tmp_path / "data" / "notes.md", "not data")
    second = prepare(tmp_path / "data", OPTIONS, task="single")
    assert second.folder == first.folder
    assert second.facts.reading.layouts == first.facts.reading.layouts
    assert second.facts.reading.layouts[0].separator == "\t"
    assert second.facts.reading.file_names == ("b.csv",)
    assert second.facts.reading.passed_over == {"notes.md": "not a data file"}
    assert {line.name: line.text for line in corpus_report(second.facts)}["documents"] == "2"  # there are no splits


def test_corpora_of_version_2_are_read(tmp_path):
    write(tmp_path / "a.csv", "text\none\ntwo\n")
    corpus = prepare(tmp_path / "a.csv", OPTIONS, folder=tmp_path / "corpus")
    path = corpus.folder / "corpus.json"
    values = json.loads(path.read_text())
    values["format_version"] = 2
    del values["reading"]
    for split in values["splits"].values():
        del split["empty"]
    path.write_text(json.dumps(values))
    older = EncodedCorpus.open(corpus.folder)
    assert older.facts.reading is None
    assert [figure.name for figure in corpus_report(older.facts)] == ["documents"]
    assert reading_to_json(older.facts)["data"] == "a.csv"


def test_files_of_several_layouts(tmp_path):
    write(tmp_path / "a.csv", "text\none\n")
    write(tmp_path / "b.csv", "text;label\ntwo;x\n")
    assert DocumentSource(tmp_path).reading().layouts == (
        Layout(format="csv", separator=",", header=True, text_columns=("text",)),
        Layout(format="csv", separator=";", header=True, text_columns=("text",), unread_columns=("label",)),
    )
    write(tmp_path / "c" / "pos" / "1.txt", "x")
    assert DocumentSource(tmp_path / "c").reading().layouts == (Layout(format="txt", lines=False),)


@pytest.mark.parametrize(
    ("name", "content", "options", "expected"),
    [
        ("a.csv", "text,id\none,1\n", {}, ""),
        ("a.txt", "one", {}, ""),
        ("a.csv", "review,id\none,1\n", {}, "read: a.csv: csv, text 'review'\n"),
        ("a.csv", "text|id\none|1\n", {}, "read: a.csv: csv, separated by '|', text 'text'\n"),
        ("a.csv", "one\ntwo\n", {"header": False}, "read: a.csv: csv, without header, text '1'\n"),
        ("a.csv", "text,,\none,,\n", {}, "read: a.csv: csv, 2 columns without a name skipped, text 'text'\n"),
    ],
)
def test_what_is_read_otherwise_than_its_name_says_is_printed(tmp_path, capsys, name, content, options, expected):
    report_source(DocumentSource(write(tmp_path / name, content), labels=False, **options))
    assert capsys.readouterr().err == expected


def test_look_alikes():
    names = ["Pos", " pos", "1", "1.0", "2.5", "neg", "e\u0301t\u00e9", "\u00c9t\u00e9", "not spam", "not_spam"]
    assert look_alikes(names) == [
        ("Pos", " pos"),
        ("1", "1.0"),
        ("e\u0301t\u00e9", "\u00c9t\u00e9"),
        ("not spam", "not_spam"),
    ]
