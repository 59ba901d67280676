"""Metrics of one label per document, or per pair of texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ulmkit.errors import DataError
from ulmkit.evaluation.metrics import (
    SMALLEST_PROBABILITY,
    ClassMetrics,
    GroupError,
    Report,
    class_table,
    errors_by_column,
    expected_calibration_error,
    group_tables,
    macro_f1,
    metrics_from_counts,
    wilson_interval,
)
from ulmkit.tables import text_table

_CONFUSION_CLASSES_SHOWN = 12


@dataclass(frozen=True)
class SingleLabelReport(Report):
    """Metrics of a single-label classifier on labelled documents.

    Attributes:
        documents: Number of documents.
        accuracy: Share of right labels.
        accuracy_interval: 95% Wilson interval of the accuracy.
        error: 1 - accuracy.
        majority_label: Most frequent label of the training documents.
        majority_accuracy: Accuracy of always answering `majority_label`.
        macro_f1: Mean F1 over the classes that occur or were predicted.
        roc_auc: With two classes that of the second, with more the mean of one against the rest; None unless every
            class occurs.
        calibration_error: Expected calibration error, 15 bins.
        negative_log_likelihood: In nats per document; a probability below 1e-15 counts as 1e-15.
        classes: Metrics of each class.
        confusion: A row per true class, a column per predicted class, in the order of `classes`.
        by: Error rates by the values of each column asked for.
    """

    documents: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    error: float
    majority_label: str
    majority_accuracy: float
    macro_f1: float | None
    roc_auc: float | None
    calibration_error: float
    negative_log_likelihood: float
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    by: Mapping[str, tuple[GroupError, ...]]

    def validation_metrics(self) -> dict[str, float]:
        """The metrics to show during training: the loss first."""
        return {"loss": self.negative_log_likelihood, "accuracy": self.accuracy}

    def table(self) -> str:
        """The metrics as plain text."""
        low, high = self.accuracy_interval
        summary = [
            ("documents", self.documents),
            ("accuracy", f"{self.accuracy:.4f} (95%: {low:.4f} to {high:.4f})"),
            ("majority class", f"{self.majority_accuracy:.4f} ({self.majority_label})"),
            ("error", self.error),
            ("macro F1", self.macro_f1),
            ("ROC-AUC", self.roc_auc),
            ("calibration error", self.calibration_error),
            ("log-loss", self.negative_log_likelihood),
        ]
        parts = [text_table(("metric", "value"), summary), class_table(self.classes)]
        if len(self.classes) <= _CONFUSION_CLASSES_SHOWN:
            names = [c.name for c in self.classes]
            rows = [(name, *row) for name, row in zip(names, self.confusion, strict=True)]
            parts.append(text_table(("true \\ predicted", *names), rows))
        return "\n\n".join([*parts, *group_tables(self.by)])


def evaluate_single(
    probabilities: np.ndarray,
    targets: np.ndarray,
    label_names: Sequence[str],
    *,
    majority: int | None = None,
    by: Mapping[str, Sequence[object]] | None = None,
) -> SingleLabelReport:
    """Evaluate class probabilities against true labels.

    Args:
        probabilities: (N, C) float, each row sums to 1.
        targets: (N,) int, 0 <= target < C.
        label_names: C names.
        majority: Most frequent class in training; None takes the most frequent in `targets`, which flatters it.
        by: Columns with a value for each document, to break the error rate down by.

    Raises:
        DataError: If shapes, probabilities or labels are not as above.
    """
    probabilities, targets = _checked(probabilities, targets, label_names)
    C = len(label_names)
    predicted = probabilities.argmax(axis=1)
    correct = predicted == targets
    confusion = np.bincount(targets * C + predicted, minlength=C * C).reshape(C, C)
    support = confusion.sum(axis=1)
    majority = int(support.argmax()) if majority is None else majority
    if not 0 <= majority < C:
        raise DataError(f"majority: expected a class from 0 to {C - 1}, got {majority}")
    one_hot = np.eye(C, dtype=bool)
    classes = class_metrics(label_names, probabilities, one_hot[predicted], one_hot[targets])
    areas = [c.roc_auc for c in classes if c.roc_auc is not None]
    true_probability = np.maximum(probabilities[np.arange(len(targets)), targets], SMALLEST_PROBABILITY)
    return SingleLabelReport(
        documents=len(targets),
        accuracy=float(correct.mean()),
        accuracy_interval=wilson_interval(int(correct.sum()), len(correct)),
        error=float(1.0 - correct.mean()),
        majority_label=label_names[majority],
        majority_accuracy=float(support[majority] / len(targets)),
        macro_f1=macro_f1(classes),
        roc_auc=None if len(areas) < C else areas[1] if C == 2 else float(np.mean(areas)),
        calibration_error=expected_calibration_error(probabilities.max(axis=1), correct),
        negative_log_likelihood=float(-np.log(true_probability).mean()),
        classes=classes,
        confusion=tuple(map(tuple, confusion.tolist())),
        by=errors_by_column(~correct, by),
    )


def _checked(
    probabilities: np.ndarray, targets: np.ndarray, label_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    probabilities, targets = np.asarray(probabilities, dtype=np.float64), np.asarray(targets)
    C = len(label_names)
    if C < 2:
        raise DataError(f"label_names: expected at least two classes, got {C} ({', '.join(label_names)})")
    if len(targets) == 0:
        raise DataError("targets: expected at least one labelled document, got none")
    if probabilities.shape != (len(targets), C):
        raise DataError(f"probabilities: expected shape {(len(targets), C)}, got {probabilities.shape}")
    bad = np.flatnonzero((targets < 0) | (targets >= C))
    if len(bad):
        raise DataError(f"targets: expected classes 0 to {C - 1}, got {targets[bad[0]]} for document {bad[0]}")
    if not (np.all(probabilities >= 0) and np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-3)):
        raise DataError("probabilities: expected rows of at least 0 that sum to 1; give probabilities, not logits")
    return probabilities, targets.astype(np.int64)


def class_metrics(
    label_names: Sequence[str], probabilities: np.ndarray, predicted: np.ndarray, targets: np.ndarray
) -> tuple[ClassMetrics, ...]:
    """Compute the metrics of each class on its own.

    Args:
        label_names: C names.
        probabilities: (N, C) float.
        predicted: (N, C) bool, the classes predicted for each document.
        targets: (N, C) bool, its true classes.
    """
    counts = (matrix.sum(axis=0).tolist() for matrix in (predicted & targets, predicted, targets))
    return tuple(map(metrics_from_counts, label_names, *counts, map(roc_area, targets.T, probabilities.T)))


def roc_area(positive: np.ndarray, score: np.ndarray) -> float | None:
    """Area under the ROC curve; None if all or none are positive.

    Args:
        positive: (N,) bool.
        score: (N,) float, higher for more likely positive.
    """
    if positive.all() or not positive.any():
        return None
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, score))
