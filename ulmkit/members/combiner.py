"""Combination of members: a softmax regression on their log-probabilities, which also calibrates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax

from ulmkit.errors import ConfigError

PRIOR_SPREAD = 0.5
"""Standard deviation of the weights around equal ones, before anything is learned."""

BIAS_SPREAD = 0.1
"""Standard deviation of the biases around 0: each member has biases of its own."""


@dataclass(frozen=True)
class Combiner:
    """Weights of members.

    log p = log softmax(sum_m a_m log p_m + b)

    Attributes:
        weights: a, (members,) float64, not negative.
        bias: b, (classes,) float64.
    """

    weights: np.ndarray
    bias: np.ndarray

    def __call__(self, members: Sequence[np.ndarray]) -> np.ndarray:
        """Combine the members' log-probabilities, (n, classes) each.

        Returns:
            (n, classes) log-probabilities.

        Raises:
            ConfigError: If there are not as many as weights.
        """
        if len(members) != len(self.weights):
            raise ConfigError(f"members: expected {len(self.weights)}, got {len(members)}")
        scores = sum(weight * logs for weight, logs in zip(self.weights, members, strict=True)) + self.bias
        return np.asarray(log_softmax(scores, axis=1))


def fit_combiner(
    members: Sequence[np.ndarray], labels: np.ndarray, class_weights: Sequence[float] | None = None
) -> Combiner:
    """Fit weights to predictions for documents that the members did not learn from.

    The weights maximise sum_i v_i log p(y_i) - sum_m (a_m - 1 / M)^2 / (2 s^2) - |b|^2 / (2 t^2), with s =
    `PRIOR_SPREAD`, t = `BIAS_SPREAD` and v_i the weight of the class of document i: few documents leave them near those
    of an average.

    Args:
        members: (n, classes) log-probabilities of each of M members.
        labels: (n,) int, the right classes.
        class_weights: (classes,) weight of a document of each class, which must be those that the members were
            fitted with: the biases would undo their effect otherwise. None for equal ones.

    Returns:
        The combiner.

    Source: stacking by a regression on held-out predictions: Wolpert 1992, "Stacked generalization", section 2; weights
        that are not negative: Breiman 1996, "Stacked regressions", section 3.
    """
    from scipy.optimize import minimize

    logs = np.stack(members)  # (M, n, C)
    count, _, classes = logs.shape
    rows = np.arange(len(labels))
    prior = np.full(count, 1.0 / count)
    spreads = np.repeat([PRIOR_SPREAD, BIAS_SPREAD], [count, classes])
    targets = np.zeros(logs.shape[1:])
    targets[rows, labels] = 1.0
    importance = np.ones(len(labels)) if class_weights is None else np.asarray(class_weights)[labels]

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = values[:count], values[count:]
        log_p = log_softmax(np.tensordot(weights, logs, axes=1) + bias, axis=1)
        errors = (np.exp(log_p) - targets) * importance[:, None]  # (n, C)
        gradient = np.concatenate([np.einsum("mnc,nc->m", logs, errors), errors.sum(axis=0)])
        away = np.concatenate([weights - prior, bias])
        pull = away / spreads**2
        penalty = 0.5 * (away @ pull)
        return float(penalty - importance @ log_p[rows, labels]), gradient + pull

    start = np.concatenate([prior, np.zeros(classes)])
    bounds = [(0.0, None)] * count + [(None, None)] * classes
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return Combiner(found.x[:count], found.x[count:])
