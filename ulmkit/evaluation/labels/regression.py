"""Metrics of a number per document."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ulmkit.errors import DataError
from ulmkit.evaluation.metrics import Report
from ulmkit.tables import text_table


@dataclass(frozen=True)
class NumberReport(Report):
    """Metrics of predicted numbers on labelled documents.

    Attributes:
        documents: Number of documents.
        mae: Mean absolute error, in the labels' unit.
        rmse: Root mean square error, in the labels' unit.
        r2: 1 - squared error / squared error of the true values' mean; None if the true values are all equal.
        pearson: Correlation of values; None if either side is constant.
        spearman: Correlation of ranks; None if either side is constant.
        mean_mae: Mean absolute error of always answering the mean of the true values.
    """

    documents: int
    mae: float
    rmse: float
    r2: float | None
    pearson: float | None
    spearman: float | None
    mean_mae: float

    def validation_metrics(self) -> dict[str, float]:
        """The metrics to show during training: the root mean square error first."""
        return {"rmse": self.rmse, "mae": self.mae}

    def table(self) -> str:
        """The metrics as plain text."""
        names = {"mae": "MAE", "rmse": "RMSE", "r2": "R2", "mean_mae": "MAE of the mean"}
        return text_table(("metric", "value"), [(names.get(name, name), value) for name, value in vars(self).items()])


def evaluate_number(predictions: np.ndarray, targets: np.ndarray) -> NumberReport:
    """Evaluate predicted numbers.

    Args:
        predictions: (N,) float, finite.
        targets: (N,) float, finite.

    Raises:
        DataError: If lengths differ, are zero, or a value is not finite.
    """
    predictions, targets = np.asarray(predictions, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if targets.ndim != 1 or len(targets) == 0 or predictions.shape != targets.shape:
        raise DataError(
            f"predictions: expected one per target, at least one, got {predictions.shape} for {targets.shape}"
        )
    for name, values in (("predictions", predictions), ("targets", targets)):
        if not np.isfinite(values).all():
            where = int(np.flatnonzero(~np.isfinite(values))[0])
            raise DataError(f"{name}: expected finite numbers, got {values[where]} for document {where}")
    from scipy.stats import pearsonr, spearmanr

    difference = predictions - targets
    deviation = targets - targets.mean()
    constant = bool((targets == targets[0]).all())
    return NumberReport(
        documents=len(targets),
        mae=float(np.abs(difference).mean()),
        rmse=float(np.sqrt(np.square(difference).mean())),
        r2=None if constant else float(1.0 - np.square(difference).sum() / np.square(deviation).sum()),
        pearson=_correlation(pearsonr, predictions, targets),
        spearman=_correlation(spearmanr, predictions, targets),
        mean_mae=float(np.abs(deviation).mean()),
    )


def _correlation(measure: Callable[..., Any], a: np.ndarray, b: np.ndarray) -> float | None:
    """A correlation by scipy, which is NaN (with a warning) if either side is constant."""
    if (a == a[0]).all() or (b == b[0]).all():
        return None
    return float(measure(a, b).statistic)
