"""Training a classifier further: on more documents, with new classes, or without some of the old ones."""

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from ulmkit.config import check_choice
from ulmkit.errors import ConfigError, DataError
from ulmkit.hub import ClassifierParts, ContinuationFacts, HeldOut
from ulmkit.model.awd_lstm import AWDLSTM
from ulmkit.pipeline.baselines import record_baselines, texts_of
from ulmkit.pipeline.classifiers import train_network
from ulmkit.pipeline.data import DocumentCallback, is_corpus_folder, prepare_once
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.pipeline.held_out_record import calibrate_network
from ulmkit.pipeline.old_documents import find_old_documents
from ulmkit.pipeline.options import RunOptions
from ulmkit.pipeline.recipes import GO_ON, ClassifierRecipe
from ulmkit.pipeline.text_measures import measure_held_out
from ulmkit.pipeline.training_part import training_rows, validation_rows
from ulmkit.text import EncodedCorpus
from ulmkit.text.read.documents import Data
from ulmkit.text.read.labels import list_names
from ulmkit.text.tokens.tokenizer_options import TokenizerOptions
from ulmkit.training import Budget


def continue_classifier(
    data: Data | EncodedCorpus,
    classifier: ClassifierParts,
    *,
    budget: Budget,
    recipe: ClassifierRecipe = GO_ON,
    data_options: DataOptions | None = None,
    run: RunOptions | None = None,
    labels: int | None = None,
    valid_documents: int | None = None,
    drop_classes: Sequence[str] = (),
    old_data: Data | EncodedCorpus | None = None,
    baselines: bool = False,
    progress: DocumentCallback | None = None,
) -> ClassifierParts:
    """Train a classifier further on labelled documents.

    Its task, tokenizer, vocabulary, encoder and head stay. The classes are its own, also those that the documents lack,
    and the new ones that occur; the head keeps the rows of its own classes, and those of new ones are drawn.

    If the documents that it was validated on are found, see `find_old_documents`, none of them is learned from, no
    document that it learned from is validated on, and they are scored before and after.

    Args:
        data: Labelled documents; see `prepare`.
        classifier: The classifier to start from; it is not changed.
        budget: Length of the training.
        recipe: Batch size, unfreezing, learning rates, optimizer and options of the head.
        data_options: How documents are read and split.
        run: Device, precision, seed, checkpoints, progress and processes.
        labels: Train on this many labelled documents, drawn with the classes in proportion; None takes all.
        valid_documents: Validate on this many documents; None takes all.
        drop_classes: Classes of the classifier to remove; the documents must have none of them.
        old_data: Documents to score before and after; None looks for those that the classifier was validated on.
        baselines: Fit the linear baselines too, and record their validation metrics in the facts.
        progress: Called with the number of documents prepared so far.

    Returns:
        The classifier in evaluation mode; what changed is in `facts.continuation`.

    Raises:
        DataError: If labels are missing or do not fit the task, or a removed class occurs.
        TrainingError: If the loss is no longer finite.
        ConfigError: If the classifier's weights are int8, an option of the tokenizer is given, or a class to remove is
            not one of the classifier's.
    """
    run, options = run or RunOptions(), data_options or DataOptions()
    run.world.check_divides(recipe.batch_size)
    _check_trainable(classifier, options)
    corpus = prepare_once(
        run.world,
        data,
        options,
        task=classifier.task.name,
        tokenizer=classifier.tokenizer,
        vocabulary=classifier.vocabulary,
        label_names=choose_classes(data, classifier, drop_classes, options) if run.world.is_first else None,
        progress=progress,
    )
    rows = training_rows(corpus, labels, run.seed)
    held_out = validation_rows(corpus, valid_documents, run.seed)
    old = find_old_documents(classifier, data, old_data, options) if run.world.is_first else None
    all_rows, all_held_out = rows, held_out
    if old is not None:
        rows, held_out = old.separate(data, corpus, options, rows, held_out)
    rows, held_out = run.world.broadcast((rows, held_out))
    facts = replace(
        _class_changes(classifier, corpus, rows),
        old_data=None if old is None else old.describe(),
        kept_held_out=len(all_rows) - len(rows),
        seen_before=len(all_held_out) - len(held_out),
    )
    _check_rows(rows, held_out)
    _announce(facts, run)
    parts = train_network(corpus, classifier, rows, held_out, budget=budget, recipe=recipe, run=run)
    if not run.world.is_first:
        return parts
    if old is not None:
        facts = replace(facts, old_documents=old.compare(classifier, parts))
    parts = calibrate_network(replace(parts, facts=replace(parts.facts, continuation=facts)), corpus, held_out)
    parts = replace(parts, held_out=replace(parts.held_out or HeldOut(), texts=measure_held_out(parts, corpus)))
    if not baselines or facts.without_documents:
        return parts
    return record_baselines(parts, corpus, texts_of(data, corpus, options), rows, held_out)


def choose_classes(
    data: Data | EncodedCorpus, classifier: ClassifierParts, drop_classes: Sequence[str], options: DataOptions
) -> tuple[str, ...]:
    """Choose the classes of a classifier that is trained further; reads the labels of the documents once.

    Args:
        data: The documents to learn from.
        classifier: The classifier to start from.
        drop_classes: Its classes to remove.
        options: How documents are read.

    Returns:
        The classes in the order of their ids; () for a number. The order stays if the classes do.

    Raises:
        ConfigError: If a class to remove is not one of the classifier's, or too few classes are left.
        DataError: If a removed class occurs.
    """
    task, earlier = classifier.task, classifier.label_names
    if drop_classes and not earlier:
        raise ConfigError(f"drop_classes: expected none for task {task.name!r}, got {list_names(list(drop_classes))}")
    for name in drop_classes:
        check_choice("drop_classes", name, earlier)
    if not earlier:
        return ()
    if is_corpus_folder(data):
        data = EncodedCorpus.open(data)
    occurring = set(data.label_names) if isinstance(data, EncodedCorpus) else _read_classes(data, classifier, options)
    removed = sorted(occurring.intersection(drop_classes))
    if removed:
        raise DataError(
            f"labels: expected none of the dropped classes, got {list_names(removed)}; remove their documents from the "
            "data, or keep the class"
        )
    names = task.label_names({"train": occurring | set(earlier)}, None)
    names = tuple(name for name in names if name not in drop_classes)
    if len(names) < task.min_classes:
        raise ConfigError(f"drop_classes: expected at least {task.min_classes} classes to stay, got {len(names)}")
    for order in (earlier, data.label_names if isinstance(data, EncodedCorpus) else ()):
        if set(order) == set(names):
            return order
    return names


def _read_classes(data: Data, classifier: ClassifierParts, options: DataOptions) -> set[str]:
    """Names of the classes that occur in documents."""
    names: set[str] = set()
    for document in options.source(data, classifier.task.name):
        if isinstance(document.label, str):
            names.add(document.label)
        elif isinstance(document.label, tuple):
            names.update(document.label)
    return names


def _class_changes(classifier: ClassifierParts, corpus: EncodedCorpus, rows: np.ndarray) -> ContinuationFacts:
    """Compare the classes of a classifier with those of the corpus that it is trained further on.

    Raises:
        DataError: If no document to learn from has one of the new classes.
    """
    earlier, current = classifier.label_names, corpus.label_names
    added = tuple(name for name in current if name not in earlier)
    missing = [name for name, count in zip(current, _counts(corpus, rows), strict=True) if not count]
    untaught = [name for name in added if name in missing]
    if untaught:
        raise DataError(
            f"labels: expected documents of every new class in the train split, got none of {list_names(untaught)}; "
            "correct the labels, or choose another split"
        )
    return ContinuationFacts(
        kept=tuple(name for name in earlier if name in current),
        added=added,
        removed=tuple(name for name in earlier if name not in current),
        without_documents=tuple(missing),
    )


def _counts(corpus: EncodedCorpus, rows: np.ndarray) -> np.ndarray:
    """Documents, or words, of each class among `rows`, (C,) int."""
    classes = len(corpus.label_names)
    if not classes or not len(rows):
        return np.zeros(classes, dtype=np.int64)
    if corpus.has_token_labels:
        labels = np.concatenate([corpus.token_labels(row) for row in rows])
    else:
        labels = corpus.labels(rows)
    if labels.ndim == 2:
        return np.asarray(labels.sum(axis=0))
    return np.bincount(labels[labels >= 0], minlength=classes)


def _check_trainable(classifier: ClassifierParts, options: DataOptions) -> None:
    """Raise ConfigError for int8 weights, and for options of a tokenizer, which the classifier brings."""
    if not isinstance(classifier.model.encoder, AWDLSTM):
        raise ConfigError("start: expected weights in float32, got int8, which cannot be trained; give the original")
    defaults = DataOptions()
    for name in ("tokenizer", "max_vocab", "min_freq", *(field.name for field in fields(TokenizerOptions))):
        if getattr(options, name) != getattr(defaults, name):
            raise ConfigError(f"{name}: the classifier has its own; leave it out, or train from a language model")


def _check_rows(rows: np.ndarray, held_out: np.ndarray) -> None:
    if not len(rows):
        raise DataError(
            "labels: expected labelled documents in the train split besides those that the classifier was validated "
            "on, got none; give more documents"
        )
    if not len(held_out):
        raise DataError(
            "validation: expected labelled documents that the classifier did not learn from, got none; give more "
            "documents, or a validation split of new ones"
        )


def _announce(facts: ContinuationFacts, run: RunOptions) -> None:
    """Say which classifier is trained further, and on what, in the first of several processes."""
    if run.progress is None or not run.world.is_first:
        return
    say = run.progress.message
    changes = {"kept": facts.kept, "added": facts.added, "removed": facts.removed}
    if any(changes.values()):
        say("; ".join(f"classes {name}: {list_names(names)}" for name, names in changes.items() if names))
    if facts.without_documents:
        say(
            f"classes without documents to learn from: {list_names(facts.without_documents)}; training on others alone "
            "forgets them: give old documents too, or remove them for good with --drop-class (drop_classes=[...]); no "
            "baselines are fitted"
        )
    if facts.old_data is None:
        say(
            "old validation documents: not found beside the new ones, or changed, so accuracy on them is not measured, "
            "and old documents among the new ones may be validated on; name the place with --old-data (old_data=...)"
        )
        return
    say(f"old validation documents: {facts.old_data}")
    if facts.kept_held_out or facts.seen_before:
        say(
            f"kept apart: {facts.kept_held_out:,} training documents that the classifier was validated on, and "
            f"{facts.seen_before:,} validation documents that it learned from"
        )
