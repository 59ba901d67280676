"""Linear models of the labels that a classifier learned from, and of fewer of them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ulmkit.api import TextClassifier
from ulmkit.evaluation import TfidfLogistic
from ulmkit.members.combiner import Combiner
from ulmkit.members.fitting import VectorSetting
from ulmkit.pipeline import LadderText, make_ensemble, training_rows, word_cutter
from ulmkit.text import EncodedCorpus, Text
from ulmkit.text.words import word_places

TFIDF = TfidfLogistic.name
VECTORS = "document vectors"

_LEAST_LABELS = 10
_LEAST_OF_A_CLASS = 3
_POINTS = 5
_LEAST_RATIO = 1.5


@dataclass(frozen=True)
class CurvePoint:
    """Accuracy of a linear model with a number of labels.

    Attributes:
        labels: Number of labels.
        mean: Mean accuracy over the draws of labels.
        deviation: Their standard deviation; 0 for a single draw.
        draws: Number of draws.
    """

    labels: int
    mean: float
    deviation: float
    draws: int


class LinearModels:
    """Fits linear models to labelled documents, and scores documents with them.

    The strength of a model's penalty is chosen when it is first fitted, and taken from then on: it takes most of the
    time, and a few labels say little of it.

    Args:
        corpus: The documents.
        texts: The text of each.
        scored: (n,) rows of the documents to score.
        seed: Seed of the document vectors.
    """

    def __init__(self, corpus: EncodedCorpus, texts: Sequence[Text], scored: np.ndarray, seed: int = 0) -> None:
        self._corpus = corpus
        self._texts = texts
        self._scored = scored
        self._tokenize = word_cutter(corpus, texts)
        self._text = LadderText(corpus, scored, seed=seed)
        self._strength: float | None = None
        self._setting: VectorSetting | None = None

    def tfidf(self, rows: np.ndarray) -> tuple[TfidfLogistic, np.ndarray]:
        """Fit logistic regression on TF-IDF of the texts as they were written.

        Returns:
            The fitted model, and (n, classes) probabilities of the documents to score.
        """
        model = TfidfLogistic(len(self._corpus.label_names), tokenize=self._tokenize, strength=self._strength)
        model.fit([self._texts[row] for row in rows], self._corpus.labels(rows))
        self._strength = model.chosen_strength
        return model, model.predict_proba([self._texts[row] for row in self._scored])

    def vectors(self, rows: np.ndarray) -> tuple[TextClassifier, np.ndarray]:
        """Fit logistic regression on document vectors, learned from all training text, labelled or not.

        Returns:
            The classifier, and (n, classes) probabilities of the documents to score.
        """
        vectors, documents = self._text.vectors, self._text.documents
        known, labels, classes = vectors.vectors(rows), self._corpus.labels(rows), self._text.classes
        if self._setting is None:
            self._setting = vectors.choose(known, labels, classes)
        member = vectors.fit(known, labels, classes, self._setting)
        places = word_places(documents.words, member.words)
        logs = member.log_probabilities(documents.sequence.select(self._scored).renumber(places))
        as_it_is = Combiner(np.ones(1), np.zeros(classes))
        return TextClassifier(make_ensemble(self._corpus, [member], as_it_is)), np.exp(logs)


def label_counts(labels: int, classes: int) -> list[int]:
    """Choose at most five numbers of labels up to `labels`, each at least 1.5 times the one before.

    The least is ten, or three for each class.
    """
    least = max(_LEAST_LABELS, _LEAST_OF_A_CLASS * classes)
    if labels < least * _LEAST_RATIO:
        return [labels]
    points = min(_POINTS, 1 + int(math.log(labels / least) / math.log(_LEAST_RATIO)))
    return [round(count) for count in np.geomspace(least, labels, points)]


def label_curve(
    predict: Callable[[np.ndarray], np.ndarray],
    corpus: EncodedCorpus,
    scored: np.ndarray,
    labels: int,
    *,
    draws: int,
    seed: int,
) -> list[CurvePoint]:
    """Accuracy of a linear model with fewer labels than it could have.

    Args:
        predict: Fits the model to labelled rows and returns (n, classes) probabilities of the documents to score.
        corpus: The documents.
        scored: (n,) rows of the documents to score.
        labels: Number of labels at which the curve ends; the last point is left to the caller.
        draws: Number of draws of labels, with the classes in proportion.
        seed: Seed of the first draw; the others follow.
    """
    answers = corpus.labels(scored)
    points = []
    for count in label_counts(labels, len(corpus.label_names))[:-1]:
        accuracies = [
            float((predict(training_rows(corpus, count, seed + draw)).argmax(axis=1) == answers).mean())
            for draw in range(draws)
        ]
        deviation = float(np.std(accuracies, ddof=1)) if draws > 1 else 0.0
        points.append(CurvePoint(count, float(np.mean(accuracies)), deviation, draws))
    return points
