"""The text that a quickstart ends with."""

from pathlib import Path

import numpy as np
import pytest

from ulmkit.evaluation import SingleLabelReport, evaluate_single
from ulmkit.quickstart import NO_LANGUAGE_MODEL_ROW, ULMKIT_ROW, Quickstart


def report(correct: int, documents: int = 1000) -> SingleLabelReport:
    """A report with this many correct documents."""
    targets = np.zeros(documents, dtype=int)
    predicted = np.where(np.arange(documents) < correct, 0, 1)
    return evaluate_single(np.eye(2)[predicted], targets, ["a", "b"])


def result(ours: int, scratch: int, tfidf: int, nbsvm: int) -> Quickstart:
    reports = {
        ULMKIT_ROW: report(ours),
        NO_LANGUAGE_MODEL_ROW: report(scratch),
        "TF-IDF": report(tfidf),
        "NB-SVM": report(nbsvm),
    }
    return Quickstart(
        parameters=4_200_000,
        labels=50,
        perplexity_before=1234.4,
        perplexity_after=98.6,
        members=["co-trained vectors", "NB-SVM"],
        reports=reports,
        seconds=210.0,
        folder=Path("out"),
    )


def test_the_summary_shows_every_result():
    lines = [line for line in result(800, 600, 700, 650).summary().splitlines() if line]
    assert lines[:3] == [
        "Language model: 4.2 million parameters",
        "Perplexity of held-out target text: 1,234 before fine-tuning, 99 after",
        "Accuracy on 1,000 held-out documents after training on 50 labels:",
    ]
    assert [line.rsplit("  ", 2)[-2].strip() for line in lines[4:8]] == ["80.0%", "60.0%", "70.0%", "65.0%"]
    assert lines[4].split() == ["ulmkit", "80.0%", "77.4%", "to", "82.4%"]
    assert lines[8:] == [
        "The ladder kept: co-trained vectors, NB-SVM. The language model raises the accuracy by 20.0 points.",
        "Verdict: use ulmkit's classifier: it is 10.0 points more accurate than TF-IDF.",
        "Plot, models and results: out (3.5 minutes)",
    ]


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ((800, 600, 650, 700), "use ulmkit's classifier: it is 10.0 points more accurate than NB-SVM."),
        ((700, 600, 650, 800), "use NB-SVM: it is 10.0 points more accurate than ulmkit's classifier."),
        (
            (710, 600, 700, 650),
            "use TF-IDF: it is simpler, and ulmkit's classifier is not clearly different (+1.0 points; their 95% "
            "intervals overlap).",
        ),
    ],
)
def test_the_verdict_compares_with_the_best_baseline(accuracies: tuple[int, int, int, int], verdict: str):
    assert result(*accuracies).verdict == verdict


def test_a_language_model_that_does_not_help_is_reported():
    assert "The language model lowers the accuracy by 5.0 points." in result(700, 750, 650, 600).summary()
    assert "NB-SVM. The language model adds nothing here.\n" in result(700, 700, 650, 600).summary()
