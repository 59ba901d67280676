"""Integrated gradients: how much of a prediction each word accounts for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from scipy.special import logsumexp, softmax

from ulmkit.config import check_choice
from ulmkit.explain.occlusion import Explanation, WordWeight, log_odds
from ulmkit.explain.words import Word

EXPLANATION_METHODS = ("occlusion", "integrated-gradients")
"""Methods of `TextClassifier.explain`."""

FIRST_BOUNDS = (0.0, 0.0625, 0.125, 0.1875, 0.25, 0.375, 0.5, 0.75, 1.0)
"""Bounds of the stretches of the path at first, shorter near the baseline, where the words of a network take effect."""

STRETCH_STEPS = 2
"""Points of the path in a stretch."""

MOST_STEPS = 512
TOLERANCE = 0.01
"""Largest gap in the sum of the weights, as a share of what they sum to, or in nats where that is below 1."""

STRETCH_TOLERANCE = 0.05
"""Largest sum of the sizes of the gaps in stretches of the path, as a share of the same."""

Slopes = Callable[[np.ndarray], np.ndarray]
"""Slopes (n, tokens) along a path at n points, from slopes (n, C) by the log-probabilities at each."""


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
            v_j · dl_j/dx_j · (x - x') for each point and token, (n, tokens) float64.
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
        pieces = [[member.along(some)[0] for member in self.members] for some in self._pieces(shares)]
        return np.concatenate([self.blend.scores(logs) for logs in pieces])

    def slopes(self, column: int, shares: np.ndarray) -> np.ndarray:
        """Slopes (n, tokens) of the log-odds of a class along the path, at points of it; see `MemberPath.along`."""
        parts = []
        for some in self._pieces(shares):
            answers = [member.along(some) for member in self.members]
            logs = [each for each, _ in answers]
            scores = self.blend.scores(logs)
            by_member = self.blend.slopes(logs, scores, log_odds_slopes(scores, column))
            parts.append(sum(pull(each) for (_, pull), each in zip(answers, by_member, strict=True)))
        return np.concatenate(parts)

    def integrate(self, column: int, stretches: Sequence[tuple[float, float]]) -> np.ndarray:
        """Integrated gradients of the log-odds of a class over stretches of the path, by the Gauss-Legendre rule.

        Args:
            column: The class, c.
            stretches: The k shares of the path at which each stretch begins and ends.

        Returns:
            (k, tokens) float64; those of stretches that make up the path sum to the integrated gradients.

        Source: Sundararajan, Taly & Yan 2017, arXiv:1703.01365, section 3, equation 1, and section 5.
        Deviation: the integral by the Gauss-Legendre rule in each stretch, in place of the Riemann sum of equation 3.
        """
        nodes, weights = np.polynomial.legendre.leggauss(STRETCH_STEPS)
        begins, ends = np.array(stretches).T
        lengths = ends - begins
        shares = begins[:, None] + lengths[:, None] * (1.0 + nodes) / 2.0  # (k, m)
        slopes = self.slopes(column, shares.ravel()).reshape(*shares.shape, -1)  # (k, m, tokens)
        return np.asarray(np.einsum("k,m,kmt->kt", lengths, weights / 2.0, slopes))

    def _pieces(self, shares: np.ndarray) -> list[np.ndarray]:
        at_once = min(member.at_once for member in self.members)
        return [shares[begin : begin + at_once] for begin in range(0, len(shares), at_once)]


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

    Completeness: the weights of the words sum to s(x) - s(x'), and those from a stretch of the path to the difference
    of s between its ends. The stretches with the largest gaps are halved until the gap of the whole is at most 1% of
    s(x) - s(x'), or of 1 if that is smaller, and the sizes of the stretches' gaps sum to at most 5% of it. So most
    steps are where s bends, and gaps that cancel each other by chance do not suffice. From 512 steps on it ends.

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
        baseline; most steps are where the gap is largest.
    """
    if label is not None:
        check_choice("label", label, label_names)
    scores = path.scores(np.array(FIRST_BOUNDS))
    explained = int(scores[-1].argmax()) if label is None else label_names.index(label)
    odds = log_odds(scores, explained).tolist()
    baseline, whole = odds[0], odds[-1]
    if not words:
        return Explanation(label_names[explained], whole, (), baseline, 0)
    tokens, steps = _integrate_until_complete(path, explained, dict(zip(FIRST_BOUNDS, odds, strict=True)))
    weighed = tuple(WordWeight(word.text, word.span, float(tokens[word.first : word.stop].sum())) for word in words)
    return Explanation(label_names[explained], whole, weighed, baseline, steps)


def _integrate_until_complete(path: ClassifierPath, column: int, odds: dict[float, float]) -> tuple[np.ndarray, int]:
    """Integrated gradients (tokens,) by the rule of `explain_by_gradients`, and their steps.

    Args:
        path: The classifier between the baseline and the text.
        column: The class.
        odds: Its log-odds at the bounds of the first stretches; those between further ones are added.
    """
    unit = max(1.0, abs(odds[1.0] - odds[0.0]))
    stretches = list(pairwise(odds))
    parts = dict(zip(stretches, path.integrate(column, stretches), strict=True))
    steps = STRETCH_STEPS * len(stretches)
    while steps < MOST_STEPS:
        gaps = {(begin, end): odds[end] - odds[begin] - part.sum() for (begin, end), part in parts.items()}
        size = sum(map(abs, gaps.values()))
        if abs(sum(gaps.values())) <= TOLERANCE * unit and size <= STRETCH_TOLERANCE * unit:
            break
        largest = max(map(abs, gaps.values()))
        halved = [stretch for stretch, gap in gaps.items() if abs(gap) >= largest / 2.0]
        middles = [(begin + end) / 2.0 for begin, end in halved]
        odds |= zip(middles, log_odds(path.scores(np.array(middles)), column).tolist(), strict=True)
        for stretch in halved:
            del parts[stretch]
        pairs = zip(halved, middles, strict=True)
        stretches = [half for (begin, end), middle in pairs for half in ((begin, middle), (middle, end))]
        parts |= zip(stretches, path.integrate(column, stretches), strict=True)
        steps += STRETCH_STEPS * len(stretches)
    return np.sum(list(parts.values()), axis=0), steps
