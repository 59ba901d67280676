"""Training of classifiers."""

from dataclasses import replace

import numpy as np
import torch

from ulmkit.errors import ConfigError
from ulmkit.files import fingerprint
from ulmkit.hub import ClassifierParts, HeldOut, LanguageModelParts, TrainingFacts
from ulmkit.hub.folder_config import Direction
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.config import AWDLSTMConfig
from ulmkit.model.document_norm import shared_documents
from ulmkit.model.heads import HeadConfig, NumberConfig
from ulmkit.model.transfer import transfer_encoder, transfer_head, vocabulary_mapping
from ulmkit.pipeline.baselines import record_baselines, texts_of
from ulmkit.pipeline.classifier_task import ClassifierTask
from ulmkit.pipeline.data import DocumentCallback, prepare_once
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.pipeline.held_out_record import calibrate_network
from ulmkit.pipeline.options import RunOptions, place
from ulmkit.pipeline.prediction import evaluate_rows
from ulmkit.pipeline.recipes import CLASSIFY, ClassifierRecipe
from ulmkit.pipeline.stage import train_stage, with_dropouts
from ulmkit.pipeline.text_measures import measure_held_out
from ulmkit.pipeline.training_part import training_rows, validation_rows
from ulmkit.tasks import find_task
from ulmkit.text import EncodedCorpus
from ulmkit.text.batches import ClassifierBatches
from ulmkit.text.read.documents import Data
from ulmkit.training import Budget

CLASSIFIER_DROPOUTS = {
    "embedding_dropout": 0.05,
    "input_dropout": 0.4,
    "hidden_dropout": 0.3,
    "output_dropout": 0.0,
    "weight_dropout": 0.5,
}
"""Before the recipe's multiplier: Howard & Ruder 2018, section 4.1. The encoder's output goes to the head undropped."""


def train(
    data: Data | EncodedCorpus,
    language_model: LanguageModelParts | None,
    *,
    budget: Budget,
    task: str = "single",
    recipe: ClassifierRecipe = CLASSIFY,
    sizes: AWDLSTMConfig | None = None,
    data_options: DataOptions | None = None,
    run: RunOptions | None = None,
    labels: int | None = None,
    valid_documents: int | None = None,
    baselines: bool = False,
    progress: DocumentCallback | None = None,
) -> ClassifierParts:
    """Train a classifier on labelled documents.

    Args:
        data: Labelled documents; see `prepare`.
        language_model: The model whose encoder, vocabulary and tokenizer to start from; None starts from random
            weights, for comparison.
        budget: Length of the training.
        task: Name of the task, one of `TASKS`.
        recipe: Batch size, unfreezing, learning rates, optimizer and options of the head.
        sizes: Layer sizes and dropouts without a language model; those of ULMFiT if None.
        data_options: How documents are read, split and tokenized.
        run: Device, precision, seed, checkpoints, progress and processes.
        labels: Train on this many labelled documents, drawn with the classes in proportion; None takes all.
        valid_documents: Validate on this many documents; None takes all.
        baselines: Fit the linear baselines too, and record their validation metrics in the facts.
        progress: Called with the number of documents prepared so far.

    Returns:
        The classifier in evaluation mode.

    Raises:
        DataError: If labels are missing or do not fit the task.
        TrainingError: If the loss is no longer finite.
        ConfigError: If the recipe's batch cannot be divided over the processes of `run`.

    Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.3.
    """
    find_task(task)
    run = run or RunOptions()
    run.world.check_divides(recipe.batch_size)
    corpus = prepare_once(
        run.world,
        data,
        data_options,
        task=task,
        tokenizer=None if language_model is None else language_model.tokenizer,
        vocabulary=None if language_model is None else language_model.vocabulary,
        progress=progress,
    )
    rows = training_rows(corpus, labels, run.seed)
    held_out = validation_rows(corpus, valid_documents, run.seed)
    parts = train_network(corpus, language_model, rows, held_out, budget=budget, recipe=recipe, run=run, sizes=sizes)
    if not run.world.is_first:
        return parts
    parts = calibrate_network(parts, corpus, held_out)
    parts = replace(parts, held_out=replace(parts.held_out or HeldOut(), texts=measure_held_out(parts, corpus)))
    if not baselines:
        return parts
    return record_baselines(parts, corpus, texts_of(data, corpus, data_options or DataOptions()), rows, held_out)


def train_network(
    corpus: EncodedCorpus,
    start: LanguageModelParts | ClassifierParts | None,
    rows: np.ndarray,
    held_out: np.ndarray,
    *,
    budget: Budget,
    recipe: ClassifierRecipe,
    run: RunOptions,
    sizes: AWDLSTMConfig | None = None,
    soft_targets: np.ndarray | None = None,
) -> ClassifierParts:
    """Train a classifier on some documents of a corpus; see `train` for the rest.

    Args:
        corpus: The documents, in the vocabulary of the model to start from.
        start: The model to start from; None starts from random weights. A classifier's head is kept too, with the
            classes that the corpus has.
        rows: (n,) labelled documents to learn from.
        held_out: (m,) labelled documents to validate on; may be none.
        budget: Length of the training.
        recipe: Batch size, unfreezing, learning rates, optimizer and options of the head.
        run: Device, precision, seed, checkpoints, progress and processes.
        sizes: Layer sizes and dropouts without a language model; those of ULMFiT if None.
        soft_targets: (documents of the corpus, C) float32, probabilities of the classes to learn in place of labels.
    """
    torch.manual_seed(run.seed)
    model = _make_model(corpus, start, rows, recipe, sizes)
    model.to(place(model.encoder, run))
    direction: Direction = "forward" if start is None else start.direction
    reverse = direction == "backward"

    def validate() -> dict[str, float]:
        return evaluate_rows(model, corpus, held_out, reverse=reverse).validation_metrics()

    batches = ClassifierBatches(
        corpus,
        rows,
        recipe.batch_size,
        seed=run.seed,
        reverse=reverse,
        soft_targets=soft_targets,
        rank=run.world.rank,
        ranks=run.world.size,
    )
    details: dict[str, object] = {"rows": fingerprint(rows.tolist()), "direction": direction}
    if isinstance(start, ClassifierParts):
        details["classes"] = [list(start.label_names), list(corpus.label_names)]
    if soft_targets is not None:
        details["soft_targets"] = fingerprint(soft_targets[rows].round(6).tolist())
    facts = TrainingFacts(
        stage="classification",
        base=None if start is None else start.facts.as_base(),
        labelled_documents=len(rows),
        validation_documents=len(held_out) or None,
    )
    with shared_documents(model, run.world.sum_tensor if run.world.size > 1 else None):
        facts, history = train_stage(
            ClassifierTask(model, batches, validate, recipe.adversarial),
            corpus,
            budget,
            recipe,
            run,
            config=model.config,
            training_splits=["train"],
            facts=facts,
            details=details,
            validates=len(held_out) > 0,
        )
    model.eval()
    task = find_task(corpus.task)
    return ClassifierParts(
        task, model, corpus.vocabulary, corpus.tokenizer, corpus.label_names, direction, facts, history
    )


def _make_model(
    corpus: EncodedCorpus,
    start: LanguageModelParts | ClassifierParts | None,
    rows: np.ndarray,
    recipe: ClassifierRecipe,
    sizes: AWDLSTMConfig | None,
) -> AWDLSTMClassifier:
    """Make the network to train, with the weights of the model to start from."""
    config = sizes or AWDLSTMConfig() if start is None else start.model.encoder.config
    model = AWDLSTMClassifier(
        with_dropouts(config, CLASSIFIER_DROPOUTS, recipe.dropout_multiplier),
        len(corpus.vocabulary),
        _head_config(corpus, rows, recipe, start),
        chunk_steps=recipe.chunk_steps,
        gradient_steps=recipe.gradient_steps,
    )
    if start is not None:
        transfer_encoder(start.model.encoder, model.encoder)
    if isinstance(start, ClassifierParts):
        classes = vocabulary_mapping(start.label_names, corpus.label_names) if corpus.label_names else np.array([0])
        transfer_head(start.model.head, model.head, classes)
    return model


def _head_config(
    corpus: EncodedCorpus,
    rows: np.ndarray,
    recipe: ClassifierRecipe,
    start: LanguageModelParts | ClassifierParts | None,
) -> HeadConfig:
    """Configure the head by the recipe; hidden units and the scale of numbers are those of an earlier classifier."""
    kind = find_task(corpus.task)
    if not isinstance(start, ClassifierParts):
        return kind.head_config(corpus, rows, recipe)
    earlier = start.model.head.config
    config = kind.head_config(corpus, rows, replace(recipe, head_hidden=earlier.hidden_size))
    if isinstance(config, NumberConfig) and isinstance(earlier, NumberConfig):
        if recipe.value_range not in (None, earlier.value_range):
            raise ConfigError(f"value_range: the classifier has its own, {earlier.value_range}; drop it")
        return replace(
            config,
            value_range=earlier.value_range,
            number_mean=earlier.number_mean,
            number_deviation=earlier.number_deviation,
        )
    return config
