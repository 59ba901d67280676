"""Any number of labels per text."""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ulmkit.evaluation.labels.multi_label import evaluate_multi
from ulmkit.tasks.task import HeadOptions, Outputs, Report, Task, named_probabilities
from ulmkit.text import LABEL_SEPARATOR, Document, EncodedCorpus, Text
from ulmkit.text.read.labels import parse_class, parse_classes

if TYPE_CHECKING:
    from ulmkit.model.heads import HeadConfig, MultiLabelConfig


class MultiLabel(Task):
    """Any number of labels per text, none included."""

    name = "multi"
    summary = "any number of labels per text"
    label_columns = ("labels", "label")
    min_classes = 1
    has_errors_by_column = True

    @property
    def head_type(self) -> "type[MultiLabelConfig]":
        """Config of the head."""
        from ulmkit.model.heads import MultiLabelConfig

        return MultiLabelConfig

    def parse(self, value: Any, place: str, class_names: Sequence[str] = ()) -> tuple[str, ...] | None:
        """Convert a list, or a string with "|" between labels, into class names, each once.

        An empty list, or "|" alone, is a document with none of the labels.
        """
        if value is None or isinstance(value, (str, int, float)):
            if parse_class(value, place, class_names) is None:
                return None
            parts = map(str.strip, value.split(LABEL_SEPARATOR)) if isinstance(value, str) else [value]
            value = [part for part in parts if part != ""]
        return tuple(dict.fromkeys(parse_classes(value, place, class_names)))

    def check(self, document: Document, place: str) -> Hashable | None:
        """Check that the label is a tuple of class names, and sort them."""
        self._check_label(document.label, tuple, "a tuple of class names", place)
        return None if document.label is None else tuple(sorted(set(cast("tuple[str, ...]", document.label))))

    def encode(self, labels: Sequence[Hashable], label_names: Sequence[str]) -> np.ndarray:
        """Encode labels as (n + 1, C) bool."""
        ids = {name: number for number, name in enumerate(label_names)}
        rows = np.zeros((len(labels) + 1, len(label_names)), dtype=bool)
        for row, names in zip(rows, labels, strict=False):
            row[[ids[name] for name in cast("tuple[str, ...]", names)]] = True
        return rows

    def head_config(self, corpus: EncodedCorpus, rows: np.ndarray, options: HeadOptions) -> "HeadConfig":
        """Configure the head; balanced weights are (n - n_c) / n_c for a label that n_c of n documents have."""
        weights = None
        if options.is_balanced:
            counts = np.clip(corpus.labels(rows).sum(axis=0), 1, len(rows) - 1)
            weights = tuple(((len(rows) - counts) / counts).tolist())
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
