"""Pretraining and fine-tuning of language models."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from ulmkit.config import check_choice
from ulmkit.errors import DataError
from ulmkit.evaluation import Perplexity, approximate_perplexity, first_context
from ulmkit.hub import HeldOut, LanguageModelParts, TrainingFacts
from ulmkit.hub.folder_config import DIRECTIONS, Direction
from ulmkit.model.config import DROPOUTS, LanguageModelConfig
from ulmkit.model.initialization import draw_input_weights
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.model.transfer import transfer_language_model, vocabulary_mapping
from ulmkit.model.transfer_report import TransferReport
from ulmkit.pipeline.data import DocumentCallback, prepare_once
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.pipeline.language_model_task import LanguageModelTask
from ulmkit.pipeline.options import RATE_SEARCH_STEPS, RunOptions, place
from ulmkit.pipeline.recipes import FINETUNE, FINETUNE_PLAIN, PRETRAIN, LanguageModelRecipe
from ulmkit.pipeline.stage import scale_dropout, train_stage, with_dropouts
from ulmkit.pipeline.text_measures import measure_held_out
from ulmkit.pipeline.word_vectors import corpus_word_vectors
from ulmkit.text import EncodedCorpus, TokenStream, Vocabulary
from ulmkit.text.batches import LanguageModelBatches
from ulmkit.text.corpus.builder import TRAINING_SPLITS
from ulmkit.text.read.documents import Data
from ulmkit.training import Budget, RateSearch, lr_find

_COUNTED_TOKENS = 1 << 24
_VALIDATION_STREAMS = 32


def pretrain(
    data: Data | EncodedCorpus,
    *,
    budget: Budget,
    sizes: LanguageModelConfig | None = None,
    recipe: LanguageModelRecipe = PRETRAIN,
    data_options: DataOptions | None = None,
    run: RunOptions | None = None,
    direction: Direction = "forward",
    splits: Sequence[str] = TRAINING_SPLITS,
    progress: DocumentCallback | None = None,
) -> LanguageModelParts:
    """Train a language model from scratch.

    Args:
        data: Text in any form that `prepare` takes.
        budget: How long to train.
        sizes: Sizes and dropouts of the model; None for those of ULMFiT.
        recipe: Settings of the training.
        data_options: How to read, split and tokenize the data.
        run: Where and how to run.
        direction: "forward", or "backward" to read the text from its end.
        splits: Splits to learn from, of those the data has; an evaluation split among them makes the model
            transductive.
        progress: Called with the number of documents prepared.

    Returns:
        The model, with its vocabulary, tokenizer, training facts and log; if it reads forward, with word vectors too.

    Raises:
        DataError: If there is too little text.
        TrainingError: If the loss stops being finite.
        ConfigError: If the recipe's batch cannot be divided over the processes of `run`, or the direction is unknown.
    """
    check_choice("direction", direction, DIRECTIONS)
    run = run or RunOptions()
    run.world.check_divides(recipe.batch_size)
    corpus = prepare_once(run.world, data, data_options, progress=progress)
    torch.manual_seed(run.seed)
    model = AWDLSTMLanguageModel(_scale_dropouts(sizes or LanguageModelConfig(), recipe), len(corpus.vocabulary))
    if recipe.input_gain is not None:
        draw_input_weights(model.encoder, recipe.input_gain)
    parts = _train(model, corpus, budget, recipe, run, direction, splits, TrainingFacts(stage="pretraining"))
    if direction == "backward" or not run.world.is_first:  # a pair needs them once
        return parts
    if run.progress is not None:
        run.progress.working("word vectors")
    return replace(parts, word_vectors=corpus_word_vectors(corpus, _existing_splits(corpus, splits), run.seed))


def finetune(
    base: LanguageModelParts,
    data: Data | EncodedCorpus,
    *,
    budget: Budget,
    recipe: LanguageModelRecipe | None = None,
    data_options: DataOptions | None = None,
    run: RunOptions | None = None,
    splits: Sequence[str] = TRAINING_SPLITS,
    progress: DocumentCallback | None = None,
) -> LanguageModelParts:
    """Fine-tune a language model on the target text.

    A word vocabulary is rebuilt from that text, and the embeddings of the tokens that both share are kept; subword and
    byte vocabularies do not change.

    Args:
        base: Model to start from; it is not changed.
        data: Text in any form that `prepare` takes.
        budget: How long to train.
        recipe: Settings of the training; None takes those of `usual_finetuning`.
        data_options: How to read and split the data.
        run: Where and how to run.
        splits: Splits to learn from, of those the data has; an evaluation split among them makes the model
            transductive.
        progress: Called with the number of documents prepared.

    Returns:
        The fine-tuned model.

    Raises:
        DataError: If there is too little text, or it was prepared with another tokenizer than the model's.
        TrainingError: If the loss stops being finite.
        ConfigError: If the recipe's batch cannot be divided over the processes of `run`.

    Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.2.
    """
    run = run or RunOptions()
    recipe = recipe or usual_finetuning(base)
    run.world.check_divides(recipe.batch_size)
    corpus = prepare_for_model(base, data, data_options, run, progress)
    model, report = _transfer(base, corpus, recipe, splits)
    _warn_of_dropout(base, recipe, run)
    facts = TrainingFacts(stage="fine-tuning", vocabulary_transfer=report, base=base.facts.as_base())
    parts = _train(model, corpus, budget, recipe, run, base.direction, splits, facts)
    return replace(parts, word_vectors=base.word_vectors)


def usual_finetuning(base: LanguageModelParts) -> LanguageModelRecipe:
    """The recipe of fine-tuning where none is given: `FINETUNE`, or `FINETUNE_PLAIN` for a model without dropout."""
    return FINETUNE if has_dropout(base) else FINETUNE_PLAIN


def has_dropout(parts: LanguageModelParts) -> bool:
    """Return whether a language model has dropout, which recipes multiply."""
    config = parts.model.config
    return _scale_dropouts(config, replace(FINETUNE, dropout_multiplier=0.0)) != config


def find_finetuning_rate(
    base: LanguageModelParts,
    data: Data | EncodedCorpus,
    *,
    recipe: LanguageModelRecipe | None = None,
    data_options: DataOptions | None = None,
    run: RunOptions | None = None,
    splits: Sequence[str] = TRAINING_SPLITS,
    steps: int = RATE_SEARCH_STEPS,
    progress: DocumentCallback | None = None,
) -> RateSearch:
    """Search for a learning rate to fine-tune all layers of a language model, by a ramp of rates.

    Args:
        base: Model to start from; it is not changed.
        data: Text in any form that `prepare` takes.
        recipe: Settings of the training; None takes those of `usual_finetuning`.
        data_options: How to read and split the data.
        run: Where and how to run.
        splits: Splits to learn from, of those the data has.
        steps: Steps of the ramp.
        progress: Called with the number of documents prepared.

    Returns:
        Rates, their losses and the suggested rates; see `lr_find`.
    """
    run = run or RunOptions()
    recipe = recipe or usual_finetuning(base)
    corpus = prepare_for_model(base, data, data_options, run, progress)
    if run.on_corpus is not None:
        run.on_corpus(corpus)
    model, _ = _transfer(base, corpus, recipe, TRAINING_SPLITS)
    budget = Budget(steps=max(2, steps))  # a step for each phase; `lr_find` itself refuses too few
    training_splits = _existing_splits(corpus, splits)
    task = _task(model, corpus, recipe, run, base.direction, training_splits, run.validation_tokens(budget))
    phase = recipe.phases(len(task.groups), budget)[-1]  # that in which all layers train
    return lr_find(task, phase, recipe.optimizer, steps=steps, clip=recipe.clip, progress=run.progress)


def prepare_for_model(
    base: LanguageModelParts,
    data: Data | EncodedCorpus,
    options: DataOptions | None,
    run: RunOptions,
    progress: DocumentCallback | None,
) -> EncodedCorpus:
    """Prepare the text that a language model is fine-tuned on, with the model's tokenizer; see `prepare`.

    Raises:
        DataError: If a prepared corpus has another tokenizer than the model.
    """
    closed = base.tokenizer.closed_vocabulary()
    corpus = prepare_once(run.world, data, options, tokenizer=base.tokenizer, vocabulary=closed, progress=progress)
    if corpus.tokenizer.fingerprint != base.tokenizer.fingerprint:
        raise DataError(
            f"{corpus.folder}: was prepared with another tokenizer ({corpus.tokenizer.name}) than the model's "
            f"({base.tokenizer.name}); give the text itself, or prepare it with the model's"
        )
    return corpus


def _transfer(
    base: LanguageModelParts, corpus: EncodedCorpus, recipe: LanguageModelRecipe, splits: Sequence[str]
) -> tuple[AWDLSTMLanguageModel, TransferReport]:
    """Move the base model to the corpus's vocabulary and the recipe's dropouts."""
    mapping = vocabulary_mapping(base.vocabulary.tokens, corpus.vocabulary.tokens)
    moved, report = transfer_language_model(base.model, mapping, _token_counts(corpus, splits))
    tuned = AWDLSTMLanguageModel(_scale_dropouts(moved.config, recipe), moved.vocab_size)
    tuned.load_state_dict(moved.state_dict())
    return tuned, report


def _token_counts(corpus: EncodedCorpus, splits: Sequence[str]) -> np.ndarray:
    """Occurrences of each token in the splits to learn from, (V,) int64."""
    stream = corpus.stream(corpus.rows(_existing_splits(corpus, splits)))
    counts = np.zeros(len(corpus.vocabulary), dtype=np.int64)
    for start in range(0, len(stream), _COUNTED_TOKENS):
        part = stream.read(start, min(start + _COUNTED_TOKENS, len(stream)))
        counts += np.bincount(part, minlength=len(counts))
    return counts


def _existing_splits(corpus: EncodedCorpus, splits: Sequence[str]) -> list[str]:
    present = [name for name in splits if name in corpus.split_names]
    if not present:
        raise DataError(
            f"splits: expected one of {', '.join(splits)} to learn from, got {', '.join(corpus.split_names)}"
        )
    return present


def _scale_dropouts(config: LanguageModelConfig, recipe: LanguageModelRecipe) -> LanguageModelConfig:
    """Multiply all dropouts of a config by the recipe's multiplier."""
    encoder = config.encoder
    multiplier = recipe.dropout_multiplier
    return replace(
        config,
        encoder=with_dropouts(encoder, {name: getattr(encoder, name) for name in DROPOUTS}, multiplier),
        latent_dropout=scale_dropout(config.latent_dropout, multiplier),
    )


def _warn_of_dropout(base: LanguageModelParts, recipe: LanguageModelRecipe, run: RunOptions) -> None:
    """Warn if the recipe multiplies dropouts that the model to start from does not have."""
    if run.progress is None or not run.warn or not run.world.is_first:
        return
    if recipe.dropout_multiplier not in (0.0, 1.0) and not has_dropout(base):
        run.progress.message(
            f"dropout: a multiplier of {recipe.dropout_multiplier:g} has no effect, since the model was trained "
            "without dropout"
        )


def _train(
    model: AWDLSTMLanguageModel,
    corpus: EncodedCorpus,
    budget: Budget,
    recipe: LanguageModelRecipe,
    run: RunOptions,
    direction: Direction,
    splits: Sequence[str],
    facts: TrainingFacts,
) -> LanguageModelParts:
    training_splits = _existing_splits(corpus, splits)
    task = _task(model, corpus, recipe, run, direction, training_splits, run.validation_tokens(budget))
    details = {"splits": training_splits, "direction": direction}
    facts, history = train_stage(
        task,
        corpus,
        budget,
        recipe,
        run,
        config=model.config,
        training_splits=training_splits,
        facts=facts,
        details=details,
    )
    model.eval()
    parts = LanguageModelParts(model, corpus.vocabulary, corpus.tokenizer, direction, facts, history)
    if not run.world.is_first:
        return parts
    return replace(parts, held_out=HeldOut(texts=measure_held_out(parts, corpus, run.validation_tokens(budget))))


def _task(
    model: AWDLSTMLanguageModel,
    corpus: EncodedCorpus,
    recipe: LanguageModelRecipe,
    run: RunOptions,
    direction: Direction,
    training_splits: Sequence[str],
    validation_tokens: int,
) -> LanguageModelTask:
    model.to(place(model.encoder, run))
    reverse = direction == "backward"
    batches = LanguageModelBatches(
        corpus.stream(corpus.rows(training_splits)),
        recipe.batch_size,
        recipe.bptt,
        bptt_std=recipe.bptt_std,
        seed=run.seed,
        shuffle_documents=recipe.shuffle,
        reverse=reverse,
        rank=run.world.rank,
        ranks=run.world.size,
    )
    if "valid" not in corpus.split_names or "valid" in training_splits:
        raise DataError(
            f"validation: expected a split 'valid' to watch, got {', '.join(corpus.split_names)}, of which "
            f"{', '.join(training_splits)} is for training; let split_by draw one"
        )
    held_out = corpus.stream(corpus.rows("valid"), reverse=reverse)

    def validate() -> dict[str, float]:
        result = validation_perplexity(model, held_out, corpus.vocabulary, validation_tokens)
        return {"loss": result.mean_nll, "perplexity": result.perplexity}

    return LanguageModelTask(
        model, batches, validate, ar=recipe.ar, tar=recipe.tar, reset_probability=recipe.reset_probability
    )


def validation_perplexity(
    model: AWDLSTMLanguageModel, held_out: TokenStream, vocabulary: Vocabulary, tokens: int
) -> Perplexity:
    """Approximate perplexity, for validation during training.

    Args:
        model: The model, in any mode.
        held_out: Validation text.
        vocabulary: The model's vocabulary.
        tokens: Tokens to read, from the start of the text, as parallel streams.
    """
    ids = held_out.read(0, min(len(held_out), tokens))
    return approximate_perplexity(model, ids, first_context=first_context(vocabulary), batch_size=_VALIDATION_STREAMS)
