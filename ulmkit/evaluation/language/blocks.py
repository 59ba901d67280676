"""Scores of a stream's tokens, a block of steps at a time, state carried."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ulmkit.evaluation.language.streams import TokenSource, read_rows
from ulmkit.model.awd_lstm import Prepared, State
from ulmkit.model.language_model import AWDLSTMLanguageModel


@dataclass(frozen=True)
class StreamBlock:
    """What a model says of T tokens in a row.

    hidden: (T, E) that each was predicted from, in the type of nll; targets: (T,) the tokens; nll: (T,) nats, without
    gradient; mean_nll: with one, where gradients are on; state: to go on with.
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
    prepared: Prepared | None = None,
) -> StreamBlock:
    """Score a stream's tokens from `start` on, `steps` of them or as many as there are.

    Args: first_context: what the stream's first token is predicted from. state, prepared: as the model's `forward`.
    Raises: DataError for an id outside the vocabulary.
    """
    stop = min(start + steps, len(source))
    rows = read_rows(source, np.array([start]), np.array([stop]), stop - start, first_context, model.vocab_size)
    ids = torch.from_numpy(rows).to(model.encoder.device)
    scores = model.token_scores(ids[:-1], ids[1:], state, prepared)
    nll = scores.nll[:, 0]
    return StreamBlock(scores.hidden[:, 0].to(nll.dtype), ids[1:, 0], nll, scores.mean_nll, scores.state)
