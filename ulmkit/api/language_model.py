"""`LanguageModel`: load, pretrain, fine-tune, evaluate, score, generate and save a language model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import torch

from ulmkit import evaluation, pipeline
from ulmkit.api.common import as_texts, check_finite_answers, place_parts, refuse_selection, text_ids
from ulmkit.api.generation_options import GenerationOptions
from ulmkit.api.push import push_model
from ulmkit.config import check_whole
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.evaluation import CacheConfig, DocumentScore, DynamicConfig, GradientStatistics, Perplexity
from ulmkit.hub import (
    LanguageModelParts,
    is_pair,
    load_language_model,
    load_pair,
    resolve_model,
    save_language_model,
    save_language_model_pair,
)
from ulmkit.hub.folder_config import DIRECTIONS, Direction, Weights
from ulmkit.model.aligned import count_parameters
from ulmkit.model.config import LanguageModelConfig
from ulmkit.model.generation import Continuation, beam_search, sample
from ulmkit.pipeline import (
    DEFAULT_MODEL,
    DataOptions,
    EvaluationData,
    LanguageModelEvaluation,
    LanguageModelRecipe,
    RunOptions,
    embed_documents,
)
from ulmkit.text import EncodedCorpus, Text
from ulmkit.text.corpus.builder import TRAINING_SPLITS
from ulmkit.text.corpus.token_stream import reverse_document
from ulmkit.text.read.documents import Data
from ulmkit.training import Budget, RateSearch

_GENERATION = GenerationOptions()
_MAX_TOKENS = 1_000_000
_MAX_SAMPLES = 10_000


class LanguageModel:
    """A language model with its vocabulary and tokenizer, or a pair: a forward and a backward one.

    A pair is fine-tuned, embeds texts and is saved as a whole. One direction is enough to score, evaluate and generate:
    these take the forward member.

    Make one with `load`, `pretrain` or `finetune`, and a pair with `LanguageModel(forward.parts, backward.parts)`.

    Attributes:
        parts: Everything a model folder holds: network, vocabulary, tokenizer, direction, training facts and log. Of a
            pair, the forward member.
        backward: The backward member of a pair, else None.
    """

    def __init__(self, parts: LanguageModelParts, backward: LanguageModelParts | None = None) -> None:
        if backward is not None:
            _check_pair(parts, backward)
        self.parts = parts
        self.backward = backward

    def __repr__(self) -> str:
        parameters = sum(count_parameters(member.model) for member in self.members)
        directions = " and ".join(member.direction for member in self.members)
        return f"LanguageModel({parameters:,} parameters, {len(self.parts.vocabulary):,} tokens, {directions})"

    @property
    def members(self) -> tuple[LanguageModelParts, ...]:
        """The model, or the forward and the backward member of a pair."""
        return (self.parts,) if self.backward is None else (self.parts, self.backward)

    @classmethod
    def load(cls, name: str | os.PathLike[str] = DEFAULT_MODEL, run: RunOptions | None = None) -> LanguageModel:
        """Load a language model, or a pair of them, from a folder, the package or the Hugging Face hub.

        Args:
            name: Folder, name of a shipped model or hub name; see `ulmkit.hub.resolve_model`. By default the English
                pair that the package ships.
            run: Device, precision and backend to run with, which the folder does not keep; the CPU, its fastest
                precision and its fastest backend if None.

        Returns:
            The model, ready for inference and for fine-tuning.

        Raises:
            FolderError: If the folder holds no language model, or is incomplete, truncated or altered.
        """
        folder = resolve_model(name)
        if not is_pair(folder):
            return cls(place_parts(load_language_model(folder), run))
        pair = load_pair(folder)
        members = [each for each in (pair.forward, pair.backward) if isinstance(each, LanguageModelParts)]
        if len(members) < len(DIRECTIONS):
            raise FolderError(f"{folder}: expected a language model, got a pair of classifiers; give a language model")
        return cls(*(place_parts(member, run) for member in members))

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | None = None,
        run: RunOptions | None = None,
    ) -> LanguageModel:
        """Load a language model, or a pair, from the Hugging Face hub; like `load`, with a revision and a token.

        Args:
            name: Folder, name of a shipped model or hub name; see `ulmkit.hub.resolve_model`.
            revision: Branch, tag or commit on the hub; only a commit is sure to stay the same model.
            token: Token for private models; by default the one in the environment (`HF_TOKEN`) or of `hf auth login`.
            run: Device, precision and backend to run with, which the folder does not keep; the CPU, its fastest
                precision and its fastest backend if None.

        Returns:
            The model, ready for inference and for fine-tuning.

        Raises:
            FolderError: If it cannot be downloaded, or is no language model, incomplete, truncated or altered.
        """
        return cls.load(resolve_model(name, revision=revision, token=token), run)

    @classmethod
    def pretrain(
        cls,
        data: Data | EncodedCorpus,
        *,
        epochs: float | None = None,
        steps: int | None = None,
        minutes: float | None = None,
        sizes: LanguageModelConfig | None = None,
        recipe: LanguageModelRecipe | None = None,
        data_options: DataOptions | None = None,
        run: RunOptions | None = None,
        direction: Direction = "forward",
        splits: Sequence[str] = TRAINING_SPLITS,
        progress: Callable[[int], None] | None = None,
    ) -> LanguageModel:
        """Train a language model from scratch. Give exactly one of `epochs`, `steps` and `minutes`.

        Args:
            data: Text as a path, a hub name or a list, or an encoded corpus.
            epochs: Passes over the training text.
            steps: Optimizer steps.
            minutes: Wall-clock time, validation included.
            sizes: Layer sizes and dropouts; those of ULMFiT if None.
            recipe: Batch size, learning rates, optimizer and regularization; None takes `pipeline.PRETRAIN`.
            data_options: How the text is read, split and tokenized.
            run: Device, precision, seed, checkpoints and progress of the training.
            direction: "forward", or "backward" to read the text from its end.
            splits: Splits to train on, of those that the data has. A held-out split makes the model transductive.
            progress: Called with the number of documents prepared so far.

        Returns:
            The trained model.

        Raises:
            ConfigError: If not exactly one budget is given, or an option is outside its range.
            DataError: If the text cannot be read, or there is too little of it.
            TrainingError: If the loss is no longer finite.
        """
        parts = pipeline.pretrain(
            data,
            budget=Budget(epochs=epochs, steps=steps, minutes=minutes),
            sizes=sizes,
            recipe=recipe or pipeline.PRETRAIN,
            data_options=data_options,
            run=run,
            direction=direction,
            splits=splits,
            progress=progress,
        )
        return cls(parts)

    def finetune(
        self,
        data: Data | EncodedCorpus,
        *,
        epochs: float | None = None,
        steps: int | None = None,
        minutes: float | None = None,
        recipe: LanguageModelRecipe | None = None,
        data_options: DataOptions | None = None,
        run: RunOptions | None = None,
        splits: Sequence[str] = TRAINING_SPLITS,
        progress: Callable[[int], None] | None = None,
    ) -> LanguageModel:
        """Fine-tune a copy of this model on target text. Give exactly one of `epochs`, `steps` and `minutes`.

        A word vocabulary is rebuilt from the target text, and the embeddings of the tokens that both share are kept;
        subword and byte vocabularies do not change. The text is prepared once for both members of a pair, which train
        one after the other, with checkpoints in subfolders "forward" and "backward" of the run's folder.

        Args:
            data: Text as a path, a hub name or a list, or an encoded corpus.
            epochs: Passes over the training text; of each member.
            steps: Optimizer steps; of each member.
            minutes: Wall-clock time, validation included. The members of a pair get half of it each.
            recipe: Batch size, learning rates, optimizer and regularization; None takes those of
                `pipeline.usual_finetuning`.
            data_options: How the text is read and split.
            run: Device, precision, seed, checkpoints and progress of the training.
            splits: Splits to train on, of those that the data has. A held-out split makes the model transductive.
            progress: Called with the number of documents prepared so far.

        Returns:
            The fine-tuned model; this one is not changed.

        Raises:
            ConfigError: If not exactly one budget is given, or an option is outside its range.
            DataError: If the text cannot be read, there is too little of it, or a corpus has another tokenizer.
            TrainingError: If the loss is no longer finite.
        """
        budget = Budget(epochs=epochs, steps=steps, minutes=minutes)
        if self.backward is not None:
            members = pipeline.finetune_pair(
                self.parts,
                self.backward,
                data,
                budget=budget,
                recipe=recipe,
                data_options=data_options,
                run=run,
                splits=splits,
                progress=progress,
            )
            return LanguageModel(*members)
        parts = pipeline.finetune(
            self.parts,
            data,
            budget=budget,
            recipe=recipe,
            data_options=data_options,
            run=run,
            splits=splits,
            progress=progress,
        )
        return LanguageModel(parts)

    def find_learning_rate(
        self,
        data: Data | EncodedCorpus,
        *,
        steps: int = pipeline.RATE_SEARCH_STEPS,
        recipe: LanguageModelRecipe | None = None,
        data_options: DataOptions | None = None,
        run: RunOptions | None = None,
        splits: Sequence[str] = TRAINING_SPLITS,
        progress: Callable[[int], None] | None = None,
    ) -> RateSearch:
        """Suggest a learning rate for fine-tuning: train for a few steps while the rate rises. Nothing is changed.

        A pair is searched with its forward member.

        Args:
            data: Text as a path, a hub name or a list, or an encoded corpus.
            steps: Steps over which the rate rises.
            recipe: Batch size, optimizer and regularization; None takes those of `pipeline.usual_finetuning`.
            data_options: How the text is read and split.
            run: Device, precision and seed.
            splits: Splits to train on, of those that the data has.
            progress: Called with the number of documents prepared so far.

        Returns:
            Rates, losses, and two suggestions: `steepest` and the safer `valley`.

        Raises:
            ConfigError: If there are too few steps.
            TrainingError: If the loss diverges at the lowest rates.
        """
        return pipeline.find_finetuning_rate(
            self.parts,
            data,
            recipe=recipe,
            data_options=data_options,
            run=run,
            splits=splits,
            steps=steps,
            progress=progress,
        )

    def save(self, folder: str | os.PathLike[str], *, weights: Weights = "float32", overwrite: bool = False) -> None:
        """Write a complete model folder, or nothing if that fails; a pair as one folder with both members.

        Args:
            folder: Folder to write.
            weights: How the weights are stored: "float32", or "bfloat16" in half the size, rounded to 8 bits of
                precision. Loaded, they are float32 again.
            overwrite: Replace a folder that exists.

        Raises:
            ConfigError: If the weights cannot be stored so.
            FolderError: If the folder exists or cannot be written.
        """
        if self.backward is None:
            save_language_model(folder, self.parts, weights=weights, overwrite=overwrite)
        else:
            save_language_model_pair(folder, self.parts, self.backward, weights=weights, overwrite=overwrite)

    def save_pretrained(
        self, folder: str | os.PathLike[str], *, weights: Weights = "float32", overwrite: bool = False
    ) -> None:
        """Write a complete model folder: another name of `save`, as Hugging Face's libraries have it.

        Args:
            folder: Folder to write.
            weights: How the weights are stored; see `save`.
            overwrite: Replace a folder that exists.
        """
        self.save(folder, weights=weights, overwrite=overwrite)

    def push_to_hub(
        self,
        name: str,
        *,
        weights: Weights = "float32",
        private: bool = False,
        revision: str | None = None,
        token: str | None = None,
        message: str | None = None,
    ) -> str:
        """Upload the model, or the pair, to the Hugging Face hub, in one commit.

        Args:
            name: "owner/name", or "owner/name@branch".
            weights: How the weights are stored; see `save`.
            private: Make the repository private; one that exists has to be private already.
            revision: Branch to upload to, if the name has none; it is made if it does not exist.
            token: Token that may write; by default the one in the environment (`HF_TOKEN`) or of `hf auth login`.
            message: Message of the commit.

        Returns:
            The name with the commit, "owner/name@commit", which `from_pretrained` takes.

        Raises:
            ConfigError: If the name is not one of a model on the hub, or `private` is asked for a public repository.
            FolderError: If the hub refuses the upload or cannot be reached.
        """
        save = partial(self.save, weights=weights)
        return push_model(save, name, private=private, revision=revision, token=token, message=message)

    def evaluation_data(
        self, data: Data | EncodedCorpus, *, split: str | None = None, data_options: DataOptions | None = None
    ) -> EvaluationData:
        """Select the documents that `evaluate` scores.

        Args:
            data: Text as a path, a hub name or a list, or an encoded corpus.
            split: Split to score, "all" for every document; if None the test split, else the validation split, else
                every document. The model's own training data is split as in training, so that only held-out documents
                are scored.
            data_options: How the text is read and split.

        Returns:
            The encoded documents; `describe()` says which they are.

        Raises:
            DataError: If the split does not exist, or the split of the training cannot be drawn again.
        """
        return pipeline.select_evaluation_data(self.parts, data, split, data_options)

    def evaluate(
        self,
        data: Data | EncodedCorpus | EvaluationData,
        *,
        split: str | None = None,
        published: bool = False,
        batch_size: int | None = None,
        data_options: DataOptions | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Perplexity:
        """Compute perplexity over one stream of the text; of a pair, that of the forward member.

        Args:
            data: Text as a path, a hub name or a list, an encoded corpus, or the result of `evaluation_data`.
            split: Split to score; see `evaluation_data`.
            published: Compute it as awd-lstm-lm does, with `batch_size` streams and its denominator.
            batch_size: Streams of the published computation; 10 if None.
            data_options: How the text is read and split.
            progress: Called with tokens scored and tokens in all.

        Returns:
            Perplexity, its tokens and words, and bits per character.

        Raises:
            ConfigError: If `batch_size` is given without `published`.
            DataError: If the split does not exist, or the split of the training cannot be drawn again.
        """
        parts = self.parts
        documents = self._selected(data, split, data_options)
        corpus, rows = documents.corpus, documents.rows()
        return evaluation.perplexity(
            parts.model,
            corpus.stream(rows, reverse=parts.direction == "backward"),
            first_context=evaluation.first_context(parts.vocabulary),
            published=published,
            batch_size=batch_size,
            words=int(corpus.table["words"][rows].sum()),
            characters=int(corpus.table["characters"][rows].sum()),
            progress=progress,
        )

    def evaluate_with(
        self,
        data: Data | EncodedCorpus | EvaluationData,
        *,
        split: str | None = None,
        cache: CacheConfig | bool = False,
        dynamic: DynamicConfig | bool = False,
        dynamic_base: DynamicConfig | None = None,
        statistics: GradientStatistics | str | os.PathLike[str] | None = None,
        search_tokens: int = pipeline.SEARCH_TOKENS,
        statistics_batches: int = pipeline.STATISTICS_BATCHES,
        only: Sequence[str] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        data_options: DataOptions | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> LanguageModelEvaluation:
        """Compute perplexity plain, with a continuous cache, with dynamic evaluation, and with both.

        A pair is evaluated by its forward member.

        Args:
            data: Text as a path, a hub name or a list, an encoded corpus, or the result of `evaluation_data`.
            split: Split to score; see `evaluation_data`.
            cache: Hyperparameters of the cache; True searches them on validation tokens.
            dynamic: Hyperparameters of dynamic evaluation; True searches its learning rate and decay.
            dynamic_base: Hyperparameters that the search of dynamic evaluation begins with; None takes `DYNAMIC_PTB`.
            statistics: Gradient statistics, or a file of them: read if it exists, else written.
            search_tokens: Validation tokens that a search reads.
            statistics_batches: Maximum number of training batches for the gradient statistics.
            only: Results to compute, of "plain", "cache", "dynamic" and "dynamic + cache"; None computes all.
            checkpoint: File that dynamic evaluation resumes from if it exists, and writes every few minutes.
            data_options: How the text is read and split.
            progress: Called with the name of a pass, its steps done and its steps in all.

        Returns:
            A perplexity for each result, and the hyperparameters used.

        Raises:
            ConfigError: If a search has no validation split or the statistics no training split beside the scored
                one, or if a file holds the statistics of another model.
        """
        documents = self._selected(data, split, data_options)
        return pipeline.evaluate_language_model(
            self.parts,
            documents.corpus,
            documents.split,
            cache=cache,
            dynamic=dynamic,
            dynamic_base=dynamic_base or evaluation.DYNAMIC_PTB,
            statistics=statistics,
            search_tokens=search_tokens,
            statistics_batches=statistics_batches,
            only=only,
            checkpoint=checkpoint,
            progress=progress,
        )

    def _selected(
        self, data: Data | EncodedCorpus | EvaluationData, split: str | None, data_options: DataOptions | None
    ) -> EvaluationData:
        if not isinstance(data, EvaluationData):
            return self.evaluation_data(data, split=split, data_options=data_options)
        refuse_selection(split, data_options)
        return data

    def score(self, texts: Iterable[Text]) -> list[DocumentScore]:
        """Compute log-probability and perplexity of each text on its own; a pair does it with its forward member.

        Args:
            texts: Texts, each a str or a tuple of its fields, as a list or a column of a table; none may be missing.

        Returns:
            A score for each text, in order.

        Raises:
            DataError: If a table is given, or an item is not a text; the message gives its index.
        """
        scores = pipeline.score_ids(self.parts, [text_ids(self.parts, text) for text in as_texts(texts)])
        check_finite_answers(np.array([score.log_probability for score in scores]))
        return scores

    def embed(self, texts: Iterable[Text]) -> np.ndarray:
        """Compute features of texts: the states of every layer, pooled, for a linear model or a search.

        They are the mean of the text's embeddings, then the last, maximal and mean state of each layer, bottom to top;
        of a pair, those of the forward member, then those of the backward one.

        Args:
            texts: Texts; see `score`.

        Returns:
            (n, F) float32, in order; each row is what it would be for that text alone.

        Raises:
            DataError: If a table is given, or an item is not a text; the message gives its index.
        """
        listed = as_texts(texts)
        features = np.hstack(
            [
                embed_documents(member.model.encoder, [text_ids(member, text) for text in listed])
                for member in self.members
            ]
        )
        check_finite_answers(features)
        return features

    def generate(
        self,
        prompt: str = "",
        *,
        max_tokens: int = _GENERATION.max_tokens,
        samples: int = _GENERATION.samples,
        temperature: float = _GENERATION.temperature,
        top_k: int | None = _GENERATION.top_k,
        top_p: float = _GENERATION.top_p,
        beam: int | None = _GENERATION.beam,
        allow_unk: bool = _GENERATION.allow_unk,
        seed: int | None = None,
    ) -> list[str]:
        """Continue a prompt. A backward model writes what comes before it; a pair continues it with its forward member.

        Args:
            prompt: Text that the results begin with (end with, for a backward model).
            max_tokens: Maximum number of tokens to add.
            samples: Number of texts.
            temperature: Below 1 favours probable tokens, above 1 improbable ones; 0 takes the most probable.
            top_k: Sample from this many of the most probable tokens; None does not limit them.
            top_p: Sample from the fewest tokens whose probabilities reach this sum.
            beam: Width of a beam search, which replaces sampling; the most probable texts come first.
            allow_unk: Allow the unknown token.
            seed: Seed for reproducible samples; None draws new ones on every call.

        Returns:
            `samples` texts, prompt included.

        Raises:
            ConfigError: If an option is outside its range.
            DataError: If the prompt is no str.
        """
        check_whole("max_tokens", max_tokens, at_most=_MAX_TOKENS)
        check_whole("samples", samples, at_most=_MAX_SAMPLES)
        model = self.parts.model
        vocabulary = self.parts.vocabulary
        ids = self._prompt_ids(prompt)
        stop = [] if vocabulary.bos_id is None else [vocabulary.bos_id]
        unwanted = [vocabulary.pad_id, None if allow_unk else vocabulary.unk_id]
        forbidden = [token_id for token_id in unwanted if token_id is not None]
        device = model.encoder.device
        start = torch.from_numpy(ids).to(device)
        if beam is not None:
            check_whole("beam", beam, at_most=_MAX_SAMPLES)
            width = max(beam, samples)
            continuations = beam_search(model, start, max_tokens, width=width, forbidden=forbidden, stop=stop)
        else:
            generator = torch.Generator(device=device)
            generator.manual_seed(seed) if seed is not None else generator.seed()
            continuations = sample(
                model,
                start.unsqueeze(1).expand(-1, samples),
                max_tokens,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                forbidden=forbidden,
                stop=stop,
                generator=generator,
            )
        return [self._text(ids, continuation) for continuation in continuations[:samples]]

    def _prompt_ids(self, prompt: str) -> np.ndarray:
        if not isinstance(prompt, str):
            raise DataError(f"prompt: expected a str, got {type(prompt).__name__}; give one text")
        parts = self.parts
        if parts.vocabulary.bos_id is None:  # a word-level corpus: go on after an end of line, the prompt's line open
            words = prompt.split()[::-1] if parts.direction == "backward" else prompt.split()
            end_of_line = evaluation.first_context(parts.vocabulary)
            return np.array([end_of_line, *parts.vocabulary.encode(words)], dtype=np.int64)
        return text_ids(parts, prompt)

    def _text(self, prompt: np.ndarray, continuation: Continuation) -> str:
        ids = np.concatenate([prompt, np.asarray(continuation.ids, dtype=np.int64)])
        if self.parts.direction == "backward":
            ids = reverse_document(ids, self.parts.vocabulary.bos_id)
        return self.parts.tokenizer.detokenize(self.parts.vocabulary.decode(ids)).strip()


def _check_pair(forward: LanguageModelParts, backward: LanguageModelParts) -> None:
    """Raise ConfigError unless two models read in both directions, with one tokenizer."""
    for name, parts in zip(DIRECTIONS, (forward, backward), strict=True):
        if parts.direction != name:
            raise ConfigError(f"{name}: expected a model that reads {name}, got one that reads {parts.direction}")
    if forward.tokenizer.fingerprint != backward.tokenizer.fingerprint:
        raise ConfigError(
            f"backward: expected the forward model's tokenizer ({forward.tokenizer.name}), got another one "
            f"({backward.tokenizer.name}); pretrain both on the same text with the same tokenizer options"
        )
