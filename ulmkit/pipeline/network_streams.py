"""Classification of a document that arrives in parts, by networks; see `ulmkit.pipeline.document_streams`."""

from collections.abc import Iterator

import numpy as np
import torch

from ulmkit.hub import ClassifierParts, FeatureParts, LanguageModelParts
from ulmkit.model.config import CHUNK_STEPS
from ulmkit.model.document_features import FeatureState
from ulmkit.pipeline.document_streams import MemberStream
from ulmkit.pipeline.network_members import (
    feature_log_probabilities,
    language_model_features,
    log_outputs,
    network_log_probabilities,
)


def stream_network(member: ClassifierParts | FeatureParts) -> MemberStream:
    """Begin to read a document for a member of an ensemble."""
    if isinstance(member, FeatureParts):
        return _FeatureStream(member)
    return _BackwardStream(member) if member.direction == "backward" else NetworkReading(member)


class NetworkReading:
    """Reads a document for a network that reads forward.

    Args:
        parts: The network, in evaluation mode.
    """

    def __init__(self, parts: ClassifierParts) -> None:
        self._parts = parts
        self._model = parts.model
        with torch.no_grad():
            self._state = self._model.begin(1)

    @torch.no_grad()
    def read(self, ids: np.ndarray) -> None:
        """Read the next token ids, (T,) int64."""
        for chunk in _chunks(ids, self._model.chunk_steps, self._model.encoder.device):
            self._state = self._model.step(chunk, torch.tensor([len(chunk)]), self._state)

    def predict(self) -> np.ndarray:
        """Predict from what was read so far. Returns: (C,) probabilities, or () for a number."""
        return np.asarray(self._parts.calibrated(self._outputs()))[0]

    def log_probabilities(self) -> list[np.ndarray]:
        """Log-probabilities of the classes, (1, classes) float64, as the network has them uncalibrated."""
        return [log_outputs(self._outputs())]

    @torch.no_grad()
    def _outputs(self) -> np.ndarray:
        outputs = self._model.head.predict(self._model.finish(self._state).float())
        return np.asarray(outputs.cpu().numpy())


class _BackwardStream:
    """Keeps a document for a network that reads backward."""

    def __init__(self, member: ClassifierParts) -> None:
        self._member = member
        self._tokens = _Tokens()

    def read(self, ids: np.ndarray) -> None:
        self._tokens.add(ids)

    def log_probabilities(self) -> list[np.ndarray]:
        return [network_log_probabilities(self._member, [self._tokens.document])]


class _FeatureStream:
    """Reads a document for the features of language models, and keeps it for those that read backward."""

    def __init__(self, member: FeatureParts) -> None:
        self._member = member
        self._states: dict[int, FeatureState] = {
            place: FeatureState.begin(parts.model.encoder, 1)
            for place, parts in enumerate(member.language_models)
            if parts.direction == "forward"
        }
        self._tokens = _Tokens()

    def read(self, ids: np.ndarray) -> None:
        for place, parts in enumerate(self._member.language_models):
            encoder = parts.model.encoder
            if place in self._states:
                for chunk in _chunks(ids, CHUNK_STEPS, encoder.device):
                    self._states[place] = self._states[place].step(encoder, chunk)
        if len(self._states) < len(self._member.language_models):
            self._tokens.add(ids)

    def log_probabilities(self) -> list[np.ndarray]:
        features = [self._features(place, parts) for place, parts in enumerate(self._member.language_models)]
        return [feature_log_probabilities(self._member, np.hstack(features))]

    def _features(self, place: int, parts: LanguageModelParts) -> np.ndarray:
        if place in self._states:
            return self._states[place].features().cpu().numpy()
        return language_model_features([parts], [self._tokens.document])


class _Tokens:
    """Token ids that arrive in parts."""

    def __init__(self) -> None:
        self._parts = [np.empty(0, dtype=np.int64)]

    def add(self, ids: np.ndarray) -> None:
        """Add the next ids, (T,) int64."""
        self._parts.append(ids)

    @property
    def document(self) -> np.ndarray:
        """All of them, (T,) int64."""
        self._parts = [np.concatenate(self._parts)]
        return self._parts[0]


def _chunks(ids: np.ndarray, steps: int, device: torch.device) -> Iterator[torch.Tensor]:
    """Chunks of at most `steps` of a document, (T, 1) int64 each; none of an empty one."""
    if len(ids):
        yield from torch.split(torch.from_numpy(ids).unsqueeze(1).to(device), steps)
