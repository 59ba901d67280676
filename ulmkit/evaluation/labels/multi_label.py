"""Metrics of any number of labels per document."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ulmkit.config import check_probability
from ulmkit.errors import DataError
from ulmkit.evaluation.labels.classification import class_metrics
from ulmkit.evaluation.metrics import (
    SMALLEST_PROBABILITY,
    ClassMetrics,
    GroupError,
    Report,
    class_table,
    errors_by_column,
    group_tables,
    macro_f1,
    metrics_from_counts,
    wilson_interval,
)
from ulmkit.tables import text_table


@dataclass(frozen=True)
class MultiLabelReport(Report):
    """Metrics of a multi-label classifier on labelled documents.

    Attributes:
        documents: Number of documents.
        threshold: Least probability of a predicted label.
        micro_f1: F1 over all decisions on labels together; None where undefined.
        macro_f1: Mean F1 over the labels; None where undefined.
        subset_accuracy: Share of documents with exactly the right set of labels.
        subset_accuracy_interval: Its 95% Wilson interval.
        majority_subset_accuracy: Subset accuracy of always answering the most frequent set of these documents.
        binary_cross_entropy: In nats per document and label; a probability below 1e-15 counts as 1e-15.
        classes: Metrics of each label.
        by: Share of documents with a wrong set, by the values of each column asked for.
    """

    documents: int
    threshold: float
    micro_f1: float | None
    macro_f1: float | None
    subset_accuracy: float
    subset_accuracy_interval: tuple[float, float]
    majority_subset_accuracy: float
    binary_cross_entropy: float
    classes: tuple[ClassMetrics, ...]
    by: Mapping[str, tuple[GroupError, ...]]

    def validation_metrics(self) -> dict[str, float]:
        """The metrics to show during training: the loss first."""
        error = 1.0 - self.subset_accuracy  # with many labels 1 for long, so it would hide the progress
        return {"loss": self.binary_cross_entropy, "error": error, "micro_f1": self.micro_f1 or 0.0}

    def table(self) -> str:
        """The metrics as plain text."""
        low, high = self.subset_accuracy_interval
        summary = [
            ("documents", self.documents),
            ("micro F1", self.micro_f1),
            ("macro F1", self.macro_f1),
            ("subset accuracy", f"{self.subset_accuracy:.4f} (95%: {low:.4f} to {high:.4f})"),
            ("most frequent set", self.majority_subset_accuracy),
            ("binary cross-entropy", self.binary_cross_entropy),
        ]
        return "\n\n".join(
            [text_table(("metric", "value"), summary), class_table(self.classes), *group_tables(self.by)]
        )


def evaluate_multi(
    probabilities: np.ndarray,
    targets: np.ndarray,
    label_names: Sequence[str],
    *,
    threshold: float = 0.5,
    by: Mapping[str, Sequence[object]] | None = None,
) -> MultiLabelReport:
    """Evaluate label probabilities against true label sets.

    Args:
        probabilities: (N, C) float in [0, 1].
        targets: (N, C) bool.
        label_names: C names.
        threshold: Least probability of a predicted label.
        by: Columns with a value for each document, to break the error rate down by.

    Raises:
        DataError: If shapes or probabilities are not as above.
        ConfigError: Unless 0 <= threshold < 1.
    """
    check_probability("threshold", threshold)
    probabilities, targets = np.asarray(probabilities, dtype=np.float64), np.asarray(targets, dtype=bool)
    if targets.ndim != 2 or targets.shape[0] == 0 or targets.shape[1] != len(label_names):
        raise DataError(f"targets: expected shape (documents, {len(label_names)}) with documents, got {targets.shape}")
    if probabilities.shape != targets.shape:
        raise DataError(f"probabilities: expected shape {targets.shape}, got {probabilities.shape}")
    if not np.all((probabilities >= 0) & (probabilities <= 1)):
        raise DataError("probabilities: expected values from 0 to 1; give probabilities, not logits")
    predicted = probabilities >= threshold
    classes = class_metrics(label_names, probabilities, predicted, targets)
    hits = int((predicted & targets).sum())
    true_probability = np.maximum(np.where(targets, probabilities, 1.0 - probabilities), SMALLEST_PROBABILITY)
    right = (predicted == targets).all(axis=1)
    most_frequent = np.unique(targets, axis=0, return_counts=True)[1].max()
    return MultiLabelReport(
        documents=len(targets),
        threshold=threshold,
        micro_f1=metrics_from_counts("all", hits, int(predicted.sum()), int(targets.sum())).f1,
        macro_f1=macro_f1(classes),
        subset_accuracy=float(right.mean()),
        subset_accuracy_interval=wilson_interval(int(right.sum()), len(right)),
        majority_subset_accuracy=float(most_frequent / len(targets)),
        binary_cross_entropy=float(-np.log(true_probability).mean()),
        classes=classes,
        by=errors_by_column(~right, by),
    )
