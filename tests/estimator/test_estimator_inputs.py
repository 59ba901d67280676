"""Texts and labels as people have them."""

import re
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import csr_array
from sklearn.exceptions import DataConversionWarning

from ulmkit.errors import DataError
from ulmkit.estimator.inputs import check_labels, check_numbers, check_texts

TEXTS = ["a film", "the story", "", "music"]


@pytest.mark.parametrize(
    "given",
    [
        TEXTS,
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        np.array(TEXTS)[:, None],
        [[text] for text in TEXTS],
        pd.Series(TEXTS, index=[5, 6, 7, 8]),
        pd.DataFrame({"text": TEXTS}),
        pl.Series(TEXTS),
        pl.DataFrame({"text": TEXTS}),
    ],
    ids=lambda given: type(given).__name__,
)
def test_texts_in_every_form(given: Any) -> None:
    found = check_texts(given)
    assert found == TEXTS
    assert {type(text) for text in found} == {str}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("a film", "X: expected a list of texts, got one str ('a film'); put it in a list"),
        (b"a film", "X: expected a list of texts, got one bytes (b'a film'); put it in a list"),
        ({"a film"}, "X: expected a list of texts, got set; put the texts in a list"),
        (7, "X: expected a list of texts, got int; put the texts in a list"),
        (np.array("a"), "X: expected a list of texts, got ndarray; put the texts in a list"),
        (csr_array(np.eye(2)), "X: expected a list of texts, got a sparse matrix (csr_array); give the texts"),
        (np.array([["a", "b"]]), "X: expected one text per row, got ndarray of shape (1, 2); choose the column"),
        (pd.DataFrame({"a": TEXTS, "b": TEXTS}), "X: expected one text per row, got DataFrame of shape (4, 2); choose"),
        ({"text": TEXTS}, "X: expected one text per row, got dict; choose the column with the texts"),
        (["a", None], "X[1]: expected a str, got None; leave it out, or give an empty text"),
        (pd.Series(["a", float("nan")]), "X[1]: expected a str, got nan; leave it out, or give an empty text"),
        (["a", 3.5], "X[1]: expected a str, got 3.5"),
        ([("title", "body")], "X[0]: expected a str, got ('title', 'body'); join the texts of a row into one"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_text(given: Any, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        check_texts(given)


def _labels(y: Any) -> Any:
    return check_labels(y, ["text"] * len(y), "ULMFiTClassifier")


@pytest.mark.parametrize(
    ("y", "classes", "kind", "codes"),
    [
        (["b", "a", "b"], ["a", "b"], "O", [1, 0, 1]),
        (np.array(["b", "a"]), ["a", "b"], "U", [1, 0]),
        (["b", None, float("nan"), "a"], ["a", "b"], "O", [1, -1, -1, 0]),
        (["b", -1, "a", "-1"], ["-1", "a", "b"], "O", [2, -1, 1, 0]),
        ([3, 1, -1, 3], [1, 3], "i", [1, 0, -1, 1]),
        ([3, None, 1], [1, 3], "i", [1, -1, 0]),
        (np.array([0.0, np.nan, 1.0, -1.0]), [0.0, 1.0], "f", [0, -1, 1, -1]),
        ([True, False], [False, True], "b", [1, 0]),
        (pd.Series(["b", None, "a"]), ["a", "b"], "O", [1, -1, 0]),
        (pd.Series([1, None, 0], dtype="Int64"), [0, 1], "i", [1, -1, 0]),
        (pd.Series(["b", "a", None], dtype="category"), ["a", "b"], "O", [1, 0, -1]),
        (pl.Series(["b", None, "a"]), ["a", "b"], "O", [1, -1, 0]),
        (pl.Series([1, 0, -1]), [0, 1], "i", [1, 0, -1]),
        (pl.Series([1, 0, None]), [0, 1], "i", [1, 0, -1]),
        (pd.Series([1.0, 0.0, None]), [0, 1], "f", [1, 0, -1]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_labels_in_every_form(y: Any, classes: list[Any], kind: str, codes: list[int]) -> None:
    found = _labels(y)
    assert found.classes.tolist() == classes
    assert found.classes.dtype.kind == kind
    assert found.codes.tolist() == codes
    assert len(set(found.names)) == len(classes)


def test_names_of_classes() -> None:
    assert _labels(["no", "yes"]).names == ("no", "yes")
    assert _labels([2.0, 10.0]).names == ("2", "10")
    assert _labels([" a", "a"]).names == ("class 0", "class 1")


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", "a"], "y: expected labels of at least 2 classes, got 1 class ('a')"),
        ([None, None], "y: expected labels of at least 2 classes, got none"),
        (["b", 3], "y: expected labels of one kind, got 'b' and 3; turn all of them into text"),
        ([-1, 1], "y: expected labels of at least 2 classes, got 1 class (1); -1 says that a text has no label, so"),
        ([[0, 1], [1, 0]], "y: expected one label per text, got an array of shape (2, 2); give a 1d array"),
        (csr_array(np.eye(2)), "y: expected a label per text, got a sparse matrix (csr_array)"),
        ([0.5, 1.5], "Unknown label type: continuous"),
        ([0.0, np.inf], "Input y contains infinity"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_label(y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check_labels(y, ["text", "text"], "ULMFiTClassifier")


def test_labels_belong_to_texts() -> None:
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        check_labels([0, 1], ["text"], "ULMFiTClassifier")
    with pytest.raises(DataError, match="ULMFiTClassifier requires y to be passed, but the target y is None"):
        check_labels(None, ["text"], "ULMFiTClassifier")
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        assert check_labels(np.array([[0], [1]]), ["a", "b"], "ULMFiTClassifier").codes.tolist() == [0, 1]


def test_numbers() -> None:
    given = [1, "2.5", None, np.float32(3.0), float("nan"), -1]
    np.testing.assert_array_equal(check_numbers(given, ["text"] * 6, "R"), [1.0, 2.5, np.nan, 3.0, np.nan, -1.0])
    np.testing.assert_array_equal(check_numbers(pl.Series([1, None]), ["a", "b"], "R"), [1.0, np.nan])
    with pytest.raises(DataError, match=r"y\[1\]: expected a number, got 'high'"):
        check_numbers([1, "high"], ["a", "b"], "R")
    with pytest.raises(ValueError, match="Input y contains infinity"):
        check_numbers([1, np.inf], ["a", "b"], "R")
