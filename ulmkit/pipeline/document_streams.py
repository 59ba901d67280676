"""Classification of a document that arrives in parts, without reading a part twice.

A network keeps its state and what it pooled, a linear member the counts of n-grams: as much for a long document as for
a short one, but for new n-grams. A network that reads backward begins at the end, which moves: it keeps all tokens, and
each answer reads them anew. Imports without torch; the streams of networks are in `ulmkit.pipeline.network_streams`.
"""

from typing import Any, Protocol

import numpy as np

from ulmkit.pipeline.ensembles import EnsemblePredictor, LinearMembers
from ulmkit.text.words import WordStream, join_words

_COUNTED_WORDS = 256  # words whose n-grams are counted at once; the last ones are counted again for each answer


class MemberStream(Protocol):
    """Reads a document for one or more members."""

    def read(self, ids: np.ndarray) -> None:
        """Read the next token ids, (T,) int64."""

    def log_probabilities(self) -> list[np.ndarray]:
        """Log-probabilities of each member, (1, classes) float64, for what was read so far."""


class EnsembleReading:
    """Reads a document for all members of an ensemble.

    Args:
        predictor: Predicts with the ensemble.
    """

    def __init__(self, predictor: EnsemblePredictor) -> None:
        self._predictor = predictor
        self._members = [id(member) for member in predictor.parts.members]
        self._linear = [_LinearStream(linear) for linear in predictor.linear]
        self._streams: list[tuple[list[int], MemberStream]] = [
            ([id(member) for member in linear.members], stream)
            for linear, stream in zip(predictor.linear, self._linear, strict=True)
        ]
        if predictor.networks:
            from ulmkit.pipeline.network_streams import stream_network

            self._streams += [([id(member)], stream_network(member)) for member in predictor.networks]

    def read(self, ids: np.ndarray) -> None:
        """Read the next token ids, (T,) int64."""
        if len(ids):
            for _, stream in self._streams:
                stream.read(ids)

    def predict(self) -> np.ndarray:
        """Predict from what was read so far. Returns: (classes,) float32 probabilities."""
        logs: dict[int, np.ndarray] = {}
        for members, stream in self._streams:
            logs |= dict(zip(members, stream.log_probabilities(), strict=True))
        is_known = np.array([any(stream.is_known for stream in self._linear)])
        combined = self._predictor.combine([logs[member] for member in self._members], is_known)
        return np.exp(combined[0]).astype(np.float32)


class _LinearStream:
    """Counts the n-grams of a document for linear members.

    An n-gram that begins in a counted word may end in a new one. So new words are counted together with the last ones
    before them, the seam, whose own n-grams are taken off the counts so far.

    Attributes:
        is_known: Whether a member knew an n-gram of the document at the last answer.
    """

    def __init__(self, linear: LinearMembers) -> None:
        self.is_known = False
        self._linear = linear
        self._stream = WordStream(linear.reader)
        self._seam_words = max(len(member.ngrams.codes) for member in linear.members)
        self._words = np.empty(0, dtype=np.int64)  # the seam and new words
        self._counts = linear.counts(join_words([self._words]))  # of the words before, without n-grams of the seam

    def read(self, ids: np.ndarray) -> None:
        self._words = np.concatenate([self._words, self._stream.feed(ids)])
        if len(self._words) >= _COUNTED_WORDS:
            seam = self._words[len(self._words) - self._seam_words :]
            of_seam = self._linear.counts(join_words([seam]))
            counts = self._counts_with(self._words)
            self._counts = [each - twice for each, twice in zip(counts, of_seam, strict=True)]
            self._words = seam.copy()

    def log_probabilities(self) -> list[np.ndarray]:
        words = np.concatenate([self._words, self._stream.open_words()])
        counts = self._counts_with(words)
        self.is_known = bool(self._linear.know(counts).any())
        return self._linear.classify(counts)

    def _counts_with(self, words: np.ndarray) -> list[Any]:
        """Counts for each member of all words so far, if `words` are the seam and those that follow it."""
        new = self._linear.counts(join_words([words]))
        return [before + each for before, each in zip(self._counts, new, strict=True)]
