"""Answers of a classifier for held-out labelled documents: how sure it was, and whether it was right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ulmkit.errors import DataError

_DIGITS = 7  # of probabilities in float32


@dataclass(frozen=True)
class HeldOutAnswers:
    """Answers for labelled documents that the classifier did not learn from, one label per document.

    Attributes:
        source: The documents, in a few words.
        labels: (n,) int64, the right class of each.
        predicted: (n,) int64, the most probable class.
        confidence: (n,) float64, its probability.
        mass_above: (n,) float64, probability of all classes that are more probable than the right one.

    Raises:
        DataError: If there are no documents, arrays differ in length, or a value is outside its range.
    """

    source: str
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    mass_above: np.ndarray

    def __post_init__(self) -> None:
        shapes = {array.shape for array in (self.labels, self.predicted, self.confidence, self.mass_above)}
        if len(shapes) != 1 or len(self.labels.shape) != 1 or not len(self.labels):
            raise DataError(f"held-out answers: expected columns of one length, at least 1, got {sorted(shapes)}")
        for name in ("confidence", "mass_above"):
            values = getattr(self, name)
            if not ((values >= 0.0) & (values <= 1.0)).all():
                raise DataError(f"held-out answers: expected a {name} from 0 to 1, got {values.min()}, {values.max()}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_right(self) -> np.ndarray:
        """(n,) bool, whether the most probable class is the right one."""
        return np.asarray(self.labels == self.predicted)

    def sample(self, most: int) -> HeldOutAnswers:
        """Keep at most so many documents, drawn at random; the same ones each time."""
        if len(self) <= most:
            return self
        rows = sample_rows(np.arange(len(self)), most)
        return HeldOutAnswers(
            self.source, self.labels[rows], self.predicted[rows], self.confidence[rows], self.mass_above[rows]
        )

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: Sequence[int] | np.ndarray, source: str) -> HeldOutAnswers:
        """Summarise probabilities (n, C) of documents with right classes (n,)."""
        probabilities = np.asarray(probabilities, dtype=np.float64)
        labels = np.asarray(labels, dtype=np.int64)
        right = probabilities[np.arange(len(labels)), labels]
        confidence = probabilities.max(axis=1)
        mass = mass_above(probabilities, right)
        return cls(
            source,
            labels,
            probabilities.argmax(axis=1).astype(np.int64),
            np.clip(confidence.round(_DIGITS), 0.0, 1.0),
            np.clip(mass.round(_DIGITS), 0.0, 1.0),
        )


def sample_rows(rows: np.ndarray, most: int) -> np.ndarray:
    """Choose at most so many rows at random, the same ones each time; their order stays."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(0).permutation(rows)[:most])


def mass_above(probabilities: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Total probability, (n,), of the classes (n, C) that are more probable than `of` (n,)."""
    return np.where(probabilities > of[:, None], probabilities, 0.0).sum(axis=1)
