"""A document: text, and what is known of it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ulmkit.errors import DataError
from ulmkit.files import parse_json

Label = str | float | tuple[str, ...]

_TRUE = ("true", "t", "yes", "y", "1", "1.0")
_FALSE = ("false", "f", "no", "n", "0", "0.0")
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "unsupervised": "unsupervised",
    "unsup": "unsupervised",
}
_SPLIT_SUFFIX = re.compile(r"(set|data|file)?\d*$")
_PRINTED = re.compile(r"\s*\[?\s*\{\s*'")


def parse_json_value(text: str, place: str) -> Any:
    """Parse JSON from a data file.

    Raises:
        DataError: If it is not JSON, is nested too deep, or holds an endless number; `place` names file and line.
    """
    try:
        return parse_json(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, " if error.lineno > 1 else ""
        advice = "; it seems to be printed by Python: write it with json.dumps" if _PRINTED.match(text) else ""
        raise DataError(f"{place}: not valid JSON ({error.msg} at {where}column {error.colno}){advice}") from None
    except ValueError as error:
        raise DataError(f"{place}: not valid JSON ({error})") from None


@dataclass(frozen=True, slots=True)
class Document:
    """One document, before tokenization.

    Attributes:
        text: The text, or a tuple of several (title and body, premise and hypothesis).
        label: A class name, a number, or a tuple of class names (several labels, or one per word); None or NaN if
            unknown.
        tokens: The text split into words, for a label per word.
        group: Author, patient or the like, for a split by groups that training never sees.
        time: Time of writing, in seconds since 1970 or any number that grows, for a split by time.
        split: "train", "valid", "test", "unsupervised" or a name of your own; None if the data does not say.
        columns: Further values by column name, such as those to break errors down by.
    """

    text: str | tuple[str, ...]
    label: Label | None = None
    tokens: tuple[str, ...] | None = None
    group: str | None = None
    time: float | None = None
    split: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> str | tuple[str, ...]:
        """The words if the document is split into words, else the text."""
        return self.text if self.tokens is None else self.tokens


def normalise_split(name: str) -> str:
    """The one name of a split: validation, val and dev are "valid"; other names stay, in lower case."""
    lowered = name.strip().lower()
    return _SPLIT_NAMES.get(lowered, lowered)


def parse_split(value: str, column: str, place: str) -> str:
    """Read the split of a row from a column.

    True and False (1 and 0, yes and no) are read where the column's name is that of one split: in is_test, False is
    "train"; in is_train, it is "test".

    Args:
        value: The cell, not blank.
        column: Name of the column.
        place: File and line, for messages.

    Raises:
        DataError: If the value is True or False and the column does not say of which split.
    """
    lowered = value.strip().lower()
    if lowered not in (*_TRUE, *_FALSE):
        return normalise_split(value)
    try:
        split = known_split(re.sub("([a-z])([A-Z])", r"\1_\2", column))
    except DataError:
        split = None
    if split is None:
        raise DataError(
            f"{place}: column {column!r}: expected the name of a split (train, valid, test), got {value!r}; write "
            "names, or call the column is_test, is_valid or is_train"
        )
    if lowered in _TRUE:
        return split
    return "test" if split == "train" else "train"


def known_split(name: str) -> str | None:
    """Read the split from a file or folder name; None if it says none.

    "train-00000-of-00001", "wiki.train.txt", "trainset", "test_data", "train2" and "train (1)" say one, "latest" none.

    Raises:
        DataError: If it says several.
    """
    parts = (_SPLIT_SUFFIX.sub("", part) for part in re.split(r"[._()\s-]+", name.lower()))
    splits = sorted({_SPLIT_NAMES[part] for part in parts if part in _SPLIT_NAMES})
    if len(splits) > 1:
        raise DataError(f"{name}: expected the name of one split, got {' and '.join(splits)}; rename it")
    return splits[0] if splits else None
