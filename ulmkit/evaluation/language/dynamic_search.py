"""Search for the learning rate and decay of dynamic evaluation.

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

    Rule "rms" takes the authors' values, scaled from their segments of 5 steps to those of `base`. Rule "sgd", for
    which they print none, takes multiples of the values of `base`.

    Source: Krause et al. 2018, arXiv:1709.07432: the authors' code.
    """
    if base.rule == "sgd":
        rates = [base.learning_rate * factor for factor in (0.25, 0.5, 2, 4)]
        decays = [base.decay * factor for factor in (0, 0.25, 4)]
    else:
        ratio = base.segment_steps / 5
        rates = [rate * ratio for rate in (3e-5, 4e-5, 5e-5, 6e-5, 7e-5, 1e-4)]
        decays = [min(decay * ratio, 1.0) for decay in (1e-3, 2e-3, 3e-3, 5e-3)]
    return rates, decays


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
    """Evaluate each learning rate with the decay of `base`, then each decay with the best rate.

    Args:
        model: Model on any device; it is not changed.
        stream: Token ids of validation text.
        base: Hyperparameters to start from.
        first_context: Token that the first one is predicted from.
        statistics: Gradient statistics, for rule "rms".
        cache: Cache to mix in.
        learning_rates: Rates to try besides that of `base`; None for those of `search_values`.
        decays: Decays to try besides that of `base`; None for those of `search_values`.
        tokens: Tokens of the stream to evaluate on.
        known: Results of an earlier, stopped search, which are not computed again.
        keep: Called with each new result.
        progress: Called with (tokens read, tokens to read).

    Raises:
        DataError: If the stream is empty or an id is outside the vocabulary.
        ConfigError: If tokens is below 1, or `dynamic_perplexity` refuses a value.

    Deviation: the authors try all combinations, three times as many.
    """
    check_whole("tokens", tokens)
    default_rates, default_decays = search_values(base)
    learning_rates = default_rates if learning_rates is None else learning_rates
    decays = default_decays if decays is None else decays
    source = token_source(stream, 1)
    head = source.read(0, min(tokens, len(source)))
    results = dict(known or {})
    rows: list[tuple[DynamicConfig, Perplexity]] = []
    combinations = len({base.learning_rate, *learning_rates}) + len({base.decay, *decays}) - 1

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(len(rows) * total + done, combinations * total)

    def try_all(configs: Iterable[DynamicConfig]) -> None:
        for config in dict.fromkeys(configs):
            if config not in results:
                results[config] = dynamic_perplexity(
                    model,
                    head,
                    config,
                    first_context=first_context,
                    statistics=statistics,
                    cache=cache,
                    progress=report,
                )
                if keep is not None:
                    keep(config, results[config])
            rows.append((config, results[config]))

    try_all(dataclasses.replace(base, learning_rate=rate) for rate in (base.learning_rate, *learning_rates))
    best = Search(tuple(rows)).best
    try_all(dataclasses.replace(best, decay=decay) for decay in decays if decay != best.decay)
    return Search(tuple(rows))
