"""Evaluation of language models: plain, with a continuous cache, by dynamic evaluation, and with both."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ulmkit.config import check_choice, check_whole, to_dict
from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation import (
    DYNAMIC_PTB,
    CacheConfig,
    DocumentScore,
    DynamicConfig,
    GradientStatistics,
    Perplexity,
    cache_perplexity,
    dynamic_perplexities,
    first_context,
    gradient_statistics,
    perplexity,
    score_documents,
    search_cache,
    search_dynamic,
    weights_fingerprint,
)
from ulmkit.files import expand_user, fingerprint, json_safe
from ulmkit.hub import LanguageModelParts
from ulmkit.pipeline.document_progress import documents_read
from ulmkit.pipeline.options import SEARCH_TOKENS, STATISTICS_BATCHES
from ulmkit.tables import text_table
from ulmkit.text import EncodedCorpus, TokenStream
from ulmkit.text.batches import LanguageModelBatches
from ulmkit.text.corpus.builder import TRAINING_SPLITS
from ulmkit.training import keep_freed_memory

METHODS = ("plain", "cache", "dynamic", "dynamic + cache")
STATISTICS_ROWS = 100
EvaluationCallback = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""

_COLUMNS = {
    "perplexity": "perplexity",
    "mean_nll": "nats per token",
    "perplexity_per_word": "perplexity per word",
    "bits_per_character": "bits per character",
}


@dataclass(frozen=True)
class LanguageModelEvaluation:
    """Perplexity of a language model on one text, by each method of evaluation.

    Attributes:
        results: Perplexity by method; see METHODS.
        cache: Hyperparameters of the continuous cache, if used.
        dynamic: Hyperparameters of dynamic evaluation, if used.
    """

    results: dict[str, Perplexity]
    cache: CacheConfig | None = None
    dynamic: DynamicConfig | None = None

    def to_dict(self) -> dict[str, Any]:
        """Convert to a JSON object."""
        configs = {"cache": self.cache, "dynamic": self.dynamic}
        used = {name: to_dict(config) for name, config in configs.items() if config is not None}
        return json_safe({"results": {name: result.to_dict() for name, result in self.results.items()}, **used})

    def table(self) -> str:
        """Format as text: a row for each method, and the hyperparameters below."""
        results = self.results.values()
        columns = [name for name in _COLUMNS if any(getattr(result, name) is not None for result in results)]
        rows = [(method, *(getattr(result, name) for name in columns)) for method, result in self.results.items()]
        text = text_table(("", *(_COLUMNS[name] for name in columns)), rows)
        for title, config in (("cache", self.cache), ("dynamic evaluation", self.dynamic)):
            if config is not None:
                values = [
                    f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
                    for name, value in to_dict(config).items()
                ]
                text += f"\n\n{title}: {', '.join(values)}"
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
    """Exact perplexity of a split, by every method that is asked for.

    Args:
        parts: The model.
        corpus: Corpus encoded with the model's vocabulary.
        split: Split to score; None: all documents.
        cache: Hyperparameters of a continuous cache; True searches them on the first validation tokens.
        dynamic: Hyperparameters of dynamic evaluation; True searches learning rate and decay on the first validation
            tokens, which takes up to eleven evaluations of them.
        dynamic_base: Where that search starts.
        statistics: Gradient statistics for dynamic evaluation, or their file, which is read if it exists, else
            written; None computes them on the training split.
        search_tokens: Validation tokens to search on.
        statistics_batches: Maximum number of batches for gradient statistics.
        only: Methods to compute; None: all that have hyperparameters.
        checkpoint: File that dynamic evaluation resumes from if it exists; it is written every few minutes.
        progress: Called with the method, the steps done and the steps in all.

    Returns:
        The perplexities and the hyperparameters used.

    Raises:
        ConfigError: If a search has no validation split, statistics have no training split beside the scored one, a
            file holds statistics of something else, or `only` names a method without hyperparameters.
    """
    check_whole("search_tokens", search_tokens)
    check_whole("statistics_batches", statistics_batches)
    methods = _methods(only, bool(cache), bool(dynamic))
    rows = corpus.rows(split)
    stream = _stream(parts, corpus, None if split is None else (split,))
    context = first_context(parts.vocabulary)
    options: dict[str, Any] = {
        "first_context": context,
        "words": int(corpus.table["words"][rows].sum()),
        "characters": int(corpus.table["characters"][rows].sum()),
    }
    cache_config = cache if isinstance(cache, CacheConfig) else None
    dynamic_config = dynamic if isinstance(dynamic, DynamicConfig) else None

    def callback(stage: str) -> Callable[[int, int], None] | None:
        return None if progress is None else lambda done, total: progress(stage, done, total)

    results = {}
    if "plain" in methods:
        results["plain"] = perplexity(parts.model, stream, progress=callback("plain"), **options)
    if cache is True and any(method.endswith("cache") for method in methods):
        text = _search_text(parts, corpus, search_tokens, "the cache's")
        search_progress = callback("search of the cache's values")
        cache_config = search_cache(parts.model, text, first_context=context, progress=search_progress).best
    if cache_config is not None and "cache" in methods:
        results["cache"] = cache_perplexity(parts.model, stream, cache_config, progress=callback("cache"), **options)
    dynamic_methods = [method for method in methods if method.startswith("dynamic")]
    if dynamic_methods:
        keep_freed_memory()
        base = dynamic_config or dynamic_base
        used_statistics = _statistics(parts, corpus, split, base, statistics, statistics_batches)
        if dynamic_config is None:
            dynamic_config = search_dynamic(
                parts.model,
                _search_text(parts, corpus, search_tokens, "dynamic evaluation's"),
                base,
                first_context=context,
                statistics=used_statistics,
                tokens=search_tokens,
                progress=callback("search of dynamic evaluation's values"),
            ).best
        perplexities = dynamic_perplexities(
            parts.model,
            stream,
            dynamic_config,
            [cache_config if method.endswith("cache") else None for method in dynamic_methods],
            statistics=used_statistics,
            progress=callback("dynamic"),
            checkpoint=checkpoint,
            **options,
        )
        results |= dict(zip(dynamic_methods, perplexities, strict=True))
    return LanguageModelEvaluation(results, cache_config, dynamic_config)


def _methods(only: Sequence[str] | None, with_cache: bool, with_dynamic: bool) -> list[str]:
    """The methods to compute, in the order of METHODS."""
    has_values = {"plain": True, "cache": with_cache, "dynamic": with_dynamic}
    possible = [method for method in METHODS if all(has_values[part] for part in method.split(" + "))]
    for name in only or ():
        check_choice("only", name, METHODS)
        if name not in possible:
            raise ConfigError(f"only: got {name!r}, whose hyperparameters are missing; give them, or leave it out")
    return [method for method in possible if only is None or method in only]


def training_statistics(
    parts: LanguageModelParts, corpus: EncodedCorpus, batches: int, segment_steps: int = 5
) -> GradientStatistics:
    """Gradient statistics of a corpus's training splits, for dynamic evaluation.

    Args:
        parts: The model.
        corpus: Corpus encoded with the model's vocabulary.
        batches: Maximum number of batches to read.
        segment_steps: Steps of a batch, which has 100 rows.

    Raises:
        ConfigError: If the corpus has no training split.
        DataError: If that has no more than 100 tokens.
    """
    stream = _stream(parts, corpus, _present(corpus, TRAINING_SPLITS, "a training part for gradient statistics"))
    if len(stream) <= STATISTICS_ROWS:
        raise DataError(
            f"{corpus.folder}: expected more than {STATISTICS_ROWS} tokens to train on for gradient statistics, got "
            f"{len(stream)}; dynamic evaluation needs the text that the model was trained on"
        )
    windows = LanguageModelBatches(stream, STATISTICS_ROWS, segment_steps)
    statistics = gradient_statistics(parts.model, windows.epoch(0), max_batches=batches)
    return replace(statistics, fingerprint=_statistics_fingerprint(parts, corpus, batches, segment_steps))


def _statistics_fingerprint(parts: LanguageModelParts, corpus: EncodedCorpus, batches: int, segment_steps: int) -> str:
    """Fingerprint of everything that `training_statistics` depends on."""
    return fingerprint(weights_fingerprint(parts.model), corpus.facts.fingerprint, batches, segment_steps)


def _statistics(
    parts: LanguageModelParts,
    corpus: EncodedCorpus,
    split: str | None,
    dynamic: DynamicConfig,
    source: GradientStatistics | str | os.PathLike[str] | None,
    batches: int,
) -> GradientStatistics | None:
    """Gradient statistics as given, from their file, or computed; None if the rule needs none."""
    if isinstance(source, GradientStatistics) or dynamic.rule == "sgd":
        return source if isinstance(source, GradientStatistics) else None
    if source is not None and expand_user(source).exists():
        statistics = GradientStatistics.load(source)
        if statistics.fingerprint != _statistics_fingerprint(parts, corpus, batches, dynamic.segment_steps):
            raise ConfigError(
                f"{os.fspath(source)}: holds gradient statistics of another model or text, or of other batches; give "
                "another file, or remove this one"
            )
        return statistics
    if split is None:
        raise ConfigError(
            f"{corpus.folder}: expected a training split for gradient statistics that is not scored too, got all "
            "documents to score; name a split, give a file of statistics, or choose the rule 'sgd'"
        )
    statistics = training_statistics(parts, corpus, batches, dynamic.segment_steps)
    if source is not None:
        statistics.save(source)
    return statistics


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


def score_ids(parts: LanguageModelParts, documents: Sequence[np.ndarray]) -> list[DocumentScore]:
    """Compute the log-probability of each document on its own.

    Args:
        parts: The language model.
        documents: (T,) token ids of each document, in the order in which the model reads them.
    """
    vocabulary = parts.vocabulary
    context = first_context(vocabulary) if vocabulary.bos_id is None else None
    return score_documents(
        parts.model, documents, first_context=context, unk_id=vocabulary.unk_id, progress=documents_read
    )
