"""The options of `ulmkit evaluate LM DATA --cache --dynamic`."""

from typing import Any

from ulmkit.cli.option_groups import Option, OptionGroup
from ulmkit.evaluation import DYNAMIC_PTB, CacheConfig, DynamicConfig


def _adaptation(
    cache: bool,
    cache_values: tuple[int, float, float] | None,
    search_tokens: int,
    dynamic: bool,
    dynamic_values: tuple[float, float, float] | None,
    statistics: str | None,
    statistics_batches: int,
) -> dict[str, Any] | None:
    if not (cache or cache_values or dynamic or dynamic_values):
        return None
    found: dict[str, Any] = {"cache": cache, "search_tokens": search_tokens, "statistics_batches": statistics_batches}
    if cache_values:
        found["cache"] = CacheConfig(window=cache_values[0], theta=cache_values[1], weight=cache_values[2])
    if dynamic_values:
        rate, decay, epsilon = dynamic_values
        found["dynamic"] = DynamicConfig(learning_rate=rate, decay=decay, epsilon=epsilon)
    elif dynamic:
        found["dynamic"] = DYNAMIC_PTB
    return found | {"statistics": statistics}


ADAPTATION = OptionGroup(
    "Of a language model",
    _adaptation,
    {
        "cache": Option(bool, "Add a continuous cache, its values searched on validation tokens.", False),
        "cache_values": Option(tuple[int, float, float] | None, "Its window, theta and lambda, in place of a search."),
        "search_tokens": Option(int, "Validation tokens to search on.", 30_000),
        "dynamic": Option(bool, "Add dynamic evaluation, with the values published for AWD-LSTM on PTB.", False),
        "dynamic_values": Option(tuple[float, float, float] | None, "Its learning rate, decay and epsilon, instead."),
        "statistics": Option(str | None, "File of its gradient statistics: read if it is there, else written."),
        "statistics_batches": Option(int, "Training batches (100 rows of 5 tokens) for them, at most.", 200),
    },
)
"""How a language model is evaluated besides as it stands, for `LanguageModel.evaluate_with`; None for nothing else."""
