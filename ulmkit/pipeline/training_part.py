"""Training documents that linear models are fitted to, to be compared with a classifier."""

import numpy as np

from ulmkit.hub import ClassifierParts, EnsembleParts
from ulmkit.pipeline.classifiers import training_rows
from ulmkit.pipeline.evaluation_data import EvaluationData, is_training_part
from ulmkit.pipeline.held_out import corpus_name


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
