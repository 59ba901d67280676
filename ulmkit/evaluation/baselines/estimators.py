"""Linear models as scikit-learn estimators, and the choice of how strongly they are regularised."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV

from ulmkit.evaluation.metrics import SMALLEST_PROBABILITY

_DUAL_FROM_DOCUMENTS = 1000
_FOLDS = 5
_FOLDS_UP_TO_DOCUMENTS = 2000  # with more, a single held-out part says as much and costs a fifth
_MAX_HELD_OUT = 5000


def log_count_ratio(x: Any, positive: np.ndarray) -> np.ndarray:
    """Naive Bayes log-count ratio of each feature.

    r = log((p / |p|_1) / (q / |q|_1)), with p, q the counts in positive and in other documents, plus 1.

    Args:
        x: (N, F) binary sparse.
        positive: (N,) bool.

    Returns:
        (F,) float.

    Source: Wang & Manning 2012, "Baselines and bigrams: simple, good sentiment and topic classification", section 2.
    """
    p = 1.0 + np.asarray(x[positive].sum(axis=0)).ravel()
    q = 1.0 + np.asarray(x[~positive].sum(axis=0)).ravel()
    return np.log((p / p.sum()) / (q / q.sum()))


def document_weights(class_weights: Sequence[float] | None, labels: np.ndarray) -> np.ndarray | None:
    """Weight of each document by its class, (n,) float64; None if all classes weigh the same.

    Args:
        class_weights: (C,) weight of a document of each class, or None.
        labels: (n,) int, the classes of the documents.
    """
    return None if class_weights is None else np.asarray(class_weights, dtype=np.float64)[labels]


class OneAgainstRest(BaseEstimator):
    """A logistic regression for each class against all others, or for each label on its own if labels are sets.

    Two classes take one model. Probabilities of single labels are scaled to sum to 1. A class that all or no training
    documents have is answered with its smoothed share, where scikit-learn would answer 1 or 0.

    Args:
        classes: Number of classes, C.
        strength: Inverse regularization strength (scikit-learn's `C`).
        count_ratio: Scale the features of each class's model by its log-count ratio.
        class_weights: (C,) weight of a document of each class, for single labels; None for equal ones. Log-count
            ratios and smoothed shares do not depend on them.

    Attributes:
        coefficients_: (F, M) float64, the weights of each of M models, ratios included.
        intercept_: (M,) float64.
    """

    def __init__(
        self,
        classes: int,
        strength: float = 1.0,
        count_ratio: bool = False,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        self.classes = classes
        self.strength = strength
        self.count_ratio = count_ratio
        self.class_weights = class_weights

    def fit(self, x: Any, labels: np.ndarray) -> "OneAgainstRest":
        """Fit to features (N, F) and labels, (N,) int or (N, C) bool."""
        self.is_single_ = labels.ndim == 1
        members = labels[:, None] == np.arange(self.classes) if self.is_single_ else labels.astype(bool)
        if self.is_single_ and self.classes == 2:
            members = members[:, 1:]
        self.shares_ = (members.sum(axis=0) + 0.5) / (len(members) + 1.0)
        self.varies_ = members.any(axis=0) & ~members.all(axis=0)
        weights = document_weights(self.class_weights, labels)
        self.coefficients_ = np.zeros((x.shape[1], int(self.varies_.sum())))
        self.intercept_ = np.zeros(self.coefficients_.shape[1])
        for column, positive in enumerate(members[:, self.varies_].T):
            self.coefficients_[:, column], self.intercept_[column] = self._fit_one(x, positive, weights)
        return self

    def _fit_one(self, x: Any, positive: np.ndarray, weights: np.ndarray | None) -> tuple[np.ndarray, float]:
        """Fit a class against the rest: weights of the features (F,), and the intercept."""
        # Dual coordinate descent is ten times faster on much sparse text than the primal solvers, to the same
        # accuracy; on little text, where either takes no time, it may not converge.
        dual = x.shape[0] >= _DUAL_FROM_DOCUMENTS
        model = LogisticRegression(
            C=self.strength, solver="liblinear", dual=dual, tol=1e-2, max_iter=1000, random_state=0
        )
        ratio: Any = 1.0
        if self.count_ratio:
            ratio = log_count_ratio(x, positive)
            x = x.multiply(ratio).tocsr()
        model.fit(x, positive.astype(np.int8), sample_weight=weights)
        return model.coef_[0] * ratio, float(model.intercept_[0])

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return probabilities (N, C)."""
        scores = np.tile(self.shares_, (x.shape[0], 1))
        scores[:, self.varies_] = expit(x @ self.coefficients_ + self.intercept_)
        if not self.is_single_:
            return scores
        if self.classes == 2:
            return np.hstack([1.0 - scores, scores])
        scores = np.maximum(scores, SMALLEST_PROBABILITY)
        return scores / scores.sum(axis=1, keepdims=True)


class SparseRidge(BaseEstimator):
    """Ridge regression. strength: 1 / ridge penalty."""

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def fit(self, x: Any, numbers: np.ndarray) -> "SparseRidge":
        """Fit to features (N, F) and numbers (N,)."""
        self.model_ = Ridge(alpha=1.0 / self.strength, solver="sparse_cg").fit(x, numbers)
        return self

    def predict_proba(self, x: Any) -> np.ndarray:
        """Return the predicted numbers (N,)."""
        return np.asarray(self.model_.predict(x), dtype=np.float64)


def fit_best(model: BaseEstimator, x: Any, labels: np.ndarray, strengths: Sequence[float]) -> Any:
    """Fit a model with the strength that has the least loss on held-out training documents.

    Args:
        model: An estimator with a parameter `strength`; a copy of it is fitted.
        x: (N, F) features of the training documents.
        labels: Their labels, as the task has them.
        strengths: The strengths to choose from.
    """
    best = clone(model).set_params(strength=strengths[0])
    splits = list(held_out_folds(labels))
    if len(strengths) > 1 and splits:
        search = GridSearchCV(
            model, {"strength": list(strengths)}, scoring=_score, cv=splits, refit=False, error_score="raise"
        )
        best.set_params(**search.fit(x, labels).best_params_)
    return best.fit(x, labels)


def held_out_folds(labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows to train on and rows to hold out: five folds of a fixed shuffle, or one fifth of more than 2,000 documents.

    Classes are dealt out evenly, which scikit-learn's stratified folds refuse for classes of fewer documents than
    folds.
    """
    documents = len(labels)
    order = np.random.default_rng(0).permutation(documents)
    if labels.ndim == 1 and labels.dtype.kind in "iu":
        order = order[np.argsort(labels[order], kind="stable")]
    folds = min(_FOLDS, documents) if documents <= _FOLDS_UP_TO_DOCUMENTS else 1
    step = folds if folds > 1 else max(_FOLDS, math.ceil(documents / _MAX_HELD_OUT))
    for fold in range(folds if documents > 1 else 0):
        is_held_out = np.zeros(documents, dtype=bool)
        is_held_out[order[fold::step]] = True
        yield np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def _score(model: Any, x: Any, labels: np.ndarray) -> float:
    """Minus the summed negative log-likelihood, weighted as the model's, or minus the squared error for numbers."""
    predicted = model.predict_proba(x)
    if labels.dtype.kind == "f":
        return -float(np.square(predicted - labels).sum())
    if labels.ndim == 2:
        predicted = np.where(labels, predicted, 1.0 - predicted)
    else:
        predicted = predicted[np.arange(len(labels)), labels]
    logs = np.log(np.maximum(predicted, SMALLEST_PROBABILITY))
    weights = document_weights(getattr(model, "class_weights", None), labels)
    return float(logs.sum() if weights is None else logs @ weights)
