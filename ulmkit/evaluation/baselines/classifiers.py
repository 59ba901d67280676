"""Linear baselines on word n-grams; with enough labels they often win.

The regularization strength is tuned on held-out training documents.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

from ulmkit.errors import DataError
from ulmkit.evaluation.baselines.estimators import OneAgainstRest, SparseRidge, fit_best
from ulmkit.evaluation.baselines.ngrams import Text, Tokenize, binary_features, tfidf_features


class Baseline(Protocol):
    """A model from texts to labels.

    Labels are (N,) int classes, (N, C) bool sets of classes, or (N,) float numbers.
    """

    @property
    def name(self) -> str:
        """Its name in reports."""
        ...

    def fit(self, texts: Sequence[Text], labels: np.ndarray) -> "Baseline":
        """Fit to texts and labels."""
        ...

    def predict_proba(self, texts: Sequence[Text]) -> np.ndarray:
        """Return probabilities (N, C), or numbers (N,)."""
        ...


class MajorityClass:
    """Answers each class's share of the training labels, whatever the text: its most probable class is the majority."""

    name = "majority class"

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.shares: np.ndarray | None = None

    def fit(self, texts: Sequence[Text], labels: np.ndarray) -> "MajorityClass":
        """Count labels, (N,) int or (N, C) bool; texts are ignored."""
        labels = _checked_labels(texts, labels, self.classes)
        counts = np.bincount(labels, minlength=self.classes) if labels.ndim == 1 else labels.sum(axis=0)
        self.shares = counts / len(labels)
        return self

    def predict_proba(self, texts: Sequence[Text]) -> np.ndarray:
        """Return the shares for each text, (N, C)."""
        if self.shares is None:
            raise DataError(f"{self.name}: expected a fitted baseline; call fit(texts, labels) first")
        return np.tile(self.shares, (len(texts), 1))


class LinearBaseline:
    """A linear model over sparse features of words: a scikit-learn pipeline with a strength chosen by grid search.

    Args:
        classes: Number of classes, C; 0 for numbers.
        tokenize: Splits a text into words; None takes runs of word characters in lower case, which does not suit
            languages written without spaces.
        strength: Inverse regularization strength (scikit-learn's `C`); None chooses among `strengths`.

    Attributes:
        pipeline: The fitted vectorizer and model, after `fit`.
        chosen_strength: The strength it was fitted with.
    """

    name: ClassVar[str]
    strengths: ClassVar[tuple[float, ...]]

    def __init__(self, classes: int = 0, *, tokenize: Tokenize | None = None, strength: float | None = None) -> None:
        self.classes = classes
        self.tokenize = tokenize
        self.strength = strength
        self.pipeline: Any = None
        self.chosen_strength: float | None = None

    def fit(self, texts: Sequence[Text], labels: np.ndarray) -> "LinearBaseline":
        """Fit to texts and labels.

        Raises:
            DataError: If labels and texts do not fit each other, or there is no word in any text.
        """
        labels = self._checked(texts, labels)
        vectorizer = self._vectorizer(len(texts))
        try:
            x = vectorizer.fit_transform(texts)
        except ValueError as error:  # scikit-learn's "empty vocabulary"
            raise DataError("texts: expected words, found none in any training text") from error
        strengths = self.strengths if self.strength is None else (self.strength,)
        model = fit_best(self._model(), x, labels, strengths)
        self.pipeline = make_pipeline(vectorizer, model)
        self.chosen_strength = model.strength
        return self

    def predict_proba(self, texts: Sequence[Text]) -> np.ndarray:
        """Return probabilities (N, C), or numbers (N,)."""
        if self.pipeline is None:
            raise DataError(f"{self.name}: expected a fitted baseline; call fit(texts, labels) first")
        answers: np.ndarray = self.pipeline.predict_proba(texts)
        return answers

    @property
    def size_bytes(self) -> int:
        """Size of what a fitted baseline is made of: n-grams as UTF-8, a line each, and weights as float32."""
        names = self.pipeline[0].get_feature_names_out()
        models = max(1, 1 if self.classes == 2 else self.classes)
        scales = 1 if hasattr(self.pipeline[0], "idf_") else models  # idf, or log-count ratios of each class
        return sum(len(name.encode()) + 1 for name in names) + 4 * len(names) * (models + scales)

    def _checked(self, texts: Sequence[Text], labels: np.ndarray) -> np.ndarray:
        return _checked_labels(texts, labels, self.classes)

    def _vectorizer(self, documents: int) -> Any:
        return tfidf_features(documents, self.tokenize)

    def _model(self) -> BaseEstimator:
        return OneAgainstRest(self.classes)


class TfidfLogistic(LinearBaseline):
    """Logistic regression, one class against the rest, over TF-IDF (1 + log tf) of words and word pairs."""

    name = "TF-IDF + logistic regression"
    strengths = (10.0, 100.0, 1000.0)


class NBSVM(LinearBaseline):
    """Logistic regression over binary word n-grams, scaled by their naive Bayes log-count ratio.

    n-grams have up to two words; from 5,000 training documents on, up to three.

    Source: Wang & Manning 2012, "Baselines and bigrams: simple, good sentiment and topic classification", section 2.
    Deviation: logistic loss in place of the squared hinge, for probabilities; no interpolation with the mean weight.
    """

    name = "NB-SVM"
    strengths = (0.01, 0.1, 1.0)

    def _vectorizer(self, documents: int) -> Any:
        return binary_features(documents, self.tokenize)

    def _model(self) -> BaseEstimator:
        return OneAgainstRest(self.classes, count_ratio=True)


class TfidfRidge(LinearBaseline):
    """Ridge regression of a number over TF-IDF of words and word pairs; strength is 1 / ridge penalty."""

    name = "TF-IDF + ridge regression"
    strengths = (0.1, 1.0, 10.0)

    def _checked(self, texts: Sequence[Text], labels: np.ndarray) -> np.ndarray:
        return _checked_numbers(texts, labels)

    def _model(self) -> BaseEstimator:
        return SparseRidge()


def class_baselines(classes: int, tokenize: Tokenize | None) -> list[Baseline]:
    """Make the baselines for one or several classes per text: their frequencies, logistic regression and NB-SVM."""
    return [MajorityClass(classes), TfidfLogistic(classes, tokenize=tokenize), NBSVM(classes, tokenize=tokenize)]


def _checked_labels(texts: Sequence[Text], labels: np.ndarray, classes: int) -> np.ndarray:
    """Check labels and return them as (N,) int64 below `classes`, or (N, C) bool."""
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
    """Check numbers and return them as (N,) float64."""
    labels = np.asarray(labels, dtype=np.float64)
    if len(texts) == 0 or labels.shape != (len(texts),):
        raise DataError(f"labels: expected a number for each text, at least one, got {labels.shape} for {len(texts)}")
    if not np.isfinite(labels).all():
        raise DataError(f"labels: expected finite numbers, got {labels[~np.isfinite(labels)][0]}")
    return labels
