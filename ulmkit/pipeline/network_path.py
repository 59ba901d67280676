"""Networks on the path from a baseline to a text, for integrated gradients on embeddings."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid
from torch.utils.checkpoint import checkpoint

from ulmkit.explain import Slopes
from ulmkit.hub import ClassifierParts, FeatureParts, LanguageModelParts
from ulmkit.model.aligned import look_up
from ulmkit.model.awd_lstm import Encoder
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.copies import frozen_copy
from ulmkit.model.document_features import FeatureState
from ulmkit.text.corpus.token_stream import reversed_order

State = TypeVar("State")

_BATCH_STEPS = 12_288  # tokens whose activations are kept for the gradient; those of a larger batch are made twice
_PIECE_STEPS = 1024  # of a document in such a batch
_ENOUGH_POINTS = 4  # at once; with more, the kernels take no less time for each


class NetworkPath:
    """A member that is made of networks between a text without words and a text.

    The networks compute in float32, int8 weights dequantized.

    Args:
        member: The member.
        document: (T,) int64 token ids, in the order of the text.
        is_word: (T,) bool, the tokens whose embeddings are zeros at the baseline.

    Attributes:
        at_once: Most points of the path to ask about at once.
    """

    def __init__(self, member: ClassifierParts | FeatureParts, document: np.ndarray, is_word: np.ndarray) -> None:
        fitting = _BATCH_STEPS // max(1, len(document))
        # Where only one fits, several whose activations are made twice take less time for each.
        self.at_once = fitting if fitting > 1 else _ENOUGH_POINTS
        if isinstance(member, FeatureParts):
            encoders = [_in_float32(frozen_copy(parts.model.encoder)) for parts in member.language_models]
            self._log_probabilities = _feature_regression(member, encoders)
            networks: tuple[ClassifierParts | LanguageModelParts, ...] = member.language_models
        else:
            model = frozen_copy(member.model)
            encoders = [_in_float32(model.encoder)]
            self._log_probabilities = _classifier(model)
            networks = (member,)
        self._documents = [
            _Document(encoder, parts, document, is_word) for encoder, parts in zip(encoders, networks, strict=True)
        ]

    def along(self, shares: np.ndarray) -> tuple[np.ndarray, Slopes]:
        """Log-probabilities at points of the path, and their slopes; see `MemberPath.along`."""
        inputs = [document.at(shares) for document in self._documents]
        with torch.enable_grad():
            logs = self._log_probabilities(inputs)

        def pull(slopes: np.ndarray) -> np.ndarray:
            gradients = torch.autograd.grad(logs, inputs, torch.from_numpy(slopes).to(logs))
            by_network = zip(self._documents, gradients, strict=True)
            return np.sum([document.by_token(gradient) for document, gradient in by_network], axis=0)

        return logs.detach().double().cpu().numpy(), pull


class _Document:
    """A document as the embeddings that a network reads, between its baseline and itself.

    Args:
        encoder: The network's encoder, frozen.
        parts: The network.
        document: (T,) int64 token ids, in the order of the text.
        is_word: (T,) bool.
    """

    @torch.no_grad()
    def __init__(
        self, encoder: Encoder, parts: ClassifierParts | LanguageModelParts, document: np.ndarray, is_word: np.ndarray
    ) -> None:
        self._order = np.arange(len(document))
        if parts.direction == "backward":
            self._order = reversed_order(document, parts.vocabulary.bos_id)
        ids = torch.from_numpy(document[self._order]).unsqueeze(1).to(encoder.device)
        embeddings = look_up(ids, encoder.prepare(1).table)  # (T, 1, E)
        in_words = torch.from_numpy(is_word[self._order]).to(encoder.device).view(-1, 1, 1)
        self._words = embeddings * in_words
        self._rest = embeddings * ~in_words

    def at(self, shares: np.ndarray) -> Tensor:
        """Embeddings (T, n, E) at n points of the path, whose gradients are wanted."""
        return (self._rest + torch.from_numpy(shares).to(self._words).view(1, -1, 1) * self._words).requires_grad_()

    def by_token(self, gradient: Tensor) -> np.ndarray:
        """Slopes along the path from gradients (T, n, E). Returns: (n, T), in the text's order."""
        slopes = np.empty((gradient.shape[1], len(self._order)))
        slopes[:, self._order] = (gradient * self._words).double().sum(dim=2).T.cpu().numpy()
        return slopes


def _in_float32(encoder: Encoder) -> Encoder:
    encoder.precision = "fp32"
    return encoder


def _classifier(model: AWDLSTMClassifier) -> Callable[[list[Tensor]], Tensor]:
    """Log-probabilities (n, C) from the embeddings (T, n, E) that a classifier reads."""

    def log_probabilities(inputs: list[Tensor]) -> Tensor:
        (x,) = inputs
        with torch.no_grad():
            begun = model.begin(x.shape[1])  # the encoder keeps what it prepares without gradients
        return log_softmax(model.finish(_read(begun, x, model.step_embedded)), dim=1)

    return log_probabilities


def _feature_regression(member: FeatureParts, encoders: list[Encoder]) -> Callable[[list[Tensor]], Tensor]:
    """Log-probabilities (n, C) from the embeddings (T, n, E) that each language model reads."""
    coefficients, intercept = (
        torch.from_numpy(array).to(encoders[0].device) for array in (member.coefficients, member.intercept)
    )

    def log_probabilities(inputs: list[Tensor]) -> Tensor:
        features = []
        for encoder, x in zip(encoders, inputs, strict=True):
            state = _read(FeatureState.begin(encoder, x.shape[1]), x, partial(_feature_step, encoder))
            features.append(state.features())
        scores = torch.cat(features, dim=1) @ coefficients + intercept
        if scores.shape[1] == 1:
            return torch.cat([logsigmoid(-scores), logsigmoid(scores)], dim=1)
        return log_softmax(scores, dim=1)

    return log_probabilities


def _feature_step(encoder: Encoder, x: Tensor, state: FeatureState) -> FeatureState:
    return state.step_embedded(encoder, x)


def _read(state: State, x: Tensor, step: Callable[[Tensor, State], State]) -> State:
    """Read embeddings (T, n, E) with `step`, with the gradient of every one of them."""
    if x.shape[0] * x.shape[1] <= _BATCH_STEPS:
        return step(x, state) if len(x) else state
    for piece in x.split(_PIECE_STEPS):
        state = checkpoint(step, piece, state, use_reentrant=False, preserve_rng_state=False)
    return state
