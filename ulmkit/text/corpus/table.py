"""The table of an encoded corpus: a column per file, memory-mapped, checked when it is opened."""

from pathlib import Path

import numpy as np

from ulmkit.errors import FolderError
from ulmkit.files import clear_read_errors
from ulmkit.text.corpus.facts import CorpusFacts

_KINDS = {
    "offset": "i",
    "length": "i",
    "words": "i",
    "characters": "i",
    "boundary": "i",
    "split": "i",
    "group": "i",
    "time": "f",
    "labelled": "b",
}
"""Columns that every table has, with the kind of their NumPy type."""


def load_table(folder: Path, facts: CorpusFacts, tokens: int) -> dict[str, np.ndarray]:
    """Memory-map the columns of a table, and check that they fit each other and the corpus.

    Args:
        folder: The folder of the columns.
        facts: Facts of the corpus.
        tokens: Number of tokens in the corpus.

    Returns:
        The columns by name, as `EncodedCorpus.table` describes them.

    Raises:
        FolderError: If a column is missing, is no array of its kind, or points outside the corpus.
    """
    table = {name: _load_column(folder / f"{name}.npy") for name in facts.table}
    for name, kind in _KINDS.items():
        _check(folder, name, name in table and table[name].dtype.kind == kind and table[name].ndim == 1)
    documents = len(table["offset"])
    for name, column in table.items():
        _check(folder, name, column.ndim >= 1 and len(column) == documents)
        _check(folder, name, not name.startswith("column_") or (column.dtype.kind == "i" and column.ndim == 1))
    offset, length, split = (table[name] for name in ("offset", "length", "split"))
    _check(folder, "offset", not documents or offset.min() >= 0)
    _check(folder, "length", not documents or bool(length.min() >= 0 and (length <= tokens - offset).all()))
    _check(folder, "split", not documents or bool(split.min() >= 0 and split.max() < len(facts.split_names)))
    if "label" in table:
        _check(folder, "label", _fits_classes(table["label"], len(facts.label_names)))
    return table


def _load_column(path: Path) -> np.ndarray:
    try:
        with clear_read_errors(path):
            array: np.ndarray = np.load(path, mmap_mode="r")
            return array
    except FolderError:
        raise
    except Exception as error:  # NumPy's parser of the header raises whatever the header leads it to
        raise FolderError(f"{path}: not a readable array ({error}); prepare the corpus again") from error


def _fits_classes(labels: np.ndarray, classes: int) -> bool:
    """Tell whether labels are class ids, a row of booleans for each document, or numbers."""
    if labels.dtype.kind == "i":
        return labels.ndim == 1 and (not len(labels) or bool(labels.min() >= -1 and labels.max() < classes))
    if labels.dtype.kind == "b":
        return labels.ndim == 2 and labels.shape[1] == classes
    return labels.dtype.kind == "f" and labels.ndim == 1 and classes == 0


def _check(folder: Path, name: str, is_right: bool) -> None:
    if not is_right:
        raise FolderError(f"{folder / name}.npy: does not fit the corpus; it was altered: prepare the corpus again")
