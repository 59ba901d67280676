"""Labels: from a column's value to a document's label, and from labels to classes."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ulmkit.errors import DataError, did_you_mean
from ulmkit.text.read.document import Label, whole_characters

LABEL_SEPARATOR = "|"  # between several labels written in one string


def parse_label(value: Any, task: str, place: str, class_names: Sequence[str] = ()) -> Label | None:
    """The label that a column's value stands for.

    Args:
        value: as the file has it: text, number, list or None.
        task: one of TASKS. "multi" takes a list, or a string with "|" between labels; "tokens" a list. An empty list,
            or "|" alone, is none of the labels.
        place: file and line, for messages.
        class_names: names of integer labels, where the data carries them; -1 then means no label.
    Returns: None, not labelled, also for an empty or blank string and NaN.
    Raises: DataError if the value does not fit the task.
    """
    if value is None or task == "none":
        return None
    if task == "number":
        return _parse_number(value, place)
    if task in ("multi", "tokens"):
        return _parse_several(value, task, place, class_names)
    if isinstance(value, (list, tuple)):
        raise DataError(f'{place}: expected one label, got {value!r}; for several labels say task="multi"')
    return _parse_name(value, place, class_names)


def _parse_number(value: Any, place: str) -> float | None:
    if isinstance(value, str) and not value.strip():
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise DataError(f'{place}: expected a number as label (task="number"), got {value!r}') from None
    if math.isinf(number):
        raise DataError(f"{place}: expected a finite number as label, got {value!r}")
    return None if math.isnan(number) else number


def _parse_several(value: Any, task: str, place: str, class_names: Sequence[str]) -> tuple[str, ...] | None:
    if task == "multi" and isinstance(value, (str, int, float)):
        if _parse_name(value, place, class_names) is None:
            return None
        if isinstance(value, str):
            value = [part.strip() for part in value.split(LABEL_SEPARATOR) if part.strip()]
        else:
            value = [value]
    if not isinstance(value, (list, tuple)):
        raise DataError(f'{place}: expected a list of labels (task="{task}"), got {value!r}')
    names = [_parse_name(item, place, class_names) for item in value]
    if None in names:
        raise DataError(f"{place}: expected a label in every place of the list, got {value!r}")
    several = tuple(name for name in names if name is not None)
    return several if task == "tokens" else tuple(dict.fromkeys(several))


def _parse_name(value: Any, place: str, class_names: Sequence[str]) -> str | None:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float):
        if not value.is_integer():
            raise DataError(f'{place}: expected a class as label, got {value!r}; for numbers say task="number"')
        value = int(value)
    if class_names and isinstance(value, int):
        if value == -1:
            return None
        if not 0 <= value < len(class_names):
            raise DataError(f"{place}: expected a label from 0 to {len(class_names) - 1}, got {value}")
        return class_names[value]
    return whole_characters(str(value))


def order_label_names(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in the order of their ids: by value if all are whole numbers, else by text."""
    distinct = set(names)
    if all(re.fullmatch(r"-?[0-9]+", name) for name in distinct):
        return tuple(sorted(distinct, key=lambda name: (int(name), name)))
    return tuple(sorted(distinct))


def check_classes(by_split: Mapping[str, Iterable[str]], task: str) -> None:
    """Check that the classes can be learnt from the train split.

    Args: by_split: the class names that occur in each split. task: one of TASKS.
    Raises: DataError if train has no label, has one class only where one of several is to be told,
        or if another split has a class that train never shows.
    """
    train = set(by_split.get("train", ()))
    if not train:
        have = ", ".join(f"{split} {len(set(names))}" for split, names in by_split.items()) or "none"
        raise DataError(
            f"labels: expected labelled documents in the train split, got none (classes by split: {have}); name the "
            'label column with label_column, or say task="none"'
        )
    if len(train) == 1 and task in ("single", "pair", "tokens"):
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
