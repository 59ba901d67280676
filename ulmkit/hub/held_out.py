"""Record of held-out documents in a model folder: numbers that the model computes of each, and none of their text."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ulmkit.errors import DataError, FolderError
from ulmkit.evaluation import HeldOutAnswers, TextMeasures
from ulmkit.files import read_json
from ulmkit.safe_writes import atomic_write

HELD_OUT_FILE = "held_out.json"

MOST_ANSWERS = 4000
"""Answers that a model folder keeps at most; others are left out at random."""

_COLUMNS: dict[str, type[np.int64] | type[np.float64]] = {
    "labels": np.int64,
    "predicted": np.int64,
    "confidence": np.float64,
    "mass_above": np.float64,
}
_ADVICE = "it was altered, or written by another version of ulmkit; copy the model folder again"


@dataclass(frozen=True)
class HeldOut:
    """Numbers that a model computes of documents that it did not learn from.

    Attributes:
        answers: Answers for labelled documents, of a classifier of one label per document.
        texts: Measures of validation texts, labelled or not, to compare new texts with.
    """

    answers: HeldOutAnswers | None = None
    texts: TextMeasures | None = None

    def without_answers(self) -> "HeldOut":
        """Drop the answers, for a copy of the model that answers slightly differently."""
        return replace(self, answers=None)


def save_held_out(folder: Path, held_out: HeldOut) -> None:
    """Write the record into a model folder that is being made."""
    content: dict[str, object] = {}
    if held_out.answers is not None:
        columns = {name: getattr(held_out.answers, name).tolist() for name in _COLUMNS}
        content["answers"] = {"source": held_out.answers.source, **columns}
    if held_out.texts is not None:
        measures: dict[str, object] = {name: column.tolist() for name, column in held_out.texts.values.items()}
        content["texts"] = {"values": measures}
        if held_out.texts.predicted is not None:
            content["texts"] = {"values": measures, "predicted": held_out.texts.predicted.tolist()}
    with atomic_write(folder / HELD_OUT_FILE) as file:
        json.dump(content, file, ensure_ascii=False, allow_nan=False)  # not indented: a number a line is twice as long
        file.write("\n")


def load_held_out(folder: Path, files: Collection[str], classes: int = 0) -> HeldOut | None:
    """Read the record of a model folder, whose files are checked; None if it lists none.

    Args:
        folder: The model folder.
        files: Names of the files that it lists.
        classes: Number of classes.

    Raises:
        FolderError: If it is not what `save_held_out` writes.
    """
    if HELD_OUT_FILE not in files:
        return None
    path = folder / HELD_OUT_FILE
    content = read_json(path)
    if not isinstance(content, Mapping):
        raise FolderError(f"{path}: expected an object, got {type(content).__name__}; {_ADVICE}")
    return HeldOut(
        _answers(path, content["answers"], classes) if "answers" in content else None,
        _texts(path, content["texts"], classes) if "texts" in content else None,
    )


def _answers(path: Path, content: object, classes: int) -> HeldOutAnswers:
    if not isinstance(content, Mapping) or not isinstance(content.get("source"), str):
        raise FolderError(f"{path}: expected an object with a source as answers; {_ADVICE}")
    columns = {name: _column(path, name, content.get(name), dtype) for name, dtype in _COLUMNS.items()}
    for name in ("labels", "predicted"):
        _check_classes(path, name, columns[name], classes)
    try:
        return HeldOutAnswers(content["source"], **columns)
    except DataError as error:
        raise FolderError(f"{path}: {error}; {_ADVICE}") from error


def _texts(path: Path, content: object, classes: int) -> TextMeasures:
    values = content.get("values") if isinstance(content, Mapping) else None
    if not isinstance(content, Mapping) or not isinstance(values, Mapping):
        raise FolderError(f"{path}: expected an object with values as texts; {_ADVICE}")
    columns = {str(name): _column(path, str(name), column, np.float64) for name, column in values.items()}
    predicted = None
    if "predicted" in content:
        predicted = _column(path, "predicted", content["predicted"], np.int64)
        _check_classes(path, "predicted", predicted, classes)
    try:
        return TextMeasures(columns, predicted)
    except DataError as error:
        raise FolderError(f"{path}: {error}; {_ADVICE}") from error


def _check_classes(path: Path, name: str, column: np.ndarray, classes: int) -> None:
    if not ((column >= 0) & (column < classes)).all():
        raise FolderError(f"{path}: expected {name} from 0 to {classes - 1}; {_ADVICE}")


def _column(path: Path, name: str, values: object, dtype: type[np.int64] | type[np.float64]) -> np.ndarray:
    """Numbers of a list, without NaN and infinity. Raises: FolderError if they are not."""
    kinds = (int,) if dtype is np.int64 else (int, float)
    if isinstance(values, list) and all(type(value) in kinds for value in values):
        try:
            column = np.array(values, dtype=dtype)
        except OverflowError:
            column = np.array([np.nan])
        if np.isfinite(column).all():
            return column
    raise FolderError(f"{path}: expected a list of numbers as {name}; {_ADVICE}")
