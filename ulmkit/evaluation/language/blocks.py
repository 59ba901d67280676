"""Token scores of a stream, one block of steps at a time, with the state carried from block to block."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ulmkit.evaluation.language.streams import TokenSource, read_rows
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.model.prepared import PreparedWeights, State


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
