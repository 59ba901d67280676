"""Long streams of tokens, read in parts, and scored with the state carried from part to part."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ulmkit.errors import ConfigError, DataError
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.model.prepared import PreparedWeights, State

StreamCallback = Callable[[int, int], None]
"""Called with (done, total), in tokens, steps or documents, while text is read."""


class TokenSource(Protocol):
    """A long sequence of token ids that is read in parts, for example a `TokenStream`."""

    def __len__(self) -> int:
        """Number of tokens."""
        ...

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read the ids from position `start` to before `stop`."""
        ...


class _ArraySource:
    """A TokenSource over an array in memory."""

    def __init__(self, ids: np.ndarray) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.ids[start:stop]


def token_source(stream: TokenSource | np.ndarray, minimum: int) -> TokenSource:
    """Make a source of a stream or an array.

    Raises:
        DataError: If it has fewer than `minimum` tokens.
    """
    source = _ArraySource(stream) if isinstance(stream, np.ndarray) else stream
    if len(source) < minimum:
        raise DataError(f"stream: expected at least {minimum} tokens, got {len(source)}")
    return source


def check_context(first_context: int | None, vocab_size: int) -> int:
    """Check the token that a stream's first one is predicted from, and return it.

    Raises:
        ConfigError: If it is not the id of a token.
    """
    if first_context is None or not 0 <= first_context < vocab_size:
        raise ConfigError(f"first_context: expected a token id from 0 to {vocab_size - 1}, got {first_context}")
    return first_context


def read_rows(
    source: TokenSource, starts: np.ndarray, stops: np.ndarray, width: int, first_context: int, vocab_size: int
) -> np.ndarray:
    """Read tokens `starts[b]` to `starts[b] + width - 1` of each row b, and the token before them.

    Args:
        source: The stream.
        starts: (B,) positions of the rows' first tokens.
        stops: (B,) positions where the rows end; ids from stops[b] on are 0.
        width: Tokens of each row.
        first_context: Id that precedes the stream's first token.
        vocab_size: Number of valid ids.

    Returns:
        (width + 1, B) int64.

    Raises:
        DataError: If an id is outside the vocabulary.
    """
    ids = np.zeros((width + 1, len(starts)), dtype=np.int64)
    for row, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        part = source.read(max(start - 1, 0), min(start + width, stop)) if start < stop else np.zeros(0, dtype=np.int64)
        offset = 1 if start == 0 else 0
        ids[offset : offset + len(part), row] = part
        if start == 0:
            ids[0, row] = first_context
    check_ids(ids, vocab_size, "stream")
    return ids


def check_ids(ids: np.ndarray, vocab_size: int, what: str) -> None:
    """Check token ids.

    Raises:
        DataError: If an id is outside the vocabulary; `what` names their text.
    """
    bad = ids[(ids < 0) | (ids >= vocab_size)]
    if len(bad):
        raise DataError(
            f"{what}: expected token ids 0 to {vocab_size - 1}, got {bad[0]}; "
            "encode the text with this model's own vocabulary"
        )


@dataclass(frozen=True)
class StreamBlock:
    """Scores of T consecutive tokens.

    Attributes:
        hidden: (T, E), encoder outputs that the tokens were predicted from, in the type of nll.
        targets: (T,) int64, the tokens.
        nll: (T,) negative log-likelihoods in nats, without gradient.
        mean_nll: Mean of nll, with gradient where gradients are enabled.
        state: State after the block.
    """

    hidden: Tensor
    targets: Tensor
    nll: Tensor
    mean_nll: Tensor
    state: State


def score_block(
    model: AWDLSTMLanguageModel,
    source: TokenSource,
    start: int,
    steps: int,
    first_context: int,
    state: State | None,
    prepared: PreparedWeights | None = None,
) -> StreamBlock:
    """Score `steps` tokens of a stream from `start` on, or as many as there are.

    Args:
        model: Model in the mode to score in.
        source: The stream.
        start: Position of the first token to score.
        steps: Number of tokens.
        first_context: Token that the stream's first one is predicted from.
        state: State before the block; None for zeros.
        prepared: Weights from `model.encoder.prepare`, to reuse over blocks.

    Raises:
        DataError: If a token id is outside the vocabulary.
    """
    stop = min(start + steps, len(source))
    rows = read_rows(source, np.array([start]), np.array([stop]), stop - start, first_context, model.vocab_size)
    ids = torch.from_numpy(rows).to(model.encoder.device)  # (T + 1, 1)
    scores = model.token_scores(ids[:-1], ids[1:], state, prepared)
    nll = scores.nll[:, 0]
    return StreamBlock(scores.hidden[:, 0].to(nll.dtype), ids[1:, 0], nll, scores.mean_nll, scores.state)
