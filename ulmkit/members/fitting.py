"""Fitting of linear members to documents and their labels."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from ulmkit.evaluation.baselines.estimators import OneAgainstRest, document_weights, fit_best, held_out_folds
from ulmkit.members.document_vectors import VECTOR_SIZE, WANTED_TOKENS, keep_shares, learn_vectors, unit_spread
from ulmkit.members.linear import (
    LinearMember,
    class_log_probabilities,
    class_scores,
    inverse_document_frequency,
    weigh,
)
from ulmkit.members.ngrams import NGrams, find_ngrams, frequent_words
from ulmkit.members.word_vectors import WordVectors
from ulmkit.text.words import Unit, WordSequence, word_places

Setting = TypeVar("Setting")

_MANY_DOCUMENTS = 5000  # from here on n-grams that only one document has are left out, and triples are counted
_VECTOR_DOCUMENTS = 7500  # documents for each document that an n-gram has to occur in to be part of the vectors
_VECTOR_MIN_DOCUMENTS = 10
_CHARACTER_MIN_DOCUMENTS = 5  # of character n-grams in vectors
_CHARACTER_TOKENS = 1.2e7  # to learn them from; four times as many are no better
_STRENGTHS = (1.0, 10.0, 100.0)
_VECTOR_SCALE = 0.1  # gives vectors, whose numbers have a spread of 1, about unit length
_SCALES = ((1.0, 0.0), (1.0, 0.3), (1.0, 1.0), (0.0, 1.0))  # see `VectorSetting`, the first without word vectors
_NEWTON_FEATURES = 1000
_CHARACTER_STRENGTHS = (10.0, 100.0)  # of TF-IDF; higher ones take long and are no better

TFIDF_STRENGTHS = (10.0, 100.0, 1000.0)
NB_SVM_STRENGTHS = (0.01, 0.1, 1.0)

ROUGH_TOLERANCE = 1e-3
"""Tolerance of fits that only choose a setting, or the labels for a next fit."""


@dataclass(frozen=True)
class DocumentWords:
    """The words of all documents that members may learn from, or the character n-grams in them.

    Attributes:
        sequence: Word ids of each document; every word has one.
        words: The word of each id.
        joins_tokens: See `WordReader`.
        unit: See `WordReader`; "characters" if the words are character n-grams.
    """

    sequence: WordSequence
    words: tuple[str, ...]
    joins_tokens: bool
    unit: Unit = "words"

    @property
    def longest(self) -> int:
        """Most words of an n-gram that are counted together; n-grams of characters already overlap."""
        return 2 if self.unit == "words" else 1

    def name(self, member: str) -> str:
        """Name of a member that counts them."""
        return member if self.unit == "words" else f"character {member.removeprefix('document ')}"

    def select(self, rows: np.ndarray, min_documents: int) -> tuple[WordSequence, tuple[str, ...]]:
        """The documents `rows` in word ids of their own, for words that `min_documents` of them have."""
        chosen = self.sequence.select(rows)
        kept = frequent_words(chosen, min_documents)
        ids = np.full(len(self.words), -1)
        ids[kept] = np.arange(len(kept))
        return chosen.renumber(ids), tuple(self.words[number] for number in kept)


def fit_tfidf(
    documents: DocumentWords,
    rows: np.ndarray,
    labels: np.ndarray,
    classes: int,
    strengths: Sequence[float] | None = None,
    class_weights: Sequence[float] | None = None,
) -> tuple[LinearMember, float]:
    """Fit logistic regressions on TF-IDF of words and pairs, or of characters, one class against the rest.

    Args:
        documents: The documents.
        rows: (n,) the labelled ones to learn from.
        labels: (n,) int, their classes.
        classes: Number of classes.
        strengths: Inverse strengths of the penalty, of which the best on held-out documents is taken; None takes the
            usual ones.
        class_weights: (C,) weight of a document of each class; None for equal ones.

    Returns:
        The member, and the strength that was taken.
    """
    if strengths is None:
        strengths = TFIDF_STRENGTHS if documents.unit == "words" else _CHARACTER_STRENGTHS
    least = 2 if len(rows) >= _MANY_DOCUMENTS else 1
    words, known = documents.select(rows, least)
    ngrams = find_ngrams(words, len(known), documents.longest, (least,))
    counts = ngrams.counts(words)
    weights = inverse_document_frequency(counts)
    model = OneAgainstRest(classes, class_weights=class_weights)
    model = fit_best(model, weigh(counts, "tf-idf", weights), labels, strengths)
    return _one_against_rest(documents.name("TF-IDF"), documents, known, ngrams, model, weights), model.strength


def fit_nb_svm(
    documents: DocumentWords,
    rows: np.ndarray,
    labels: np.ndarray,
    classes: int,
    strengths: Sequence[float] = NB_SVM_STRENGTHS,
    class_weights: Sequence[float] | None = None,
) -> tuple[LinearMember, float]:
    """Fit logistic regressions on n-grams scaled by their naive Bayes log-count ratio; see `NBSVM`.

    Args:
        documents: The documents.
        rows: (n,) the labelled ones to learn from.
        labels: (n,) int, their classes.
        classes: Number of classes.
        strengths: Inverse strengths of the penalty, of which the best on held-out documents is taken.
        class_weights: (C,) weight of a document of each class; None for equal ones.

    Returns:
        The member, and the strength that was taken.

    Source: Wang & Manning 2012, "Baselines and bigrams: simple, good sentiment and topic classification", section 2.
    """
    least, longest = (2, 3) if len(rows) >= _MANY_DOCUMENTS else (1, 2)
    words, known = documents.select(rows, least)
    ngrams = find_ngrams(words, len(known), longest, (least, least))
    features = weigh(ngrams.counts(words), "binary", None)
    model = OneAgainstRest(classes, count_ratio=True, class_weights=class_weights)
    model = fit_best(model, features, labels, strengths)
    return _one_against_rest("NB-SVM", documents, known, ngrams, model, None), model.strength


def _one_against_rest(
    name: str,
    documents: DocumentWords,
    words: tuple[str, ...],
    ngrams: NGrams,
    model: OneAgainstRest,
    feature_weights: np.ndarray | None,
) -> LinearMember:
    """The member of a fitted model: on TF-IDF if there are feature weights, on the presence of n-grams if not."""
    matrix, intercept = class_scores(model, len(ngrams), model.classes)
    return LinearMember(
        name=name,
        words=words,
        joins_tokens=documents.joins_tokens,
        unit=documents.unit,
        ngrams=ngrams,
        weighting="binary" if feature_weights is None else "tf-idf",
        feature_weights=feature_weights,
        coefficients=matrix,
        intercept=intercept,
        one_against_rest=True,
    )


@dataclass(frozen=True)
class VectorSetting:
    """Setting of a regression on document vectors.

    Attributes:
        strength: Inverse strength of the penalty, see `fit_logistic`.
        scales: Scales of the vectors learned from the documents, and of those of word vectors.
    """

    strength: float
    scales: tuple[float, float] = (1.0, 0.0)


class DocumentVectors:
    """Vectors of documents, learned from the text of `rows`, labelled or not; see `ulmkit.members.document_vectors`.

    With word vectors, a document's vector is followed by another one, made of them in the same way; that of a pair or
    triple is the mean of its words'. Their words count also where the documents lack them.

    Args:
        documents: The documents.
        rows: (m,) the documents to learn vectors from.
        seed: Seed of the learning.
        word_vectors: Vectors of words, learned from other text.
        triples: Learn vectors of triples of words, too; with little text they only add noise.
    """

    def __init__(
        self,
        documents: DocumentWords,
        rows: np.ndarray,
        seed: int = 0,
        word_vectors: WordVectors | None = None,
        *,
        triples: bool = False,
    ) -> None:
        self._documents = documents
        self._seed = seed
        self._word_vectors = word_vectors
        least = min(_VECTOR_MIN_DOCUMENTS, 1 + len(rows) // _VECTOR_DOCUMENTS)
        if documents.unit == "characters" and len(rows) >= _VECTOR_DOCUMENTS:
            least = _CHARACTER_MIN_DOCUMENTS
        words, own = documents.select(rows, least)
        others = np.empty(0, dtype=np.int64)
        if word_vectors is not None:
            others = np.flatnonzero(word_places(word_vectors.words, own) < 0)
            own += tuple(word_vectors.words[place] for place in others)
        self._words = own
        self._found = len(own) - len(others)  # words that the documents have, the first ones
        longest, least = documents.longest + triples, max(2, least)
        self._ngrams: NGrams = find_ngrams(words, len(self._words), longest, (least, least))
        self._learnt_from = self._ngrams.counts(words)
        self._keep = keep_shares(self._learnt_from)
        if word_vectors is not None:
            self._keep[self._found : len(own)] = word_vectors.keep[others]

    @cached_property
    def _matrix(self) -> np.ndarray:
        """V, (features, d), learned when it is first asked for, and beside it those of word vectors."""
        features = self.features_of(self._learnt_from)
        tokens = WANTED_TOKENS if self._documents.unit == "words" else _CHARACTER_TOKENS
        learned = unit_spread(learn_vectors(self._learnt_from, self._keep, self._seed, tokens), features)
        if self._word_vectors is None:
            return learned
        places = word_places(self._words, self._word_vectors.words)
        known = np.where(places[:, None] >= 0, self._word_vectors.vectors[places], np.float32(0.0))
        known = np.concatenate([known, *(known[ids].mean(axis=1) for ids in self._ngrams.word_ids())])
        return np.hstack([learned, unit_spread(known, features)])

    def counts(self, rows: np.ndarray) -> Any:
        """Counts of the n-grams of documents, (n, features) csr_array."""
        words = self._documents.sequence.select(rows).renumber(word_places(self._documents.words, self._words))
        return self._ngrams.counts(words)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Vectors of documents, x V: (n, d) float32."""
        return self.vectors_of(self.counts(rows))

    def vectors_of(self, counts: Any) -> np.ndarray:
        """Vectors of documents from `counts`: (n, d) float32."""
        return np.asarray(self.features_of(counts) @ self._matrix)

    def features_of(self, counts: Any) -> Any:
        """Weights x of the n-grams of documents, from `counts`; see `weigh`."""
        return weigh(counts, "mean", self._keep)

    def binary_features_of(self, counts: Any) -> Any:
        """Presence of the n-grams of documents, from `counts`, without words that only word vectors know."""
        found = np.delete(np.arange(len(self._ngrams)), np.s_[self._found : len(self._words)])
        return weigh(counts[:, found], "binary", None)

    def choose(
        self,
        vectors: np.ndarray | Sequence[np.ndarray],
        labels: np.ndarray,
        classes: int,
        class_weights: Sequence[float] | None = None,
    ) -> VectorSetting:
        """Choose the setting of the regression by held-out documents.

        Word vectors are used only where they lower the loss by more than one standard error: with few labels they often
        do by chance, and where there is much text its own vectors teach better.

        Args:
            vectors: (n, d) of labelled documents, from `vectors`; or a sequence of them, one for each fold of
                `held_out_folds`, learned from other text.
            labels: (n,) int, their classes.
            classes: Number of classes.
            class_weights: (C,) weight of a document of each class; None for equal ones.
        """
        of_fold = (lambda _: vectors) if isinstance(vectors, np.ndarray) else vectors.__getitem__
        choices = _SCALES[:1] if self._word_vectors is None else _SCALES
        return choose_setting(
            [VectorSetting(strength, scales) for scales in choices for strength in _STRENGTHS],
            lambda setting, fold: self._scaled(of_fold(fold), setting),
            lambda setting: setting.strength,
            labels,
            classes,
            ROUGH_TOLERANCE,
            class_weights,
            preferred=len(_STRENGTHS),
        )

    def fit(
        self,
        vectors: np.ndarray,
        labels: np.ndarray,
        classes: int,
        setting: VectorSetting | None = None,
        tolerance: float = 1e-4,
        class_weights: Sequence[float] | None = None,
    ) -> LinearMember:
        """Fit a logistic regression on vectors.

        Args:
            vectors: (n, d) of labelled documents, from `vectors`.
            labels: (n,) int, their classes.
            classes: Number of classes.
            setting: Setting of the regression; None takes the one that `choose` chooses.
            tolerance: See `fit_logistic`.
            class_weights: (C,) weight of a document of each class; None for equal ones.
        """
        if setting is None:
            setting = self.choose(vectors, labels, classes, class_weights)
        weights, intercept = fit_logistic(
            self._scaled(vectors, setting), labels, classes, setting.strength, tolerance, class_weights
        )
        name = self._documents.name("document vectors")
        return self.member(name, self._scaled(self._matrix, setting) @ weights, intercept)

    def _scaled(self, vectors: np.ndarray, setting: VectorSetting) -> np.ndarray:
        """Scale vectors (n, d), or V, as a setting says; numbers with a scale of 0 are left out."""
        learned, known = vectors[:, :VECTOR_SIZE], vectors[:, VECTOR_SIZE:]
        parts = zip((learned, known), setting.scales, strict=True)
        return np.hstack([part * np.float32(_VECTOR_SCALE * scale) for part, scale in parts if scale > 0])

    def member(
        self, name: str, coefficients: np.ndarray, intercept: np.ndarray, *, is_binary: bool = False
    ) -> LinearMember:
        """Make a member of weights for the n-grams of the vectors.

        Args:
            name: Its name in reports.
            coefficients: (features, K), K = 1 for two classes.
            intercept: (K,).
            is_binary: The weights are for `binary_features_of`, one class against the rest; otherwise for
                `features_of`.
        """
        words, ngrams = self._words, self._ngrams
        if is_binary:
            words = words[: self._found]
            ngrams = ngrams.with_words(len(words))
        return LinearMember(
            name=name,
            words=words,
            joins_tokens=self._documents.joins_tokens,
            unit=self._documents.unit,
            ngrams=ngrams,
            weighting="binary" if is_binary else "mean",
            feature_weights=None if is_binary else self._keep,
            coefficients=coefficients.astype(np.float32),
            intercept=intercept.astype(np.float32),
            one_against_rest=is_binary,
        )


def fit_logistic(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    strength: float,
    tolerance: float = 1e-4,
    class_weights: Sequence[float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a softmax regression with an L2 penalty of 1 / (2 strength).

    Args:
        features: (n, F) float.
        labels: (n,) int.
        classes: Number of classes, C; one that no document has keeps a small share.
        strength: Inverse strength of the penalty, scikit-learn's `C`.
        tolerance: Largest gradient at which the fit ends.
        class_weights: (C,) weight of a document of each class; None for equal ones. The small share of a class that no
            document has does not depend on them.

    Returns:
        (F, K) and (K,) float64; K = 1 for two classes, whose score is the log-odds of the second, else C.
    """
    from scipy.linalg import LinAlgWarning
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels)
    columns = 1 if classes == 2 else classes
    weights = np.zeros((features.shape[1], columns))
    shares = (np.bincount(labels, minlength=classes) + 0.5) / (len(labels) + 0.5 * classes)
    if len(present) == 1:
        return weights, np.log(shares[1:] / shares[:1]) if classes == 2 else np.log(shares)
    if features.shape[1] > 2 * len(features):
        # The best weights are combinations of the documents, and their penalty is the same in any orthonormal basis.
        basis, documents = np.linalg.qr(features.T.astype(np.float64))  # (F, n), (n, n)
        weights, intercept = fit_logistic(documents.T, labels, classes, strength, tolerance, class_weights)
        return basis @ weights, intercept
    # Newton's method takes few steps however unequal the features' scales are, but squares their number.
    is_small = len(present) == 2 and features.shape[1] <= _NEWTON_FEATURES
    solver = "newton-cholesky" if is_small else "lbfgs"
    if is_small:
        features = features.astype(np.float64)  # the Hessian of strong directions has no inverse in single precision
    model = LogisticRegression(C=strength, solver=solver, max_iter=1000, tol=tolerance)
    with warnings.catch_warnings():
        # Rounding stops Newton's method where documents hardly differ; scikit-learn then goes on with L-BFGS.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", LinAlgWarning)
        model.fit(features, labels, sample_weight=document_weights(class_weights, labels))
    if classes == 2:
        return model.coef_.T, model.intercept_
    if len(present) == 2:  # scikit-learn has one score for two classes
        weights[:, present] = np.hstack([-model.coef_.T, model.coef_.T]) / 2.0
        intercept = np.array([-model.intercept_[0], model.intercept_[0]]) / 2.0
    else:
        weights[:, present], intercept = model.coef_.T, model.intercept_
    # A class without documents is as likely as its smoothed share where the others are at their mean.
    biases = np.full(classes, intercept.mean()) + np.log(shares) - np.log(shares[present]).mean()
    biases[present] = intercept
    return weights, biases


def choose_setting(
    settings: Sequence[Setting],
    features_of: Callable[[Setting, int], np.ndarray],
    strength_of: Callable[[Setting], float],
    labels: np.ndarray,
    classes: int,
    tolerance: float = 1e-4,
    class_weights: Sequence[float] | None = None,
    preferred: int | None = None,
) -> Setting:
    """Choose the setting of a softmax regression with the least loss on held-out documents, the first if there is none.

    Args:
        settings: What to choose from.
        features_of: Gives (n, F) for a setting and the number of a fold.
        strength_of: Gives the strength of a setting, see `fit_logistic`.
        labels: (n,) int.
        classes: Number of classes.
        tolerance: See `fit_logistic`.
        class_weights: See `fit_logistic`; the loss is weighted, too.
        preferred: The first so many settings are taken unless another's loss is lower by more than one standard error;
            None prefers none.

    Source: rule of one standard error: Breiman et al. 1984, "Classification and regression trees", section 3.4.3.
    """
    folds = list(held_out_folds(labels))
    losses = np.zeros((len(settings), sum(len(held_out) for _, held_out in folds)))
    for row, setting in zip(losses, settings, strict=True):
        strength = strength_of(setting)
        first = 0
        for fold, (training, held_out) in enumerate(folds):
            features = features_of(setting, fold)
            weights, intercept = fit_logistic(
                features[training], labels[training], classes, strength, tolerance, class_weights
            )
            logs = class_log_probabilities(features[held_out] @ weights + intercept)
            right = logs[np.arange(len(held_out)), labels[held_out]]
            importance = document_weights(class_weights, labels[held_out])
            row[first : first + len(held_out)] = -right if importance is None else -right * importance
            first += len(held_out)
    return settings[least_loss(losses, preferred)]


def least_loss(losses: np.ndarray, preferred: int | None = None) -> int:
    """Row of the least loss, or of the least of the first `preferred` ones if that is within one standard error of it.

    Args:
        losses: (settings, documents).
        preferred: See `choose_setting`.
    """
    totals = losses.sum(axis=1)
    best, usual = int(np.argmin(totals)), int(np.argmin(totals[:preferred]))
    gains = losses[usual] - losses[best]
    if best == usual or gains.mean() > gains.std(ddof=1) / np.sqrt(len(gains)):
        return best
    return usual
