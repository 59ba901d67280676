"""Integrated gradients: how much of a prediction each word accounts for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import logsumexp, softmax

from ulmkit.config import check_choice
from ulmkit.explain.occlusion import Explanation, WordWeight, log_odds
from ulmkit.explain.words import Word

EXPLANATION_METHODS = ("occlusion", "integrated-gradients")
"""Methods of `TextClassifier.explain`."""

FIRST_STEPS = 16
MOST_STEPS = 512
TOLERANCE = 0.01
"""Largest gap in the sum of the weights, as a share of what they sum to, or in nats where that is below 1."""

Slopes = Callable[[np.ndarray], np.ndarray]
"""Slopes (tokens,) along a path, summed over n points, from slopes (n, C) by the log-probabilities at each."""


class MemberPath(Protocol):
    """A member of a classifier on the straight line from a baseline to a text."""

    @property
    def at_once(self) -> int:
        """Most points of the path to ask about at once."""

    def along(self, shares: np.ndarray) -> tuple[np.ndarray, Slopes]:
        """Log-probabilities at points of the path, (n, C) float64, and what they depend on.

        Args:
            shares: (n,) float64, how far each point is from the baseline to the text, 0 to 1.

        Returns:
            The log-probabilities l_j at x_j = x' + shares_j (x - x'); and a function that takes v (n, C) and returns
            sum_j v_j · dl_j/dx_j · (x - x') for each token, (tokens,) float64.
        """


class Blend(Protocol):
    """A combination of the log-probabilities of members into scores, whose softmax is the classifier's prediction."""

    def scores(self, logs: Sequence[np.ndarray]) -> np.ndarray:
        """Scores (n, C) from the log-probabilities (n, C) of each member."""

    def slopes(self, logs: Sequence[np.ndarray], scores: np.ndarray, slopes: np.ndarray) -> list[np.ndarray]:
        """Slopes by the log-probabilities of each member, (n, C), from the slopes (n, C) by the scores."""


@dataclass(frozen=True)
class WeightedSum:
    """Scores u = sum_m a_m l_m + b: those of a combiner, or of a network with a temperature.

    Attributes:
        weights: a, (members,) float64.
        bias: b, (C,) float64, or a number.
    """

    weights: np.ndarray
    bias: np.ndarray | float = 0.0

    def scores(self, logs: Sequence[np.ndarray]) -> np.ndarray:
        """Add the members up; see `Blend.scores`."""
        return np.asarray(np.tensordot(self.weights, np.stack(logs), axes=1) + self.bias)

    def slopes(self, logs: Sequence[np.ndarray], scores: np.ndarray, slopes: np.ndarray) -> list[np.ndarray]:
        """Weigh the slopes; see `Blend.slopes`."""
        return [weight * slopes for weight in self.weights]


@dataclass(frozen=True)
class MeanProbability:
    """Scores u = log sum_m exp l_m: those of the mean of several predictions."""

    def scores(self, logs: Sequence[np.ndarray]) -> np.ndarray:
        """Add the probabilities up; see `Blend.scores`."""
        return np.asarray(logsumexp(np.stack(logs), axis=0))

    def slopes(self, logs: Sequence[np.ndarray], scores: np.ndarray, slopes: np.ndarray) -> list[np.ndarray]:
        """Share the slopes out by probability; see `Blend.slopes`."""
        return [slopes * np.exp(each - scores) for each in logs]


@dataclass(frozen=True)
class ClassifierPath:
    """A classifier on the straight line from a baseline to a text.

    Attributes:
        members: Its members.
        blend: How they are combined.
    """

    members: Sequence[MemberPath]
    blend: Blend

    def scores(self, shares: np.ndarray) -> np.ndarray:
        """Scores (n, C) at points of the path; see `MemberPath.along`."""
        return self.blend.scores([member.along(shares)[0] for member in self.members])

    def integrate(self, column: int, steps: int) -> np.ndarray:
        """Integrated gradients of the log-odds of a class by the Gauss-Legendre rule.

        Args:
            column: The class, c.
            steps: Points of the rule, m.

        Returns:
            (tokens,) float64.

        Source: Sundararajan, Taly & Yan 2017, arXiv:1703.01365, section 3, equation 1, and section 5.
        Deviation: the integral by the Gauss-Legendre rule in place of the Riemann sum of equation 3.
        """
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        total: np.ndarray | float = 0.0
        at_once = min(member.at_once for member in self.members)
        for begin in range(0, steps, at_once):
            chosen = slice(begin, begin + at_once)
            answers = [member.along((1.0 + nodes[chosen]) / 2.0) for member in self.members]
            logs = [each for each, _ in answers]
            scores = self.blend.scores(logs)
            slopes = weights[chosen, None] / 2.0 * log_odds_slopes(scores, column)
            by_member = self.blend.slopes(logs, scores, slopes)
            total = total + sum(pull(each) for (_, pull), each in zip(answers, by_member, strict=True))
        return np.asarray(total)


def log_odds_slopes(scores: np.ndarray, column: int) -> np.ndarray:
    """Slopes of s = u_c - log sum_{k != c} exp u_k by the scores u (n, C): 1 for c, -softmax_{k != c}(u) for others."""
    slopes = np.empty_like(scores)
    slopes[:, column] = 1.0
    others = np.arange(scores.shape[1]) != column
    slopes[:, others] = -softmax(scores[:, others], axis=1)
    return slopes


def explain_by_gradients(
    words: Sequence[Word], path: ClassifierPath, label_names: Sequence[str], label: str | None = None
) -> Explanation:
    """Weigh the words of a text by integrated gradients.

    s(x) = log p_c(x) - log(1 - p_c(x)),  c: the class to explain
    weight of word w = sum_{i in w} (x_i - x'_i) integral_0^1 ds/dx_i (x' + a (x - x')) da

    x are a network's embeddings and a linear member's features. The baseline x' has zeros for the tokens of words, and
    a linear member's n-grams add nothing there; tokens that belong to no word stay as they are.

    An ensemble is explained as a whole. With u = sum_m a_m log p_m + b and s = u_c - log sum_{k != c} exp u_k, the
    slope of s is sum_m a_m sum_k ds/du_k dlog p_mk/dx. With two classes s = sum_m a_m s_m + b_c - b_k, so that the
    weights are those of each member, times a_m; the slope of a linear member's s_m is constant, and its integral the
    contributions of its n-grams.

    Completeness: the weights of the words sum to s(x) - s(x'). The number of steps doubles, from 16, until the gap is
    at most 1% of that, or of 1 if it is smaller; it ends at 512.

    Args:
        words: The words of the text.
        path: The classifier between the baseline and the text.
        label_names: The classes.
        label: The class to explain; None for the one that is predicted for the whole text.

    Returns:
        The explanation; its `gap` is what completeness lacks.

    Raises:
        ConfigError: If there is no such class.

    Source: Sundararajan, Taly & Yan 2017, arXiv:1703.01365, sections 3 and 5 (steps, completeness as their check), and
        section 6.3 (text, with a baseline of zero embeddings).
    Deviation: log-odds in place of a probability, as in `explain_prediction`; marks and line breaks are not part of the
        baseline.
    """
    if label is not None:
        check_choice("label", label, label_names)
    ends = path.scores(np.array([0.0, 1.0]))
    explained = int(ends[1].argmax()) if label is None else label_names.index(label)
    baseline, whole = log_odds(ends, explained).tolist()
    if not words:
        return Explanation(label_names[explained], whole, (), baseline, 0)
    steps = FIRST_STEPS
    while True:
        tokens = path.integrate(explained, steps)
        weights = [float(tokens[word.first : word.stop].sum()) for word in words]
        gap = abs(whole - baseline - sum(weights))
        if gap <= TOLERANCE * max(1.0, abs(whole - baseline)) or steps >= MOST_STEPS:
            break
        steps *= 2
    weighed = tuple(WordWeight(word.text, word.span, weight) for word, weight in zip(words, weights, strict=True))
    return Explanation(label_names[explained], whole, weighed, baseline, steps)
