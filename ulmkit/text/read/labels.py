"""Kinds of labels, as far as text is concerned: read from a column, checked, and encoded into a corpus's table."""

import ast
import json
import math
import re
import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from ulmkit.errors import DataError, did_you_mean
from ulmkit.text.characters import drop_invisible
from ulmkit.text.read.document import Document, Label

LABEL_SEPARATOR = "|"  # between several labels written in one string

_MISSING_TYPES = ("NAType", "NaTType")  # of pandas, which is not imported
_CONVERSIONS = ("tolist", "as_py", "to_pylist", "to_list")  # of numpy, torch and pandas; of Arrow; of polars
_MAX_BITS = 1024  # of a class that is a whole number
_LARGEST_EXACT = 2**53  # whole number up to which floats are all apart
_INDICATORS = {"0": False, "1": True, "false": False, "true": True}

_ITEM = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[-+.\w]+)"""
_LIST = re.compile(rf"[\[({{]\s*(?:{_ITEM}(?:\s*,\s*{_ITEM})*\s*,?\s*)?[\])}}]", re.DOTALL)
_OBJECT = re.compile(r"""\{\s*(['"]).*?\1\s*:.*\}|b(['"]).*\2|tensor\(.*\)""", re.DOTALL)
_SHOWN_CHARACTERS = 60  # of a name in a list
_QUOTES = "\"'`“”„‘’‚"
_VARIATION = re.compile("[\ufe00-\ufe0f]")  # selectors, such as the one that asks for the picture of an emoji
_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.([0-9]*))?")
_VECTOR = re.compile(r"[01](?:[\s,;][01])+")
_SPELLED_VECTOR = re.compile(r"[01]{2,}")
_FIRST_ZEROS = re.compile(r"\b0+(?=[0-9]+$)")
_MISSING_NAMES = ("nan", "na", "n/a", "<na>", "nat", "null")  # and "None" of Python; "none" is a usual class


class LabelKind(ABC):
    """A kind of label: how it is read, checked and stored.

    Attributes:
        name: The name that users and files give it.
        label_columns: Columns that hold the label by default; the first one that exists is read.
        per_word: Whether each word has a label, so that documents are lists of words.
        text_fields: Number of texts in a document; 1 accepts any number.
    """

    name: str
    label_columns: tuple[str, ...] = ("label",)
    per_word: bool = False
    text_fields: int = 1

    @abstractmethod
    def parse(self, value: Any, place: str, class_names: Sequence[str] = ()) -> Label | None:
        """Convert the value of a column into a label.

        Args:
            value: The value in the file: text, number, list or None.
            place: File and line, for error messages.
            class_names: Names of integer labels, if the data has them; -1 then means unlabelled.

        Returns:
            The label; None (unlabelled) for None, NaN, and an empty or blank string.

        Raises:
            DataError: If the value is not a label of this kind.
        """

    def parse_columns(self, cells: Mapping[str, Any], place: str) -> Label | None:
        """Convert the cells of several label columns into a label.

        Args:
            cells: Values by column, at least two.
            place: File and line, for error messages.

        Raises:
            DataError: If a cell does not fit, or labels of this kind are in one column.
        """
        raise DataError(
            f'label_column: expected one column (task="{self.name}"), got {", ".join(cells)}; for one column per label '
            'say task="multi"'
        )

    @abstractmethod
    def check(self, document: Document, place: str) -> Hashable | None:
        """Check that a document and its label fit this kind.

        Returns:
            The label in the form that `encode` takes; None for an unlabelled document.

        Raises:
            DataError: If they do not fit.
        """

    @abstractmethod
    def label_names(self, by_split: Mapping[str, set[str]], known: Sequence[str] | None) -> tuple[str, ...]:
        """Name the classes in the order of their ids; () if the labels are no classes.

        Args:
            by_split: The labels that occur in each split, as text.
            known: The classes of an existing model, which these must be among; None takes the classes that occur.

        Raises:
            DataError: If a class is not in `known`, or cannot be learned from the train split.
        """

    def name_warnings(self, label_names: Sequence[str]) -> list[str]:
        """Warn of class names that may not be what they seem; look-alikes are in the report of what was read.

        Args:
            label_names: The classes by id.

        Returns:
            A sentence for each kind of doubt.
        """
        missing = [name for name in label_names if name.lower() in _MISSING_NAMES or name == "None"]
        if not missing:
            return []
        return [
            f"labels that look like missing values are classes: {list_names(missing)}; leave the label of an "
            "unlabelled document empty"
        ]

    @abstractmethod
    def encode(self, labels: Sequence[Hashable], label_names: Sequence[str]) -> np.ndarray | None:
        """Encode labels as numbers.

        Args:
            labels: n distinct labels, as `check` returns them.
            label_names: The classes by id.

        Returns:
            (n + 1,) or (n + 1, C): a row per label and a last row for unlabelled documents. None if documents have no
            label of their own.
        """


class NoLabels(LabelKind):
    """Text without labels: any that the data has are ignored."""

    name = "none"
    label_columns = ()

    def parse(self, value: Any, place: str, class_names: Sequence[str] = ()) -> None:
        """Ignore the value."""

    def check(self, document: Document, place: str) -> None:
        """Accept every document as unlabelled."""

    def label_names(self, by_split: Mapping[str, set[str]], known: Sequence[str] | None) -> tuple[str, ...]:
        """Return no classes."""
        return ()

    def encode(self, labels: Sequence[Hashable], label_names: Sequence[str]) -> None:
        """Return no column."""


NO_LABELS = NoLabels()


def plain_value(value: Any) -> Any:
    """Convert a scalar, array or column of numpy, torch, pandas, polars or Arrow into Python's own values.

    Types are recognized by name and by method, so that none of these packages is imported.

    Returns:
        The value, a list for an array or a column; None for a missing value: None, NaN, pandas' NA and NaT, and
        numpy's NaT.
    """
    if isinstance(value, (str, type)):
        return value
    if isinstance(value, (np.generic, np.ndarray)) and value.dtype.kind in "mM":  # tolist() makes nanoseconds an int
        if value.ndim:
            return list(np.asarray(value))
        return None if np.isnat(value) else value
    method = next((name for name in _CONVERSIONS if hasattr(value, name)), None)
    if method is not None:
        value = getattr(value, method)()
    if type(value).__name__ in _MISSING_TYPES or (isinstance(value, float) and math.isnan(value)):
        return None
    return None if isinstance(value, Decimal) and value.is_nan() else value


def clean_name(name: str) -> str:
    """Write the name of a class in NFC, without invisible characters and white space around it.

    Invisible characters stay where the script needs them, as in text: names that look the same are one class.
    """
    return drop_invisible(name).strip()


def clean_label(label: Label | None) -> Label | None:
    """Clean the names in a document's label; a blank one is no label."""
    if isinstance(label, str):
        return clean_name(label) or None
    if isinstance(label, tuple):
        return tuple(clean_name(name) if isinstance(name, str) else name for name in label)
    return label


def parse_class(value: Any, place: str, class_names: Sequence[str] = ()) -> str | None:
    """Convert the value of a column into a class name; see `LabelKind.parse`.

    A class is text, a whole number (1.0 is 1) or a bool; missing values are None.
    """
    value = plain_value(value)
    if isinstance(value, str):
        name = clean_name(value)
        if _OBJECT.fullmatch(name) or list_in_text(name) is not None:
            raise DataError(f"{place}: {_refusal(value)}")
        return name or None
    if isinstance(value, (float, Decimal)):
        if not math.isfinite(value) or value != int(value):
            raise DataError(
                f'{place}: expected a class as label, got {value!r}; for a number per text say task="number"'
            )
        if isinstance(value, float) and abs(value) > _LARGEST_EXACT:
            raise DataError(
                f"{place}: expected a class as label, got {value!r}, a float too large to be exact; read the column as "
                "text (pandas makes whole numbers floats where some are missing)"
            )
        value = int(value)
    if value is None:
        return None
    if not isinstance(value, int):
        raise DataError(f"{place}: {_refusal(value)}")
    if value.bit_length() > _MAX_BITS:
        raise DataError(f"{place}: expected a class as label, got a whole number of {value.bit_length():,} bits")
    if class_names and not isinstance(value, bool):
        if value == -1:
            return None
        if not 0 <= value < len(class_names):
            raise DataError(f"{place}: expected a label from 0 to {len(class_names) - 1}, got {value}")
        return clean_name(class_names[value])
    return str(value) if isinstance(value, bool) else int.__repr__(value)


def _refusal(value: Any) -> str:
    """Say why a value is no class, and what to do."""
    if isinstance(value, (list, tuple, set, frozenset)) or (
        isinstance(value, str) and list_in_text(clean_name(value)) is not None
    ):
        return f'expected one label, got {value!r:.80}; for several labels say task="multi"'
    advice = "write it as text"
    if isinstance(value, (Mapping, str)):
        advice = "give the name of the class alone"
    if isinstance(value, (bytes, bytearray)) or (isinstance(value, str) and value.strip().startswith("b")):
        advice = "decode the bytes"
    return f"expected text, a whole number or a bool as label, got {value!r:.80} ({type(value).__name__}); {advice}"


def parse_classes(value: Any, place: str, class_names: Sequence[str] = ()) -> tuple[str, ...]:
    """Convert a list of values into class names; see `LabelKind.parse`."""
    value = plain_value(value)
    if isinstance(value, (set, frozenset)):
        value = sorted(value, key=str)
    if not isinstance(value, (list, tuple)):
        raise DataError(f'{place}: expected a list of labels, got {value!r:.80}; give their names: ["a", "b"]')
    if any(isinstance(plain_value(item), (list, tuple, set, Mapping)) for item in value):
        raise DataError(
            f'{place}: expected a list of names, got {value!r:.80}; give the names of the labels alone: ["a", "b"]'
        )
    names = [parse_class(item, place, class_names) for item in value]
    known = tuple(name for name in names if name is not None)
    if len(known) < len(names):
        raise DataError(f"{place}: expected a label at each position of the list, got {value!r:.80}")
    return known


def list_in_text(text: str) -> list[Any] | None:
    """Read a list of names or numbers written as JSON or as Python prints it; None if a text is no such list."""
    if text == "set()":  # as Python prints an empty one
        return []
    if not _LIST.fullmatch(text):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError):
            continue
        return list(value) if isinstance(value, (list, tuple, set)) else None
    return None


def parse_indicators(cells: Mapping[str, Any], place: str) -> tuple[str, ...] | None:
    """Convert a row with one column per label into the names of the labels that it has.

    Args:
        cells: By label, whether the document has it: 0 or 1, false or true, as numbers, bools or text.
        place: File and line, for error messages.

    Returns:
        The labels; None (unlabelled) if all cells are empty.

    Raises:
        DataError: If a cell is anything else, or some of the cells are empty.
    """
    names = {column: parse_class(value, f"{place}: column {column!r}") for column, value in cells.items()}
    if all(name is None for name in names.values()):
        return None
    for column, name in names.items():
        if name is None or whole_name(name).lower() not in _INDICATORS:
            shown = "an empty cell" if name is None else repr(name)
            raise DataError(f"{place}: column {column!r}: expected 0 or 1, true or false, got {shown}")
    return tuple(clean_name(column) for column, name in names.items() if _INDICATORS[whole_name(name or "").lower()])


def are_indicators(names: Iterable[str]) -> bool:
    """Tell whether all names are 0, 1, true or false, as in a vector that marks the labels of a document."""
    return all(whole_name(name).lower() in _INDICATORS for name in names)


def are_vectors(names: Collection[str]) -> bool:
    """Tell whether all names are vectors of 0 and 1 of one length, as "0 1 1", or "011" where one begins with 0."""
    if len(set(map(len, names))) > 1:
        return False
    is_spelled = all(map(_SPELLED_VECTOR.fullmatch, names)) and any(name.startswith("0") for name in names)
    return is_spelled or all(map(_VECTOR.fullmatch, names))


def whole_name(name: str) -> str:
    """Drop the zeros after the decimal point of a whole number: "1.0" is "1"; other names stay."""
    match = _NUMBER.fullmatch(name)
    return name.partition(".")[0] if match and not (match[1] or "").strip("0") else name


def join_whole_numbers(by_split: Mapping[str, set[str]], known: Sequence[str] | None) -> dict[str, set[str]]:
    """Give each class that is a whole number one spelling: "1.0" is "1".

    All labels together decide: where some number has decimals, such as "401.9" among the codes of diseases, names stay
    as they are.

    Args:
        by_split: The class names that occur in each split.
        known: The classes of an existing model, whose spelling is kept; or None.

    Returns:
        `by_split` with the names of the classes.

    Raises:
        DataError: If all names are numbers and some have decimals, so that they are no classes.
    """
    kept = set(known or ())
    names = set().union(*by_split.values()) - kept
    numbers = [name for name in names if _NUMBER.fullmatch(name)]
    decimals = sorted(name for name in numbers if not whole_name(name).lstrip("+-").isdigit())
    if known is None and decimals and len(numbers) == len(names):
        raise DataError(
            f"labels: expected classes, got numbers with decimals such as {decimals[0]!r}; for a number per text say "
            'task="number"; if they are names, write them with a letter, such as "v1.5"'
        )
    if decimals:
        return dict(by_split)
    return {
        split: {name if name in kept else whole_name(name) for name in occurring}
        for split, occurring in by_split.items()
    }


def joined_names(names: Iterable[str], separator: str) -> list[str]:
    """Find the names that look like lists: all that stands between their separators occurs in other names too."""
    parts = {name: [part.strip() for part in name.split(separator)] for name in set(names)}
    counts = Counter(part for each in parts.values() for part in set(each))
    return sorted(name for name, each in parts.items() if len(each) > 1 and all(counts[part] > 1 for part in each))


def look_alikes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Group the names that look alike.

    They differ only by case, space, "_" or "-" in words, ".0" or zeros before a number, quotes around them, Unicode
    form or invisible characters.

    Args:
        names: Names of classes.

    Returns:
        The groups of at least two names, in the order of the names.
    """
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        folded = _VARIATION.sub("", unicodedata.normalize("NFKC", drop_invisible(name))).casefold().strip(_QUOTES)
        joined = re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])|\s+", "", folded)
        groups.setdefault(_FIRST_ZEROS.sub("", whole_name(joined)), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def list_names(names: Sequence[str]) -> str:
    """List names in quotes, the first ten."""
    shown = (name if len(name) <= _SHOWN_CHARACTERS else f"{name[:_SHOWN_CHARACTERS]}..." for name in names[:10])
    return ", ".join(map(repr, shown)) + (", ..." if len(names) > 10 else "")


def order_label_names(names: Iterable[str]) -> tuple[str, ...]:
    """Sort class names into the order of their ids: by value if all are integers, else as text."""
    distinct = set(names)
    if all(re.fullmatch(r"-?[0-9]{1,300}", name) for name in distinct):
        return tuple(sorted(distinct, key=lambda name: (int(name), name)))
    return tuple(sorted(distinct))


def choose_label_names(
    by_split: Mapping[str, set[str]], known: Sequence[str] | None, min_classes: int
) -> tuple[str, ...]:
    """Name the classes of labels that are class names; see `LabelKind.label_names`.

    Args:
        by_split: The class names that occur in each split.
        known: The classes of an existing model, or None.
        min_classes: Number of classes that the train split needs at least.
    """
    occurring: set[str] = set().union(*by_split.values())
    if known is not None:
        check_known(occurring, known)
        return tuple(known)
    check_classes(by_split, min_classes)
    return order_label_names(occurring)


def check_classes(by_split: Mapping[str, Iterable[str]], min_classes: int) -> None:
    """Check that the classes can be learned from the train split.

    Args:
        by_split: The class names that occur in each split.
        min_classes: Number of classes that the train split needs at least, 1 or 2.

    Raises:
        DataError: If the train split has no labels or too few classes, or if another split has a class that the train
            split lacks.
    """
    train = set(by_split.get("train", ()))
    if not train:
        have = ", ".join(f"{split} {len(set(names))}" for split, names in by_split.items()) or "none"
        raise DataError(
            f"labels: expected labelled documents in the train split, got none (classes by split: {have}); name the "
            "label column with label_column"
        )
    held_out = {split: unseen for split, names in by_split.items() if (unseen := order_label_names(set(names) - train))}
    alone = " and ".join(f"{list_names(unseen)} in {split} alone" for split, unseen in held_out.items())
    advice = "give at least two documents of each class, correct the labels or choose another split"
    if len(train) < min_classes:
        only = f"{next(iter(train))!r}, and {alone}" if alone else f"{next(iter(train))!r}"
        if not alone:
            advice = "name another column with label_column, or add documents of another class"
        raise DataError(f"labels: expected at least two classes in the train split, got one: {only}; {advice}")
    if alone:
        splits = " and ".join(held_out)
        raise DataError(
            f"labels: expected every class of the {splits} split to be in the train split, got {alone}; {advice}"
        )


def check_known(names: Iterable[str], label_names: Sequence[str]) -> None:
    """Raise DataError naming the first of `names` that is not one of `label_names`."""
    known = set(label_names)
    for name in order_label_names(names):
        if name not in known:
            raise DataError(f"labels: got {name!r}, which the model does not know; {did_you_mean(name, label_names)}")
