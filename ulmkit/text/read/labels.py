"""Kinds of labels, as far as text is concerned: read from a column, checked, and encoded into a corpus's table."""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ulmkit.errors import DataError, did_you_mean
from ulmkit.text.characters import normalise
from ulmkit.text.read.document import Document, Label

LABEL_SEPARATOR = "|"  # between several labels written in one string


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


def parse_class(value: Any, place: str, class_names: Sequence[str] = ()) -> str | None:
    """Convert the value of a column into a class name; see `LabelKind.parse`."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, (list, tuple)):
        raise DataError(f"{place}: expected one class as label, got {value!r}")
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if not value.is_integer():
            raise DataError(f"{place}: expected a class as label, got {value!r}; for numbers choose another task")
        value = int(value)
    if class_names and isinstance(value, int):
        if value == -1:
            return None
        if not 0 <= value < len(class_names):
            raise DataError(f"{place}: expected a label from 0 to {len(class_names) - 1}, got {value}")
        return class_names[value]
    return normalise(str(value))


def parse_classes(value: Any, place: str, class_names: Sequence[str] = ()) -> tuple[str, ...]:
    """Convert a list of values into class names; see `LabelKind.parse`."""
    if not isinstance(value, (list, tuple)):
        raise DataError(f"{place}: expected a list of labels, got {value!r}")
    names = [parse_class(item, place, class_names) for item in value]
    known = tuple(name for name in names if name is not None)
    if len(known) < len(names):
        raise DataError(f"{place}: expected a label at each position of the list, got {value!r}")
    return known


def order_label_names(names: Iterable[str]) -> tuple[str, ...]:
    """Sort class names into the order of their ids: by value if all are integers, else as text."""
    distinct = set(names)
    if all(re.fullmatch(r"-?[0-9]+", name) for name in distinct):
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
            'label column with label_column, or say task="none"'
        )
    if len(train) < min_classes:
        raise DataError(f"labels: expected at least two classes in the train split, got one: {next(iter(train))!r}")
    for split, names in by_split.items():
        unseen = order_label_names(set(names) - train)
        if unseen:
            listing = ", ".join(repr(name) for name in unseen[:10]) + (", ..." if len(unseen) > 10 else "")
            raise DataError(
                f"labels: expected every class of the {split} split to be in the train split, got {listing} in "
                f"{split} alone; correct the labels or choose another split"
            )


def check_known(names: Iterable[str], label_names: Sequence[str]) -> None:
    """Raise DataError naming the first of `names` that is not one of `label_names`."""
    known = set(label_names)
    for name in order_label_names(names):
        if name not in known:
            raise DataError(f"labels: got {name!r}, which the model does not know; {did_you_mean(name, label_names)}")
