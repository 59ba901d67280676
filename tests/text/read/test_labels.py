"""Labels: what they may be, and their order."""

import datetime
import enum
import json
from decimal import Decimal

import numpy as np
import pandas
import pyarrow
import pytest
import torch
from support.data_files import read, write, write_parquet

from ulmkit.errors import DataError
from ulmkit.tasks import TASKS, find_label_kind
from ulmkit.text import Document
from ulmkit.text.read.documents import DocumentSource
from ulmkit.text.read.labels import (
    check_classes,
    check_known,
    clean_label,
    join_whole_numbers,
    look_alikes,
    order_label_names,
    parse_class,
    parse_indicators,
)


class Mood(enum.StrEnum):
    GOOD = "good"


class Star(enum.IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("value", "task", "label"),
    [
        ("pos", "single", "pos"),
        (3, "single", "3"),
        (3.0, "single", "3"),
        ("", "single", None),
        (float("nan"), "single", None),
        (None, "multi", None),
        ("a|b | a|", "multi", ("a", "b")),
        ("", "multi", None),
        (" ", "multi", None),
        (float("nan"), "multi", None),
        ("|", "multi", ()),
        ([], "multi", ()),
        (["b", 2], "multi", ("b", "2")),
        (4, "multi", ("4",)),
        ("2.5", "number", 2.5),
        (" ", "number", None),
        (float("nan"), "number", None),
        (["O", "O"], "tokens", ("O", "O")),
        ("x", "none", None),
    ],
)
def test_parse_label(value, task, label):
    assert find_label_kind(task).parse(value, "here") == label


@pytest.mark.parametrize(
    ("value", "task", "message"),
    [
        (["a"], "single", r"here: expected one label, got \['a'\]; for several labels say task=\"multi\""),
        (1.5, "single", r"here: expected a class as label, got 1.5"),
        (2.0**60, "single", r"here: expected a class as label, got 1.15\d+e\+18, a float too large to be exact; read"),
        ("high", "number", r"here: expected a number as label .*got 'high'"),
        ("inf", "number", r"here: expected a finite number as label, got 'inf'"),
    ],
)
def test_parse_label_refuses(value, task, message):
    with pytest.raises(DataError, match=message):
        find_label_kind(task).parse(value, "here")


def test_label_order():
    assert order_label_names(["b", "a", "b"]) == ("a", "b")
    assert order_label_names(["10", "9", "-1"]) == ("-1", "9", "10")
    assert order_label_names(["10", "9", "-"]) == ("-", "10", "9")
    assert order_label_names(["9" * 5000, "1"]) == ("1", "9" * 5000)


def test_check_classes():
    check_classes({"train": ["a", "b"], "test": ["a"]}, 2)
    check_classes({"train": ["a"]}, 1)
    with pytest.raises(
        DataError, match=r"expected at least two classes in the train split, got one: 'a'; name another column"
    ):
        check_classes({"train": ["a", "a"]}, 2)
    with pytest.raises(DataError, match=r"got one: 'a', and 'b' in valid alone; give at least two documents of each"):
        check_classes({"train": ["a"], "valid": ["b"]}, 2)
    with pytest.raises(DataError, match=r"of the test split to be in the train split, got 'c', 'd' in test alone"):
        check_classes({"train": ["a", "b"], "test": ["d", "a", "c"]}, 2)
    with pytest.raises(DataError, match=r"expected labelled documents in the train split, got none .*test 1"):
        check_classes({"test": ["a"]}, 2)


def test_check_known():
    check_known(["a"], ["a", "b"])
    with pytest.raises(DataError, match=r"got 'possitive', which the model does not know; did you mean 'positive'"):
        check_known(["possitive"], ["negative", "positive"])


# values of Python and its packages ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (" pos\t", "pos"),
        ("\u00a0pos", "pos"),
        ("e\u0301", "\u00e9"),
        (np.str_("pos "), "pos"),
        (Mood.GOOD, "good"),
        (Star.ONE, "1"),
        (True, "True"),
        (np.bool_(False), "False"),
        (np.int8(3), "3"),
        (np.float32(3.0), "3"),
        (np.array(3), "3"),
        (torch.tensor(3), "3"),
        (torch.tensor(2.0), "2"),
        (torch.tensor(True), "True"),
        (pyarrow.scalar("pos"), "pos"),
        (pyarrow.scalar(3), "3"),
        (Decimal("4.00"), "4"),
    ],
)
def test_a_class_is_text_or_a_whole_number_or_a_bool(value, label):
    assert parse_class(value, "here") == label
    assert TASKS["multi"].parse([value], "here") == (label,)


MISSING = [
    None,
    "",
    " \n",
    "\u200b",
    float("nan"),
    np.float32("nan"),
    np.datetime64("NaT"),
    np.datetime64("NaT", "ns"),
    pandas.NA,
    pandas.NaT,
    torch.tensor(float("nan")),
    pyarrow.scalar(None),
    Decimal("nan"),
    Decimal("sNaN"),
]


@pytest.mark.parametrize("value", MISSING, ids=lambda value: f"{type(value).__name__}-{value!r}")
@pytest.mark.parametrize("task", TASKS)
def test_missing_labels_of_python_numpy_and_pandas(value, task):
    assert TASKS[task].parse(value, "here") is None


NO_CLASSES = [
    (1.5, 'expected a class as label, got 1.5; for a number per text say task="number"'),
    (np.float64(0.5), "expected a class as label, got 0.5"),
    (torch.tensor(0.5), "expected a class as label, got 0.5"),
    (Decimal("1.5"), "expected a class as label, got Decimal"),
    (float("inf"), "expected a class as label, got inf"),
    ({"id": 0, "name": "neg"}, r"got \{'id': 0, 'name': 'neg'\} \(dict\); give the name of the class alone"),
    ('{"id": 0}', r"got '\{\"id\": 0\}' \(str\); give the name of the class alone"),
    (b"neg", r"got b'neg' \(bytes\); decode the bytes"),
    ("b'neg'", r"""got "b'neg'" \(str\); decode the bytes"""),
    (np.bytes_(b"neg"), r"got b'neg' \(bytes\); decode the bytes"),
    ("tensor(0)", r"got 'tensor\(0\)' \(str\); give the name of the class alone"),
    (["a"], r"expected one label, got \['a'\]; for several labels say task=\"multi\""),
    (np.array([1, 0]), r"expected one label, got \[1, 0\]"),
    (torch.tensor([1, 0]), r"expected one label, got \[1, 0\]"),
    ({"a"}, r"expected one label, got \{'a'\}"),
    ('["a"]', r"""expected one label, got '\["a"\]'; for several labels"""),
    ("['a', 'b']", r"expected one label, got .*; for several labels"),
    (object, "expected text, a whole number or a bool as label, got <class 'object'>"),
    (1j, r"got 1j \(complex\); write it as text"),
    (datetime.date(2024, 5, 1), r"got datetime.date\(2024, 5, 1\) \(date\); write it as text"),
    (pandas.Timestamp("2024-05-01"), r"\(Timestamp\); write it as text"),
    (np.datetime64("2024-05-01", "ns"), r"\(datetime64\); write it as text"),
    (10**5000, "expected a class as label, got a whole number of 16,610 bits"),
]


@pytest.mark.parametrize(("value", "message"), NO_CLASSES, ids=lambda value: repr(type(value)))
def test_what_is_no_class_is_refused(value, message):
    with pytest.raises(DataError, match=f"here: .*{message}"):
        parse_class(value, "here")


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "python"])
def test_whole_floats_and_spaces_are_read_alike_from_every_form(tmp_path, name):
    rows = [("x", " pos "), ("y", "e\u0301"), ("z", "")]
    path = tmp_path / name
    if name == "python":
        path = rows
    elif name == "a.parquet":
        write_parquet(path, {"text": [text for text, _ in rows], "label": [label for _, label in rows]})
    elif name == "a.jsonl":
        write(path, "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    else:
        separator = "," if name == "a.csv" else "\t"
        write(path, "".join(f"{text}{separator}{label}\n" for text, label in [("text", "label"), *rows]))
    assert [document.label for document in read(path)] == ["pos", "\u00e9", None]


def test_objects_are_refused_at_their_place(tmp_path):
    place = r"a\.jsonl, line 1: column 'label': expected text, a whole number or a bool as label, got \{'id': 0\}"
    with pytest.raises(DataError, match=place):
        read(write(tmp_path / "a.jsonl", '{"text": "x", "label": {"id": 0}}'))
    with pytest.raises(DataError, match=r"a\.parquet, row 1: column 'label': .* got \{'id': 0\}"):
        read(write_parquet(tmp_path / "a.parquet", {"text": ["x"], "label": [{"id": 0}]}))
    with pytest.raises(DataError, match=r"a\.parquet, row 1: column 'label': .* got b'neg'"):
        read(write_parquet(tmp_path / "a.parquet", {"text": ["x"], "label": [b"neg"]}))
    with pytest.raises(DataError, match=r"document 1: expected text, a whole number or a bool"):
        read([("x", "a"), ("y", {"id": 0})])


def test_labels_of_documents_made_in_python_are_cleaned():
    given = [Document("x", " e\u0301 "), Document("x", (" a", "b")), Document("x", " "), Document("x", 1.5)]
    assert [document.label for document in read(given, "multi")] == ["\u00e9", ("a", "b"), None, 1.5]


def test_a_column_of_arrow_and_pandas_scalars():
    table = pyarrow.table({"text": ["x", "y"], "label": [1, None]})
    assert read(list(zip(table["text"], table["label"], strict=True))) == [Document("x", "1"), Document("y")]
    with pytest.raises(DataError, match="document 1: .*, got nan; leave out documents whose text is missing"):
        read(pandas.Series(["x", float("nan")]))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"1", "expected a number as label .task=.number.., got b'1'"),
        ("1_000", "expected a number as label .*got '1_000'"),
        ("1,5", ".*got '1,5'; write a decimal point"),
        ([1], r"expected a number as label .*got \[1\]"),
        ({"a": 1}, "expected a number as label"),
        (10**400, "expected a finite number as label, got inf; float32 holds at most"),
        (1e39, r"expected a finite number as label, got 1e\+39"),
    ],
)
def test_what_is_no_number_is_refused(value, message):
    with pytest.raises(DataError, match=f"here: {message}"):
        TASKS["number"].parse(value, "here")


def test_numbers_of_packages_are_numbers():
    values = [np.float32(1.5), torch.tensor(1.5), Decimal("1.5"), pyarrow.scalar(1.5), "1.5", "15e-1"]
    assert [TASKS["number"].parse(value, "here") for value in values] == [1.5] * len(values)


# several labels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ('["a", "b, c"]', ("a", "b, c")),
        ("['a', 'b']", ("a", "b")),
        ("('a', 'b')", ("a", "b")),
        ("{'a'}", ("a",)),
        ("[3, 4]", ("3", "4")),
        ("[]", ()),
        ('["it\'s", "\\u00e9"]', ("it's", "\u00e9")),
        ("(other)", ("(other)",)),
        ({"b", "a"}, ("a", "b")),
        (np.array(["a", "b"]), ("a", "b")),
        (pyarrow.scalar(["a", "b"]), ("a", "b")),
        (torch.tensor([3, 4]), ("3", "4")),
    ],
)
def test_lists_of_labels(value, label):
    assert TASKS["multi"].parse(value, "here") == label


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["a", "b", "a"], "expected each label once, got 'a' twice; drop the second"),
        ('["a", "a"]', "expected each label once, got 'a' twice"),
        ([1, 0, 1], "expected names of labels, got a vector of 0 and 1; .* write the names .*--label-column several"),
        (np.array([0.0, 0.0]), "expected names of labels, got a vector of 0;"),
        ([True, False, True], ".* got a vector of False and True"),
        ("[0, 1, 1]", ".*got a vector of 0 and 1"),
        (torch.tensor([0, 1, 1]), ".*got a vector of 0 and 1"),
        ("['a' 'b']", r"expected labels as a\|b or as a list \[\"a\", \"b\"\], got .*; put each name in quotes"),
        ("[a, b]", r"expected labels as a\|b or as a list"),
        ([0.2, 0.8], "expected a class as label, got 0.2"),
        (["a", None], "expected a label at each position of the list"),
        ({"a": 1}, "expected a list of labels, got {'a': 1}; give their names"),
        (b"a", "expected a list of labels, got b'a'"),
        ([[0, 4, "PER"]], r"expected a list of names, got \[\[0, 4, 'PER'\]\]; give the names of the labels alone"),
        ([{"name": "a"}], "expected a list of names, got"),
    ],
)
def test_lists_that_are_no_labels(value, message):
    with pytest.raises(DataError, match=f"here: {message}"):
        TASKS["multi"].parse(value, "here")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"0", "1"}, "labels: expected names, got 0 and 1 alone; if they mark .*--label-column several times"),
        ({"True", "False"}, "labels: expected names, got False and True alone"),
        (
            {"a", "b", "a, b"},
            r"labels: expected \"\|\" between the labels of a text, got 'a, b'; write a\|b, or a list",
        ),
        ({"a;b", "b;c", "a", "c"}, r"between the labels of a text, got 'a;b', 'b;c'; write a\|b"),
        (
            {"0 1 1", "1 0 0"},
            "labels: expected names, got 0 1 1 and 1 0 0 alone; if they mark .*--label-column",
        ),
        ({"011", "100"}, "labels: expected names, got 011 and 100 alone; if they mark"),
    ],
)
def test_names_of_several_labels_that_are_no_names(names, message):
    with pytest.raises(DataError, match=message):
        TASKS["multi"].label_names({"train": names}, None)


def test_commas_in_names_are_warned_of():
    names = ("a", "b", "oil, gas and fuel", "a, b")
    assert TASKS["multi"].label_names({"train": set(names)}, None) == ("a", "a, b", "b", "oil, gas and fuel")
    assert TASKS["multi"].name_warnings(names) == [
        "labels with a comma or a semicolon are one label each: 'oil, gas and fuel', 'a, b'; if they are several, "
        "write a|b"
    ]
    assert TASKS["multi"].name_warnings(("oil/gas", "oil", "c++", "new york")) == []
    assert TASKS["multi"].name_warnings(("a/b", "b/a", "a b", "b a", "a", "b")) == [
        "labels that look like lists are one label each: 'a/b', 'b/a'; if they are several, write a|b",
        "labels that look like lists are one label each: 'a b', 'b a'; if they are several, write a|b",
    ]
    assert TASKS["multi"].label_names({"train": {"10", "11"}}, None) == ("10", "11")
    assert TASKS["single"].name_warnings(("oil, gas", "x")) == []
    assert TASKS["single"].name_warnings(("a", "b", "a|b")) == [
        "labels that look like lists are one class each: 'a|b'; for several labels per text say task=\"multi\" and "
        "write them as a|b"
    ]


# one column per label -------------------------------------------------------------------------------------------------


def test_one_column_per_label(tmp_path):
    path = write(tmp_path / "a.csv", "text,billing, delivery,no\nx,1,0,y\nw,true,1.0,y\nz,0,False,y\nv,,,y\n")
    labels = [document.label for document in read(path, "multi", label_column=["billing", "delivery"])]
    assert labels == [("billing",), ("billing", "delivery"), (), None]
    rows = write(tmp_path / "a.jsonl", '{"text": "x", "a": true, "b": 0}\n{"text": "y", "a": 1, "b": 1.0}\n')
    assert [document.label for document in read(rows, "multi", label_column=("a", "b"))] == [("a",), ("a", "b")]
    table = write_parquet(tmp_path / "a.parquet", {"text": ["x"], "a": [False], "b": [1]})
    assert [document.label for document in read(table, "multi", label_column=("a", "b"))] == [("b",)]


def test_one_column_per_label_refuses_what_is_not_0_or_1(tmp_path):
    path = write(tmp_path / "a.csv", "text,a,b\nx,1,2\n")
    with pytest.raises(DataError, match=r"line 2: column 'b': expected 0 or 1, true or false, got '2'"):
        read(path, "multi", label_column=["a", "b"])
    with pytest.raises(DataError, match=r"column 'b': expected 0 or 1, true or false, got an empty cell"):
        parse_indicators({"a": 1, "b": None}, "here")
    with pytest.raises(DataError, match=r"expected one column .task=.single.., got a, b; for one column per label say"):
        read(path, "single", label_column=["a", "b"])
    with pytest.raises(DataError, match=r"has no column 'c'"):
        next(iter(DocumentSource(path, label_kind=TASKS["multi"], label_column=["a", "c"])))


# names of one column --------------------------------------------------------------------------------------------------


def test_whole_numbers_have_one_spelling():
    assert join_whole_numbers({"train": {"0", "1.0"}, "valid": {"0.00"}}, None) == {"train": {"0", "1"}, "valid": {"0"}}
    assert join_whole_numbers({"train": {"1.0", "x"}}, None) == {"train": {"1", "x"}}
    assert join_whole_numbers({"train": {"1.0", "401.9", "x"}}, None) == {"train": {"1.0", "401.9", "x"}}
    assert join_whole_numbers({"test": {"1.0", "0"}}, ("0", "1")) == {"test": {"1", "0"}}
    assert join_whole_numbers({"test": {"1.0"}}, ("0.0", "1.0")) == {"test": {"1.0"}}
    with pytest.raises(
        DataError, match=r"expected classes, got numbers with decimals such as '0.5'; .*task=\"number\""
    ):
        TASKS["single"].label_names({"train": {"0.5", "1"}}, None)
    assert TASKS["single"].encode(["1", "1.0", "0"], ("0", "1")).tolist() == [1, 1, 0, -1]


def test_an_empty_set_of_python_is_no_label():
    assert TASKS["multi"].parse("set()", "here") == TASKS["multi"].parse("[]", "here") == ()


def test_names_that_look_the_same_are_one_class():
    assert {clean_label(name) for name in ("new", "n\u200bew", "\ufeffnew", "new\u200e ", "ne\u00adw")} == {"new"}
    assert clean_label("نمی\u200cخواهم") == "نمی\u200cخواهم"
    assert parse_class("n\u200bew", "here") == "new"


def test_look_alikes():
    names = ["neg", "Neg", "pos", "p os", "1", "1.0", "2", "caf\u00e9", "\uff43af\u00e9", "new", "n\u200bew"]
    assert look_alikes(names) == [
        ("neg", "Neg"),
        ("pos", "p os"),
        ("1", "1.0"),
        ("caf\u00e9", "\uff43af\u00e9"),
        ("new", "n\u200bew"),
    ]
    assert look_alikes(["a", "b", "a", "1", "-1", "-"]) == []
    assert look_alikes(["01", "1", "0", "10", "v01", "v1"]) == [("01", "1")]
    assert look_alikes(['"pos"', "pos", "'neg'", "neg"]) == [('"pos"', "pos"), ("'neg'", "neg")]
    assert look_alikes(["\u2639", "\u2639\ufe0f", "\U0001f600"]) == [("\u2639", "\u2639\ufe0f")]
    assert look_alikes(["not_good", "not good", "a-b", "ab"]) == [("not_good", "not good"), ("a-b", "ab")]
    assert TASKS["single"].name_warnings(("Neg", "neg", "nan")) == [
        "labels that look like missing values are classes: 'nan'; leave the label of an unlabelled document empty",
    ]
