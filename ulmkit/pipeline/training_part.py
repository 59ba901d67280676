"""The labelled documents that a classifier, or a baseline, learns from and is validated on."""

import warnings
from numbers import Integral

import numpy as np

from ulmkit.config import check_whole
from ulmkit.errors import ConfigError, DataError
from ulmkit.hub import ClassifierParts, EnsembleParts
from ulmkit.pipeline.evaluation_data import EvaluationData, is_training_part
from ulmkit.pipeline.held_out import corpus_name
from ulmkit.tasks import find_task
from ulmkit.text import EncodedCorpus
from ulmkit.text.read.labels import list_names


def training_rows(corpus: EncodedCorpus, labels: int | None, seed: int) -> np.ndarray:
    """Choose the labelled training documents: all, or `labels` of them with the classes in proportion.

    Warns of classes that they have no document of.
    """
    rows = corpus.rows("train", labelled=True)
    if labels is None:
        return rows
    if not isinstance(labels, Integral) or not 1 <= labels <= len(rows):
        raise ConfigError(f"labels: expected 1 to {len(rows)}, the labelled training documents, got {labels!r}")
    shuffled = np.random.default_rng([seed, 3]).permutation(rows)
    if not find_task(corpus.task).is_one_class:
        return np.sort(shuffled[:labels])
    by_class = [shuffled[corpus.labels(shuffled) == label] for label in range(len(corpus.label_names))]
    # The k-th of n documents of a class gets position (k + 1/2) / n: a prefix then has all classes in proportion.
    place_in_class = np.concatenate([(np.arange(len(part)) + 0.5) / len(part) for part in by_class if len(part)])
    order = np.argsort(place_in_class, kind="stable")[:labels]
    chosen = np.sort(np.concatenate(by_class)[order])
    learned = np.unique(corpus.labels(chosen))
    if len(learned) < len(corpus.label_names):
        missing = [name for label, name in enumerate(corpus.label_names) if label not in learned]
        warnings.warn(
            f"labels: too few to have a document of each class; never predicted are: {list_names(missing)}; give more",
            stacklevel=2,
        )
    return chosen


def validation_rows(corpus: EncodedCorpus, documents: int | None = None, seed: int = 0) -> np.ndarray:
    """Choose the labelled validation documents: all, or a random `documents` of them.

    Raises:
        DataError: If there are none.
        ConfigError: If `documents` is below 1.
    """
    if documents is not None:
        check_whole("valid_documents", documents)
    rows = corpus.rows("valid", labelled=True) if "valid" in corpus.split_names else np.array([], dtype=np.int64)
    if not len(rows):
        held_out = f"{len(corpus.rows('valid')):,} without a label" if "valid" in corpus.split_names else "none"
        advice = "let split_by draw one"
        if corpus.facts.split_policy.kind == "random":
            advice = "hold out more with valid_fraction, or mark the documents to hold out with split_column"
        raise DataError(f"validation: expected labelled documents in a split 'valid', got {held_out}; {advice}")
    if documents is None or documents >= len(rows):
        return rows
    return np.sort(np.random.default_rng([seed, 4]).permutation(rows)[:documents])


def baseline_rows(parts: ClassifierParts | EnsembleParts, selected: EvaluationData) -> np.ndarray:
    """Choose the labelled documents that a linear model is fitted to, to be compared with a classifier.

    Args:
        parts: The classifier.
        selected: The documents that both are scored on.

    Returns:
        (n,) rows: the documents that the classifier learned from if the data has them, otherwise as many of the data's
        training part; none if there is no training part besides the documents that are scored.
    """
    corpus, facts = selected.corpus, parts.facts
    if "train" not in corpus.split_names or selected.split in (None, "train"):
        return np.empty(0, dtype=np.int64)
    labelled = len(corpus.rows("train", labelled=True))
    labels = labelled if facts.labelled_documents is None else min(facts.labelled_documents, labelled)
    seed = 0 if facts.run is None or facts.run.seed is None else facts.run.seed
    return training_rows(corpus, labels, seed) if labels else np.empty(0, dtype=np.int64)


def describe_baseline_rows(parts: ClassifierParts | EnsembleParts, selected: EvaluationData, rows: np.ndarray) -> str:
    """Say in a few words what `baseline_rows` are."""
    if not is_training_part(selected.corpus, parts.facts):
        return f"{len(rows):,} labels of the training part of {corpus_name(selected.corpus)}"
    labelled = len(selected.corpus.rows("train", labelled=True))
    if len(rows) == labelled == parts.facts.labelled_documents:
        return f"labels of the same {len(rows):,} documents"
    return f"{len(rows):,} labels of the same training part"
