"""Running predictions: what a classifier says after each word of a text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ulmkit.explain.words import Word

Read = Callable[[np.ndarray], None]
"""Reads the next token ids, (T,) int64."""


@dataclass(frozen=True, eq=False)
class RunningPrediction:
    """A classifier's answers while it reads a text.

    Attributes:
        labels: The labels in the order of the probabilities; empty for numbers.
        words: The words of the text, in its order.
        read: (n,) int64, how many words had been read at each answer.
        outputs: (n, C) probabilities at each answer, or (n,) numbers; the last is the answer for the whole text.
    """

    labels: tuple[str, ...]
    words: tuple[Word, ...]
    read: np.ndarray
    outputs: np.ndarray


def running_prediction(
    labels: Sequence[str],
    words: Sequence[Word],
    ids: np.ndarray,
    read: Read,
    predict: Callable[[], np.ndarray],
    points: int | None = None,
) -> RunningPrediction:
    """Read a text word by word, each token once, and predict after each word.

    Tokens that belong to no word are read with the word before them, so that the last answer is for all tokens.

    Args:
        labels: The labels in the order of the probabilities.
        words: The words of the text.
        ids: (T,) int64, its token ids.
        read: Reads the next tokens.
        predict: Predicts from what was read so far.
        points: Most answers, after words that are evenly spaced, the last one included; None for one after each word.

    Returns:
        The answers; a text without words has one, after all of its tokens.
    """
    chosen = np.arange(1, len(words) + 1)
    if points is not None and points < len(words):
        chosen = np.unique(np.linspace(len(words) / points, len(words), points).round().astype(np.int64))
    if not len(words):
        chosen = np.zeros(1, dtype=np.int64)
    outputs = []
    place = 0
    for count in chosen.tolist():
        stop = len(ids) if count == len(words) else words[count].first
        read(ids[place:stop])
        outputs.append(predict())
        place = stop
    return RunningPrediction(tuple(labels), tuple(words), chosen, np.stack(outputs))
