"""The search of dynamic evaluation's learning rate and decay.

Source: Krause, Kahembwe, Murray & Renals 2018, "Dynamic evaluation of neural sequence models", arXiv:1709.07432.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ulmkit.config import check_whole
from ulmkit.evaluation.language.cache import CacheConfig
from ulmkit.evaluation.language.dynamic_evaluation import DYNAMIC_PTB, DynamicConfig, dynamic_perplexity
from ulmkit.evaluation.language.gradient_statistics import GradientStatistics
from ulmkit.evaluation.language.perplexity import Perplexity
from ulmkit.evaluation.language.search import Search
from ulmkit.evaluation.language.streams import StreamCallback, TokenSource, token_source
from ulmkit.model.language_model import AWDLSTMLanguageModel


def search_values(base: DynamicConfig) -> tuple[list[float], list[float]]:
    """Learning rates and decays that a search tries besides those of `base`.

    For rule "rms" the authors', for their segments of 5 steps or in proportion to them; for rule "sgd", for which they
    print none, multiples of `base`'s.
    Source: Krause et al. 2018, arXiv:1709.07432: the authors' code.
    """
    if base.rule == "sgd":
        return [base.learning_rate * f for f in (0.25, 0.5, 2, 4)], [base.decay * f for f in (0, 0.25, 4)]
    ratio = base.segment_steps / 5
    rates, decays = (3e-5, 4e-5, 5e-5, 6e-5, 7e-5, 1e-4), (1e-3, 2e-3, 3e-3, 5e-3)
    return [rate * ratio for rate in rates], [min(decay * ratio, 1.0) for decay in decays]


def search_dynamic(
    model: AWDLSTMLanguageModel,
    stream: TokenSource | np.ndarray,
    base: DynamicConfig = DYNAMIC_PTB,
    *,
    first_context: int | None,
    statistics: GradientStatistics | None = None,
    cache: CacheConfig | None = None,
    learning_rates: Sequence[float] | None = None,
    decays: Sequence[float] | None = None,
    tokens: int = 30_000,
    known: Mapping[DynamicConfig, Perplexity] | None = None,
    keep: Callable[[DynamicConfig, Perplexity], None] | None = None,
    progress: StreamCallback | None = None,
) -> Search[DynamicConfig]:
    """The perplexity of the first validation tokens for each learning rate at `base`'s decay, then each decay at the
    best rate.

    Args:
        base: where the search begins, and the rest of the hyperparameters.
        learning_rates, decays: to try besides `base`'s own; None: those of `search_values`.
        tokens: of the stream, to evaluate each on.
        known: results of an earlier search of the same, which are not computed again. keep: called with each new one.
        progress: called with (tokens read, tokens to read in all).
        The rest as for `dynamic_perplexity`.
    Raises: as `dynamic_perplexity`; ConfigError for no tokens.
    Deviation: the authors try all combinations, three times as many.
    """
    check_whole("tokens", tokens)
    usual_rates, usual_decays = search_values(base)
    learning_rates = usual_rates if learning_rates is None else learning_rates
    decays = usual_decays if decays is None else decays
    source = token_source(stream, 1)
    head = source.read(0, min(tokens, len(source)))
    found = dict(known or {})
    rows: list[tuple[DynamicConfig, Perplexity]] = []
    combinations = len({base.learning_rate, *learning_rates}) + len({base.decay, *decays}) - 1

    def told(done: int, total: int) -> None:
        if progress is not None:
            progress(len(rows) * total + done, combinations * total)

    def try_all(configs: Iterable[DynamicConfig]) -> None:
        for config in dict.fromkeys(configs):
            if config not in found:
                found[config] = dynamic_perplexity(
                    model, head, config, first_context=first_context, statistics=statistics, cache=cache, progress=told
                )
                if keep is not None:
                    keep(config, found[config])
            rows.append((config, found[config]))

    try_all(dataclasses.replace(base, learning_rate=rate) for rate in (base.learning_rate, *learning_rates))
    best = Search(tuple(rows)).best
    try_all(dataclasses.replace(best, decay=decay) for decay in decays if decay != best.decay)
    return Search(tuple(rows))
