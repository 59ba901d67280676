"""Streams of a classifier: classify a text while it arrives."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch

from ulmkit.errors import ConfigError, DataError
from ulmkit.hub import ClassifierParts, EnsembleParts
from ulmkit.model.classifier import ClassifierState
from ulmkit.pipeline import EnsemblePredictor
from ulmkit.text import StreamingTokens


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
        self._start()

    def feed(self, piece: str) -> None:
        """Read the next piece, cut anywhere; tokens that later pieces may still change are held back.

        Raises:
            DataError: If the piece is no str.
        """
        if not isinstance(piece, str):
            raise DataError(f"piece: expected a str, got {type(piece).__name__}; feed one text, a part at a time")
        self._read(self._ids(self._tokens.feed(piece)))

    def finish(self) -> np.ndarray:
        """End the text. Returns: (C,) probabilities, or () for a number."""
        self._read(self._ids(self._tokens.finish()))
        answer = self.predict_proba()
        self._start()
        return answer

    def _ids(self, tokens: Sequence[str]) -> np.ndarray:
        return self._vocabulary.encode(tokens).astype(np.int64)

    @abstractmethod
    def predict_proba(self) -> np.ndarray:
        """Predict from what was read so far, without the characters held back. Returns: as `finish`."""

    @abstractmethod
    def _start(self) -> None:
        """Begin a text."""

    @abstractmethod
    def _read(self, ids: np.ndarray) -> None:
        """Read the next token ids, (T,) int64."""


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

    def _start(self) -> None:
        with torch.no_grad():
            self._state: ClassifierState = self._parts.model.begin(1)

    def predict_proba(self) -> np.ndarray:
        """Predict from what was read so far, without the characters held back. Returns: as `finish`."""
        model = self._parts.model
        with torch.no_grad():
            return model.head.predict(model.finish(self._state).float())[0].cpu().numpy()

    def _read(self, ids: np.ndarray) -> None:
        model = self._parts.model
        device = model.encoder.device
        with torch.no_grad():
            for chunk in torch.split(torch.from_numpy(ids).unsqueeze(1), model.chunk_steps):
                if len(chunk):
                    self._state = model.step(chunk.to(device), torch.tensor([len(chunk)]), self._state)


class EnsembleStream(TextStream):
    """The stream of an ensemble; its tokens are kept, and each answer reads them from the start.

    Members that read backward begin at the end of the text so far.
    """

    def __init__(self, parts: EnsembleParts, predictor: EnsemblePredictor) -> None:
        self._predictor = predictor
        super().__init__(parts)

    def _start(self) -> None:
        self._read_so_far: list[np.ndarray] = []

    def predict_proba(self) -> np.ndarray:
        """Predict from what was read so far, without the characters held back. Returns: as `finish`."""
        ids = np.concatenate([np.empty(0, dtype=np.int64), *self._read_so_far])
        answers = self._predictor([ids])
        return np.asarray(answers[0])

    def _read(self, ids: np.ndarray) -> None:
        if len(ids):
            self._read_so_far.append(ids)
