"""Perplexities of a run's models, each kept in evaluation.json once it is there, so that none is computed twice."""

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
    json_safe,
    perplexity,
    search_cache,
    search_dynamic,
)
from ulmkit.files import fingerprint, read_json, sha256_file, write_json
from ulmkit.hub import LanguageModelParts, load_language_model
from ulmkit.pipeline import RunOptions, evaluate_language_model, place, training_statistics
from ulmkit.text import EncodedCorpus

EVALUATION_FILE = "evaluation.json"
ORIGINAL = "original's arithmetic"
BOTH = "dynamic + cache"


@dataclass(frozen=True, kw_only=True)
class Ways:
    """How a model is to be judged.

    names: "plain", "cache", "dynamic", "dynamic + cache". cache, dynamic: hyperparameters.
    statistics_batches: for dynamic evaluation. original_rows: of the original's arithmetic by split, None to leave it.
    """

    names: Sequence[str]
    cache: CacheConfig
    dynamic: DynamicConfig
    statistics_batches: int = 200
    original_rows: Mapping[str, int] | None = None


@dataclass
class Figures:
    """The figures of a run. out: its folder. corpus: judged on. run: where the models compute."""

    out: Path
    corpus: EncodedCorpus
    run: RunOptions
    _kept: dict[str, dict[str, Any]] = field(init=False)
    _parts: dict[str, LanguageModelParts] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        path = self.out / EVALUATION_FILE
        found = read_json(path) if path.is_file() else {}
        if not isinstance(found, dict):
            raise FolderError(f"{path}: expected figures by name, got something else; remove it to compute them anew")
        self._kept = found

    def evaluate(self, stage: str, split: str, ways: Ways) -> list[dict[str, Any]]:
        """The figures of a stage's model on a split, those that are not kept computed now.

        Returns: stage, split, way, perplexity, mean_nll, bits_per_character, tokens, seconds (of the pass alone;
            dynamic evaluation with and without the cache are one pass, whose seconds both have), threads, settings, in
            the order of `ways`.
        Raises: as `evaluate_language_model`.
        """
        settings = {
            "plain": {},
            "cache": {"cache": asdict(ways.cache)},
            "dynamic": {"dynamic": asdict(ways.dynamic), "statistics_batches": ways.statistics_batches},
        }
        settings[BOTH] = {**settings["dynamic"], **settings["cache"]}
        keys = {way: self._key(stage, split, way, settings[way]) for way in ways.names}
        missing = [way for way in ways.names if keys[way] not in self._kept]
        learning = [way for way in missing if "dynamic" in way]  # in one pass
        for group in [*[[way] for way in missing if way not in learning], *([learning] if learning else [])]:
            name = f"unfinished-{fingerprint([keys[way] for way in group])}.safetensors"
            found, seconds = self._compute(stage, split, group, ways, self.out / name)
            for way in group:
                self._keep(keys[way], stage, split, way, found[way], seconds, settings[way])
        rows = [self._kept[keys[way]] for way in ways.names]
        return rows if ways.original_rows is None else [*rows, self._original(stage, split, ways.original_rows[split])]

    def search(self, stage: str, ways: Ways, tokens: int) -> tuple[CacheConfig, DynamicConfig]:
        """The hyperparameters of the lowest perplexity of the first validation tokens, for those of `ways` in use."""
        cache, dynamic = ways.cache, ways.dynamic
        if {"cache", BOTH} & set(ways.names):
            cache = CacheConfig(**self._searched(stage, "cache", ways, tokens))
        if {"dynamic", BOTH} & set(ways.names):
            dynamic = DynamicConfig(**self._searched(stage, "dynamic", ways, tokens))
        return cache, dynamic

    def _searched(self, stage: str, what: str, ways: Ways, tokens: int) -> dict[str, Any]:
        settings: dict[str, Any] = {"tokens": tokens}
        if what == "dynamic":
            settings |= {"batches": ways.statistics_batches, "base": asdict(ways.dynamic)}
        key = self._key(stage, "valid", f"search of {what}", settings)
        if key not in self._kept:
            start, parts, tried = time.monotonic(), self._model(stage), f"{key}, tried"
            stream = self.corpus.stream(self.corpus.rows("valid"))
            head = stream.read(0, min(tokens, len(stream)))
            context = first_context(parts.vocabulary)
            found: Search[Any]
            if what == "cache":
                found = search_cache(parts.model, head, first_context=context)
            else:
                known, keep = self._tried(tried)
                found = search_dynamic(
                    parts.model,
                    head,
                    ways.dynamic,
                    first_context=context,
                    statistics=self._statistics(stage, ways),
                    tokens=tokens,
                    known=known,
                    keep=keep,
                )
            self._kept.pop(tried, None)  # the rows of what was found say the same
            entry = {"stage": stage, "search": what, **found.to_dict()}
            self._write(key, {**entry, "seconds": round(time.monotonic() - start, 2), "settings": settings})
        return dict(self._kept[key]["best"])

    def _tried(self, key: str) -> tuple[dict[DynamicConfig, Perplexity], Callable[[DynamicConfig, Perplexity], None]]:
        """What a search has tried before it was stopped, and what keeps what it tries now."""
        kept = self._kept.setdefault(key, {"tried": []})["tried"]

        def keep(config: DynamicConfig, result: Perplexity) -> None:
            print(f"rate {config.learning_rate:.3g}, decay {config.decay:.3g}: {result.perplexity:.2f}", flush=True)
            kept.append({"config": asdict(config), "nll": json_safe(result.nll), "tokens": result.tokens})
            self._write(key, {"tried": kept})

        known = {}
        for row in kept:
            nll = math.inf if row["nll"] is None else row["nll"]
            known[DynamicConfig(**row["config"])] = Perplexity(nll, row["tokens"], row["tokens"], "dynamic")
        return known, keep

    def _compute(
        self, stage: str, split: str, group: Sequence[str], ways: Ways, checkpoint: Path
    ) -> tuple[dict[str, Perplexity], float]:
        """The figures by way, and the seconds that they took, without those of loading and of statistics.

        Args: checkpoint: file from which dynamic evaluation goes on.
        """
        parts, learns = self._model(stage), "dynamic" in group[0]
        print(f"{stage}, {split}: {', '.join(group)}", flush=True)
        statistics = self._statistics(stage, ways) if learns else None
        start = time.monotonic()
        found = evaluate_language_model(
            parts,
            self.corpus,
            split,
            cache=ways.cache if any("cache" in way for way in group) else False,
            dynamic=ways.dynamic if learns else False,
            statistics=statistics,
            only=group,
            checkpoint=checkpoint,
        ).results
        return found, time.monotonic() - start

    def _original(self, stage: str, split: str, rows: int) -> dict[str, Any]:
        key = self._key(stage, split, ORIGINAL, {"rows": rows})
        if key not in self._kept:
            model, stream = self._model(stage).model, self.corpus.stream(self.corpus.rows(split))
            start = time.monotonic()
            found = perplexity(model, stream, published=True, batch_size=rows)
            self._keep(key, stage, split, ORIGINAL, found, time.monotonic() - start, {"rows": rows})
        return self._kept[key]

    def _model(self, stage: str) -> LanguageModelParts:
        if stage not in self._parts:
            parts = load_language_model(self.out / stage)
            parts.model.to(place(parts.model.encoder, self.run))
            self._parts = {stage: parts}
        return self._parts[stage]

    def _statistics(self, stage: str, ways: Ways) -> GradientStatistics:
        name = fingerprint(self._weights(stage), ways.statistics_batches, ways.dynamic.segment_steps)
        path = self.out / f"statistics-{name}.safetensors"
        if not path.is_file():
            found = training_statistics(
                self._model(stage), self.corpus, ways.statistics_batches, ways.dynamic.segment_steps
            )
            found.save(path)
        return GradientStatistics.load(path)

    def _weights(self, stage: str) -> str:
        return sha256_file(self.out / stage / "model.safetensors")

    def _key(self, *parts: Any) -> str:
        stage, split, way, settings = parts
        return f"{stage}, {split}, {way}, {fingerprint(self._weights(stage), self.run.precision, settings)}"

    def _keep(
        self, key: str, stage: str, split: str, way: str, found: Perplexity, seconds: float, settings: dict[str, Any]
    ) -> None:
        names = ("perplexity", "mean_nll", "bits_per_character", "tokens")
        figures = {name: found.to_dict()[name] for name in names}
        entry = {"stage": stage, "split": split, "way": way, **figures, "seconds": round(seconds, 2)}
        self._write(key, {**entry, "threads": torch.get_num_threads(), "settings": settings})

    def _write(self, key: str, entry: dict[str, Any]) -> None:
        self._kept[key] = entry
        write_json(self.out / EVALUATION_FILE, self._kept)
