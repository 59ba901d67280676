"""How right each prediction is, by hand, for every task."""

from types import SimpleNamespace

import numpy as np
import pytest

from ulmkit.tasks import TASKS

ROWS = np.array([0, 1, 2])


@pytest.mark.parametrize(
    ("task", "labels", "outputs", "measure", "expected"),
    [
        ("single", [1, 0, 1], [[0.2, 0.8], [0.4, 0.6], [0.1, 0.9]], "accuracy", [1, 0, 1]),
        ("pair", [0, 0, 1], [[0.6, 0.4], [0.4, 0.6], [0.9, 0.1]], "accuracy", [1, 0, 0]),
        ("multi", [[1, 0], [1, 1], [0, 0]], [[0.5, 0.4], [0.9, 0.4], [0.1, 0.2]], "subset accuracy", [1, 0, 1]),
        ("number", [2.0, -1.0, 0.0], [2.5, -1.0, -3.0], "minus mean absolute error", [-0.5, 0.0, -3.0]),
    ],
)
def test_tasks_of_whole_documents(task, labels, outputs, measure, expected):
    corpus = SimpleNamespace(labels=lambda rows: np.array(labels)[rows])
    name, scores = TASKS[task].document_scores(np.array(outputs), corpus, ROWS)
    assert name == measure
    np.testing.assert_allclose(scores, expected)


def test_token_labels_leave_unlabelled_tokens_and_documents_out():
    truth = [np.array([0, 1, -1]), np.array([-1, -1]), np.array([1])]
    outputs = [np.eye(2)[[0, 0]], np.zeros((0, 2)), np.eye(2)[[1]]]  # of the labelled words
    corpus = SimpleNamespace(token_labels=lambda row: truth[row])
    name, scores = TASKS["tokens"].document_scores(outputs, corpus, ROWS)
    assert name == "documents' mean token accuracy"
    np.testing.assert_allclose(scores, [0.5, 1.0])
