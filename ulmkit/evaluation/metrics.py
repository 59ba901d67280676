"""Metrics that every report shares: intervals, calibration, errors by column, JSON and plain tables."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ulmkit.config import check_whole
from ulmkit.errors import DataError
from ulmkit.files import json_safe
from ulmkit.tables import text_table

NORMAL_975 = 1.959963984540054  # 97.5% point of the standard normal: a 95% interval has 2.5% on either side
SMALLEST_PROBABILITY = 1e-15
"""Lower bound on probabilities in a log-likelihood, which would be infinite otherwise."""


class Report(ABC):
    """Metrics of predictions on labelled documents.

    Attributes:
        documents: Number of documents.
    """

    documents: int

    def to_dict(self) -> dict[str, Any]:
        """All metrics as a JSON object; None where undefined."""
        return json_safe(self)

    @abstractmethod
    def table(self) -> str:
        """The metrics as plain text."""

    @abstractmethod
    def validation_metrics(self) -> dict[str, float]:
        """The metrics to show during training; the first one is monitored, lower is better."""


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class; None where undefined.

    Attributes:
        name: The class.
        precision: Fraction of predictions of this class that are correct; None if it was never predicted.
        recall: Fraction of this class's documents that were predicted as such; None if there are none.
        f1: Harmonic mean of both; None if it never occurs and was never predicted.
        support: Number of documents that have the label.
        predicted: Number of documents that it was predicted for.
        roc_auc: Area under the ROC curve of this class against the rest.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    predicted: int
    roc_auc: float | None = None


@dataclass(frozen=True)
class GroupError:
    """Error rate over the documents that have one value in a column.

    Attributes:
        value: The value.
        documents: Number of documents that have it.
        errors: Number of them with a wrong prediction.
        error: Error rate.
        interval: Its 95% Wilson interval.
    """

    value: str
    documents: int
    errors: int
    error: float
    interval: tuple[float, float]


def exp_or_inf(value: float) -> float:
    """Compute exp(value); infinity beyond the range of float64, where math.exp raises."""
    return math.exp(value) if value < 709.0 else math.inf


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95% score interval of a proportion.

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), z = 1.96

    Args:
        successes: Number of successes.
        trials: Number of trials, at least 1.

    Raises:
        DataError: Unless 0 <= successes <= trials and trials >= 1.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference", JASA 22.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise DataError(f"successes: expected 0 to trials, with at least one trial, got {successes} of {trials}")
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error: the mean distance between confidence and accuracy.

    ECE = sum_m |B_m| / n |acc(B_m) - conf(B_m)|,  B_m: documents with confidence in ((m - 1) / M, m / M]

    Args:
        confidence: (N,) float, probability of the predicted class.
        correct: (N,) bool.
        bins: Number of bins, M.

    Raises:
        ConfigError: Unless bins > 0.

    Source: Guo et al. 2017, "On calibration of modern neural networks", arXiv:1706.04599, section 2, equation 3.
    """
    check_whole("bins", bins)
    number = _bin_numbers(confidence, bins)
    gap = np.bincount(number, weights=correct.astype(np.float64) - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))


@dataclass(frozen=True)
class ReliabilityBin:
    """Documents whose prediction has a similar probability.

    Attributes:
        documents: Number of documents.
        confidence: Mean probability of the predicted class.
        accuracy: Share of them that is predicted rightly.
    """

    documents: int
    confidence: float
    accuracy: float


def reliability(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> tuple[ReliabilityBin, ...]:
    """Mean confidence and accuracy of the documents in each bin of confidence, for a reliability diagram.

    Args:
        confidence: (N,) float, probability of the predicted class.
        correct: (N,) bool.
        bins: Number of bins of equal width; those without documents are left out.

    Raises:
        ConfigError: Unless bins > 0.

    Source: Guo et al. 2017, "On calibration of modern neural networks", arXiv:1706.04599, section 2, acc(B_m) and
        conf(B_m).
    """
    check_whole("bins", bins)
    number = _bin_numbers(confidence, bins)
    counts = np.bincount(number, minlength=bins)
    sums = (np.bincount(number, weights=values, minlength=bins) for values in (confidence, correct.astype(np.float64)))
    columns = zip(counts.tolist(), *(each.tolist() for each in sums), strict=True)
    return tuple(ReliabilityBin(count, sure / count, right / count) for count, sure, right in columns if count)


def _bin_numbers(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Bin m, from 0, of each confidence in (m / M, (m + 1) / M]."""
    return np.asarray(np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1))


def metrics_from_counts(
    name: str, true_positives: int, predicted: int, support: int, roc_auc: float | None = None
) -> ClassMetrics:
    """Compute precision, recall and F1 = 2 TP / (predicted + support) from counts."""
    return ClassMetrics(
        name=name,
        precision=true_positives / predicted if predicted else None,
        recall=true_positives / support if support else None,
        f1=2 * true_positives / (predicted + support) if predicted + support else None,
        support=support,
        predicted=predicted,
        roc_auc=roc_auc,
    )


def macro_f1(classes: Sequence[ClassMetrics]) -> float | None:
    """Mean F1 over the classes that occur or were predicted, as scikit-learn does; None if there are none."""
    defined = [metrics.f1 for metrics in classes if metrics.f1 is not None]
    return float(np.mean(defined)) if defined else None


def errors_by_column(
    wrong: np.ndarray, columns: Mapping[str, Sequence[object]] | None
) -> dict[str, tuple[GroupError, ...]]:
    """Break the error rate down by the values of columns.

    Args:
        wrong: (N,) bool, whether each document was predicted wrongly.
        columns: N values for each column name, compared as text.

    Returns:
        For each column a row per value, the most frequent value first.

    Raises:
        DataError: If a column has another length.
    """
    tables = {}
    for name, values in (columns or {}).items():
        if len(values) != len(wrong):
            raise DataError(
                f"by column {name!r}: expected a value for each of {len(wrong)} documents, got {len(values)}"
            )
        distinct, number, documents = np.unique(list(map(str, values)), return_inverse=True, return_counts=True)
        errors = np.bincount(number, weights=wrong).astype(np.int64)
        groups = zip(distinct.tolist(), documents.tolist(), errors.tolist(), strict=True)
        tables[name] = tuple(
            GroupError(value, count, mistakes, mistakes / count, wilson_interval(mistakes, count))
            for value, count, mistakes in sorted(groups, key=lambda group: -group[1])
        )
    return tables


def class_table(classes: Sequence[ClassMetrics]) -> str:
    """Tabulate precision, recall, F1 and support of each class."""
    rows = [(c.name, c.precision, c.recall, c.f1, c.support) for c in classes]
    return text_table(("class", "precision", "recall", "F1", "support"), rows)


def group_tables(by: Mapping[str, Sequence[GroupError]]) -> list[str]:
    """Tabulate the error rates by each column."""
    return [
        text_table(
            (name, "documents", "errors", "error", "95% low", "95% high"),
            [(group.value, group.documents, group.errors, group.error, *group.interval) for group in groups],
        )
        for name, groups in by.items()
    ]
