"""Labels: what they may be, and their order."""

import pytest

from ulmkit.errors import DataError
from ulmkit.tasks import find_label_kind
from ulmkit.text.read.labels import check_classes, check_known, order_label_names


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


def test_check_classes():
    check_classes({"train": ["a", "b"], "test": ["a"]}, 2)
    check_classes({"train": ["a"]}, 1)
    with pytest.raises(DataError, match=r"expected at least two classes in the train split, got one: 'a'"):
        check_classes({"train": ["a", "a"]}, 2)
    with pytest.raises(DataError, match=r"of the test split to be in the train split, got 'c', 'd' in test alone"):
        check_classes({"train": ["a", "b"], "test": ["d", "a", "c"]}, 2)
    with pytest.raises(DataError, match=r"expected labelled documents in the train split, got none .*test 1"):
        check_classes({"test": ["a"]}, 2)


def test_check_known():
    check_known(["a"], ["a", "b"])
    with pytest.raises(DataError, match=r"got 'possitive', which the model does not know; did you mean 'positive'"):
        check_known(["possitive"], ["negative", "positive"])
