"""Options of `ulmkit evaluate LM DATA --cache --dynamic`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ulmkit.cli.option_groups import Option, OptionGroup
from ulmkit.config import check_choice
from ulmkit.errors import ConfigError
from ulmkit.pipeline.options import SEARCH_TOKENS, STATISTICS_BATCHES

_NAMES = {"weight": "lambda", "learning_rate": "learning rate"}
"""Values of --cache-values and --dynamic-values that the help names otherwise than the dataclasses do."""


def _adaptation(
    cache: bool,
    cache_values: tuple[int, float, float] | None,
    dynamic: bool,
    dynamic_search: bool,
    dynamic_values: tuple[float, float, float] | None,
    **others: Any,
) -> dict[str, Any] | None:
    chosen = {name: value for name, value in others.items() if value is not None}
    rule = others["dynamic_rule"] or "rms"
    is_dynamic = dynamic or dynamic_search or dynamic_values is not None
    if dynamic_search and dynamic_values:
        raise ConfigError("--dynamic-search has no effect with --dynamic-values; drop one of them")
    is_searched = (cache and not cache_values) or dynamic_search
    _check_used(chosen, ("search_tokens",), "--cache or --dynamic-search", is_searched)
    _check_used(chosen, ("statistics", "statistics_batches"), "--dynamic with rule rms", is_dynamic and rule != "sgd")
    switches = "--dynamic, --dynamic-search or --dynamic-values"
    _check_used(chosen, ("dynamic_rule", "segment_steps", "checkpoint"), switches, is_dynamic)
    if not (cache or cache_values or is_dynamic):
        return None
    from ulmkit.evaluation import DYNAMIC_PTB, DYNAMIC_SGD, CacheConfig

    segment_steps = chosen.pop("segment_steps", None)
    chosen.pop("dynamic_rule", None)
    options = {**chosen, "cache": cache, "dynamic": dynamic_search}
    if cache_values:
        window, theta, weight = cache_values
        with _flag_errors("--cache-values"):
            options["cache"] = CacheConfig(window=window, theta=theta, weight=weight)
    if is_dynamic:
        rules = {"rms": DYNAMIC_PTB, "sgd": DYNAMIC_SGD}
        check_choice("dynamic_rule", rule, rules)
        base = rules[rule] if segment_steps is None else rules[rule].for_segments(segment_steps)
        if dynamic_search:
            options["dynamic_base"] = base
        elif dynamic_values is None:
            options["dynamic"] = base
        else:
            rate, decay, epsilon = dynamic_values
            with _flag_errors("--dynamic-values"):
                options["dynamic"] = replace(base, learning_rate=rate, decay=decay, epsilon=epsilon)
    return options


@contextmanager
def _flag_errors(flag: str) -> Iterator[None]:
    """Name the option that several values belong to in the error about one of them."""
    try:
        yield
    except ConfigError as error:
        name, _, rule = str(error).partition(": ")
        raise ConfigError(f"{flag}: {_NAMES.get(name, name)}: {rule}") from None


def _check_used(chosen: Mapping[str, Any], names: tuple[str, ...], switches: str, has_effect: bool) -> None:
    for name in names:
        if name in chosen and not has_effect:
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag} has no effect without {switches}; add one of them or drop it")


ADAPTATION = OptionGroup(
    "Language models only",
    _adaptation,
    {
        "cache": Option(bool, "Add a continuous cache; its values are searched on validation tokens.", False),
        "cache_values": Option(tuple[int, float, float] | None, "Window, theta and lambda of the cache; no search."),
        "search_tokens": Option(int | None, f"Validation tokens that a search reads (default: {SEARCH_TOKENS})."),
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
        "segment_steps": Option(int | None, "Tokens per update (default: 5); more are faster."),
        "statistics": Option(str | None, "File of gradient statistics: read if it exists, else written."),
        "statistics_batches": Option(
            int | None,
            "Maximum number of training batches (100 rows of 5 tokens) for gradient statistics "
            f"(default: {STATISTICS_BATCHES}).",
        ),
        "checkpoint": Option(
            str | None, "File that dynamic evaluation resumes from if it exists; written every five minutes."
        ),
    },
)
"""Keywords of `LanguageModel.evaluate_with`; None for plain perplexity."""
