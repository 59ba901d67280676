"""The documents that an earlier classifier held out: found again, kept out of a later training, and scored by both."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.evaluation import PairedComparison, compare_paired, sample_rows
from ulmkit.files import fingerprint
from ulmkit.hub import ClassifierParts
from ulmkit.hub.held_out import MOST_ANSWERS
from ulmkit.pipeline.data import is_corpus_folder
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.pipeline.evaluation_data import EvaluationData, select_evaluation_data
from ulmkit.pipeline.held_out import corpus_name
from ulmkit.pipeline.prediction import predict_rows
from ulmkit.tasks import Outputs
from ulmkit.text import EncodedCorpus
from ulmkit.text.corpus.fingerprints import text_fingerprint
from ulmkit.text.read.documents import Data

_ORDER = ("valid", "test")


@dataclass(frozen=True)
class OldDocuments:
    """Documents that an earlier classifier was validated on, and those that it learned from.

    Attributes:
        selected: The documents to score, encoded with the classifier's vocabulary and labels.
    """

    selected: EvaluationData

    def describe(self) -> str:
        """Say in a few words which documents they are."""
        negation = "" if self.selected.is_training_data else ", which is not what the classifier was trained on"
        documents = len(self.selected.rows(labelled=True))
        return (
            f"{documents:,} labelled documents, {self.selected.part} of {corpus_name(self.selected.corpus)}{negation}"
        )

    def separate(
        self,
        data: Data | EncodedCorpus,
        corpus: EncodedCorpus,
        options: DataOptions,
        rows: np.ndarray,
        held_out: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Keep a new training apart from the earlier one, by the text of each document.

        Args:
            data: The new documents.
            corpus: The same, in the same vocabulary.
            options: How they are read.
            rows: (n,) rows of the corpus to learn from.
            held_out: (m,) rows to validate on.

        Returns:
            `rows` without the old documents that are scored, and `held_out` without those that the earlier classifier
            learned from.
        """
        selected = self.selected
        by_tokens = _is_corpus(data) or _is_corpus(selected.data)
        old = _fingerprints(selected.data, selected.corpus, selected.options, by_tokens)
        new = _fingerprints(data, corpus, options, by_tokens)
        scored = old[selected.rows()]
        learned = np.empty(0, dtype=np.uint64)
        if selected.is_training_data and selected.split != "train":
            learned = np.setdiff1d(old[selected.corpus.rows("train")], scored)
        return rows[~np.isin(new[rows], scored)], held_out[~np.isin(new[held_out], learned)]

    def compare(self, before: ClassifierParts, after: ClassifierParts) -> PairedComparison | None:
        """Score two classifiers on the old documents, without those of classes that the second one no longer has.

        Args:
            before: The earlier classifier.
            after: The later classifier, in the same vocabulary.

        Returns:
            Mean scores and their difference; None if there are no such documents.
        """
        corpus, task = self.selected.corpus, before.task
        added = () if task.has_independent_labels else tuple(set(after.label_names) - set(before.label_names))
        names = before.label_names + added
        removed = [number for number, name in enumerate(before.label_names) if name not in after.label_names]
        rows = self.selected.rows(labelled=True)
        rows = rows[[not _has_label(corpus, row, removed) for row in rows]] if removed else rows
        rows = sample_rows(rows, MOST_ANSWERS)
        if not len(rows):
            return None
        reverse = before.direction == "backward"
        scores = []
        for parts in (before, after):
            outputs = predict_rows(parts.model, corpus, rows, reverse=reverse)
            measure, each = task.document_scores(_in_order(outputs, parts.label_names, names), corpus, rows)
            scores.append(each)
        return compare_paired(scores[0], scores[1], measure, bounded=task.has_bounded_scores)


def find_old_documents(
    classifier: ClassifierParts,
    data: Data | EncodedCorpus,
    old_data: Data | EncodedCorpus | None,
    options: DataOptions,
) -> OldDocuments | None:
    """Find the documents that a classifier was validated on.

    Args:
        classifier: The classifier.
        data: The new data; the classifier's own is looked for there, beside it and in the working folder, by the name
            that it was trained under, and known by its texts.
        old_data: Where the old documents are, if that is known; its validation split is taken, else its test split,
            else all of it.
        options: How both are read. They are split as for the classifier's training.

    Returns:
        The documents; None if there are none at these places.

    Raises:
        DataError: If `old_data` cannot be read.
    """
    options = replace(
        options, split_by="auto", split_column=None, group_column=None, time_column=None, columns=(), drop_shared=False
    )
    if old_data is not None:
        return OldDocuments(_select(classifier, old_data, options))
    for place in _places(classifier, data, options):
        with suppress(DataError, ConfigError, FolderError):
            selected = _select(classifier, place, options)
            if selected.is_training_data and selected.split is not None:
                return OldDocuments(selected)
    return None


def _select(classifier: ClassifierParts, data: Data | EncodedCorpus, options: DataOptions) -> EvaluationData:
    return select_evaluation_data(classifier, data, None, options, task=classifier.task.name, order=_ORDER)


def _places(
    classifier: ClassifierParts, data: Data | EncodedCorpus, options: DataOptions
) -> list[Data | EncodedCorpus]:
    """Places where the training data of a classifier may be, all of which have its name."""
    name = None if classifier.facts.data is None else classifier.facts.data.name
    if name is None:
        return []
    if isinstance(data, EncodedCorpus):
        return [data] if corpus_name(data) == name else []
    if is_corpus_folder(data):
        return [data] if corpus_name(EncodedCorpus.open(data)) == name else []
    places: list[Data | EncodedCorpus] = []
    if options.source(data, classifier.task.name).description == name:
        places.append(data)
    if Path(name).name == name:
        folders = [Path()]
        if isinstance(data, (str, os.PathLike)):
            folders.insert(0, Path(data).resolve().parent)
        candidates = (folder / name for folder in folders)
        places += [place for place in dict.fromkeys(place.resolve() for place in candidates) if place.exists()]
    return places


def _is_corpus(data: Data | EncodedCorpus) -> bool:
    return isinstance(data, EncodedCorpus) or is_corpus_folder(data)


def _fingerprints(
    data: Data | EncodedCorpus, corpus: EncodedCorpus, options: DataOptions, by_tokens: bool
) -> np.ndarray:
    """Fingerprint of each document of a corpus, (n,) uint64: of its text, or of its tokens if the text is not there."""
    if by_tokens or isinstance(data, EncodedCorpus):
        documents = (corpus.document(row).tolist() for row in range(len(corpus)))
        return np.array([int(fingerprint(document), 16) % (1 << 64) for document in documents], dtype=np.uint64)
    return np.array([text_fingerprint(document) for document in options.source(data, corpus.task)], dtype=np.uint64)


def _has_label(corpus: EncodedCorpus, row: int, labels: Sequence[int]) -> bool:
    """Tell whether a document has one of the classes `labels`."""
    labels_of_row = corpus.token_labels(row) if corpus.has_token_labels else corpus.labels([row])
    if labels_of_row.ndim == 2:
        labels_of_row = np.flatnonzero(labels_of_row[0])
    return bool(np.isin(labels_of_row, labels).any())


def _in_order(outputs: Outputs, names: Sequence[str], wanted: Sequence[str]) -> Outputs:
    """Put the columns of probabilities into the order of the classes `wanted`, 0 for those without one."""
    if not names:
        return outputs
    if isinstance(outputs, list):
        return [np.asarray(_in_order(each, names, wanted)) for each in outputs]
    ordered = np.zeros((len(outputs), len(wanted)), dtype=outputs.dtype)
    for column, name in enumerate(names):
        if name in wanted:
            ordered[:, wanted.index(name)] = outputs[:, column]
    return ordered
