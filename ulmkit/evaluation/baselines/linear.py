"""Linear models over sparse features, and the choice of their regularisation."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from ulmkit.evaluation.metrics import SMALLEST_PROBABILITY

Predict: TypeAlias = Callable[[Any], np.ndarray]
"""From features (N, F) to probabilities (N, C) or numbers (N,)."""

FitFeatures: TypeAlias = Callable[[Any, np.ndarray, float], Predict]
"""From features (N, F), labels and a strength to what predicts."""

_DUAL_FROM_DOCUMENTS = 1000
_FOLDS = 5
_FOLDS_UP_TO_DOCUMENTS = 2000  # with more, one part held out says as much and costs a fifth
_HELD_OUT_AT_MOST = 5000


def log_count_ratio(x: Any, positive: np.ndarray) -> np.ndarray:
    """r = log((p / |p|_1) / (q / |q|_1)), with p, q the counts of positive and other documents, plus 1.

    Args: x: (N, F) binary sparse. positive: (N,) bool.   Returns: (F,) float.
    Source: Wang & Manning 2012, "Baselines and bigrams: simple, good sentiment and topic classification", section 2.
    """
    p = 1.0 + np.asarray(x[positive].sum(axis=0)).ravel()
    q = 1.0 + np.asarray(x[~positive].sum(axis=0)).ravel()
    return np.log((p / p.sum()) / (q / q.sum()))


def one_against_rest(
    x: Any, labels: np.ndarray, classes: int, strength: float, *, count_ratio: bool = False
) -> Predict:
    """A logistic regression for each class against all others; for each label on its own if labels are sets.

    Two classes take one model. Probabilities of single labels are scaled to sum to 1. A class that all or no documents
    have is answered with its smoothed share.

    Args:
        x: (N, F) sparse. labels: (N,) int below `classes`, or (N, C) bool. strength: C of the regularisation.
        count_ratio: scale the features of each class's model by its log-count ratio.
    """
    if labels.ndim == 2:
        models = [_binary(x, labels[:, k], strength, count_ratio) for k in range(classes)]
        return lambda features: np.stack([model(features) for model in models], axis=1)
    if classes == 2:
        second = _binary(x, labels == 1, strength, count_ratio)
        return lambda features: np.stack([1.0 - (p := second(features)), p], axis=1)
    models = [_binary(x, labels == k, strength, count_ratio) for k in range(classes)]

    def predict(features: Any) -> np.ndarray:
        scores = np.maximum(np.stack([model(features) for model in models], axis=1), SMALLEST_PROBABILITY)
        return scores / scores.sum(axis=1, keepdims=True)

    return predict


def _binary(x: Any, positive: np.ndarray, strength: float, count_ratio: bool) -> Predict:
    """A logistic regression; returns the function from features to (N,) probabilities of a positive."""
    from sklearn.linear_model import LogisticRegression

    if positive.all() or not positive.any():
        share = (positive.sum() + 0.5) / (len(positive) + 1.0)
        return lambda features: np.full(features.shape[0], share)
    ratio = log_count_ratio(x, positive) if count_ratio else None

    def scaled(features: Any) -> Any:
        return features if ratio is None else features.multiply(ratio).tocsr()

    # Dual coordinate descent: ten times faster on much sparse text than the primal solvers, to the same accuracy; on
    # little text, where either takes no time, it may not converge.
    dual = x.shape[0] >= _DUAL_FROM_DOCUMENTS
    model = LogisticRegression(C=strength, solver="liblinear", dual=dual, tol=1e-2, max_iter=1000, random_state=0)
    model.fit(scaled(x), positive)
    return lambda features: model.predict_proba(scaled(features))[:, 1]


def best_strength(
    fit: FitFeatures,
    x: Any,
    labels: np.ndarray,
    strengths: Sequence[float],
    validation: tuple[Any, np.ndarray] | None,
) -> float:
    """The strength with the least loss on the validation part or, without one, on held-out training documents.

    Args: x: (N, F) features. labels: as the task has them. validation: features and labels.
    """
    if len(strengths) == 1:
        return strengths[0]
    losses = np.zeros(len(strengths))
    for train_x, train_labels, held_x, held_labels in _parts(x, labels, validation):
        for number, strength in enumerate(strengths):
            losses[number] += _loss(fit(train_x, train_labels, strength)(held_x), held_labels)
    return strengths[int(losses.argmin())]


def _parts(
    x: Any, labels: np.ndarray, validation: tuple[Any, np.ndarray] | None
) -> Iterator[tuple[Any, np.ndarray, Any, np.ndarray]]:
    """Training and held-out features and labels: the validation part, or folds of a fixed shuffle."""
    documents = len(labels)
    if validation is not None:
        yield x, labels, *validation
        return
    order = np.random.default_rng(0).permutation(documents)
    if labels.ndim == 1 and labels.dtype.kind in "iu":
        order = order[np.argsort(labels[order], kind="stable")]  # deal each class out evenly
    folds = min(_FOLDS, documents) if documents <= _FOLDS_UP_TO_DOCUMENTS else 1
    step = folds if folds > 1 else max(_FOLDS, -(-documents // _HELD_OUT_AT_MOST))
    for fold in range(folds if documents > 1 else 0):
        held = np.zeros(documents, dtype=bool)
        held[order[fold::step]] = True
        yield x[~held], labels[~held], x[held], labels[held]


def _loss(predicted: np.ndarray, labels: np.ndarray) -> float:
    """Summed negative log-likelihood, or squared error for numbers."""
    if labels.dtype.kind == "f":
        return float(np.square(predicted - labels).sum())
    if labels.ndim == 2:
        predicted = np.where(labels, predicted, 1.0 - predicted)
    else:
        predicted = predicted[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(predicted, SMALLEST_PROBABILITY)).sum())
