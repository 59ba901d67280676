"""Linear models over word n-grams, what a classifier has to beat: for many tasks with enough labels they do.

All have one interface: `fit(texts, labels)` and `predict_proba(texts)`. How strongly to regularise is chosen on the
training documents (or on a validation part, if given), never on the ones predicted later.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from ulmkit.errors import DataError
from ulmkit.evaluation.baselines.linear import FitFeatures, Predict, best_strength, one_against_rest
from ulmkit.evaluation.baselines.ngrams import Text, Tokenize, binary_features, tfidf_features

Validation: TypeAlias = tuple[Sequence[Text], np.ndarray]


class Baseline(Protocol):
    """What all baselines have in common.

    labels: single or pair (N,) int; multi (N, C) bool; number (N,) float.
    predict_proba: (N, C) float probabilities; number (N,) float.
    """

    name: str

    def fit(self, texts: Sequence[Text], labels: np.ndarray, validation: Validation | None = None) -> "Baseline": ...

    def predict_proba(self, texts: Sequence[Text]) -> np.ndarray: ...


@dataclass(frozen=True)
class Fitted:
    """A vectorizer, a model over its features, and the strength of regularisation that was chosen."""

    features: Any
    model: Predict
    strength: float


class MajorityClass:
    """Answers each class's share of the training labels, whatever the text: its most probable class is the majority."""

    name = "majority class"

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.shares: np.ndarray | None = None

    def fit(self, texts: Sequence[Text], labels: np.ndarray, validation: Validation | None = None) -> "MajorityClass":
        """Args: labels: (N,) int or (N, C) bool. texts and validation are not looked at."""
        labels = _checked_labels(texts, labels, self.classes)
        counts = np.bincount(labels, minlength=self.classes) if labels.ndim == 1 else labels.sum(axis=0)
        self.shares = counts / len(labels)
        return self

    def predict_proba(self, texts: Sequence[Text]) -> np.ndarray:
        """Returns: (N, C) float, all rows the same."""
        if self.shares is None:
            raise DataError(f"{self.name}: expected a fitted baseline; call fit(texts, labels) first")
        return np.tile(self.shares, (len(texts), 1))


class TfidfLogistic:
    """Logistic regression, one class against the rest, over TF-IDF (1 + log tf) of words and word pairs.

    Args:
        classes: C.
        tokenize: text to words; None takes runs of word characters in lower case, which does not serve languages
            written without spaces.
        strength: C of the regularisation; None chooses among `strengths`.
    Attributes: fitted: the features and the model, with the strength used, after `fit`.
    """

    name = "TF-IDF + logistic regression"
    strengths = (10.0, 100.0, 1000.0)

    def __init__(self, classes: int, *, tokenize: Tokenize | None = None, strength: float | None = None) -> None:
        self.classes, self.tokenize, self.strength = classes, tokenize, strength
        self.fitted: Fitted | None = None

    def fit(self, texts: Sequence[Text], labels: np.ndarray, validation: Validation | None = None) -> "TfidfLogistic":
        """Args: labels: (N,) int or (N, C) bool. validation: texts and labels to choose the strength on."""
        labels = _checked_labels(texts, labels, self.classes)
        strengths = self.strengths if self.strength is None else (self.strength,)
        features = tfidf_features(len(texts), self.tokenize)
        self.fitted = _fit(features, self._fit_features, texts, labels, strengths, validation)
        return self

    def predict_proba(self, texts: Sequence[Text]) -> np.ndarray:
        """Returns: (N, C) float."""
        return _predict(self.fitted, self.name, texts)

    def _fit_features(self, x: Any, labels: np.ndarray, strength: float) -> Predict:
        return one_against_rest(x, labels, self.classes, strength)


class NBSVM:
    """Logistic regression over binary word n-grams, scaled by their naive Bayes log-count ratio.

    n-grams have up to two words; from 5,000 training documents on, up to three.

    Args and attributes: as `TfidfLogistic`.
    Source: Wang & Manning 2012, "Baselines and bigrams: simple, good sentiment and topic classification", section 2.
    Deviation: logistic loss in place of the squared hinge, for probabilities; no interpolation with the mean weight.
    """

    name = "NB-SVM"
    strengths = (0.01, 0.1, 1.0)

    def __init__(self, classes: int, *, tokenize: Tokenize | None = None, strength: float | None = None) -> None:
        self.classes, self.tokenize, self.strength = classes, tokenize, strength
        self.fitted: Fitted | None = None

    def fit(self, texts: Sequence[Text], labels: np.ndarray, validation: Validation | None = None) -> "NBSVM":
        """Args: labels: (N,) int or (N, C) bool. validation: texts and labels to choose the strength on."""
        labels = _checked_labels(texts, labels, self.classes)
        strengths = self.strengths if self.strength is None else (self.strength,)
        features = binary_features(len(texts), self.tokenize)
        self.fitted = _fit(features, self._fit_features, texts, labels, strengths, validation)
        return self

    def predict_proba(self, texts: Sequence[Text]) -> np.ndarray:
        """Returns: (N, C) float."""
        return _predict(self.fitted, self.name, texts)

    def _fit_features(self, x: Any, labels: np.ndarray, strength: float) -> Predict:
        return one_against_rest(x, labels, self.classes, strength, count_ratio=True)


class TfidfRidge:
    """Ridge regression of a number over TF-IDF of words and word pairs.

    Args and attributes: as `TfidfLogistic`, without classes; strength is 1 / ridge penalty.
    """

    name = "TF-IDF + ridge regression"
    strengths = (0.1, 1.0, 10.0)

    def __init__(self, *, tokenize: Tokenize | None = None, strength: float | None = None) -> None:
        self.tokenize, self.strength = tokenize, strength
        self.fitted: Fitted | None = None

    def fit(self, texts: Sequence[Text], labels: np.ndarray, validation: Validation | None = None) -> "TfidfRidge":
        """Args: labels: (N,) float. validation: texts and labels to choose the strength on."""
        labels = _checked_numbers(texts, labels)
        strengths = self.strengths if self.strength is None else (self.strength,)
        features = tfidf_features(len(texts), self.tokenize)
        self.fitted = _fit(features, _fit_ridge, texts, labels, strengths, validation)
        return self

    def predict_proba(self, texts: Sequence[Text]) -> np.ndarray:
        """Returns: (N,) float predictions."""
        return _predict(self.fitted, self.name, texts)


def _fit(
    features: Any,
    fit_features: FitFeatures,
    texts: Sequence[Text],
    labels: np.ndarray,
    strengths: Sequence[float],
    validation: Validation | None,
) -> Fitted:
    try:
        x = features.fit_transform(texts)
    except ValueError as error:  # scikit-learn's "empty vocabulary"
        raise DataError("texts: expected words, found none in any training text") from error
    held_out = None
    if validation is not None and len(strengths) > 1:
        held_out = features.transform(validation[0]), np.asarray(validation[1])
    strength = best_strength(fit_features, x, labels, strengths, held_out)
    return Fitted(features, fit_features(x, labels, strength), strength)


def _predict(fitted: Fitted | None, name: str, texts: Sequence[Text]) -> np.ndarray:
    if fitted is None:
        raise DataError(f"{name}: expected a fitted baseline; call fit(texts, labels) first")
    return fitted.model(fitted.features.transform(texts))


def _fit_ridge(x: Any, labels: np.ndarray, strength: float) -> Predict:
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=1.0 / strength, solver="sparse_cg").fit(x, labels)
    return lambda features: np.asarray(model.predict(features), dtype=np.float64)


def _checked_labels(texts: Sequence[Text], labels: np.ndarray, classes: int) -> np.ndarray:
    """labels as (N,) int64 below `classes` or (N, C) bool."""
    labels = np.asarray(labels)
    if len(texts) == 0 or len(labels) != len(texts):
        raise DataError(f"labels: expected one for each text, at least one, got {len(labels)} for {len(texts)}")
    if labels.ndim == 2:
        if labels.shape[1] != classes:
            raise DataError(f"labels: expected {classes} columns, got {labels.shape[1]}")
        return labels.astype(bool)
    bad = labels[(labels < 0) | (labels >= classes)]
    if len(bad):
        raise DataError(f"labels: expected classes 0 to {classes - 1}, got {bad[0]}")
    return labels.astype(np.int64)


def _checked_numbers(texts: Sequence[Text], labels: np.ndarray) -> np.ndarray:
    labels = np.asarray(labels, dtype=np.float64)
    if len(texts) == 0 or labels.shape != (len(texts),):
        raise DataError(f"labels: expected a number for each text, at least one, got {labels.shape} for {len(texts)}")
    if not np.isfinite(labels).all():
        raise DataError(f"labels: expected finite numbers, got {labels[~np.isfinite(labels)][0]}")
    return labels
