"""`TextStream`: classify a text while it arrives."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ulmkit.api.common import check_finite_answers
from ulmkit.errors import ConfigError, DataError
from ulmkit.hub import ClassifierParts, EnsembleParts
from ulmkit.text import StreamingTokens


class Reading(Protocol):
    """A document that is being read."""

    def read(self, ids: np.ndarray) -> None:
        """Read the next token ids, (T,) int64."""

    def predict(self) -> np.ndarray:
        """Predict from what was read so far."""


def check_stream(parts: ClassifierParts | EnsembleParts) -> None:
    """Raise ConfigError for a classifier of a task that needs the whole text at once."""
    if parts.task.per_word or parts.task.text_fields > 1:
        raise ConfigError(f"stream: task {parts.task.name!r} needs the whole text at once; use predict_proba")


class TextStream:
    """Reads a text piece by piece; the final answer is that of the whole text, however it was cut.

    After `finish` the next text begins. Nothing is read twice, and of an ensemble memory grows with the number of
    different n-grams alone. Only members that read backward begin at the end of the text so far: they keep its tokens,
    and each answer takes them as long as a whole text.

    Args:
        parts: The classifier.
        begin: Begins to read a document.

    Raises:
        ConfigError: For tasks that need the whole text at once.
    """

    def __init__(self, parts: ClassifierParts | EnsembleParts, begin: Callable[[], Reading]) -> None:
        check_stream(parts)
        self._vocabulary = parts.vocabulary
        self._tokens = StreamingTokens(parts.tokenizer)
        self._begin = begin
        self._reading = begin()

    def feed(self, piece: str) -> None:
        """Read the next piece, cut anywhere; tokens that later pieces may still change are held back.

        Raises:
            DataError: If the piece is no str.
        """
        if not isinstance(piece, str):
            raise DataError(f"piece: expected a str, got {type(piece).__name__}; feed one text, a part at a time")
        self._read(self._tokens.feed(piece))

    def finish(self) -> np.ndarray:
        """End the text. Returns: (C,) probabilities, or () for a number. Raises: see `predict_proba`."""
        self._read(self._tokens.finish())
        answer = self.predict_proba()
        self._reading = self._begin()
        return answer

    def predict_proba(self) -> np.ndarray:
        """Predict from what was read so far, without the characters held back.

        Returns:
            As `finish`.

        Raises:
            TrainingError: If the answer is NaN or infinite.
        """
        answer = self._reading.predict()
        check_finite_answers(answer)
        return answer

    def _read(self, tokens: Sequence[str]) -> None:
        self._reading.read(self._vocabulary.encode(tokens).astype(np.int64))
