"""Linear members: weighted counts of n-grams of words or characters times a matrix."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import expit, log_expit, log_softmax

from ulmkit.config import check_choice
from ulmkit.errors import ConfigError
from ulmkit.members.ngrams import NGrams
from ulmkit.text.words import UNITS, Unit, WordSequence

Weighting = Literal["tf-idf", "binary", "mean"]
WEIGHTINGS = ("tf-idf", "binary", "mean")


def weigh(counts: Any, weighting: str, feature_weights: np.ndarray | None) -> Any:
    """Turn the counts of n-grams into features.

    tf-idf:  x_f = (1 + log n_f) idf_f, scaled to unit length
    binary:  x_f = 1 if n_f > 0
    mean:    x_f = w_f / sum_g w_g over the n-grams g that the document has

    Args:
        counts: (documents, features) csr_array of counts.
        weighting: One of `WEIGHTINGS`.
        feature_weights: (features,) idf_f, or w_f; None for binary.

    Returns:
        (documents, features) csr_array, float32.
    """
    from scipy.sparse import csr_array

    values = counts.data
    if weighting == "binary":
        values = np.ones_like(values)
    elif feature_weights is None:
        raise ConfigError(f"feature_weights: expected them for weighting {weighting!r}, got None")
    else:
        values = feature_weights[counts.indices]
        if weighting == "tf-idf":
            values = (1.0 + np.log(counts.data)) * values
            lengths = np.sqrt(_row_sums(counts, values * values))
        else:
            lengths = _row_sums(counts, values)
        values = values / np.repeat(np.where(lengths > 0, lengths, 1.0), np.diff(counts.indptr))
    return csr_array((values.astype(np.float32), counts.indices, counts.indptr), shape=counts.shape)


def _row_sums(counts: Any, values: np.ndarray) -> np.ndarray:
    """Sum the values of each row on its own, so that a document's features do not depend on the others."""
    sums = np.zeros(counts.shape[0])
    is_filled = np.diff(counts.indptr) > 0
    if is_filled.any():
        sums[is_filled] = np.add.reduceat(values, counts.indptr[:-1][is_filled], dtype=np.float64)
    return sums


@dataclass(frozen=True, kw_only=True)
class LinearMember:
    """A linear classifier over n-grams of words, or of the characters in them.

    z = x W + b;  log p_c = log softmax(z)_c, or log sigmoid(z_c) - log sum_k sigmoid(z_k) of one class against the rest

    Attributes:
        name: Its name in reports.
        words: The known words; if its unit is "characters", the known character n-grams.
        joins_tokens: See `WordReader`.
        unit: See `WordReader`.
        ngrams: The n-grams that it counts.
        weighting: How counts become features, see `weigh`.
        feature_weights: (features,) float32, see `weigh`.
        coefficients: W, (features, classes) float32; with two classes (features, 1), the log-odds of the second.
        intercept: b, (classes,) float32, or (1,).
        one_against_rest: Whether each class has a model of its own.
    """

    name: str
    words: tuple[str, ...]
    joins_tokens: bool
    ngrams: NGrams
    weighting: Weighting
    feature_weights: np.ndarray | None
    coefficients: np.ndarray
    intercept: np.ndarray
    one_against_rest: bool
    unit: Unit = "words"

    def __post_init__(self) -> None:
        check_choice("weighting", self.weighting, WEIGHTINGS)
        check_choice("unit", self.unit, UNITS)
        features = len(self.ngrams)
        shapes = [("coefficients", self.coefficients.shape[:1]), ("words", (len(self.words),))]
        if self.feature_weights is not None:
            shapes.append(("feature_weights", self.feature_weights.shape))
            if self.weighting != "binary" and not (self.feature_weights > 0).all():
                raise ConfigError(f"feature_weights: expected positive numbers, got {self.feature_weights.min()}")
        for name, shape in shapes:
            expected = self.ngrams.word_count if name == "words" else features
            if shape != (expected,):
                raise ConfigError(f"{name}: expected {expected} of them, got {shape[0] if shape else 'none'}")

    def log_probabilities(self, words: WordSequence) -> np.ndarray:
        """Log-probabilities of the classes for documents.

        Args:
            words: The documents; their word ids are places in `words`, -1 for others.

        Returns:
            (documents, classes) float64; a document's row does not depend on the others.
        """
        return self.classify(self.ngrams.counts(words))

    def contributions(self, words: WordSequence) -> np.ndarray:
        """Contribution of each word of one document to the scores.

        z = b + sum_f x_f W_f, and x_f W_f is shared equally by the occurrences of the n-gram f and by their words.

        Args:
            words: One document, as in `log_probabilities`.

        Returns:
            (words, classes) float64, or (words, 1); their sum is z - b.
        """
        features = weigh(self.ngrams.counts(words), self.weighting, self.feature_weights)
        values = np.zeros(len(self.ngrams))
        values[features.indices] = features.data
        shares = np.zeros((len(words.ids), self.coefficients.shape[1]))
        occurrences = self.ngrams.occurrences(words)
        times = np.bincount(np.concatenate([found for found, _ in occurrences]), minlength=len(values))
        for order, (found, begins) in enumerate(occurrences):
            parts = (values[found] / times[found] / (order + 1))[:, None] * self.coefficients[found]
            for place in range(order + 1):
                np.add.at(shares, begins + place, parts)
        return shares

    def classify(self, counts: Any) -> np.ndarray:
        """Log-probabilities of the classes, (documents, classes) float64, for a csr_array of n-gram counts."""
        features = weigh(counts, self.weighting, self.feature_weights)
        scores = np.asarray(features @ self.coefficients, dtype=np.float64) + self.intercept
        return class_log_probabilities(scores, self.one_against_rest)


def class_log_probabilities(scores: np.ndarray, one_against_rest: bool = False) -> np.ndarray:
    """Turn scores, (n, classes) or (n, 1) for two classes, into log-probabilities (n, classes)."""
    if scores.shape[1] == 1:
        return np.hstack([log_expit(-scores), log_expit(scores)])
    if not one_against_rest:
        return np.asarray(log_softmax(scores, axis=1))
    logs = log_expit(scores)
    return np.asarray(logs - np.logaddexp.reduce(logs, axis=1, keepdims=True))


def score_slopes(scores: np.ndarray, slopes: np.ndarray, one_against_rest: bool = False) -> np.ndarray:
    """Slopes of a function of log-probabilities by the scores that these come from, by the chain rule.

    Args:
        scores: (n, classes) or (n, 1), see `class_log_probabilities`.
        slopes: (n, classes), slopes of the function by the log-probabilities.
        one_against_rest: See `class_log_probabilities`.

    Returns:
        Slopes by the scores, in their shape.
    """
    if scores.shape[1] == 1:
        return np.asarray(slopes[:, 1:] * expit(-scores) - slopes[:, :1] * expit(scores))
    shares = np.exp(class_log_probabilities(scores, one_against_rest))
    rest = slopes - shares * slopes.sum(axis=1, keepdims=True)
    return np.asarray(expit(-scores) * rest if one_against_rest else rest)


def inverse_document_frequency(counts: Any) -> np.ndarray:
    """idf_f = 1 + log((1 + N) / (1 + df_f)) over N documents, (features,) float32, as scikit-learn has it."""
    documents = np.bincount(counts.indices, minlength=counts.shape[1])
    return (1.0 + np.log((1.0 + counts.shape[0]) / (1.0 + documents))).astype(np.float32)


def class_scores(model: Any, features: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and intercept of a fitted `OneAgainstRest`, as `LinearMember` keeps them.

    Returns:
        (features, K) and (K,) float32, K = 1 for two classes, else the number of classes.
    """
    columns = 1 if classes == 2 else classes
    matrix = np.zeros((features, columns), dtype=np.float32)
    intercept = np.log(model.shares_ / (1.0 - model.shares_)).astype(np.float32)
    matrix[:, model.varies_] = model.coefficients_
    intercept[model.varies_] = model.intercept_
    return matrix, intercept
