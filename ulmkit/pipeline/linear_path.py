"""Linear members on the path from a baseline to a text, for integrated gradients. Imports without torch."""

from collections.abc import Sequence

import numpy as np

from ulmkit.explain import Slopes
from ulmkit.members.linear import LinearMember, class_log_probabilities, score_slopes
from ulmkit.text.words import WordSequence


class LinearPath:
    """A linear member between a text without words and a text.

    z(a) = z(0) + a sum_i g_i,  g_i: what token i contributes to the scores, see `LinearMember.contributions`

    Args:
        member: The member.
        words: The words of the text as one document, in the member's ids.
        owners: (any,) positions of the tokens of each word.
        is_word: (tokens,) bool, the tokens that the baseline lacks.
    """

    at_once = 1024

    def __init__(
        self, member: LinearMember, words: WordSequence, owners: Sequence[np.ndarray], is_word: np.ndarray
    ) -> None:
        self._one_against_rest = member.one_against_rest
        tokens = np.zeros((len(is_word), len(member.intercept)))
        for contribution, places in zip(member.contributions(words), owners, strict=True):
            tokens[places] += contribution / len(places)
        self._tokens = tokens * is_word[:, None]
        self._baseline = tokens[~is_word].sum(axis=0) + member.intercept

    def along(self, shares: np.ndarray) -> tuple[np.ndarray, Slopes]:
        """Log-probabilities at points of the path, and their slopes; see `MemberPath.along`."""
        scores = self._baseline + shares[:, None] * self._tokens.sum(axis=0)

        def pull(slopes: np.ndarray) -> np.ndarray:
            return np.asarray(score_slopes(scores, slopes, self._one_against_rest) @ self._tokens.T)

        return class_log_probabilities(scores, self._one_against_rest), pull
