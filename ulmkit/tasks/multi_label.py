"""Any number of labels per text."""

from collections.abc import Hashable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ulmkit.errors import DataError
from ulmkit.evaluation.labels.multi_label import evaluate_multi
from ulmkit.tasks.task import HeadOptions, Outputs, Report, Task, named_probabilities
from ulmkit.text import LABEL_SEPARATOR, Document, EncodedCorpus, Text
from ulmkit.text.read.labels import (
    are_indicators,
    are_vectors,
    clean_name,
    joined_names,
    list_in_text,
    list_names,
    parse_class,
    parse_classes,
    parse_indicators,
    plain_value,
)

if TYPE_CHECKING:
    from ulmkit.model.heads import HeadConfig, MultiLabelConfig

_OTHER_SEPARATORS = ",;"
_DOUBTFUL_SEPARATORS = "/+& \t"  # which names often hold
_LIST_FORM = '["a", "b"]'
_NAME_PLACES = (
    "if they mark which labels a text has, write the names of those marked 1 as a|b or as a list, or give each label a "
    "column and name them all (--label-column several times, DataOptions(label_column=[...]))"
)


class MultiLabel(Task):
    """Any number of labels per text, none included."""

    name = "multi"
    summary = "any number of labels per text"
    label_columns = ("labels", "label")
    min_classes = 1
    has_independent_labels = True
    has_errors_by_column = True

    @property
    def head_type(self) -> "type[MultiLabelConfig]":
        """Config of the head."""
        from ulmkit.model.heads import MultiLabelConfig

        return MultiLabelConfig

    def parse(self, value: Any, place: str, class_names: Sequence[str] = ()) -> tuple[str, ...] | None:
        """Convert a list, or text with "|" between labels or with a list of JSON or Python, into class names.

        An empty list, or "|" alone, is a document with none of the labels.
        """
        value = plain_value(value)
        if isinstance(value, str):
            value = _split_text(clean_name(value), place)
        if value is None or isinstance(value, (int, float, Decimal)):
            name = parse_class(value, place, class_names)
            return None if name is None else (name,)
        names = parse_classes(value, place, class_names)
        _check_distinct(names, place)
        return names

    def parse_columns(self, cells: Mapping[str, Any], place: str) -> tuple[str, ...] | None:
        """Convert a row with one column of 0 and 1 per label into the labels that it has."""
        return parse_indicators(cells, place)

    def check(self, document: Document, place: str) -> Hashable | None:
        """Check that the label is a tuple of distinct class names, and sort them."""
        self._check_label(document.label, tuple, "a tuple of class names", place)
        if not isinstance(document.label, tuple):
            return None
        _check_distinct(document.label, place)
        return tuple(sorted(document.label))

    def label_names(self, by_split: Mapping[str, set[str]], known: Sequence[str] | None) -> tuple[str, ...]:
        """Name the classes in the order of their ids.

        Raises:
            DataError: If the labels are 0 and 1 alone, or all that hold a comma or a semicolon look like lists.
        """
        if known is None:
            names = set().union(*by_split.values())
            if names and (are_indicators(names) or are_vectors(names)):
                raise DataError(f"labels: expected names, got {' and '.join(sorted(names)[:4])} alone; {_NAME_PLACES}")
            for separator in _OTHER_SEPARATORS:
                joined = joined_names(names, separator)
                if joined and len(joined) == sum(separator in name for name in names):
                    raise DataError(
                        f'labels: expected "{LABEL_SEPARATOR}" between the labels of a text, got {list_names(joined)}; '
                        f"write a{LABEL_SEPARATOR}b, or a list: {_LIST_FORM}"
                    )
        return super().label_names(by_split, known)

    def name_warnings(self, label_names: Sequence[str]) -> list[str]:
        """Warn of class names that may not be what they seem, those with a comma or a semicolon among them."""
        warnings = super().name_warnings(label_names)
        if doubtful := [name for name in label_names if any(mark in name for mark in _OTHER_SEPARATORS)]:
            warnings.append(
                f"labels with a comma or a semicolon are one label each: {list_names(doubtful)}; if they are several, "
                f"write a{LABEL_SEPARATOR}b"
            )
        for mark in _DOUBTFUL_SEPARATORS:
            if joined := joined_names(label_names, mark):
                warnings.append(
                    f"labels that look like lists are one label each: {list_names(joined)}; if they are several, write "
                    f"a{LABEL_SEPARATOR}b"
                )
        return warnings

    def encode(self, labels: Sequence[Hashable], label_names: Sequence[str]) -> np.ndarray:
        """Encode labels as (n + 1, C) bool."""
        ids = {name: number for number, name in enumerate(label_names)}
        rows = np.zeros((len(labels) + 1, len(label_names)), dtype=bool)
        for row, names in zip(rows, labels, strict=False):
            row[[ids[name] for name in cast("tuple[str, ...]", names)]] = True
        return rows

    def class_weights(self, corpus: EncodedCorpus, rows: np.ndarray, options: HeadOptions) -> tuple[float, ...] | None:
        """Weight of each label's positives; balanced ones are (n - n_c) / n_c for one that n_c of n documents have."""
        if not options.is_balanced:
            return options.named_weights(corpus.label_names)
        counts = np.clip(corpus.labels(rows).sum(axis=0), 1, len(rows) - 1)
        return tuple(((len(rows) - counts) / counts).tolist())

    def head_config(self, corpus: EncodedCorpus, rows: np.ndarray, options: HeadOptions) -> "HeadConfig":
        """Configure the head."""
        weights = self.class_weights(corpus, rows, options)
        return self.head_type(classes=len(corpus.label_names), positive_weights=weights, **options.sizes())

    def report(self, outputs: Outputs, corpus: EncodedCorpus, rows: np.ndarray, by: Sequence[str] = ()) -> Report:
        """Evaluate label probabilities (n, C); see `evaluate_multi`."""
        columns = {name: corpus.column(name, rows) for name in by}
        return evaluate_multi(np.asarray(outputs), corpus.labels(rows), corpus.label_names, by=columns)

    def document_scores(self, outputs: Outputs, corpus: EncodedCorpus, rows: np.ndarray) -> tuple[str, np.ndarray]:
        """Score 1 for exactly the right labels, else 0."""
        is_right = (np.asarray(outputs) >= 0.5) == corpus.labels(rows).astype(bool)
        return "subset accuracy", is_right.all(axis=1).astype(float)

    def decide(
        self, outputs: Outputs, texts: Sequence[Text], label_names: Sequence[str], threshold: float = 0.5
    ) -> list[list[str]]:
        """Choose the labels of each text whose probability is at least `threshold`."""
        return [[name for name, p in zip(label_names, row, strict=True) if p >= threshold] for row in outputs]

    def answer_fields(self, output: np.ndarray, label_names: Sequence[str]) -> dict[str, Any]:
        """Return the probabilities of all labels."""
        return {"probabilities": named_probabilities(output, label_names)}

    def count_answers(self, answers: Sequence[Any], label_names: Sequence[str]) -> dict[str, int]:
        """Count how often each label was predicted."""
        return super().count_answers([name for names in answers for name in names], label_names)


def _split_text(text: str, place: str) -> list[Any] | None:
    """Split the text of a cell into labels, each once; None if it is empty."""
    if not text:
        return None
    listed = list_in_text(text)
    if listed is not None:
        return listed
    if text.startswith("[") and text.endswith("]"):
        raise DataError(
            f"{place}: expected labels as a{LABEL_SEPARATOR}b or as a list {_LIST_FORM}, got {text!r:.80}; put each "
            "name in quotes"
        )
    return list(dict.fromkeys(part.strip() for part in text.split(LABEL_SEPARATOR) if part.strip()))


def _check_distinct(names: Sequence[str], place: str) -> None:
    """Raise DataError if a label occurs twice, as 0 and 1 do in a vector that marks the labels of a text."""
    if len(set(names)) == len(names):
        return
    if are_indicators(names):
        raise DataError(
            f"{place}: expected names of labels, got a vector of {' and '.join(sorted(set(names)))}; {_NAME_PLACES}"
        )
    twice = next(name for name in names if names.count(name) > 1)
    raise DataError(f"{place}: expected each label once, got {twice!r} twice; drop the second")
