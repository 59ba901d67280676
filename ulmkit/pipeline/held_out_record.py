"""Measurement of a trained model on held-out documents, for the record in its folder."""

import numpy as np

from ulmkit.evaluation import HeldOutAnswers
from ulmkit.hub import ClassifierParts
from ulmkit.hub.held_out import MOST_ANSWERS
from ulmkit.pipeline.prediction import predict_rows
from ulmkit.text import EncodedCorpus


def sample(rows: np.ndarray, most: int) -> np.ndarray:
    """Choose at most so many documents at random, the same ones each time; their order stays."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(0).permutation(rows)[:most])


def network_answers(parts: ClassifierParts, corpus: EncodedCorpus, rows: np.ndarray) -> HeldOutAnswers | None:
    """Answers of a network for labelled documents that it did not learn from; None unless each has one label.

    Args:
        parts: The network.
        corpus: The documents, in its vocabulary.
        rows: (n,) labelled documents.
    """
    if not parts.task.is_one_class:
        return None
    rows = sample(rows, MOST_ANSWERS)
    outputs = predict_rows(parts.model, corpus, rows, reverse=parts.direction == "backward")
    if not np.isfinite(outputs).all():
        return None  # such a model does not answer anything
    return HeldOutAnswers.of(np.asarray(outputs), corpus.labels(rows), f"{len(rows):,} validation documents")
