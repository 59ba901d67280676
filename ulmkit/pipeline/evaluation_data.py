"""Selection of the documents that a model is evaluated on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ulmkit.errors import DataError
from ulmkit.hub import ClassifierParts, DataFacts, EnsembleParts, LanguageModelParts, TrainingFacts
from ulmkit.pipeline.data import is_corpus_folder, prepare
from ulmkit.pipeline.data_options import SPLIT_COLUMNS, DataOptions
from ulmkit.pipeline.held_out import corpus_fingerprint, corpus_name, has_predictions, split_facts
from ulmkit.text import EncodedCorpus
from ulmkit.text.corpus.fingerprints import joined_fingerprint, text_fingerprint
from ulmkit.text.read.documents import GIVEN_IN_PYTHON, Data

ALL = "all"
"""Name of the split that has every document."""


@dataclass(frozen=True)
class EvaluationData:
    """The documents that a model is evaluated on.

    Attributes:
        data: The documents as they were given.
        corpus: The documents, encoded with the model's vocabulary.
        split: Split to score; None means all documents.
        options: How the data was read and split.
        is_training_data: True if the model was trained on this data.
        is_learned: True if it learned from the text of this split, or of some documents if all are scored.
    """

    data: Data | EncodedCorpus
    corpus: EncodedCorpus
    split: str | None
    options: DataOptions
    is_training_data: bool
    is_learned: bool

    def rows(self, labelled: bool = False) -> np.ndarray:
        """(n,) int64 indices of the documents in the corpus; with `labelled`, of those that have a label."""
        return self.corpus.rows(self.split, labelled)

    @property
    def part(self) -> str:
        """The split as it is named in sentences, or "all"."""
        return ALL if self.split is None else f"split {self.split}"

    def describe(self) -> str:
        """Describe in one line which documents are scored."""
        documents, labelled = len(self.rows()), len(self.rows(labelled=True))
        labels = f", {labelled:,} of them labelled" if 0 < labelled < documents else ""
        if not self.is_training_data:
            origin = "not from the data that the model was trained on"
        elif not self.is_learned:
            origin = "held out while the model was trained"
        else:
            origin = "the model learned from " + ("some of them" if self.split is None else "them")
        return f"evaluated on: {self.part} of {corpus_name(self.corpus)}, {documents:,} documents{labels}; {origin}"


def select_evaluation_data(
    parts: LanguageModelParts | ClassifierParts | EnsembleParts,
    data: Data | EncodedCorpus,
    split: str | None,
    options: DataOptions | None,
    *,
    task: str = "none",
    order: Sequence[str] = ("test", "valid"),
) -> EvaluationData:
    """Select the part of `data` that a model is evaluated on.

    Args:
        parts: The model.
        data: Documents in any form that `prepare` takes.
        split: Which split, "all" for all documents. None: the first of `order` that the data has and, if the model
            was trained on this data, that was held out; without any, all documents.
        options: How to read the data; where they leave the split open, see `evaluation_options`.
        task: Task of a classifier, "none" for a language model.
        order: Splits to look for if `split` is None.

    Returns:
        The documents, encoded with the model's vocabulary.

    Raises:
        DataError: If there is no such split, the labels are predictions, or the data is the model's training data and
            its split cannot be reproduced; as `prepare`.
    """
    options_read = evaluation_options(options, data, parts.facts, task)
    label_names = None if isinstance(parts, LanguageModelParts) else parts.label_names
    corpus = prepare(
        data,
        options_read,
        task=task,
        tokenizer=parts.tokenizer,
        vocabulary=parts.vocabulary,
        label_names=label_names,
    )
    if options_read.label_column is None and has_predictions(corpus):
        raise DataError(
            f"{corpus_name(corpus)}: expected the right labels, got the columns that predict writes, whose label is a "
            "prediction; name the column of the right labels with label_column, or say label_column='label' if it is "
            "that"
        )
    trained_on = parts.facts.data
    if trained_on is not None and not _is_same_corpus(corpus, trained_on):
        trained_on = None
    learned = [] if trained_on is None else [known.name for known in trained_on.splits if known.use == "training"]
    chosen = None if split == ALL else split
    if split is None:
        chosen = next((name for name in order if name in corpus.split_names and name not in learned), None)
    if chosen not in (None, "train") and corpus.split_names == ("train",):
        raise DataError(
            f"split: got {chosen!r}, but {corpus_name(corpus)} names no splits; leave it out to evaluate on all "
            "documents, or name the split_column"
        )
    corpus.rows(chosen)  # raises if there is no such split
    if trained_on is not None and split != ALL and (options is None or options.split_by == "auto"):
        _check_split(corpus, chosen, trained_on)
    is_learned = bool(learned) and (chosen is None or chosen in learned)
    return EvaluationData(data, corpus, chosen, options_read, trained_on is not None, is_learned)


def evaluation_options(
    options: DataOptions | None, data: Data | EncodedCorpus, facts: TrainingFacts, task: str = "none"
) -> DataOptions:
    """Choose how to read and split `data` to evaluate a model on it.

    The model's training data is recognized by its texts, or by its name if the model does not record fingerprints.
    It is split as it was for the training; other data is split only as it says itself.

    Args:
        options: The options given; None: the defaults.
        data: Documents in any form that `prepare` takes.
        facts: Facts of the model.
        task: Task of a classifier, "none" for a language model.

    Returns:
        The options, with the split filled in if they leave it open.
    """
    options = options or DataOptions()
    is_split_chosen = options.split_by != "auto" or options.split_column is not None
    if is_split_chosen or isinstance(data, EncodedCorpus) or is_corpus_folder(data):
        return options
    if facts.data is not None and facts.data.split_policy is not None:
        policy = facts.data.split_policy
        column: dict[str, Any] = {} if policy.column is None else {SPLIT_COLUMNS[policy.kind]: policy.column}
        as_trained = replace(
            options, split_by=policy.kind, valid_fraction=policy.valid_fraction, seed=policy.seed, **column
        )
        if _is_training_data(data, as_trained, facts.data, task):
            return as_trained
    return replace(options, split_by="given")


def is_training_part(corpus: EncodedCorpus, facts: TrainingFacts) -> bool:
    """Return True if the train split of a corpus has exactly the texts that a model learned from."""
    recorded = {} if facts.data is None else facts.data.split_fingerprints
    return "train" in recorded and recorded["train"] == _split_fingerprint(corpus, "train")


def _is_training_data(data: Data, options: DataOptions, trained_on: DataFacts, task: str) -> bool:
    source = options.source(data, task)
    recorded = corpus_fingerprint(trained_on.splits)
    if recorded is not None:
        try:
            return joined_fingerprint(map(text_fingerprint, source)) == recorded
        except DataError:  # it lacks a column that the model's data had
            return False
    return source.description != GIVEN_IN_PYTHON and trained_on.name == source.description


def _is_same_corpus(corpus: EncodedCorpus, trained_on: DataFacts) -> bool:
    recorded = corpus_fingerprint(trained_on.splits)
    if recorded is not None:
        return recorded == corpus_fingerprint(split_facts(corpus, ()))
    name = corpus_name(corpus)
    return name != GIVEN_IN_PYTHON and trained_on.name == name


def _check_split(corpus: EncodedCorpus, split: str | None, trained_on: DataFacts) -> None:
    """Raise DataError unless a split of the model's training data is the one of that name in its training."""
    recorded = trained_on.split_fingerprints
    if recorded and (split is None or _split_fingerprint(corpus, split) != recorded.get(split)):
        raise DataError(
            f"{corpus_name(corpus)}: the model was trained on it under another split than this one; read and split it "
            'as for the training (the same label_task, split_column, split_by), or give split="all"'
        )


def _split_fingerprint(corpus: EncodedCorpus, split: str) -> str | None:
    counts = corpus.facts.splits.get(split)
    return None if counts is None else counts.fingerprint
