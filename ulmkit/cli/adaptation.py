"""Options of `ulmkit evaluate LM DATA --cache --dynamic`."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ulmkit.cli.option_groups import Option, OptionGroup
from ulmkit.config import check_choice
from ulmkit.errors import ConfigError
from ulmkit.pipeline.options import SEARCH_TOKENS, STATISTICS_BATCHES

if TYPE_CHECKING:
    from ulmkit.evaluation import DynamicConfig


def _adaptation(
    cache: bool,
    cache_values: tuple[int, float, float] | None,
    search_tokens: int | None,
    dynamic: bool,
    dynamic_search: bool,
    dynamic_values: tuple[float, float, float] | None,
    dynamic_rule: str | None,
    segment_steps: int | None,
    statistics: str | None,
    statistics_batches: int | None,
    checkpoint: str | None,
) -> dict[str, Any] | None:
    is_dynamic = dynamic or dynamic_search or dynamic_values is not None
    if dynamic_search and dynamic_values:
        raise ConfigError("--dynamic-search has no effect with --dynamic-values; drop one of them")
    is_searched = (cache and not cache_values) or dynamic_search
    has_statistics = is_dynamic and dynamic_rule != "sgd"
    _check_used("--cache or --dynamic-search", is_searched, {"--search-tokens": search_tokens})
    _check_used(
        "--dynamic with rule rms",
        has_statistics,
        {"--statistics": statistics, "--statistics-batches": statistics_batches},
    )
    _check_used(
        "--dynamic, --dynamic-search or --dynamic-values",
        is_dynamic,
        {"--dynamic-rule": dynamic_rule, "--segment-steps": segment_steps, "--checkpoint": checkpoint},
    )
    if not (cache or cache_values or is_dynamic):
        return None
    from ulmkit.evaluation import CacheConfig

    options: dict[str, Any] = {
        "cache": cache,
        "dynamic": dynamic_search,
        "statistics": statistics,
        "checkpoint": checkpoint,
        "search_tokens": SEARCH_TOKENS if search_tokens is None else search_tokens,
        "statistics_batches": STATISTICS_BATCHES if statistics_batches is None else statistics_batches,
    }
    if cache_values:
        window, theta, weight = cache_values
        options["cache"] = CacheConfig(window=window, theta=theta, weight=weight)
    if is_dynamic:
        base = _base_values(dynamic_rule or "rms", segment_steps)
        if dynamic_search:
            options["dynamic_base"] = base
        elif dynamic_values is None:
            options["dynamic"] = base
        else:
            rate, decay, epsilon = dynamic_values
            options["dynamic"] = replace(base, learning_rate=rate, decay=decay, epsilon=epsilon)
    return options


def _base_values(rule: str, segment_steps: int | None) -> "DynamicConfig":
    """Return the values to use if none are given, with which a search begins too."""
    from ulmkit.evaluation import DYNAMIC_PTB, DYNAMIC_SGD

    values = {"rms": DYNAMIC_PTB, "sgd": DYNAMIC_SGD}
    check_choice("dynamic_rule", rule, values)
    return values[rule] if segment_steps is None else values[rule].for_segments(segment_steps)


def _check_used(switch: str, is_given: bool, options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value is not None and not is_given:
            raise ConfigError(f"{name} has no effect without {switch}; add one of them or drop it")


ADAPTATION = OptionGroup(
    "Language models only",
    _adaptation,
    {
        "cache": Option(bool, "Add a continuous cache; its values are searched on validation tokens.", False),
        "cache_values": Option(tuple[int, float, float] | None, "Window, theta and lambda of the cache; no search."),
        "search_tokens": Option(int | None, f"Validation tokens of a search (default: {SEARCH_TOKENS})."),
        "dynamic": Option(bool, "Add dynamic evaluation, with the values published for AWD-LSTM on PTB.", False),
        "dynamic_search": Option(
            bool, "Add dynamic evaluation; search its learning rate and decay (slow on a CPU).", False
        ),
        "dynamic_values": Option(
            tuple[float, float, float] | None, "Learning rate, decay and epsilon of dynamic evaluation; no search."
        ),
        "dynamic_rule": Option(
            str | None, "Update rule: rms (steps scaled by gradient statistics) or sgd (default: rms)."
        ),
        "segment_steps": Option(int | None, "Tokens per update (default: 5). More are faster."),
        "statistics": Option(str | None, "File of gradient statistics: read if it exists, else written."),
        "statistics_batches": Option(
            int | None,
            "Training batches (100 rows of 5 tokens) for gradient statistics, at most "
            f"(default: {STATISTICS_BATCHES}).",
        ),
        "checkpoint": Option(
            str | None, "File that dynamic evaluation resumes from if it exists; written every five minutes."
        ),
    },
)
"""Keywords of `LanguageModel.evaluate_with`; None if plain perplexity is all that is asked for."""
