"""The continuous cache: words seen lately become likelier, the more so the more the model's state was like now.

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
from ulmkit.evaluation.language.blocks import StreamBlock, score_block
from ulmkit.evaluation.language.modes import evaluation_mode
from ulmkit.evaluation.language.perplexity import Perplexity
from ulmkit.evaluation.language.search import Search
from ulmkit.evaluation.language.streams import StreamCallback, TokenSource, check_context, token_source
from ulmkit.model.awd_lstm import State
from ulmkit.model.language_model import AWDLSTMLanguageModel


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    """How a cache looks back.

    Attributes:
        window: steps that it holds.
        theta: how much likeness counts: at 0 all of its steps count alike.
        weight: of the cache in the mixture, lambda in the paper.
    Raises: ConfigError if a value is outside its range.
    """

    window: int
    theta: float
    weight: float

    def __post_init__(self) -> None:
        check_whole("window", self.window)
        check_not_negative("theta", self.theta)
        check_probability("weight", self.weight)


CACHE_PTB = CacheConfig(window=500, theta=1.0, weight=0.1)
"""As awd-lstm-lm's README has it for PTB."""

CACHE_PTB_PAPER = CacheConfig(window=2000, theta=1.0, weight=0.1)
"""The same with the window of Merity et al. 2017, arXiv:1708.02182, section 5; theta and lambda as in the README."""

CACHE_WIKITEXT2 = CacheConfig(window=3785, theta=0.662, weight=0.1279)
"""As awd-lstm-lm's README has it for WikiText-2."""


def cache_log_probability(
    queries: Tensor, keys: Tensor, next_tokens: Tensor, targets: Tensor, theta: float, window: int
) -> Tensor:
    """The cache's log-probability of the token after each query, from the steps before it, `window` at most.

    p_cache(w | h_1..t, x_1..t) = sum_i 1{w = x_{i+1}} exp(theta h_t . h_i) / sum_i exp(theta h_t . h_i),  i < t

    Args:
        queries: (T, E) float, h_t: the encoder's outputs at T steps in a row.
        keys: (K, E) float, h_i: at the K steps in a row that end with the queries', K >= T.
        next_tokens: (K,) int64, x_{i+1}: the token after each key. targets: (T,) int64, after each query.
        theta: how much likeness counts. window: steps that a query looks back.
    Returns: (T,) nats, in the queries' type; -inf for a target that no key in reach came before, or without such keys.
    Source: Grave, Joulin & Usunier 2017, arXiv:1612.04426, section 3.
    """
    return _log_probability(queries @ keys.T, targets[:, None] == next_tokens, theta, window)


def mixed_log_probability(log_vocabulary: Tensor, log_cache: Tensor, weight: float | Tensor) -> Tensor:
    """log((1 - weight) p_vocab + weight p_cache).

    Args: log_vocabulary, log_cache: (T,) nats. weight: lambda, 0 <= weight < 1, or several that broadcast, (L, 1).
    Returns: (T,) or (L, T) nats, float64.
    Source: Grave, Joulin & Usunier 2017, arXiv:1612.04426, section 3.
    """
    weights = torch.as_tensor(weight, dtype=torch.float64, device=log_vocabulary.device)
    return torch.logaddexp(log_vocabulary + torch.log1p(-weights), log_cache + torch.log(weights))


class CacheHistory:
    """The latest steps of a stream, and the token after each. Args: config: of the cache."""

    def __init__(self, config: CacheConfig) -> None:
        self.config = config
        self._keys: Tensor | None = None  # (K, E)
        self._next_tokens: Tensor | None = None  # (K,)

    def extend(self, block: StreamBlock) -> tuple[Tensor, Tensor]:
        """Add T steps. Returns: keys (K, E) and the tokens after them (K,): what these steps look back on, and they."""
        keys, next_tokens = block.hidden, block.targets
        if self._keys is not None and self._next_tokens is not None:
            keys = torch.cat([self._keys[-self.config.window :], keys])
            next_tokens = torch.cat([self._next_tokens[-self.config.window :], next_tokens])
        self._keys, self._next_tokens = keys, next_tokens
        return keys, next_tokens

    def tensors(self) -> dict[str, Tensor]:
        """What `restore` takes; nothing before the first step."""
        if self._keys is None or self._next_tokens is None:
            return {}
        return {"keys": self._keys[-self.config.window :], "next_tokens": self._next_tokens[-self.config.window :]}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from where `tensors` was called."""
        self._keys, self._next_tokens = tensors.get("keys"), tensors.get("next_tokens")

    def log_probability(self, block: StreamBlock) -> Tensor:
        """Add T steps, and mix the cache into what the model says of their targets.

        Returns: (T,) nats, float64; the model's own for a stream's first token, which has no history.
        """
        config, is_first = self.config, self._keys is None
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
    """One pass over a stream, state carried: all that a cache needs, whatever its hyperparameters.

    Args: model: in evaluation mode. The rest as for `cache_perplexity`.
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
    """`perplexity`, exact, of the model with a cache that grows from the stream's first token on.

    Args:
        config: the cache's, for example CACHE_PTB.
        block_steps: steps computed at once; the result does not depend on it.
        The rest as for `perplexity`.
    Raises: as `perplexity`.
    Source: Grave, Joulin & Usunier 2017, arXiv:1612.04426, section 3.
    """
    source = token_source(stream, 1)
    context = check_context(first_context, model.vocab_size)
    check_whole("block_steps", block_steps)
    total, history = torch.zeros((), dtype=torch.float64), CacheHistory(config)
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
    """The perplexity of validation tokens for every combination of hyperparameters; the model reads them once.

    Args: weights, thetas, windows: the values to try. The rest as for `cache_perplexity`.
    Raises: as `cache_perplexity`; ConfigError for values that CacheConfig refuses, or none.
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
            products, matches = block.hidden @ keys.T, block.targets[:, None] == next_tokens
            for row, (theta, window) in enumerate(grid):
                log_cache = _log_probability(products, matches, theta, window)
                totals[row] -= _mixed(block.nll, log_cache, mixtures, number == 0).sum(dim=1).cpu()
    results = [Perplexity(nll, len(source), len(source), "cache") for nll in totals.flatten().tolist()]
    return Search(tuple(zip(configs, results, strict=True)))


def _log_probability(products: Tensor, matches: Tensor, theta: float, window: int) -> Tensor:
    """`cache_log_probability` from products (T, K) of queries and keys and whether tokens match (T, K)."""
    reach = products.shape[0] + window
    products, matches = products[:, -reach:], matches[:, -reach:]  # no query looks back on what is before
    queries, keys = products.shape
    scores = (theta * products).masked_fill_(~_looks_back(queries, keys, window, products.device), -torch.inf)
    total = scores.logsumexp(dim=1)
    total = total.masked_fill(total.isneginf(), 0.0)  # no keys: the numerator is -inf too
    return scores.masked_fill_(~matches, -torch.inf).logsumexp(dim=1) - total


def _looks_back(queries: int, keys: int, window: int, device: torch.device) -> Tensor:
    """(T, K) bool: whether a key is before the query, `window` steps at most; the last key is the last query's own."""
    own = torch.arange(keys - queries, keys, device=device)[:, None]
    place = torch.arange(keys, device=device)
    return (place < own) & (place >= own - window)


def _mixed(nll: Tensor, log_cache: Tensor, weight: float | Tensor, is_first: bool) -> Tensor:
    """`mixed_log_probability`, in which a stream's first token, without a history, has the model's own."""
    log_vocabulary, log_cache = -nll.double(), log_cache.double()
    if is_first:
        log_cache[0] = log_vocabulary[0]
    return mixed_log_probability(log_vocabulary, log_cache, weight)
