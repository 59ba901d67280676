"""Paired comparison of two models on the same documents."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ulmkit.errors import DataError
from ulmkit.evaluation.metrics import NORMAL_975
from ulmkit.files import json_safe
from ulmkit.tables import text_table

_SIGNIFICANCE_LEVEL = 0.05
_RESAMPLES = 9_999
_NORMAL_APPROXIMATION_ABOVE = 1_000  # changed scores


@dataclass(frozen=True)
class PairedComparison:
    """Scores of two models on the same documents; higher is better.

    Attributes:
        measure: Name of the mean score.
        documents: Number of documents, N.
        before: Mean score of the first model.
        after: Mean score of the second model.
        difference: after - before.
        interval: 95% interval of the difference.
        better: Number of documents whose score rose.
        worse: Number of documents whose score fell.
        p_value: One-sided p-value: probability of a drop this large if the models were equally good.
    """

    measure: str
    documents: int
    before: float
    after: float
    difference: float
    interval: tuple[float, float]
    better: int
    worse: int
    p_value: float

    @property
    def shows_a_drop(self) -> bool:
        """True if the second model is worse at the 5% level, by the test or by the interval."""
        return self.p_value < _SIGNIFICANCE_LEVEL or self.interval[1] < 0.0

    def to_dict(self) -> dict[str, Any]:
        """All metrics as a JSON object."""
        return json_safe(self)

    def table(self) -> str:
        """The metrics as plain text."""
        low, high = self.interval
        rows = [
            ("documents", self.documents),
            (f"{self.measure} before", self.before),
            (f"{self.measure} after", self.after),
            ("difference", f"{self.difference:+.4f} (95%: {low:+.4f} to {high:+.4f})"),
            ("documents that got better, worse", f"{self.better}, {self.worse}"),
            ("p-value of a drop", self.p_value),
        ]
        return text_table(("metric", "value"), rows)


def compare_paired(before: np.ndarray, after: np.ndarray, measure: str, *, bounded: bool = True) -> PairedComparison:
    """Compare two models by their scores on each of the same documents.

    The test swaps the two scores of documents at random. For right and wrong answers this is McNemar's exact test, for
    other scores a permutation test, or its normal limit if more than 1,000 scores changed. The interval is the mean
    +- 1.96 standard errors. For bounded scores, half a document is added to each of four outcomes (both right, both
    wrong, better, worse), so that the interval has a width even if no answer changed.

    Args:
        before: (N,) float, scores of the first model, N >= 1.
        after: (N,) float, scores of the second model.
        measure: Name of the mean score.
        bounded: Whether scores are between 0 and 1.

    Raises:
        DataError: If the two differ in length, or are empty.

    Source: McNemar 1947, Psychometrika 12, 153. Interval: Agresti & Min 2005, Stat. Med. 24, 729, section 3.
    """
    before, after = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if before.shape != after.shape or before.ndim != 1 or not len(before):
        raise DataError(f"scores: expected one per document from each model, got {before.shape} and {after.shape}")
    d = after - before
    added = 1.0 if bounded else 0.0  # sum of squares of the documents added: half of one better, half of one worse
    n = len(d) + 2.0 * added
    center = float(d.sum()) / n
    half_width = NORMAL_975 * math.sqrt(max(0.0, (float(d @ d) + added) / n - center**2) / n)
    return PairedComparison(
        measure=measure,
        documents=len(d),
        before=float(before.mean()),
        after=float(after.mean()),
        difference=float(d.mean()),
        interval=(center - half_width, center + half_width),
        better=int((d > 0).sum()),
        worse=int((d < 0).sum()),
        p_value=_probability_of_drop(d[d != 0.0]),
    )


def _probability_of_drop(changes: np.ndarray) -> float:
    """Probability of a sum at most that of `changes` if their signs were random."""
    from scipy.stats import binom, norm, permutation_test

    if not len(changes):
        return 1.0
    if np.ptp(np.abs(changes)) == 0.0:
        return float(binom.cdf((changes > 0).sum(), len(changes), 0.5))
    if len(changes) > _NORMAL_APPROXIMATION_ABOVE:
        return float(norm.cdf(changes.sum() / math.sqrt(changes @ changes)))
    result = permutation_test(
        (changes,),
        lambda values, axis: values.sum(axis=axis),
        permutation_type="samples",
        alternative="less",
        n_resamples=_RESAMPLES,
        vectorized=True,
        batch=100,
        random_state=0,
    )
    return float(result.pvalue)
