"""A language model judged as it stands, with a cache, while it goes on learning, and with both."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ulmkit.config import check_choice, check_whole, to_dict
from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation import (
    DYNAMIC_PTB,
    CacheConfig,
    DynamicConfig,
    GradientStatistics,
    Perplexity,
    cache_perplexity,
    dynamic_perplexities,
    first_context,
    gradient_statistics,
    perplexity,
    search_cache,
    search_dynamic,
    weights_fingerprint,
)
from ulmkit.evaluation.metrics import json_safe, text_table
from ulmkit.files import fingerprint
from ulmkit.hub import LanguageModelParts
from ulmkit.pipeline.options import SEARCH_TOKENS, STATISTICS_BATCHES
from ulmkit.text import EncodedCorpus, TokenStream
from ulmkit.text.batches import LanguageModelBatches
from ulmkit.text.corpus.builder import TRAINING_SPLITS
from ulmkit.training import keep_freed_memory

WAYS = ("plain", "cache", "dynamic", "dynamic + cache")
STATISTICS_ROWS = 100
EvaluationCallback = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


@dataclass(frozen=True)
class LanguageModelEvaluation:
    """What was found on one text.

    results: perplexity by name: "plain", "cache", "dynamic", "dynamic + cache". cache, dynamic: hyperparameters used.
    """

    results: dict[str, Perplexity]
    cache: CacheConfig | None = None
    dynamic: DynamicConfig | None = None

    def to_dict(self) -> dict[str, Any]:
        """All figures as a JSON object."""
        configs = {"cache": self.cache, "dynamic": self.dynamic}
        found = {name: to_dict(config) for name, config in configs.items() if config is not None}
        return json_safe({"results": {name: each.to_dict() for name, each in self.results.items()}, **found})

    def table(self) -> str:
        """A row for each way, and the hyperparameters below."""
        columns = ("perplexity", "mean_nll", "perplexity_per_word", "bits_per_character")
        shown = [name for name in columns if any(getattr(each, name) is not None for each in self.results.values())]
        rows = [(name, *(getattr(each, column) for column in shown)) for name, each in self.results.items()]
        headings = {"mean_nll": "nats a token"}
        text = text_table(("", *(headings.get(name, name.replace("_", " ")) for name in shown)), rows)
        for name, config in (("cache", self.cache), ("dynamic evaluation", self.dynamic)):
            if config is not None:
                values = ", ".join(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
                                   for key, value in to_dict(config).items())  # fmt: skip
                text += f"\n\n{name}: {values}"
        return text


def evaluate_language_model(
    parts: LanguageModelParts,
    corpus: EncodedCorpus,
    split: str | None,
    *,
    cache: CacheConfig | bool = False,
    dynamic: DynamicConfig | bool = False,
    dynamic_base: DynamicConfig = DYNAMIC_PTB,
    statistics: GradientStatistics | str | os.PathLike[str] | None = None,
    search_tokens: int = SEARCH_TOKENS,
    statistics_batches: int = STATISTICS_BATCHES,
    only: Sequence[str] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: EvaluationCallback | None = None,
) -> LanguageModelEvaluation:
    """Perplexity of a part of a corpus, exact, in every way that is asked for.

    Args:
        corpus: encoded with the model's vocabulary. split: which part, None for all of it.
        cache: hyperparameters of a continuous cache; True searches them on the first validation tokens.
        dynamic: hyperparameters of dynamic evaluation; True searches learning rate and decay likewise, beginning with
            those of `dynamic_base`: up to eleven evaluations of the search's tokens.
        statistics: for it; None computes them on the training part; a file is read if it is there, else written.
        search_tokens: validation tokens to search on. statistics_batches: batches for statistics, at most.
        only: which results to compute, of WAYS; None: all that there are hyperparameters for.
        checkpoint: of dynamic evaluation: a file to go on from if it is there, which is written every few minutes.
    Raises: ConfigError where a search has no validation part or statistics no training part beside what is judged,
        where a file holds the statistics of something else, and where `only` names a result that there are no
        hyperparameters for; as `perplexity`.
    """
    check_whole("search_tokens", search_tokens)
    check_whole("statistics_batches", statistics_batches)
    wanted = _wanted(only, cache is not False, dynamic is not False)
    rows = corpus.rows(split)
    stream = _stream(parts, corpus, None if split is None else (split,))
    context = first_context(parts.vocabulary)
    options: dict[str, Any] = {
        "first_context": context,
        "words": int(corpus.table["words"][rows].sum()),
        "characters": int(corpus.table["characters"][rows].sum()),
    }

    def told(what: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, total: progress(what, done, total)

    results = {}
    if "plain" in wanted:
        results["plain"] = perplexity(parts.model, stream, progress=told("plain"), **options)
    with_cache = not wanted.isdisjoint(("cache", "dynamic + cache"))
    with_dynamic = not wanted.isdisjoint(("dynamic", "dynamic + cache"))
    if cache is True and with_cache:
        head, tell = _search_text(parts, corpus, search_tokens, "the cache's"), told("search of the cache's values")
        cache = search_cache(parts.model, head, first_context=context, progress=tell).best
    if isinstance(cache, CacheConfig) and "cache" in wanted:
        results["cache"] = cache_perplexity(parts.model, stream, cache, progress=told("cache"), **options)
    if dynamic is not False and with_dynamic:
        keep_freed_memory()
        base = dynamic_base if dynamic is True else dynamic
        found = _statistics(parts, corpus, split, base, statistics, statistics_batches)
        if dynamic is True:
            head = _search_text(parts, corpus, search_tokens, "dynamic evaluation's")
            tell = told("search of dynamic evaluation's values")
            dynamic = search_dynamic(parts.model, head, base, first_context=context, statistics=found,
                                     tokens=search_tokens, progress=tell).best  # fmt: skip
        possible = {"dynamic": None, "dynamic + cache": cache if isinstance(cache, CacheConfig) else None}
        caches = {name: mixed for name, mixed in possible.items() if name in wanted}
        both = dynamic_perplexities(
            parts.model,
            stream,
            dynamic,
            list(caches.values()),
            statistics=found,
            progress=told("dynamic"),
            checkpoint=checkpoint,
            **options,
        )
        results |= dict(zip(caches, both, strict=True))
    return LanguageModelEvaluation(
        results,
        cache if isinstance(cache, CacheConfig) else None,
        dynamic if isinstance(dynamic, DynamicConfig) else None,
    )


def _wanted(only: Sequence[str] | None, with_cache: bool, with_dynamic: bool) -> set[str]:
    """The results to compute."""
    given = {"plain": True, "cache": with_cache, "dynamic": with_dynamic}
    possible = [way for way in WAYS if all(given[part] for part in way.split(" + "))]
    for name in only or ():
        check_choice("only", name, WAYS)
        if name not in possible:
            raise ConfigError(f"only: got {name!r}, whose hyperparameters are not given; give them, or leave it out")
    return set(possible if only is None else only)


def training_statistics(
    parts: LanguageModelParts, corpus: EncodedCorpus, batches: int, segment_steps: int = 5
) -> GradientStatistics:
    """`gradient_statistics` of a corpus's training part, from `batches` batches of 100 rows at most.

    Raises: ConfigError if the corpus has no training part; DataError if that has no more than 100 tokens.
    """
    stream = _stream(parts, corpus, _present(corpus, TRAINING_SPLITS, "a training part for gradient statistics"))
    if len(stream) <= STATISTICS_ROWS:
        raise DataError(
            f"{corpus.folder}: expected more than {STATISTICS_ROWS} tokens to train on for gradient statistics, got "
            f"{len(stream)}; dynamic evaluation needs the text that the model was trained on"
        )
    windows = LanguageModelBatches(stream, STATISTICS_ROWS, segment_steps)
    found = gradient_statistics(parts.model, windows.epoch(0), max_batches=batches)
    return replace(found, fingerprint=_statistics_fingerprint(parts, corpus, batches, segment_steps))


def _statistics_fingerprint(parts: LanguageModelParts, corpus: EncodedCorpus, batches: int, segment_steps: int) -> str:
    """Fingerprint of everything that `training_statistics` depends on."""
    return fingerprint(weights_fingerprint(parts.model), corpus.facts.fingerprint, batches, segment_steps)


def _statistics(
    parts: LanguageModelParts,
    corpus: EncodedCorpus,
    split: str | None,
    dynamic: DynamicConfig,
    given: GradientStatistics | str | os.PathLike[str] | None,
    batches: int,
) -> GradientStatistics | None:
    if isinstance(given, GradientStatistics) or dynamic.rule == "sgd":
        return given if isinstance(given, GradientStatistics) else None
    if given is not None and Path(given).exists():
        found = GradientStatistics.load(given)
        if found.fingerprint != _statistics_fingerprint(parts, corpus, batches, dynamic.segment_steps):
            raise ConfigError(
                f"{os.fspath(given)}: holds gradient statistics of another model or text, or of other batches; give "
                "another file, or remove this one"
            )
        return found
    if split is None:
        raise ConfigError(
            f"{corpus.folder}: expected a training part for gradient statistics that is not judged too, got all of it "
            "to judge; name a split, give a file of statistics, or choose the rule 'sgd'"
        )
    found = training_statistics(parts, corpus, batches, dynamic.segment_steps)
    if given is not None:
        found.save(given)
    return found


def _search_text(parts: LanguageModelParts, corpus: EncodedCorpus, tokens: int, what: str) -> np.ndarray:
    stream = _stream(parts, corpus, _present(corpus, ("valid",), f"a validation part to search {what} values on"))
    return stream.read(0, min(tokens, len(stream)))


def _stream(parts: LanguageModelParts, corpus: EncodedCorpus, splits: Sequence[str] | None) -> TokenStream:
    return corpus.stream(corpus.rows(splits), reverse=parts.direction == "backward")


def _present(corpus: EncodedCorpus, splits: tuple[str, ...], what: str) -> list[str]:
    present = [name for name in splits if name in corpus.split_names]
    if not present:
        raise ConfigError(f"{corpus.folder}: expected {what}, got {', '.join(corpus.split_names)} alone; give values")
    return present
