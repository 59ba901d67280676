"""Continuous cache: recently seen words become more probable.

A word gains the more, the more similar the current hidden state is to the one that preceded it.

Source: Grave, Joulin & Usunier 2017, "Improving neural language models with a continuous cache", arXiv:1612.04426.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ulmkit.config import check_not_negative, check_probability, check_whole
from ulmkit.errors import ConfigError
from ulmkit.evaluation.language.modes import evaluation_mode
from ulmkit.evaluation.language.perplexity import Perplexity
from ulmkit.evaluation.language.search import Search
from ulmkit.evaluation.language.streams import (
    StreamBlock,
    StreamCallback,
    TokenSource,
    check_context,
    score_block,
    token_source,
)
from ulmkit.model.awd_lstm import State
from ulmkit.model.language_model import AWDLSTMLanguageModel


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    """Hyperparameters of a continuous cache.

    Attributes:
        window: Steps that it holds.
        theta: Weight of the similarity of states; at 0 all steps count equally.
        weight: Weight of the cache in the mixture, lambda in the paper.

    Raises:
        ConfigError: If a value is outside its range.
    """

    window: int
    theta: float
    weight: float

    def __post_init__(self) -> None:
        check_whole("window", self.window)
        check_not_negative("theta", self.theta)
        check_probability("weight", self.weight)


CACHE_PTB = CacheConfig(window=500, theta=1.0, weight=0.1)
"""Values of awd-lstm-lm's README for PTB."""

CACHE_PTB_PAPER = CacheConfig(window=2000, theta=1.0, weight=0.1)
"""Window of Merity et al. 2017, arXiv:1708.02182, section 5, for PTB; theta and lambda of the README."""

CACHE_WIKITEXT2 = CacheConfig(window=3785, theta=0.662, weight=0.1279)
"""Values of awd-lstm-lm's README for WikiText-2."""


def cache_log_probability(
    queries: Tensor, keys: Tensor, next_tokens: Tensor, targets: Tensor, theta: float, window: int
) -> Tensor:
    """Log-probability that the cache gives to the token after each query, from at most `window` steps before it.

    p_cache(w | h_1..t, x_1..t) = sum_i 1{w = x_{i+1}} exp(theta h_t . h_i) / sum_i exp(theta h_t . h_i),  i < t

    Args:
        queries: (T, E) float, h_t: encoder outputs at T consecutive steps.
        keys: (K, E) float, h_i: encoder outputs at the K >= T consecutive steps that end with the queries'.
        next_tokens: (K,) int64, x_{i+1}: the token after each key.
        targets: (T,) int64, the token after each query.
        theta: Weight of the similarity.
        window: Steps that a query looks back.

    Returns:
        (T,) nats, in the queries' type; -inf if no key within the window precedes the target.

    Source: Grave, Joulin & Usunier 2017, arXiv:1612.04426, section 3.
    """
    return _log_probability(queries @ keys.T, targets[:, None] == next_tokens, theta, window)


def mixed_log_probability(log_vocabulary: Tensor, log_cache: Tensor, weight: float | Tensor) -> Tensor:
    """Log-probability of the mixture of model and cache.

    log p = log((1 - lambda) p_vocabulary + lambda p_cache)

    Args:
        log_vocabulary: (T,) nats from the model.
        log_cache: (T,) nats from the cache.
        weight: lambda, 0 <= lambda < 1, or a tensor of them that broadcasts, such as (L, 1).

    Returns:
        (T,) or (L, T) nats, float64.

    Source: Grave, Joulin & Usunier 2017, arXiv:1612.04426, section 3.
    """
    weights = torch.as_tensor(weight, dtype=torch.float64, device=log_vocabulary.device)
    return torch.logaddexp(log_vocabulary + torch.log1p(-weights), log_cache + torch.log(weights))


class CacheHistory:
    """The latest steps of a stream, and the token after each.

    Args:
        config: Hyperparameters of the cache.
    """

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self._steps: dict[str, Tensor] = {}  # keys (K, E) and next_tokens (K,); empty before the first step

    def extend(self, block: StreamBlock) -> tuple[Tensor, Tensor]:
        """Add T steps.

        Returns:
            Keys (K, E) and the tokens after them (K,): the steps that the block looks back on, then the block's own.
        """
        steps = {"keys": block.hidden, "next_tokens": block.targets}
        for name, former in self.tensors().items():
            steps[name] = torch.cat([former, steps[name]])
        self._steps = steps
        return steps["keys"], steps["next_tokens"]

    def tensors(self) -> dict[str, Tensor]:
        """State for `restore`; empty before the first step."""
        return {name: tensor[-self.config.window :] for name, tensor in self._steps.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from the state that `tensors` returned."""
        self._steps = dict(tensors)

    def log_probability(self, block: StreamBlock) -> Tensor:
        """Add T steps, and mix the cache into the model's log-probabilities of their targets.

        Returns:
            (T,) nats, float64; a stream's first token, which has no history, keeps the model's.
        """
        config = self.config
        is_first = not self._steps
        keys, next_tokens = self.extend(block)
        log_cache = cache_log_probability(block.hidden, keys, next_tokens, block.targets, config.theta, config.window)
        return _mixed(block.nll, log_cache, config.weight, is_first)


def read_blocks(
    model: AWDLSTMLanguageModel,
    source: TokenSource,
    first_context: int,
    block_steps: int,
    progress: StreamCallback | None = None,
) -> Iterator[StreamBlock]:
    """Yield the scores of a stream in blocks, with the state carried.

    Args:
        model: Model in evaluation mode.
        source: The stream.
        first_context: Token that the first one is predicted from.
        block_steps: Steps of a block.
        progress: Called with (tokens done, tokens).
    """
    state: State | None = None
    prepared = model.encoder.prepare(1)
    for start in range(0, len(source), block_steps):
        block = score_block(model, source, start, block_steps, first_context, state, prepared)
        state = block.state
        yield block
        if progress is not None:
            progress(min(start + block_steps, len(source)), len(source))


def cache_perplexity(
    model: AWDLSTMLanguageModel,
    stream: TokenSource | np.ndarray,
    config: CacheConfig,
    *,
    first_context: int | None,
    block_steps: int = 256,
    words: int | None = None,
    characters: int | None = None,
    progress: StreamCallback | None = None,
) -> Perplexity:
    """Exact perplexity of a model with a continuous cache that starts empty.

    Args:
        model: Model on any device; its mode is restored.
        stream: Token ids.
        config: Hyperparameters of the cache, for example CACHE_PTB.
        first_context: Token that the first one is predicted from.
        block_steps: Steps computed at once; the result does not depend on it.
        words: Words of the text as written.
        characters: Characters of the text as written.
        progress: Called with (tokens done, tokens).

    Raises:
        DataError: If the stream is empty or an id is outside the vocabulary.
        ConfigError: If block_steps is below 1 or first_context is not the id of a token.

    Source: Grave, Joulin & Usunier 2017, arXiv:1612.04426, section 3.
    """
    source = token_source(stream, 1)
    context = check_context(first_context, model.vocab_size)
    check_whole("block_steps", block_steps)
    total = torch.zeros((), dtype=torch.float64)
    history = CacheHistory(config)
    with evaluation_mode(model, exact=True):
        for block in read_blocks(model, source, context, block_steps, progress):
            total -= history.log_probability(block).sum().cpu()
    return Perplexity(float(total), len(source), len(source), "cache", words, characters)


def search_cache(
    model: AWDLSTMLanguageModel,
    stream: TokenSource | np.ndarray,
    *,
    first_context: int | None,
    weights: Sequence[float] = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5),
    thetas: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 1.0, 1.3),
    windows: Sequence[int] = (500, 1000, 2000, 4000),
    block_steps: int = 256,
    progress: StreamCallback | None = None,
) -> Search[CacheConfig]:
    """Perplexity of validation tokens for every combination of cache hyperparameters, in one pass of the model.

    Args:
        model: Model on any device; its mode is restored.
        stream: Token ids of validation text.
        first_context: Token that the first one is predicted from.
        weights: Weights to try.
        thetas: Thetas to try.
        windows: Windows to try.
        block_steps: Steps computed at once.
        progress: Called with (tokens done, tokens).

    Raises:
        DataError: If the stream is empty or an id is outside the vocabulary.
        ConfigError: If a value is outside its range, or there is none to try.
    """
    source = token_source(stream, 1)
    context = check_context(first_context, model.vocab_size)
    check_whole("block_steps", block_steps)
    grid = list(itertools.product(thetas, windows))
    configs = [CacheConfig(window=window, theta=theta, weight=weight) for theta, window in grid for weight in weights]
    if not configs:
        raise ConfigError("weights, thetas, windows: expected at least one value of each, got none")
    history = CacheHistory(max(configs, key=lambda config: config.window))
    totals = torch.zeros(len(grid), len(weights), dtype=torch.float64)
    with evaluation_mode(model, exact=True) as device:
        mixtures = torch.tensor(weights, dtype=torch.float64, device=device)[:, None]
        for number, block in enumerate(read_blocks(model, source, context, block_steps, progress)):
            keys, next_tokens = history.extend(block)
            products = block.hidden @ keys.T
            matches = block.targets[:, None] == next_tokens
            for row, (theta, window) in enumerate(grid):
                log_cache = _log_probability(products, matches, theta, window)
                totals[row] -= _mixed(block.nll, log_cache, mixtures, number == 0).sum(dim=1).cpu()
    results = [Perplexity(nll, len(source), len(source), "cache") for nll in totals.flatten().tolist()]
    return Search(tuple(zip(configs, results, strict=True)))


def _log_probability(products: Tensor, matches: Tensor, theta: float, window: int) -> Tensor:
    """`cache_log_probability` from products (T, K) of queries and keys, and matches (T, K) of tokens and targets."""
    reach = products.shape[0] + window  # no query looks further back
    products = products[:, -reach:]
    matches = matches[:, -reach:]
    queries, keys = products.shape
    key_steps = torch.arange(keys, device=products.device)
    query_steps = key_steps[keys - queries :, None]  # the last key is the last query's own
    is_seen = (key_steps < query_steps) & (key_steps >= query_steps - window)
    scores = (theta * products).masked_fill_(~is_seen, -torch.inf)
    total = scores.logsumexp(dim=1)
    total = total.masked_fill(total.isneginf(), 0.0)  # without keys the numerator is -inf too: avoid -inf - -inf
    return scores.masked_fill_(~matches, -torch.inf).logsumexp(dim=1) - total


def _mixed(nll: Tensor, log_cache: Tensor, weight: float | Tensor, is_first: bool) -> Tensor:
    """`mixed_log_probability`, where a stream's first token, which has no history, keeps the model's probability."""
    log_vocabulary = -nll.double()
    log_cache = log_cache.double()
    if is_first:
        log_cache[0] = log_vocabulary[0]
    return mixed_log_probability(log_vocabulary, log_cache, weight)
