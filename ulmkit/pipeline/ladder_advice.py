"""Advice on a ladder's outcome: what the language model adds, labels that the text does not tell, missed classes."""

from collections.abc import Sequence

import numpy as np

from ulmkit.evaluation import HeldOutAnswers
from ulmkit.pipeline.ladder import Ladder

_RARE = 0.5  # of an even share of the documents; classes with fewer are rare
_FOUND = 0.5  # recall from which on a rare class is not mentioned
_LEAST_DOCUMENTS = 5  # of a class; of fewer, a recall says nothing
_NAMED_CLASSES = 5


def ladder_advice(ladder: Ladder, label_names: Sequence[str], *, is_weighted: bool) -> list[str]:
    """Say what should be known about a ladder's outcome.

    Args:
        ladder: The ladder.
        label_names: The classes by id.
        is_weighted: Whether classes have weights, which change what a loss means and are what helps rare classes.

    Returns:
        A sentence for each finding; empty where there is nothing to say.
    """
    gain = ladder.language_model_gain()
    advice = [] if gain is None else [gain.describe()]
    if is_weighted:
        return advice
    answers = ladder.held_out_answers(ladder.kept)
    if all(tells_nothing(answers.labels, ladder.losses(row)) for row in ladder.rows):
        advice.append(
            "nothing learned: no rung is surer of the labels than their shares are; are they right, and does the text "
            "tell them? More labelled documents may help"
        )
    elif missed := missed_classes(answers, label_names):
        advice.append(
            f"rare classes that are seldom found: {', '.join(missed)}. With --class-weights balanced "
            "(class_weights='balanced' in the recipe) they are answered more often, rightly and wrongly"
        )
    return advice


def tells_nothing(labels: np.ndarray, losses: np.ndarray) -> bool:
    """Tell whether losses fail to be a standard error lower than those of always answering with the class shares.

    Args:
        labels: (n,) int, the right classes.
        losses: (n,) negative log-likelihood of each.
    """
    shares = np.bincount(labels) / len(labels)
    gains = -np.log(shares[labels]) - losses
    return bool(gains.mean() <= gains.std() / np.sqrt(len(gains)))


def missed_classes(answers: HeldOutAnswers, label_names: Sequence[str]) -> list[str]:
    """Describe the rare classes of which most documents get another label, the most missed first."""
    classes = len(label_names)
    counts = np.bincount(answers.labels, minlength=classes)
    right = np.bincount(answers.labels[answers.is_right], minlength=classes)
    is_missed = (counts >= _LEAST_DOCUMENTS) & (counts < _RARE * len(answers) / classes) & (right < _FOUND * counts)
    missed = sorted(np.flatnonzero(is_missed).tolist(), key=lambda each: right[each] / counts[each])
    named = [f"{label_names[each]!r} ({right[each]:,} of {counts[each]:,} documents)" for each in missed]
    return named[:_NAMED_CLASSES] + (["..."] if len(named) > _NAMED_CLASSES else [])
