"""Perplexities of a run's models, kept in the run's evaluation.json so that none is computed twice."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from ulmkit.errors import FolderError
from ulmkit.evaluation import (
    CacheConfig,
    DynamicConfig,
    GradientStatistics,
    Perplexity,
    Search,
    first_context,
    perplexity,
    search_cache,
    search_dynamic,
)
from ulmkit.files import fingerprint, json_safe, read_json, sha256_file
from ulmkit.hub import LanguageModelParts, load_language_model
from ulmkit.pipeline import RunOptions, evaluate_language_model, place, training_statistics
from ulmkit.safe_writes import write_json
from ulmkit.text import EncodedCorpus

EVALUATION_FILE = "evaluation.json"
ORIGINAL = "original's arithmetic"
BOTH = "dynamic + cache"


@dataclass(frozen=True, kw_only=True)
class EvaluationPlan:
    """Methods by which to evaluate a model, and their hyperparameters.

    Attributes:
        methods: Any of "plain", "cache", "dynamic" and "dynamic + cache".
        cache: Hyperparameters of the continuous cache.
        dynamic: Hyperparameters of dynamic evaluation.
        statistics_batches: Training batches from which dynamic evaluation takes its gradient statistics.
        original_rows: Rows of awd-lstm-lm's own perplexity by split; None leaves that perplexity out.
    """

    methods: Sequence[str]
    cache: CacheConfig
    dynamic: DynamicConfig
    statistics_batches: int = 200
    original_rows: Mapping[str, int] | None = None


@dataclass
class RunEvaluation:
    """Evaluations of a run's models, read from the run's folder or computed and written there.

    Attributes:
        out: The run's folder.
        corpus: Corpus to evaluate on.
        run: Device and precision of the models.

    Raises:
        FolderError: If evaluation.json is not a JSON object.
    """

    out: Path
    corpus: EncodedCorpus
    run: RunOptions
    _entries: dict[str, dict[str, Any]] = field(init=False)
    _parts: dict[str, LanguageModelParts] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        path = self.out / EVALUATION_FILE
        entries = read_json(path) if path.is_file() else {}
        if not isinstance(entries, dict):
            raise FolderError(f"{path}: expected a JSON object of evaluations, got {entries!r:.40}; remove the file")
        self._entries = entries

    def evaluate(self, stage: str, split: str, plan: EvaluationPlan) -> list[dict[str, Any]]:
        """Evaluate a stage's model on a split by each method of the plan.

        Returns:
            An entry for each method, in the order of the plan: stage, split, method, perplexity, mean_nll,
            bits_per_character, tokens, seconds (of the evaluation alone; dynamic evaluation with and without the
            cache share one pass and its seconds), threads, settings. The original's arithmetic comes last.

        Raises:
            UlmkitError: If `evaluate_language_model` does.
        """
        settings = {
            "plain": {},
            "cache": {"cache": asdict(plan.cache)},
            "dynamic": {"dynamic": asdict(plan.dynamic), "statistics_batches": plan.statistics_batches},
        }
        settings[BOTH] = {**settings["dynamic"], **settings["cache"]}
        keys = {method: self._key(stage, split, method, settings[method]) for method in plan.methods}
        missing = [method for method in plan.methods if keys[method] not in self._entries]
        passes = [[method] for method in missing if "dynamic" not in method]
        dynamic_methods = [method for method in missing if "dynamic" in method]
        if dynamic_methods:
            passes.append(dynamic_methods)
        for methods in passes:
            checkpoint = f"unfinished-{fingerprint([keys[method] for method in methods])}.safetensors"
            results, seconds = self._compute(stage, split, methods, plan, self.out / checkpoint)
            for method in methods:
                self._keep(keys[method], stage, split, method, results[method], seconds, settings[method])
        entries = [self._entries[keys[method]] for method in plan.methods]
        if plan.original_rows is not None:
            entries.append(self._original(stage, split, plan.original_rows[split]))
        return entries

    def search(self, stage: str, plan: EvaluationPlan, tokens: int) -> tuple[CacheConfig, DynamicConfig]:
        """Search the hyperparameters of the plan's methods on the first validation tokens.

        Returns:
            Cache and dynamic evaluation of the lowest perplexity; those that no method uses are the plan's.
        """
        cache, dynamic = plan.cache, plan.dynamic
        if {"cache", BOTH} & set(plan.methods):
            cache = CacheConfig(**self._search_best(stage, "cache", plan, tokens))
        if {"dynamic", BOTH} & set(plan.methods):
            dynamic = DynamicConfig(**self._search_best(stage, "dynamic", plan, tokens))
        return cache, dynamic

    def _search_best(self, stage: str, method: str, plan: EvaluationPlan, tokens: int) -> dict[str, Any]:
        """Best hyperparameters of "cache" or "dynamic"."""
        settings: dict[str, Any] = {"tokens": tokens}
        if method == "dynamic":
            settings |= {"batches": plan.statistics_batches, "base": asdict(plan.dynamic)}
        key = self._key(stage, "valid", f"search of {method}", settings)
        if key not in self._entries:
            start = time.monotonic()
            parts = self._model(stage)
            stream = self.corpus.stream(self.corpus.rows("valid"))
            head = stream.read(0, min(tokens, len(stream)))
            context = first_context(parts.vocabulary)
            search: Search[Any]
            if method == "cache":
                search = search_cache(parts.model, head, first_context=context)
            else:
                progress_key = f"{key}, tried"
                known, keep = self._search_progress(progress_key)
                search = search_dynamic(
                    parts.model,
                    head,
                    plan.dynamic,
                    first_context=context,
                    statistics=self._statistics(stage, plan),
                    tokens=tokens,
                    known=known,
                    keep=keep,
                )
                self._entries.pop(progress_key, None)  # the finished search holds the same rows
            entry = {"stage": stage, "search": method, **search.to_dict()}
            self._write(key, {**entry, "seconds": round(time.monotonic() - start, 2), "settings": settings})
        return dict(self._entries[key]["best"])

    def _search_progress(
        self, key: str
    ) -> tuple[dict[DynamicConfig, Perplexity], Callable[[DynamicConfig, Perplexity], None]]:
        """Results of a search that was stopped, and a function that records further ones."""
        rows = self._entries.setdefault(key, {"tried": []})["tried"]

        def keep(config: DynamicConfig, result: Perplexity) -> None:
            print(f"rate {config.learning_rate:.3g}, decay {config.decay:.3g}: {result.perplexity:.2f}", flush=True)
            rows.append({"config": asdict(config), "nll": json_safe(result.nll), "tokens": result.tokens})
            self._write(key, {"tried": rows})

        known = {}
        for row in rows:
            nll = math.inf if row["nll"] is None else row["nll"]
            known[DynamicConfig(**row["config"])] = Perplexity(nll, row["tokens"], row["tokens"], "dynamic")
        return known, keep

    def _compute(
        self, stage: str, split: str, methods: Sequence[str], plan: EvaluationPlan, checkpoint: Path
    ) -> tuple[dict[str, Perplexity], float]:
        """Perplexities by method in one pass, and its seconds without loading and gradient statistics.

        Args:
            checkpoint: File from which dynamic evaluation resumes.
        """
        parts = self._model(stage)
        is_dynamic = "dynamic" in methods[0]
        print(f"{stage}, {split}: {', '.join(methods)}", flush=True)
        statistics = self._statistics(stage, plan) if is_dynamic else None
        start = time.monotonic()
        evaluation = evaluate_language_model(
            parts,
            self.corpus,
            split,
            cache=plan.cache if any("cache" in method for method in methods) else False,
            dynamic=plan.dynamic if is_dynamic else False,
            statistics=statistics,
            only=methods,
            checkpoint=checkpoint,
        )
        return evaluation.results, time.monotonic() - start

    def _original(self, stage: str, split: str, rows: int) -> dict[str, Any]:
        key = self._key(stage, split, ORIGINAL, {"rows": rows})
        if key not in self._entries:
            model = self._model(stage).model
            stream = self.corpus.stream(self.corpus.rows(split))
            start = time.monotonic()
            result = perplexity(model, stream, published=True, batch_size=rows)
            self._keep(key, stage, split, ORIGINAL, result, time.monotonic() - start, {"rows": rows})
        return self._entries[key]

    def _model(self, stage: str) -> LanguageModelParts:
        if stage not in self._parts:
            parts = load_language_model(self.out / stage)
            parts.model.to(place(parts.model.encoder, self.run))
            self._parts = {stage: parts}
        return self._parts[stage]

    def _statistics(self, stage: str, plan: EvaluationPlan) -> GradientStatistics:
        name = fingerprint(self._weights(stage), plan.statistics_batches, plan.dynamic.segment_steps)
        path = self.out / f"statistics-{name}.safetensors"
        if not path.is_file():
            statistics = training_statistics(
                self._model(stage), self.corpus, plan.statistics_batches, plan.dynamic.segment_steps
            )
            statistics.save(path)
        return GradientStatistics.load(path)

    def _weights(self, stage: str) -> str:
        return sha256_file(self.out / stage / "model.safetensors")

    def _key(self, stage: str, split: str, method: str, settings: Mapping[str, Any]) -> str:
        digest = fingerprint(self._weights(stage), self.run.precision, settings)
        return f"{stage}, {split}, {method}: {digest}"

    def _keep(
        self,
        key: str,
        stage: str,
        split: str,
        method: str,
        result: Perplexity,
        seconds: float,
        settings: dict[str, Any],
    ) -> None:
        names = ("perplexity", "mean_nll", "bits_per_character", "tokens")
        values = {name: result.to_dict()[name] for name in names}
        entry = {"stage": stage, "split": split, "method": method, **values, "seconds": round(seconds, 2)}
        self._write(key, {**entry, "threads": torch.get_num_threads(), "settings": settings})

    def _write(self, key: str, entry: dict[str, Any]) -> None:
        self._entries[key] = entry
        write_json(self.out / EVALUATION_FILE, self._entries)
