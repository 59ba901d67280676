"""`ClassifierStream`: classify a text while it arrives."""

from collections.abc import Sequence

import numpy as np
import torch

from ulmkit.errors import ConfigError, DataError
from ulmkit.hub import ClassifierParts
from ulmkit.model.classifier import ClassifierState
from ulmkit.text import StreamingTokens


class ClassifierStream:
    """Reads a text piece by piece; the final answer is that of the whole text, however it was cut.

    After `finish` the next text begins.

    Raises:
        ConfigError: For a backward classifier, and for tasks that need the whole text at once.
    """

    def __init__(self, parts: ClassifierParts) -> None:
        if parts.direction == "backward":
            raise ConfigError("stream: expected a forward classifier, got a backward one, which reads from the end")
        if parts.task.per_word or parts.task.text_fields > 1:
            raise ConfigError(f"stream: task {parts.task.name!r} needs the whole text at once; use predict_proba")
        self._parts = parts
        self._tokens = StreamingTokens(parts.tokenizer)
        self._start()

    def _start(self) -> None:
        with torch.no_grad():
            self._state: ClassifierState = self._parts.model.begin(1)

    def feed(self, piece: str) -> None:
        """Read the next piece, cut anywhere; tokens that later pieces may still change are held back.

        Raises:
            DataError: If the piece is no str.
        """
        if not isinstance(piece, str):
            raise DataError(f"piece: expected a str, got {type(piece).__name__}; feed one text, a part at a time")
        self._read(self._tokens.feed(piece))

    def finish(self) -> np.ndarray:
        """End the text. Returns: (C,) probabilities, or () for a number."""
        self._read(self._tokens.finish())
        answer = self.predict_proba()
        self._start()
        return answer

    def predict_proba(self) -> np.ndarray:
        """Predict from what was read so far, without the characters held back. Returns: as `finish`."""
        model = self._parts.model
        with torch.no_grad():
            return model.head.predict(model.finish(self._state).float())[0].cpu().numpy()

    def _read(self, tokens: Sequence[str]) -> None:
        model = self._parts.model
        ids = torch.from_numpy(self._parts.vocabulary.encode(tokens).astype(np.int64)).unsqueeze(1)
        device = model.encoder.device
        with torch.no_grad():
            for chunk in torch.split(ids, model.chunk_steps):
                if len(chunk):
                    self._state = model.step(chunk.to(device), torch.tensor([len(chunk)]), self._state)
