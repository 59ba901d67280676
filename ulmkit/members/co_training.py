"""Co-training: two linear members of different kinds label, for each other, the documents that they are surest of.

vectors -> NB-SVM -> vectors -> NB-SVM -> vectors -> NB-SVM -> vectors
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ulmkit.evaluation.baselines.estimators import OneAgainstRest
from ulmkit.members.fitting import ROUGH_TOLERANCE, DocumentVectors, VectorSetting
from ulmkit.members.linear import LinearMember, class_log_probabilities, class_scores

GIVEN_SHARE = 0.1
"""Least weight of all given labels together, relative to that of the documents that a member labelled."""

_ROUNDS = 3
_LABELLED_SHARE = 0.8  # of the unlabelled documents, the surest ones
_COUNT_RATIO_STRENGTH = 0.1
_VECTOR_STRENGTH = 10.0


@dataclass(frozen=True)
class CoTrained:
    """Outcome of co-training.

    Attributes:
        vectors: The member on document vectors.
        nb_svm: The NB-SVM.
        log_probabilities: (n, classes) of both together, for all documents of the `CoTraining`.
    """

    vectors: LinearMember
    nb_svm: LinearMember
    log_probabilities: np.ndarray


class CoTraining:
    """Trains document vectors and NB-SVM on given labels and on each other's.

    Args:
        vectors: Vectors learnt from the unlabelled documents.
        rows: (n,) documents that may be labelled.
        classes: Number of classes.

    Source: Nigam & Ghani 2000, "Analyzing the effectiveness and applicability of co-training", their algorithm co-EM:
        each member labels all documents for the other one, anew in each round. Deviations: members name one class, and
        only for the documents that they are surest of; the two views are representations of the same words.
    """

    def __init__(self, vectors: DocumentVectors, rows: np.ndarray, classes: int) -> None:
        self._vectors = vectors
        self._classes = classes
        self.rows = np.sort(rows)

    @cached_property
    def _features(self) -> tuple[np.ndarray, Any, Any]:
        """Vectors of all documents, the features that they are made of, and binary n-grams."""
        counts = self._vectors.counts(self.rows)
        return (
            self._vectors.vectors_of(counts),
            self._vectors.features_of(counts),
            self._vectors.binary_features_of(counts),
        )

    def fit(
        self,
        rows: np.ndarray,
        labels: np.ndarray,
        held_out: np.ndarray,
        setting: VectorSetting | None = None,
        class_weights: Sequence[float] | None = None,
    ) -> CoTrained:
        """Train on labelled documents and on those that the members label.

        Args:
            rows: (m,) labelled documents, among those of the constructor.
            labels: (m,) int, their classes.
            held_out: Documents that no member labels, because both are judged on them.
            setting: Setting of the vectors' regression on the given labels; None chooses it.
            class_weights: (C,) weight of a document of each class, whoever labelled it; None for equal ones.

        Returns:
            Both members, and what they say of the constructor's documents.
        """
        dense = self._features[0]
        given = np.searchsorted(self.rows, rows)
        is_free = ~np.isin(self.rows, np.concatenate([rows, held_out]))
        shares = (np.bincount(labels, minlength=self._classes) + 0.5) / (len(labels) + 0.5 * self._classes)
        classes = self._classes
        if setting is None:
            setting = self._vectors.choose(dense[given], labels, classes, class_weights)
        said = self._said_by(self._vectors.fit(dense[given], labels, classes, setting, class_weights=class_weights))
        taught = replace(setting, strength=_VECTOR_STRENGTH)
        for _ in range(_ROUNDS):
            nb_svm = self._fit_nb_svm(*self._teach(given, labels, said, is_free, shares), class_weights)
            said = self._said_by(nb_svm)
            at, answers = self._teach(given, labels, said, is_free, shares)
            vectors = self._vectors.fit(dense[at], answers, classes, taught, ROUGH_TOLERANCE, class_weights)
            said = self._said_by(vectors)
        together = class_log_probabilities(_standard(self._said_by(nb_svm)) + _standard(said))
        return CoTrained(replace(vectors, name="co-trained vectors"), nb_svm, together)

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

    def _fit_nb_svm(self, at: np.ndarray, labels: np.ndarray, class_weights: Sequence[float] | None) -> LinearMember:
        model = OneAgainstRest(self._classes, _COUNT_RATIO_STRENGTH, count_ratio=True, class_weights=class_weights)
        features = self._features[2][at]
        matrix, intercept = class_scores(model.fit(features, labels), features.shape[1], self._classes)
        return self._vectors.member("co-trained NB-SVM", matrix, intercept, is_binary=True)

    def _said_by(self, member: LinearMember) -> np.ndarray:
        """Log-probabilities of a member for all documents."""
        _, mean, binary = self._features
        features = binary if member.weighting == "binary" else mean
        return class_log_probabilities(
            np.asarray(features @ member.coefficients, dtype=np.float64) + member.intercept, member.one_against_rest
        )


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
