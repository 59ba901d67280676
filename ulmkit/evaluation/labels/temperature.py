"""Temperature scaling: one number that makes a network's probabilities less sure, or surer, without changing labels."""

import numpy as np
from scipy.special import log_softmax

PRIOR_SPREAD = 1.0
"""Standard deviation of log T around 0, before any document is seen: few of them change little."""

_LARGEST = 3.0  # of |log T|
_SMALLEST = float(np.finfo(np.float32).tiny)


def scaled_log_probabilities(logs: np.ndarray, temperature: float) -> np.ndarray:
    """Scale log-probabilities (..., C): log p' = log softmax(log p / T), in float64, which keeps their order.

    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2, equation 9.
    """
    return np.asarray(log_softmax(np.asarray(logs, dtype=np.float64) / temperature, axis=-1))


def scaled_probabilities(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Scale probabilities (..., C); see `scaled_log_probabilities`."""
    logs = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _SMALLEST))
    return np.exp(scaled_log_probabilities(logs, temperature))


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Fit the temperature to documents that the network did not learn from.

    T = argmin_T sum_i sum_c -t_ic log p'_i(c) + (log T)^2 / (2 s^2),  s = `PRIOR_SPREAD`
    t_ic = 1 - 1 / (n + 2) for the right class; the rest is shared by the others

    Args:
        probabilities: (n, C).
        labels: (n,) int, the right classes.

    Returns:
        T, above 0; above 1 the network was too sure.

    Source: Guo et al. 2017, arXiv:1706.04599, section 4.2.
    Deviation: a prior around T = 1, and Platt's targets in place of 0 and 1 (Platt 1999, "Probabilistic outputs for
        support vector machines", section 2.2): a few documents, all right, are no reason to be ever surer.
    """
    from scipy.optimize import minimize_scalar

    logs = np.log(np.maximum(np.asarray(probabilities, dtype=np.float64), _SMALLEST))
    targets = np.full(logs.shape, 1.0 / ((len(labels) + 2) * max(1, logs.shape[1] - 1)))
    targets[np.arange(len(labels)), labels] = 1.0 - 1.0 / (len(labels) + 2)

    def loss(log_temperature: float) -> float:
        scaled = scaled_log_probabilities(logs, float(np.exp(log_temperature)))
        return float(log_temperature**2 / (2.0 * PRIOR_SPREAD**2) - (targets * scaled).sum())

    optimum = minimize_scalar(loss, bounds=(-_LARGEST, _LARGEST), method="bounded")
    return float(np.exp(optimum.x))
