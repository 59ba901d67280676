"""Co-training: linear members of two kinds label, for each other, the documents that they are surest of.

vectors -> NB-SVM -> vectors -> NB-SVM -> vectors -> NB-SVM -> vectors

Where there are vectors of words and of characters, both learn alike and teach together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ulmkit.evaluation.baselines.estimators import OneAgainstRest
from ulmkit.members.fitting import ROUGH_TOLERANCE, DocumentVectors, VectorSetting
from ulmkit.members.linear import LinearMember, class_log_probabilities, class_scores

NO_ROWS = np.empty(0, dtype=np.int64)

GIVEN_SHARE = 0.1
"""Least weight of all given labels together, relative to that of the documents that a member labelled."""

_ROUNDS = 3  # two lose a point on docstrings with 50 labels
_LABELLED_SHARE = 0.8  # of the unlabelled documents, the surest ones; 0.5 and 0.95 are no better on subjectivity
_COUNT_RATIO_STRENGTH = 0.1
_VECTOR_STRENGTH = 10.0  # 1 is no better on subjectivity


@dataclass(frozen=True)
class CoTrained:
    """Outcome of co-training.

    Attributes:
        vectors: The members on document vectors, one for each view.
        nb_svm: The NB-SVM.
        log_probabilities: (n, classes) of all together, for all documents of the `CoTraining`.
    """

    vectors: tuple[LinearMember, ...]
    nb_svm: LinearMember
    log_probabilities: np.ndarray


class CoTraining:
    """Trains document vectors and NB-SVM on given labels and on each other's.

    Args:
        views: Vectors learned from the unlabelled documents, of words, and of characters if they are used.
        rows: (n,) documents that may be labelled.
        classes: Number of classes.
        names: Further documents, which may only be given with their labels: the names of the classes.

    Source: Nigam & Ghani 2000, "Analyzing the effectiveness and applicability of co-training", their algorithm co-EM:
        each member labels all documents for the other one, anew in each round. Deviations: members name one class, and
        only for the documents that they are surest of; the two views are representations of the same words.
    """

    def __init__(
        self, views: Sequence[DocumentVectors], rows: np.ndarray, classes: int, names: np.ndarray = NO_ROWS
    ) -> None:
        self._views = tuple(views)
        self._classes = classes
        self._names = names
        self.rows = np.union1d(rows, names)

    @cached_property
    def _features(self) -> tuple[tuple[tuple[np.ndarray, Any], ...], Any]:
        """For each view, vectors of all documents and the features they are made of; and binary n-grams of words."""
        counts = [view.counts(self.rows) for view in self._views]
        features = tuple(
            (view.vectors_of(each), view.features_of(each)) for view, each in zip(self._views, counts, strict=True)
        )
        return features, self._views[0].binary_features_of(counts[0])

    def fit(
        self,
        rows: np.ndarray,
        labels: np.ndarray,
        held_out: np.ndarray,
        settings: Sequence[VectorSetting] | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> CoTrained:
        """Train on labelled documents and on those that the members label.

        Args:
            rows: (m,) labelled documents, among those of the constructor.
            labels: (m,) int, their classes.
            held_out: Documents that no member labels, because all are judged on them.
            settings: Setting of each view's regression on the given labels; None chooses them.
            class_weights: (C,) weight of a document of each class, whoever labelled it; None for equal ones.

        Returns:
            The members, and what they say of the constructor's documents.
        """
        given = np.searchsorted(self.rows, rows)
        is_free = ~np.isin(self.rows, np.concatenate([rows, held_out, self._names]))
        counts = np.bincount(labels[~np.isin(rows, self._names)], minlength=self._classes) + 0.5
        shares = counts / counts.sum()
        if settings is None:
            settings = [
                view.choose(dense[given], labels, self._classes, class_weights)
                for view, (dense, _) in zip(self._views, self._features[0], strict=True)
            ]
        vectors = self._fit_vectors(given, labels, settings, class_weights)
        taught = [replace(setting, strength=_VECTOR_STRENGTH) for setting in settings]
        for _ in range(_ROUNDS):
            said = self._said_by_vectors(vectors)
            nb_svm = self._fit_nb_svm(*self._teach(given, labels, said, is_free, shares), class_weights)
            at, answers = self._teach(given, labels, self._said_by_nb_svm(nb_svm), is_free, shares)
            vectors = self._fit_vectors(at, answers, taught, class_weights, ROUGH_TOLERANCE)
        together = _standard(self._said_by_nb_svm(nb_svm)) + _standard(self._said_by_vectors(vectors))
        named = tuple(replace(member, name=co_trained_name(member.name)) for member in vectors)
        return CoTrained(named, nb_svm, class_log_probabilities(together))

    def _teach(
        self,
        given: np.ndarray,
        labels: np.ndarray,
        logs: np.ndarray,
        is_free: np.ndarray,
        shares: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Places and labels to learn from: the given ones, repeated so that they count, and the surest others."""
        at, taught = surest(logs, is_free, shares, _LABELLED_SHARE)
        repeats = max(1, round(GIVEN_SHARE * len(at) / len(given)))
        return np.concatenate([np.repeat(given, repeats), at]), np.concatenate([np.repeat(labels, repeats), taught])

    def _fit_vectors(
        self,
        at: np.ndarray,
        labels: np.ndarray,
        settings: Sequence[VectorSetting],
        class_weights: Sequence[float] | None,
        tolerance: float = 1e-4,
    ) -> list[LinearMember]:
        return [
            view.fit(dense[at], labels, self._classes, setting, tolerance, class_weights)
            for view, (dense, _), setting in zip(self._views, self._features[0], settings, strict=True)
        ]

    def _fit_nb_svm(self, at: np.ndarray, labels: np.ndarray, class_weights: Sequence[float] | None) -> LinearMember:
        model = OneAgainstRest(self._classes, _COUNT_RATIO_STRENGTH, count_ratio=True, class_weights=class_weights)
        features = self._features[1][at]
        matrix, intercept = class_scores(model.fit(features, labels), features.shape[1], self._classes)
        return self._views[0].member("co-trained NB-SVM", matrix, intercept, is_binary=True)

    def _said_by_vectors(self, members: Sequence[LinearMember]) -> np.ndarray:
        """Log-probabilities of all documents by the member of one view, or the sum of the standard scores of several.

        Standard scores give both views the same say, and no view can label nearly all documents with one class.
        """
        said = [_said_by(member, features) for member, (_, features) in zip(members, self._features[0], strict=True)]
        return said[0] if len(said) == 1 else np.sum([_standard(each) for each in said], axis=0)

    def _said_by_nb_svm(self, member: LinearMember) -> np.ndarray:
        return _said_by(member, self._features[1])


def co_trained_name(name: str) -> str:
    """Name of a member on document vectors, called `name`, once it is co-trained."""
    return f"co-trained {name.removeprefix('document ')}"


def _said_by(member: LinearMember, features: Any) -> np.ndarray:
    """Log-probabilities of a member, (n, C), for documents of which `features` are those that it weighs."""
    scores = np.asarray(features @ member.coefficients, dtype=np.float64) + member.intercept
    return class_log_probabilities(scores, member.one_against_rest)


def surest(logs: np.ndarray, is_free: np.ndarray, shares: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Choose the documents whose class is surest, with the classes in their estimated shares.

    Args:
        logs: (n, C) log-probabilities.
        is_free: (n,) bool, the documents to choose from.
        shares: (C,) estimated shares of the classes.
        fraction: Share of the documents to choose.

    Returns:
        Places of the documents, and their classes.
    """
    best = logs.argmax(axis=1)
    places, classes = [], []
    for label, share in enumerate(shares):
        candidates = np.flatnonzero(is_free & (best == label))
        others = np.delete(logs[candidates], label, axis=1).max(axis=1)
        order = np.argsort(others - logs[candidates, label], kind="stable")
        chosen = candidates[order[: round(fraction * int(is_free.sum()) * share)]]
        places.append(chosen)
        classes.append(np.full(len(chosen), label))
    return np.concatenate(places), np.concatenate(classes)


def _standard(logs: np.ndarray) -> np.ndarray:
    """Centre log-probabilities over classes and over documents, and scale them to a spread of 1."""
    scores = logs - logs.mean(axis=1, keepdims=True)
    scores = scores - scores.mean(axis=0)
    spread = scores.std()
    return scores / spread if spread > 0 else scores
