"""Calibration of a trained network on held-out documents, and the record of its answers."""

from dataclasses import replace

import numpy as np

from ulmkit.evaluation import HeldOutAnswers, fit_temperature, sample_rows
from ulmkit.hub import ClassifierParts, HeldOut
from ulmkit.hub.held_out import MOST_ANSWERS
from ulmkit.pipeline.prediction import predict_rows
from ulmkit.text import EncodedCorpus


def calibrate_network(parts: ClassifierParts, corpus: EncodedCorpus, rows: np.ndarray) -> ClassifierParts:
    """Fit the temperature of a network to labelled documents that it did not learn from, and keep its answers.

    Args:
        parts: The network; returned as it is unless each document has one label.
        corpus: The documents, in its vocabulary.
        rows: (n,) labelled documents.
    """
    if not parts.task.is_one_class:
        return parts
    rows = sample_rows(rows, MOST_ANSWERS)
    labels = corpus.labels(rows)
    outputs = np.asarray(predict_rows(parts.model, corpus, rows, reverse=parts.direction == "backward"))
    if not np.isfinite(outputs).all():
        return parts  # such a model does not answer anything
    parts = replace(parts, temperature=fit_temperature(outputs, labels))
    source = f"{len(rows):,} validation documents"
    answers = HeldOutAnswers.of(np.asarray(parts.calibrated(outputs)), labels, source)
    return replace(parts, held_out=HeldOut(answers))
