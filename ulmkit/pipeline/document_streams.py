"""Classification of a document that arrives in parts, without reading a part twice.

A network keeps its state and what it pooled, a linear member the counts of n-grams: as much for a long document as for
a short one, but for new n-grams. A network that reads backward begins at the end, which moves: it keeps all tokens, and
each answer reads them anew.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch

from ulmkit.hub import ClassifierParts, FeatureParts, LanguageModelParts
from ulmkit.model.config import CHUNK_STEPS
from ulmkit.model.document_features import FeatureState
from ulmkit.pipeline.ensembles import (
    EnsemblePredictor,
    LinearMembers,
    feature_log_probabilities,
    language_model_features,
    log_outputs,
    network_log_probabilities,
)
from ulmkit.text.words import WordStream, join_words

_COUNTED_WORDS = 256  # words whose n-grams are counted at once; the last ones are counted again for each answer


class _MemberStream(Protocol):
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
        self._combiner = predictor.parts.combiner
        self._members = [id(member) for member in predictor.parts.members]
        self._streams: list[tuple[list[int], _MemberStream]] = []
        for linear in predictor.linear:
            self._streams.append(([id(member) for member in linear.members], _LinearStream(linear)))
        for member in predictor.networks:
            stream: _MemberStream
            if isinstance(member, FeatureParts):
                stream = _FeatureStream(member)
            elif member.direction == "backward":
                stream = _BackwardStream(member)
            else:
                stream = NetworkReading(member)
            self._streams.append(([id(member)], stream))

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
        combined = self._combiner([logs[member] for member in self._members])
        return np.exp(combined[0]).astype(np.float32)


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


class _LinearStream:
    """Counts the n-grams of a document for linear members.

    An n-gram that begins in a counted word may end in a new one. So new words are counted together with the last ones
    before them, the seam, whose own n-grams are taken off the counts so far.
    """

    def __init__(self, linear: LinearMembers) -> None:
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
        return self._linear.classify(self._counts_with(words))

    def _counts_with(self, words: np.ndarray) -> list[Any]:
        """Counts for each member of all words so far, if `words` are the seam and those that follow it."""
        new = self._linear.counts(join_words([words]))
        return [before + each for before, each in zip(self._counts, new, strict=True)]


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
