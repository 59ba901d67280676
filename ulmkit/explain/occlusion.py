"""Occlusion: how a prediction changes when words of the text are left out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import logsumexp

from ulmkit.config import check_choice
from ulmkit.errors import ConfigError
from ulmkit.explain.words import Word, tokens_in_words

ONE_BY_ONE = 128
"""Words up to which each word of a text is left out on its own."""

_STRETCHES = 32
_SPLIT = 8  # strongest stretches that are split in a round
_PARTS = 4
_MOST = 256  # predictions for a text with more words

Predict = Callable[[Sequence[np.ndarray]], np.ndarray]
"""Log-probabilities (n, C) of a text of which only the tokens at (tokens,) int64 positions are kept, n times."""


@dataclass(frozen=True)
class WordWeight:
    """A word of a text, and how much it speaks for the prediction.

    Attributes:
        word: The word.
        span: Its characters in the text; see `ulmkit.explain.Word`.
        weight: Log-odds of the label that the word accounts for, in nats; above 0 the word speaks for it. By occlusion
            the log-odds with the word, minus those without it, or None for a word of a long text that was not left out
            on its own; by integrated gradients its part of the log-odds.
    """

    word: str
    span: tuple[int, int] | None
    weight: float | None


@dataclass(frozen=True)
class Explanation:
    """A label of a text, and the words that speak for or against it.

    Attributes:
        label: The label, the predicted one unless another was asked for.
        log_odds: Its log-odds, log p / (1 - p), in nats.
        words: The words in the order of the text.
        baseline: By integrated gradients: the log-odds of the label at the baseline, without any word.
        steps: By integrated gradients: the points of the path at which gradients were taken.
    """

    label: str
    log_odds: float
    words: tuple[WordWeight, ...]
    baseline: float | None = None
    steps: int | None = None

    @property
    def gap(self) -> float:
        """Log-odds, minus those of the baseline and the weights of all words; see `explain_by_gradients`.

        Raises:
            ConfigError: If the words were weighed by occlusion, whose weights sum to nothing in particular.
        """
        if self.baseline is None:
            raise ConfigError("gap: only for integrated gradients, got occlusion")
        return self.log_odds - self.baseline - sum(word.weight or 0.0 for word in self.words)

    def strongest(self, count: int) -> list[WordWeight]:
        """The words with the largest weights, whatever their sign, the largest first; none of weight 0."""
        weighed = [word for word in self.words if word.weight]
        return sorted(weighed, key=lambda word: -abs(word.weight or 0.0))[:count]


def explain_prediction(
    words: Sequence[Word], tokens: int, predict: Predict, label_names: Sequence[str], label: str | None = None
) -> Explanation:
    """Weigh the words of a text by leaving out the tokens of each.

    s(x) = log p_c(x) - log(1 - p_c(x)),  c: the class to explain
    weight of word w = s(x) - s(x without the tokens of w)

    Up to `ONE_BY_ONE` words are left out one by one. A longer text is cut into 32 stretches with equally many words.
    In each round those of the 8 strongest parts that have more than one word are cut into four, until the 8 strongest
    are words, or 256 predictions were made. A word in a stretch that was not cut has no weight: the stretch as a whole
    moved the prediction less than 8 others did. (Words that cancel each other within a stretch are missed.)

    Args:
        words: The words of the text.
        tokens: Number of its tokens.
        predict: Predicts for the text with some of its tokens.
        label_names: The classes.
        label: The class to explain; None for the one that is predicted for the whole text.

    Returns:
        The explanation.

    Raises:
        ConfigError: If there is no such class.

    Source: leaving out a part of the input and watching the class's probability: Zeiler & Fergus 2014, "Visualizing and
        understanding convolutional networks", section 4.2; of words: Li, Monroe & Jurafsky 2016, arXiv:1612.08220.
    Deviation: a difference of log-odds, where Li et al. have a share of the log-likelihood, which says little for a
        class that is nearly certain; tokens are left out of the sequence, not blanked.
    """
    if label is not None:
        check_choice("label", label, label_names)
    (logs,) = predict([np.arange(tokens)])
    explained = int(logs.argmax()) if label is None else label_names.index(label)
    whole = float(log_odds(logs[None], explained)[0])

    def weigh(parts: Sequence[range]) -> list[float]:
        kept = [_without(words[part.start : part.stop], tokens) for part in parts]
        changes: list[float] = (whole - log_odds(predict(kept), explained)).tolist() if kept else []
        return changes

    weights = _weigh_words(len(words), weigh)
    weighed = tuple(WordWeight(word.text, word.span, weight) for word, weight in zip(words, weights, strict=True))
    return Explanation(label_names[explained], whole, weighed)


def _weigh_words(count: int, weigh: Callable[[Sequence[range]], list[float]]) -> list[float | None]:
    """Weight of each of `count` words, by the rule of `explain_prediction`."""
    if count <= ONE_BY_ONE:
        return list(weigh([range(place, place + 1) for place in range(count)]))
    parts = _cut(range(count), _STRETCHES)
    weights = dict(zip(parts, weigh(parts), strict=True))
    predictions = len(parts)
    while True:
        strongest = sorted(weights, key=lambda part: (-abs(weights[part]), part.start))[:_SPLIT]
        split = [part for part in strongest if len(part) > 1]
        parts = [smaller for part in split for smaller in _cut(part, _PARTS)]
        predictions += len(parts)
        if not parts or predictions > _MOST:
            break
        for part in split:
            del weights[part]
        weights |= zip(parts, weigh(parts), strict=True)
    alone = {part.start: weight for part, weight in weights.items() if len(part) == 1}
    return [alone.get(place) for place in range(count)]


def _cut(part: range, count: int) -> list[range]:
    """Cut a range into so many equal ones, as far as it reaches."""
    count = min(count, len(part))
    ends = [part.start + len(part) * number // count for number in range(count + 1)]
    return [range(begin, end) for begin, end in pairwise(ends)]


def _without(words: Sequence[Word], tokens: int) -> np.ndarray:
    """Positions of the tokens that are kept."""
    return np.flatnonzero(~tokens_in_words(words, tokens))


def log_odds(logs: np.ndarray, column: int) -> np.ndarray:
    """Log-odds (n,) of a class from log-probabilities (n, C), or scores that differ from these by a constant."""
    return np.asarray(logs[:, column] - logsumexp(np.delete(logs, column, axis=1), axis=1))
