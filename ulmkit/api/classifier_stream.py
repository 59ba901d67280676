"""Streams of a classifier: classify a text while it arrives."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ulmkit.api.common import check_finite_answers
from ulmkit.errors import ConfigError, DataError
from ulmkit.hub import ClassifierParts, EnsembleParts
from ulmkit.pipeline import EnsemblePredictor, EnsembleReading, NetworkReading
from ulmkit.text import StreamingTokens


class _Reading(Protocol):
    """A document that is being read."""

    def read(self, ids: np.ndarray) -> None:
        """Read the next token ids, (T,) int64."""

    def predict(self) -> np.ndarray:
        """Predict from what was read so far."""


class TextStream(ABC):
    """Reads a text piece by piece; the final answer is that of the whole text, however it was cut.

    After `finish` the next text begins.

    Raises:
        ConfigError: For tasks that need the whole text at once.
    """

    def __init__(self, parts: ClassifierParts | EnsembleParts) -> None:
        if parts.task.per_word or parts.task.text_fields > 1:
            raise ConfigError(f"stream: task {parts.task.name!r} needs the whole text at once; use predict_proba")
        self._vocabulary = parts.vocabulary
        self._tokens = StreamingTokens(parts.tokenizer)
        self._reading = self._begin()

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
        answer = self._calibrated(self._reading.predict())
        check_finite_answers(answer)
        return answer

    def _read(self, tokens: Sequence[str]) -> None:
        self._reading.read(self._vocabulary.encode(tokens).astype(np.int64))

    def _calibrated(self, answer: np.ndarray) -> np.ndarray:
        return answer

    @abstractmethod
    def _begin(self) -> _Reading:
        """Begin a text."""


class ClassifierStream(TextStream):
    """The stream of a fine-tuned network.

    Raises:
        ConfigError: If it reads backward.
    """

    def __init__(self, parts: ClassifierParts) -> None:
        if parts.direction == "backward":
            raise ConfigError("stream: expected a forward classifier, got a backward one, which reads from the end")
        self._parts = parts
        super().__init__(parts)

    def _calibrated(self, answer: np.ndarray) -> np.ndarray:
        return np.asarray(self._parts.calibrated(answer))

    def _begin(self) -> _Reading:
        return NetworkReading(self._parts.model)


class EnsembleStream(TextStream):
    """The stream of an ensemble.

    Nothing is read twice, and memory grows with the number of different n-grams alone. Only members that read backward
    begin at the end of the text so far: they keep its tokens, and each answer takes them as long as a whole text.
    """

    def __init__(self, parts: EnsembleParts, predictor: EnsemblePredictor) -> None:
        self._predictor = predictor
        super().__init__(parts)

    def _begin(self) -> _Reading:
        return EnsembleReading(self._predictor)
