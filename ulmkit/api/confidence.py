"""Classifiers that say how sure they are: they abstain, or answer with sets of labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ulmkit.evaluation import (
    ConformalReport,
    ConformalSets,
    HeldOutAnswers,
    Selection,
    SelectiveReport,
    choose_conformal_sets,
    choose_selection,
    evaluate_conformal_sets,
    evaluate_selection,
)
from ulmkit.pipeline import DataOptions
from ulmkit.text import EncodedCorpus, Text
from ulmkit.text.read.documents import Data

if TYPE_CHECKING:
    from ulmkit.api.text_classifier import TextClassifier


class SelectiveClassifier:
    """A classifier that abstains where its error would exceed a bound; `TextClassifier.selective` makes one.

    Args:
        classifier: The classifier.
        held_out: Its answers for documents that it did not learn from.
        max_error: Largest error among answered documents.
        certainty: Probability, over draws of the held-out documents, that the error is at most that.

    Attributes:
        classifier: The classifier.
        selection: The threshold of confidence, its coverage and its bound.

    Raises:
        ConfigError: If no threshold reaches the error.
    """

    def __init__(
        self, classifier: TextClassifier, held_out: HeldOutAnswers, max_error: float, certainty: float = 0.95
    ) -> None:
        self.classifier = classifier
        self.selection: Selection = choose_selection(held_out, max_error, certainty)

    def predict(self, texts: Iterable[Text | Sequence[str]]) -> list[str | None]:
        """Predict the labels of texts.

        Args:
            texts: Texts; see `TextClassifier.predict_proba`.

        Returns:
            For each text its label, or None where the classifier abstains.
        """
        return self.decide(np.asarray(self.classifier.predict_proba(texts)))

    def decide(self, probabilities: np.ndarray) -> list[str | None]:
        """Turn the output of `TextClassifier.predict_proba`, (n, C), into labels; None where it abstains."""
        labels = self.classifier.labels
        is_answered = self.selection.accepts(probabilities)
        return [
            labels[best] if answered else None
            for best, answered in zip(probabilities.argmax(axis=1).tolist(), is_answered.tolist(), strict=True)
        ]

    def evaluate(
        self, data: Data | EncodedCorpus, *, split: str | None = None, data_options: DataOptions | None = None
    ) -> SelectiveReport:
        """Measure coverage and error on labelled documents; see `TextClassifier.evaluate`."""
        selected = self.classifier.evaluation_data(data, split=split, data_options=data_options)
        return evaluate_selection(self.selection, self.classifier.answers_for(selected))


class ConformalClassifier:
    """A classifier that answers with sets of labels; `TextClassifier.conformal` makes one.

    Args:
        classifier: The classifier.
        held_out: Its answers for documents that it did not learn from.
        miscoverage: Share of texts whose set may lack the right label.

    Attributes:
        classifier: The classifier.
        rule: Makes sets from probabilities.

    Raises:
        ConfigError: Unless 0 < miscoverage < 1.
    """

    def __init__(self, classifier: TextClassifier, held_out: HeldOutAnswers, miscoverage: float) -> None:
        self.classifier = classifier
        self.rule: ConformalSets = choose_conformal_sets(held_out, miscoverage)

    def predict(self, texts: Iterable[Text | Sequence[str]]) -> list[tuple[str, ...]]:
        """Predict a set of labels for each text.

        Args:
            texts: Texts; see `TextClassifier.predict_proba`.

        Returns:
            The labels of each set, the most probable one first; no set is empty.
        """
        return self.decide(np.asarray(self.classifier.predict_proba(texts)))

    def decide(self, probabilities: np.ndarray) -> list[tuple[str, ...]]:
        """Turn the output of `TextClassifier.predict_proba`, (n, C), into sets of labels."""
        labels = self.classifier.labels
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return [
            tuple(labels[each] for each in ranked if chosen[each])
            for ranked, chosen in zip(order.tolist(), self.rule.sets(probabilities), strict=True)
        ]

    def evaluate(
        self, data: Data | EncodedCorpus, *, split: str | None = None, data_options: DataOptions | None = None
    ) -> ConformalReport:
        """Measure coverage and size of the sets on labelled documents; see `TextClassifier.evaluate`."""
        selected = self.classifier.evaluation_data(data, split=split, data_options=data_options)
        outputs = np.asarray(self.classifier.predict_labelled(selected))
        return evaluate_conformal_sets(self.rule, outputs, selected.corpus.labels(selected.rows(labelled=True)))
