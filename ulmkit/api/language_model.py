"""The language model that people hold."""

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from ulmkit.api.common import as_texts, one_budget, placed, text_ids
from ulmkit.config import check_whole
from ulmkit.evaluation import DocumentScore, Perplexity, first_context, perplexity, score_documents
from ulmkit.hub import LanguageModelParts, load_language_model, resolve_model, save_language_model
from ulmkit.model.aligned import count_parameters
from ulmkit.model.generation import Continuation, beam_search, sample
from ulmkit.pipeline import (
    DataOptions,
    LanguageModelEvaluation,
    RunOptions,
    evaluate_language_model,
    select_evaluation_data,
)
from ulmkit.pipeline import finetune as finetune_parts
from ulmkit.pipeline import pretrain as pretrain_parts
from ulmkit.text import EncodedCorpus, Text
from ulmkit.text.corpus.token_stream import reverse_document
from ulmkit.text.read.documents import Data


class LanguageModel:
    """A language model with its vocabulary and tokenizer. Made by `load`, `pretrain` or `finetune`."""

    def __init__(self, parts: LanguageModelParts) -> None:
        self.parts = parts

    def __repr__(self) -> str:
        parameters = count_parameters(self.parts.model)
        return (
            f"LanguageModel({parameters:,} parameters, {len(self.parts.vocabulary):,} tokens, {self.parts.direction})"
        )

    @classmethod
    def load(cls, name: str | os.PathLike[str], run: RunOptions | None = None) -> "LanguageModel":
        """Load a model folder, or a model of the hub.

        Args: run: device, precision and backend to run with; None: the CPU and what is fastest there.
        Raises: FolderError if it is no language model, or is incomplete, truncated or altered.
        """
        return cls(placed(load_language_model(resolve_model(name)), run))

    @classmethod
    def pretrain(
        cls,
        data: Data | EncodedCorpus,
        *,
        epochs: float | None = None,
        steps: int | None = None,
        minutes: float | None = None,
        **options: Any,
    ) -> "LanguageModel":
        """Train a language model from scratch. Give one of epochs, steps, minutes; options: see `pipeline.pretrain`."""
        return cls(pretrain_parts(data, budget=one_budget(epochs, steps, minutes), **options))

    def finetune(
        self,
        data: Data | EncodedCorpus,
        *,
        epochs: float | None = None,
        steps: int | None = None,
        minutes: float | None = None,
        **options: Any,
    ) -> "LanguageModel":
        """A new model, fine-tuned on the target text from this one. Options: see `pipeline.finetune`."""
        return LanguageModel(finetune_parts(self.parts, data, budget=one_budget(epochs, steps, minutes), **options))

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a complete model folder, whole or not at all. Raises: FolderError if it is there or not writable."""
        save_language_model(folder, self.parts, overwrite=overwrite)

    def evaluate(
        self,
        data: Data | EncodedCorpus,
        *,
        split: str | None = None,
        published: bool = False,
        batch_size: int | None = None,
        data_options: DataOptions | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Perplexity:
        """Perplexity over one stream of the text; see `ulmkit.evaluation.language.perplexity`.

        Args:
            split: which part of the data, "all" for all of it; None: the test part, else the valid part, else all. Of
                the data that the model learnt from, its own split is taken, so that nothing is judged that it read.
            published, batch_size: see there.
        Raises: DataError if that split cannot be drawn again; see `pipeline.select_evaluation_data`.
        """
        parts, judged = self.parts, select_evaluation_data(self.parts, data, split, data_options)
        corpus, rows = judged.corpus, judged.rows()
        return perplexity(
            parts.model,
            corpus.stream(rows, reverse=parts.direction == "backward"),
            first_context=first_context(parts.vocabulary),
            published=published,
            batch_size=batch_size,
            words=int(corpus.table["words"][rows].sum()),
            characters=int(corpus.table["characters"][rows].sum()),
            progress=progress,
        )

    def evaluate_with(
        self,
        data: Data | EncodedCorpus,
        *,
        split: str | None = None,
        data_options: DataOptions | None = None,
        **options: Any,
    ) -> LanguageModelEvaluation:
        """Perplexity plain, with a continuous cache, with dynamic evaluation, and with both.

        Args: split: as `evaluate`. options: see `pipeline.evaluate_language_model`.
        """
        judged = select_evaluation_data(self.parts, data, split, data_options)
        return evaluate_language_model(self.parts, judged.corpus, judged.split, **options)

    def score(self, texts: Iterable[Text]) -> list[DocumentScore]:
        """Log-probability and perplexity of each text, each on its own.

        Raises: DataError, with its number, for what is no text.
        """
        parts, vocabulary = self.parts, self.parts.vocabulary
        documents = [text_ids(parts, text) for text in as_texts(texts)]
        context = first_context(vocabulary) if vocabulary.bos_id is None else None
        return score_documents(parts.model, documents, first_context=context, unk_id=vocabulary.unk_id)

    def generate(
        self,
        prompt: str = "",
        *,
        tokens: int = 50,
        samples: int = 1,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float = 1.0,
        beam: int | None = None,
        no_unk: bool = True,
        seed: int | None = None,
    ) -> list[str]:
        """Texts that begin with `prompt` (for a backward model: that end with it).

        Args:
            tokens: to add, at most. samples: how many texts.
            temperature, top_k, top_p: see `ulmkit.model.generation`. beam: search with a beam of this width instead of
                sampling, and return the `samples` most probable.
            no_unk: never the unknown token. seed: for the same texts again.
        """
        parts, vocabulary = self.parts, self.parts.vocabulary
        check_whole("samples", samples)
        ids = self._prompt_ids(prompt)
        stop = [] if vocabulary.bos_id is None else [vocabulary.bos_id]
        unwanted = [vocabulary.pad_id, vocabulary.unk_id if no_unk else None]
        forbidden = [number for number in unwanted if number is not None]
        device = parts.model.encoder.device
        start = torch.from_numpy(ids).to(device)
        if beam is not None:
            found = beam_search(parts.model, start, tokens, width=max(beam, samples), forbidden=forbidden, stop=stop)
        else:
            generator = torch.Generator(device=device)
            generator.manual_seed(seed) if seed is not None else generator.seed()
            found = sample(
                parts.model,
                start.unsqueeze(1).expand(-1, samples),
                tokens,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                forbidden=forbidden,
                stop=stop,
                generator=generator,
            )
        return [self._text(ids, continuation) for continuation in found[:samples]]

    def _prompt_ids(self, prompt: str) -> np.ndarray:
        parts = self.parts
        if parts.vocabulary.bos_id is None:  # a word-level corpus: go on after an end of line, the prompt's line open
            words = prompt.split()[::-1] if parts.direction == "backward" else prompt.split()
            return np.array([first_context(parts.vocabulary), *parts.vocabulary.encode(words)], dtype=np.int64)
        return text_ids(parts, prompt)

    def _text(self, prompt: np.ndarray, continuation: Continuation) -> str:
        ids = np.concatenate([prompt, np.asarray(continuation.ids, dtype=np.int64)])
        if self.parts.direction == "backward":
            ids = reverse_document(ids, self.parts.vocabulary.bos_id)
        return self.parts.tokenizer.detokenize(self.parts.vocabulary.decode(ids)).strip()
