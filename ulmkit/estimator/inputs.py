"""Checks of what scikit-learn's estimators are given: texts, class labels and numbers."""

import warnings
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import assert_all_finite, check_consistent_length
from sklearn.utils.multiclass import check_classification_targets

from ulmkit.errors import DataError
from ulmkit.text.read.documents import is_table
from ulmkit.text.read.labels import clean_name, plain_value

UNLABELLED = -1
"""Code of a text without a label, and the number that says so among numeric labels."""


@dataclass(frozen=True)
class ClassLabels:
    """Class labels of texts.

    Attributes:
        classes: (C,) the distinct labels in order, of the type that they were given in.
        names: A name for each class, for the model folder.
        codes: (n,) int64, the place of each text's label in `classes`; -1 for a text without one.
    """

    classes: np.ndarray
    names: tuple[str, ...]
    codes: np.ndarray


def check_texts(texts: Iterable[object], name: str = "X") -> list[str]:
    """Check texts and return them as a list.

    Args:
        texts: A list, an array, or a column of a table; a table of one column is taken as that column.
        name: Name of the argument, for errors.

    Raises:
        DataError: If it is not one text per row; the message gives the index of the first item that is no text.
    """
    kind = type(texts).__name__
    if isinstance(texts, str | bytes):
        raise DataError(f"{name}: expected a list of texts, got one {kind} ({texts[:40]!r}); put it in a list")
    if issparse(texts):
        raise DataError(f"{name}: expected a list of texts, got a sparse matrix ({kind}); give the texts themselves")
    if isinstance(texts, Set) or not isinstance(texts, Iterable) or getattr(texts, "ndim", 1) == 0:
        raise DataError(f"{name}: expected a list of texts, got {kind}; put the texts in a list")
    if is_table(texts) or getattr(texts, "ndim", 1) > 1:
        texts = _only_column(texts, name)
    return [_check_text(text, f"{name}[{number}]") for number, text in enumerate(texts)]


def _only_column(table: Any, name: str) -> list[object]:
    kind = type(table).__name__
    shape = getattr(table, "shape", None)
    if shape is None or len(shape) != 2 or shape[1] != 1:
        got = kind if shape is None else f"{kind} of shape {tuple(shape)}"
        raise DataError(f"{name}: expected one text per row, got {got}; choose the column with the texts")
    return list(np.asarray(table)[:, 0])


def _check_text(value: object, place: str) -> str:
    text = plain_value(value)
    if isinstance(text, list | tuple) and len(text) == 1:
        text = plain_value(text[0])
    if isinstance(text, str):
        return str(text)
    advice = ""
    if text is None:
        advice = "; leave it out, or give an empty text"
    elif isinstance(text, list | tuple):
        advice = "; join the texts of a row into one"
    raise DataError(f"{place}: expected a str, got {value!r:.60}{advice}")


def check_labels(y: Iterable[object] | None, texts: Sequence[str], estimator: str) -> ClassLabels:
    """Check class labels.

    Args:
        y: A label per text. The number -1, None, NaN and pandas' NA say that a text has no label.
        texts: The texts.
        estimator: Name of the estimator, for errors.

    Raises:
        DataError: If there are fewer than two classes, or text and numbers are mixed.
        ValueError: If there are more or fewer labels than texts, or they are numbers with decimals.
    """
    values = _as_column(y, texts, estimator)
    is_missing = np.array([plain_value(value) is None for value in values], dtype=bool)
    labelled = _natural(values[~is_missing])
    codes = np.full(len(values), UNLABELLED, dtype=np.int64)
    places = np.flatnonzero(~is_missing)
    if labelled.dtype.kind in "iuf":
        assert_all_finite(labelled, input_name="y")
    is_marked = np.array([not isinstance(label, str) and label == UNLABELLED for label in labelled], dtype=bool)
    labelled, places = labelled[~is_marked], places[~is_marked]
    _check_one_kind(labelled)
    if len(labelled):
        check_classification_targets(labelled)
    classes, codes[places] = np.unique(labelled, return_inverse=True)
    if len(classes) < 2:
        got = f"1 class ({classes.tolist()[0]!r})" if len(classes) else "none"
        advice = "; -1 says that a text has no label, so number the classes from 0" if is_marked.any() else ""
        raise DataError(f"y: expected labels of at least 2 classes, got {got}{advice}")
    return ClassLabels(classes, _class_names(classes), codes)


def _check_one_kind(labels: np.ndarray) -> None:
    """Refuse labels that cannot be sorted, text beside numbers."""
    is_text = [isinstance(label, str) for label in labels]
    if any(is_text) and not all(is_text):
        text, other = labels[is_text.index(True)], labels[is_text.index(False)]
        raise DataError(f"y: expected labels of one kind, got {text!r} and {other!r}; turn all of them into text")


def check_numbers(y: Iterable[object] | None, texts: Sequence[str], estimator: str) -> np.ndarray:
    """Check the numbers to predict.

    Args:
        y: A number per text; None, NaN and pandas' NA say that a text has none.
        texts: The texts.
        estimator: Name of the estimator, for errors.

    Returns:
        (n,) float64, NaN where there is none.

    Raises:
        DataError: If a value is no number.
        ValueError: If there are more or fewer numbers than texts, or one is infinite.
    """
    values = _as_column(y, texts, estimator)
    numbers = np.full(len(values), np.nan)
    for place, value in enumerate(values):
        plain = plain_value(value)
        if plain is None:
            continue
        try:
            numbers[place] = float(plain)
        except (TypeError, ValueError):
            raise DataError(f"y[{place}]: expected a number, got {value!r:.60}") from None
    assert_all_finite(numbers[~np.isnan(numbers)], input_name="y")
    return numbers


def _as_column(y: Any, texts: Sequence[str], estimator: str) -> np.ndarray:
    """Turn labels into an array (n,), of type object unless they were given as an array of another."""
    if y is None:
        raise DataError(f"{estimator} requires y to be passed, but the target y is None; give a label for each text")
    if issparse(y):
        raise DataError(f"y: expected a label per text, got a sparse matrix ({type(y).__name__})")
    values: np.ndarray
    if isinstance(y, list | tuple) and not any(isinstance(value, list | tuple | np.ndarray) for value in y):
        values = _as_objects(y)  # of another type numpy would write None and NaN beside text as text
    elif hasattr(y, "to_numpy"):
        values = np.asarray(y.to_numpy())
        if values.dtype.kind == "f" and "float" not in str(y.dtype).lower():  # missing values among whole numbers
            values = _as_objects(y)
    else:
        values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples,).",
            DataConversionWarning,
            stacklevel=4,
        )
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(f"y: expected one label per text, got an array of shape {values.shape}; give a 1d array")
    check_consistent_length(texts, values)
    return values


def _as_objects(values: Iterable[object]) -> np.ndarray:
    listed = list(values)
    array = np.empty(len(listed), dtype=object)
    array[:] = listed
    return array


def _natural(labels: np.ndarray) -> np.ndarray:
    """Labels of type object as numbers or bools if they are; text stays as it is."""
    if labels.dtype != object or any(isinstance(label, str) for label in labels):
        return labels
    return np.asarray(labels.tolist())


def _class_names(classes: np.ndarray) -> tuple[str, ...]:
    """The labels as text if that tells them apart, else numbered names."""
    whole = classes.astype(np.int64) if classes.dtype.kind == "f" else classes
    names = tuple(clean_name(str(label)) for label in whole.tolist())
    if all(names) and len(set(names)) == len(names):
        return names
    return tuple(f"class {number}" for number in range(len(classes)))
