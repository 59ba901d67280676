"""The options of `ulmkit evaluate LM DATA --cache --dynamic`."""

from dataclasses import replace
from typing import Any

from ulmkit.cli.option_groups import Option, OptionGroup
from ulmkit.config import check_choice
from ulmkit.errors import ConfigError
from ulmkit.evaluation import DYNAMIC_PTB, DYNAMIC_SGD, CacheConfig, DynamicConfig

USUAL_VALUES = {"rms": DYNAMIC_PTB, "sgd": DYNAMIC_SGD}
"""By rule: what is taken where no values are given, and where a search begins."""


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
    searches = (cache and not cache_values) or dynamic_search
    learns = dynamic or dynamic_search or dynamic_values is not None
    if dynamic_search and dynamic_values:
        raise ConfigError("--dynamic-search: looks for what --dynamic-values gives; leave one of them out")
    _check_used("--cache or --dynamic-search", searches, {"--search-tokens": search_tokens})
    of_dynamic = {"--statistics": statistics, "--statistics-batches": statistics_batches}
    _check_used("--dynamic of rule rms", learns and dynamic_rule != "sgd", of_dynamic)
    of_learning = {"--dynamic-rule": dynamic_rule, "--segment-steps": segment_steps, "--checkpoint": checkpoint}
    _check_used("--dynamic, --dynamic-search or --dynamic-values", learns, of_learning)
    if not (cache or cache_values or learns):
        return None
    found: dict[str, Any] = {"cache": cache, "dynamic": dynamic_search}
    found |= {"statistics": statistics, "checkpoint": checkpoint}
    if cache_values:
        found["cache"] = CacheConfig(window=cache_values[0], theta=cache_values[1], weight=cache_values[2])
    if learns:
        usual = _usual_values(dynamic_rule or "rms", segment_steps)
        if dynamic_search:
            found["dynamic_base"] = usual
        elif dynamic_values is None:
            found["dynamic"] = usual
        else:
            rate, decay, epsilon = dynamic_values
            found["dynamic"] = replace(usual, learning_rate=rate, decay=decay, epsilon=epsilon)
    counts = {"search_tokens": search_tokens, "statistics_batches": statistics_batches}
    return found | {name: count for name, count in counts.items() if count is not None}


def _usual_values(rule: str, segment_steps: int | None) -> DynamicConfig:
    check_choice("rule", rule, USUAL_VALUES)
    usual = USUAL_VALUES[rule]
    return usual if segment_steps is None else usual.for_segments(segment_steps)


def _check_used(switch: str, is_given: bool, options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value is not None and not is_given:
            raise ConfigError(f"{name}: expected it with {switch} alone; give that too, or leave it out")


ADAPTATION = OptionGroup(
    "Of a language model",
    _adaptation,
    {
        "cache": Option(bool, "Add a continuous cache, its values searched on validation tokens.", False),
        "cache_values": Option(tuple[int, float, float] | None, "Its window, theta and lambda, in place of a search."),
        "search_tokens": Option(int | None, "Validation tokens to search on; 30000 if not given."),
        "dynamic": Option(bool, "Add dynamic evaluation, with the values published for AWD-LSTM on PTB.", False),
        "dynamic_search": Option(
            bool, "The same, learning rate and decay searched on validation tokens: long on a CPU.", False
        ),
        "dynamic_values": Option(tuple[float, float, float] | None, "Its learning rate, decay and epsilon, instead."),
        "dynamic_rule": Option(str | None, "rms (steps scaled by gradient statistics) or sgd; rms if not given."),
        "segment_steps": Option(int | None, "Tokens between two of its steps; 5 if not given. More are faster."),
        "statistics": Option(str | None, "File of its gradient statistics: read if it is there, else written."),
        "statistics_batches": Option(
            int | None, "Training batches (100 rows of 5 tokens) for them, at most; 200 if not given."
        ),
        "checkpoint": Option(
            str | None, "File that dynamic evaluation goes on from if it is there; written every five minutes."
        ),
    },
)
"""How a language model is evaluated besides as it stands, for `LanguageModel.evaluate_with`; None for nothing else."""
