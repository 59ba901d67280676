"""Training of classifiers, and their evaluation."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from ulmkit.config import check_choice, check_whole
from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation import (
    MultiLabelReport,
    NumberReport,
    SingleLabelReport,
    TokenLabelReport,
    evaluate_multi,
    evaluate_number,
    evaluate_single,
    evaluate_tokens,
)
from ulmkit.files import fingerprint
from ulmkit.hub import ClassifierParts, LanguageModelParts, TrainingFacts
from ulmkit.hub.folder_config import Direction
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.config import AWDLSTMConfig
from ulmkit.model.document_norm import shared_documents
from ulmkit.model.heads import IGNORED_LABEL, HeadConfig
from ulmkit.model.transfer import transfer_encoder
from ulmkit.pipeline.classifier_task import ClassifierTask
from ulmkit.pipeline.data import DataOptions, DocumentCallback, prepare_once
from ulmkit.pipeline.held_out import data_facts, warn_if_splits_overlap
from ulmkit.pipeline.options import RunOptions, place
from ulmkit.pipeline.prediction import Outputs, predict_backward, predict_outputs
from ulmkit.pipeline.recipes import CLASSIFY, ClassifierRecipe
from ulmkit.pipeline.stage import last_validation, run_facts, run_stage, stage_identity, with_dropouts
from ulmkit.text import EncodedCorpus
from ulmkit.text.batches import ClassifierBatches
from ulmkit.text.read.documents import Data
from ulmkit.training import Budget

Report = SingleLabelReport | MultiLabelReport | NumberReport | TokenLabelReport

CLASSIFIER_TASKS = ("single", "multi", "number", "tokens", "pair")

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
    progress: DocumentCallback | None = None,
) -> ClassifierParts:
    """Train a classifier on labelled documents.

    Args:
        data: labelled documents, see `prepare`.
        language_model: whose encoder, vocabulary and tokenizer to start from; None to start from random weights, for
            comparison (then `sizes` are the encoder's).
        task: "single", "multi", "number", "tokens" or "pair".
        labels: learn from so many labelled documents only, drawn with each class in proportion.
        valid_documents: judge by so many validation documents only.
        The rest as `pretrain`.
    Raises: DataError if labels are missing or do not fit the task; TrainingError if the loss is not finite;
        ConfigError if the recipe's batch cannot be divided over the processes of `run`.
    Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.3.
    """
    check_choice("task", task, CLASSIFIER_TASKS)
    run = run or RunOptions()
    run.world.check_divides(recipe.batch_size)
    given = {} if language_model is None else _given(language_model)
    corpus = prepare_once(run.world, data, data_options, task=task, progress=progress, **given)
    rows = training_rows(corpus, labels, run.seed)
    config = sizes or AWDLSTMConfig() if language_model is None else language_model.model.config.encoder
    config = with_dropouts(config, CLASSIFIER_DROPOUTS, recipe.dropout_multiplier)
    torch.manual_seed(run.seed)
    model = AWDLSTMClassifier(
        config,
        len(corpus.vocabulary),
        _head_config(corpus, rows, recipe),
        chunk_steps=recipe.chunk_steps,
        gradient_steps=recipe.gradient_steps,
    )
    if language_model is not None:
        transfer_encoder(language_model.model.encoder, model.encoder)
    model.to(place(model.encoder, run))
    reverse = language_model is not None and language_model.direction == "backward"
    direction: Direction = "backward" if reverse else "forward"
    held_out = validation_rows(corpus, valid_documents, run.seed)

    def validate() -> dict[str, float]:
        return validation_metrics(make_report(predict_rows(model, corpus, held_out, reverse=reverse), corpus, held_out))

    batches = ClassifierBatches(
        corpus,
        rows,
        recipe.batch_size,
        seed=run.seed,
        reverse=reverse,
        rank=run.world.rank,
        ranks=run.world.size,
    )
    trained = ClassifierTask(model, batches, validate)
    base = None if language_model is None else language_model.facts.as_base()
    warn_if_splits_overlap(corpus, ["train"], base, run)
    details = {"rows": fingerprint(rows.tolist()), "direction": direction}
    identity = stage_identity(corpus, config, recipe, run, base, details)
    with shared_documents(model, run.world.sum_tensor if run.world.size > 1 else None):
        result = run_stage(
            trained,
            recipe.phases(len(trained.groups), budget),
            run,
            optimizer=recipe.optimizer,
            clip=recipe.clip,
            patience=recipe.patience,
            identity=identity,
        )
    facts = TrainingFacts(
        stage="classification",
        data=data_facts(corpus, ["train"], base),
        run=run_facts(result, budget, run, recipe.patience),
        recipe=asdict(recipe),
        base=base,
        labelled_documents=len(rows),
        validation=last_validation(result, run, recipe.patience),
        validation_documents=len(held_out),
    )
    model.eval()
    return ClassifierParts(
        model, corpus.vocabulary, corpus.tokenizer, corpus.label_names, direction, facts, result.history
    )


def _given(language_model: LanguageModelParts) -> dict[str, Any]:
    return {"tokenizer": language_model.tokenizer, "vocabulary": language_model.vocabulary}


def training_rows(corpus: EncodedCorpus, labels: int | None, seed: int) -> np.ndarray:
    """The labelled documents to learn from: all, or `labels` of them with each class in proportion."""
    rows = corpus.rows("train", labelled=True)
    if labels is None:
        return rows
    if not 1 <= labels <= len(rows):
        raise ConfigError(f"labels: expected 1 to {len(rows)}, the labelled training documents, got {labels}")
    shuffled = np.random.default_rng([seed, 3]).permutation(rows)
    if corpus.task not in ("single", "pair"):
        return np.sort(shuffled[:labels])
    by_class = [shuffled[corpus.labels(shuffled) == label] for label in range(len(corpus.label_names))]
    # the k-th document of n of its class comes at (k + 1/2) / n: a prefix of this order has all classes in proportion
    place_in_class = np.concatenate([(np.arange(len(part)) + 0.5) / len(part) for part in by_class if len(part)])
    order = np.argsort(place_in_class, kind="stable")[:labels]
    return np.sort(np.concatenate(by_class)[order])


def validation_rows(corpus: EncodedCorpus, documents: int | None = None, seed: int = 0) -> np.ndarray:
    """The labelled validation documents, or a random `documents` of them.

    Raises: DataError if there are none; ConfigError for `documents` below 1.
    """
    if documents is not None:
        check_whole("valid_documents", documents)
    rows = corpus.rows("valid", labelled=True) if "valid" in corpus.split_names else np.array([], dtype=np.int64)
    if not len(rows):
        raise DataError("validation: expected labelled documents in a split 'valid', got none; let split_by draw one")
    if documents is None or documents >= len(rows):
        return rows
    return np.sort(np.random.default_rng([seed, 4]).permutation(rows)[:documents])


def _head_config(corpus: EncodedCorpus, rows: np.ndarray, recipe: ClassifierRecipe) -> HeadConfig:
    options: dict[str, Any] = {}
    if corpus.task in ("single", "pair", "tokens") and recipe.label_smoothing:
        options["label_smoothing"] = recipe.label_smoothing
    if recipe.class_weights == "balanced":
        options |= _balanced(corpus, rows)
    if corpus.task == "number":
        targets = corpus.labels(rows)
        options |= {"number_loss": recipe.number_loss, "value_range": recipe.value_range}
        options |= {"number_mean": float(targets.mean()), "number_deviation": float(targets.std()) or 1.0}
    return HeadConfig(
        kind=corpus.task,
        classes=max(1, len(corpus.label_names)),
        hidden_size=recipe.head_hidden,
        input_dropout=recipe.input_dropout,
        hidden_dropout=recipe.hidden_dropout,
        **options,
    )


def _balanced(corpus: EncodedCorpus, rows: np.ndarray) -> dict[str, Any]:
    """Weights inverse to the frequencies of the classes; of several labels, of a label's positives against the rest."""
    if corpus.task not in ("single", "pair", "multi"):
        raise ConfigError(f"class_weights: 'balanced' is for one label or several a document, got task {corpus.task!r}")
    labels = corpus.labels(rows)
    if corpus.task != "multi":
        counts = np.maximum(np.bincount(labels, minlength=len(corpus.label_names)), 1)
        return {"class_weights": tuple((len(rows) / (len(counts) * counts)).tolist())}
    counts = np.clip(labels.sum(axis=0), 1, len(rows) - 1)
    return {"positive_weights": tuple(((len(rows) - counts) / counts).tolist())}


def predict_rows(
    model: AWDLSTMClassifier, corpus: EncodedCorpus, rows: Sequence[int] | np.ndarray, *, reverse: bool = False
) -> Outputs:
    """The predictions for documents of a corpus, for token labels for their labelled words; see `predict_outputs`."""
    documents = [corpus.document(row) for row in rows]
    boundaries = words = None
    if corpus.task == "tokens":
        words = [np.flatnonzero(corpus.token_labels(row) != IGNORED_LABEL) for row in rows]
    if corpus.task == "pair":
        boundaries = np.asarray(corpus.table["boundary"][np.asarray(rows, dtype=np.int64)], dtype=np.int64)
    if reverse:
        return predict_backward(model, documents, boundaries, words, bos_id=corpus.vocabulary.bos_id)
    return predict_outputs(model, documents, boundaries, words)


def make_report(outputs: Outputs, corpus: EncodedCorpus, rows: np.ndarray, by: Sequence[str] = ()) -> Report:
    """All figures of predictions for labelled documents of a corpus.

    Args: by: columns by whose values errors are counted (tasks "single", "pair" and "multi").
    """
    if corpus.task == "tokens":
        return evaluate_tokens(*_word_labels(outputs, corpus, rows), corpus.label_names)
    predictions, targets = np.asarray(outputs), corpus.labels(rows)
    if corpus.task == "number":
        return evaluate_number(predictions, targets)
    columns = {name: corpus.column(name, rows) for name in by}
    if corpus.task == "multi":
        return evaluate_multi(predictions, targets, corpus.label_names, by=columns)
    return evaluate_single(predictions, targets, corpus.label_names, majority=_majority(corpus), by=columns)


def document_scores(outputs: Outputs, corpus: EncodedCorpus, rows: np.ndarray) -> tuple[str, np.ndarray]:
    """How right each prediction for labelled documents of a corpus is, higher is better, and what the mean is called.

    Returns: a name, and (n,) scores: 1 or 0 for right or wrong labels, the share of right token labels, or for a number
        minus its absolute error.
    """
    if corpus.task == "tokens":
        right = [guess == true for guess, true in zip(*_word_labels(outputs, corpus, rows), strict=True)]
        return "documents' mean token accuracy", np.array([each.mean() for each in right if len(each)])
    predictions, targets = np.asarray(outputs), corpus.labels(rows)
    if corpus.task == "number":
        return "minus mean absolute error", -np.abs(predictions - targets)
    if corpus.task == "multi":
        return "subset accuracy", ((predictions >= 0.5) == targets.astype(bool)).all(axis=1).astype(float)
    return "accuracy", (predictions.argmax(axis=1) == targets).astype(float)


def _word_labels(
    outputs: Outputs, corpus: EncodedCorpus, rows: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The predicted and the true labels, (words,) int of each document."""
    truth = [labels[labels != IGNORED_LABEL] for labels in map(corpus.token_labels, rows)]
    return [np.asarray(output).argmax(axis=-1) for output in outputs], truth


def _majority(corpus: EncodedCorpus) -> int | None:
    """The most frequent class of the training documents; None if there are none."""
    if "train" not in corpus.split_names:
        return None
    labels = corpus.labels(corpus.rows("train", labelled=True))
    return int(np.bincount(labels).argmax()) if len(labels) else None


def validation_metrics(found: Report) -> dict[str, float]:
    """The figures of a validation; the first is the one to watch, lower is better."""
    if isinstance(found, SingleLabelReport):
        return {"loss": found.negative_log_likelihood, "accuracy": found.accuracy}
    if isinstance(found, MultiLabelReport):
        error = 1.0 - found.subset_accuracy  # of many labels 1 for long, so that it would not show what is learnt
        return {"loss": found.binary_cross_entropy, "error": error, "micro_f1": found.micro_f1 or 0.0}
    if isinstance(found, NumberReport):
        return {"rmse": found.rmse, "mae": found.mae}
    return {"error": 1.0 - found.token_accuracy, "f1": found.micro_f1 or 0.0}
