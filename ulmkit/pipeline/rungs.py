"""The rungs of the ladder: ways to fit members, each fitted to some of the labelled documents at a time."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import IntEnum

import numpy as np

from ulmkit.evaluation.baselines.estimators import held_out_folds
from ulmkit.hub import ClassifierParts, FeatureParts, LanguageModelParts, Member, member_name
from ulmkit.members.co_training import GIVEN_SHARE, NO_ROWS, CoTrained, CoTraining, co_trained_name, surest
from ulmkit.members.fitting import (
    DocumentVectors,
    DocumentWords,
    VectorSetting,
    choose_setting,
    fit_logistic,
    fit_nb_svm,
    fit_tfidf,
)
from ulmkit.members.linear import LinearMember
from ulmkit.pipeline.network_members import (
    feature_log_probabilities,
    language_model_features,
    network_log_probabilities,
)
from ulmkit.text import EncodedCorpus
from ulmkit.text.words import word_places

_SURE_SHARE = 0.5  # of the unlabelled documents, those that students learn from
_KEPT_TRAININGS = 8  # a training for each fold, and the last one

_FEATURE_STRENGTHS = (1e-4, 1e-3, 1e-2)
_FEATURE_TOLERANCE = 1e-3  # features of the same spread need no more, and there are thousands of them


class Kind(IntEnum):
    """The cost of members in use, the cheapest first."""

    WORDS = 0
    """They count n-grams."""
    FEATURES = 1
    """A language model, which several members may share, reads the text."""
    NETWORK = 2
    """A network of their own reads the text."""


class Rung(ABC):
    """A way to fit members.

    Attributes:
        name: Its name in reports.
        kind: The cost of its members in use.
        refits: Whether the member to keep is fitted again to all labelled documents; networks that were judged on one
            held-out part are kept as they are.
    """

    name: str
    kind: Kind
    refits = True

    @abstractmethod
    def fit(self, rows: np.ndarray, held_out: np.ndarray) -> Member:
        """Fit to the labelled documents `rows`; `held_out` are those that it is judged on next, if it is."""

    def judge(self, splits: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, tuple[Member, ...]]:
        """Fit to the documents of each split, and judge on its held-out ones.

        Args:
            splits: (rows to fit to, rows to judge on) of each fold.

        Returns:
            Log-probabilities (n, classes) of the documents judged on, in the order of the splits; and the members to
            keep if they are not fitted again.
        """
        logs = []
        for rows, held_out in splits:
            member = self.fit(rows, held_out)
            logs.append(self.log_probabilities(member, held_out))
        return np.concatenate(logs), (member,)

    @abstractmethod
    def log_probabilities(self, member: Member, rows: np.ndarray) -> np.ndarray:
        """Log-probabilities (n, classes) of a fitted member for documents of the corpus."""


class LinearRung(Rung):
    """A linear member over n-grams.

    Args:
        name: Its name in reports.
        fit: Fits the member to labelled documents, given those that it is judged on next; both are rows.
        documents: The words of all documents.
        names: Rows of the classes' names, from which it always learns, too.
    """

    kind = Kind.WORDS

    def __init__(
        self,
        name: str,
        fit: Callable[[np.ndarray, np.ndarray], LinearMember],
        documents: DocumentWords,
        names: np.ndarray = NO_ROWS,
    ) -> None:
        self.name = name
        self._fit = fit
        self._documents = documents
        self._names = names

    def fit(self, rows: np.ndarray, held_out: np.ndarray) -> Member:
        """Fit to the labelled documents `rows`; see `Rung.fit`."""
        return self._fit(np.concatenate([rows, self._names]), held_out)

    def log_probabilities(self, member: Member, rows: np.ndarray) -> np.ndarray:
        """Log-probabilities (n, classes) of a fitted member for documents of the corpus."""
        assert isinstance(member, LinearMember)
        places = word_places(self._documents.words, member.words)
        return member.log_probabilities(self._documents.sequence.select(rows).renumber(places))


class LabelledVectors:
    """Document vectors of the labelled documents, of words or of characters, and the setting of their regression.

    The setting is chosen once, on all labelled documents, and taken in every fold: it leaks little of the labels, since
    it is only a strength and two scales.

    Args:
        vectors: The document vectors.
        without: Learns them from the text without some documents. Vectors learned from little text fit each of its
            documents so well that those held out must not be part of it. None takes the same vectors in every fold.
        labelled: Labelled rows to learn from.
        labels: (documents,) int, the class of each; any number for those without.
        classes: Number of classes.
        class_weights: (classes,) weight of a document of each class; None for equal ones.
        names: Rows of the classes' names, which may be fitted to, too.
    """

    def __init__(
        self,
        vectors: DocumentVectors,
        without: Callable[[np.ndarray], DocumentVectors] | None,
        labelled: np.ndarray,
        labels: np.ndarray,
        classes: int,
        class_weights: Sequence[float] | None = None,
        names: np.ndarray = NO_ROWS,
    ) -> None:
        self._vectors = vectors
        self._without = without
        self._labelled = np.sort(labelled)
        self._rows = np.union1d(labelled, names)
        self._labels = labels
        self._classes = classes
        self._class_weights = class_weights
        self._learn = functools.cache(self._learn_without)

    @functools.cached_property
    def setting(self) -> VectorSetting:
        """Setting of the regression."""
        labels = self._labels[self._labelled]
        places = np.searchsorted(self._rows, self._labelled)
        known = [self._vectors_for(self._labelled[held_out])[1][places] for _, held_out in held_out_folds(labels)]
        return self._vectors.choose(known, labels, self._classes, self._class_weights)

    def fit(self, rows: np.ndarray, held_out: np.ndarray) -> LinearMember:
        """Fit to some of the labelled documents, and to names if they are among `rows`; see `Rung.fit`."""
        vectors, known = self._vectors_for(held_out)
        return vectors.fit(
            known[np.searchsorted(self._rows, rows)],
            self._labels[rows],
            self._classes,
            self.setting,
            class_weights=self._class_weights,
        )

    def _vectors_for(self, held_out: np.ndarray) -> tuple[DocumentVectors, np.ndarray]:
        """Vectors learned without held-out documents where that matters, and (n, d) of the labelled ones and names."""
        left_out = np.intersect1d(held_out, self._labelled)  # validation documents are not part of the text anyway
        return self._learn(() if self._without is None else tuple(left_out.tolist()))

    def _learn_without(self, left_out: tuple[int, ...]) -> tuple[DocumentVectors, np.ndarray]:
        vectors = self._without(np.array(left_out)) if self._without is not None and left_out else self._vectors
        return vectors, vectors.vectors(self._rows)


def linear_rungs(
    documents: Sequence[DocumentWords],
    vectors: Sequence[LabelledVectors],
    labels: np.ndarray,
    classes: int,
    labelled: np.ndarray,
    class_weights: Sequence[float] | None = None,
    names: np.ndarray = NO_ROWS,
) -> list[Rung]:
    """The linear rungs, simplest first.

    Strengths are chosen once for all folds, as in `LabelledVectors`.

    Args:
        documents: The words of all documents, and their characters if they are used.
        vectors: The document vectors of each.
        labels: (documents,) int, the class of each; any number for those without.
        classes: Number of classes.
        labelled: Labelled rows to learn from.
        class_weights: (classes,) weight of a document of each class; None for equal ones.
        names: Rows of the classes' names, from which all but the first learn, too.
    """
    labelled = np.sort(labelled)

    def sparse(
        name: str, fit: Callable[..., tuple[LinearMember, float]], read: DocumentWords, names: np.ndarray = names
    ) -> Rung:
        @functools.cache
        def fit_to_all() -> tuple[LinearMember, float]:
            return fit(read, labelled, labels[labelled], classes, class_weights=class_weights)

        def fit_member(rows: np.ndarray, held_out: np.ndarray) -> LinearMember:
            member, strength = fit_to_all()
            if np.array_equal(rows, labelled):
                return member
            return fit(read, rows, labels[rows], classes, (strength,), class_weights)[0]

        return LinearRung(read.name(name), fit_member, read, names)

    def dense(known: LabelledVectors, read: DocumentWords) -> Rung:
        return LinearRung(read.name("document vectors"), known.fit, read, names)

    return [
        sparse("TF-IDF", fit_tfidf, documents[0], NO_ROWS),
        *(sparse("TF-IDF", fit_tfidf, read) for read in documents[1:]),
        sparse("NB-SVM", fit_nb_svm, documents[0]),
        *(dense(known, read) for known, read in zip(vectors, documents, strict=True)),
    ]


class Teacher:
    """Co-training, done once for each choice of labels.

    Args:
        co_training: Trains the members.
        vectors: The document vectors of each view, with their setting.
        labels: (documents,) int, the class of each; any number for those without.
        class_weights: (classes,) weight of a document of each class; None for equal ones.
        names: Rows of the classes' names, which are given with the labels.
    """

    def __init__(
        self,
        co_training: CoTraining,
        vectors: Sequence[LabelledVectors],
        labels: np.ndarray,
        class_weights: Sequence[float] | None = None,
        names: np.ndarray = NO_ROWS,
    ) -> None:
        self._co_training = co_training
        self._vectors = tuple(vectors)
        self._labels = labels
        self._class_weights = class_weights
        self._names = names
        self._train = functools.lru_cache(maxsize=_KEPT_TRAININGS)(self._train_rows)

    @property
    def rows(self) -> np.ndarray:
        """The documents that may be labelled."""
        return self._co_training.rows

    def __call__(self, rows: np.ndarray, held_out: np.ndarray) -> CoTrained:
        """Train on the labels of `rows`; nobody labels the documents `held_out`."""
        return self._train(tuple(rows.tolist()), tuple(held_out.tolist()))

    def _train_rows(self, rows: tuple[int, ...], held_out: tuple[int, ...]) -> CoTrained:
        chosen = np.concatenate([np.array(rows), self._names])
        judged = np.array(held_out, dtype=np.int64)
        settings = [known.setting for known in self._vectors]
        return self._co_training.fit(chosen, self._labels[chosen], judged, settings, self._class_weights)


def co_trained_rungs(documents: Sequence[DocumentWords], teacher: Teacher) -> list[Rung]:
    """The rungs of co-training, which is done once for all of them.

    Args:
        documents: The words of all documents, and their characters if they are used.
        teacher: Trains the members.
    """

    def vectors(view: int, read: DocumentWords) -> Rung:
        name = co_trained_name(read.name("document vectors"))
        return LinearRung(name, lambda *parts: teacher(*parts).vectors[view], read)

    return [
        *(vectors(view, read) for view, read in enumerate(documents)),
        LinearRung("co-trained NB-SVM", lambda *parts: teacher(*parts).nb_svm, documents[0]),
    ]


class FeatureRung(Rung):
    """A softmax regression on the features of language models, which are computed once.

    Args:
        language_models: The language models, forward first.
        document: Returns the token ids of a document, in the language models' vocabulary.
        labels: (documents,) int, the class of each; any number for those without.
        labelled: Documents that the member is ever fitted to.
        judged: Documents that it is ever judged on.
        classes: Number of classes.
        class_weights: (classes,) weight of a document of each class; None for equal ones.
        names: Rows of the classes' names, from which it always learns, too.
    """

    name = "language model features"
    kind = Kind.FEATURES

    def __init__(
        self,
        language_models: Sequence[LanguageModelParts],
        document: Callable[[int], np.ndarray],
        labels: np.ndarray,
        labelled: np.ndarray,
        judged: np.ndarray,
        classes: int,
        class_weights: Sequence[float] | None = None,
        names: np.ndarray = NO_ROWS,
    ) -> None:
        self._language_models = tuple(language_models)
        self._document = document
        self._labels = labels
        self._labelled = labelled
        self._names = names
        self._texts = np.union1d(labelled, judged)
        self._rows = np.union1d(self._texts, names)
        self._classes = classes
        self._class_weights = class_weights

    def fit(self, rows: np.ndarray, held_out: np.ndarray) -> Member:
        """Fit to the labelled documents `rows`."""
        rows = np.concatenate([rows, self._names])
        features = self._of(rows)
        mean, scale = self._scale
        labels = self._labels[rows]
        weights, intercept = fit_logistic(
            (features - mean) * scale, labels, self._classes, self._strength, _FEATURE_TOLERANCE, self._class_weights
        )
        weights = weights * scale[:, None]
        return FeatureParts(
            self._language_models, weights.astype(np.float32), (intercept - mean @ weights).astype(np.float32)
        )

    def log_probabilities(self, member: Member, rows: np.ndarray) -> np.ndarray:
        """Log-probabilities (n, classes) of a fitted member for documents of the corpus."""
        assert isinstance(member, FeatureParts)
        return feature_log_probabilities(member, self._of(rows))

    @functools.cached_property
    def _features(self) -> np.ndarray:
        documents = [self._document(row) for row in self._rows]
        return language_model_features(self._language_models, documents)

    @functools.cached_property
    def _scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and inverse standard deviation of each feature; 0 for one that does not vary."""
        features = self._of(self._texts)
        mean, spread = features.mean(axis=0), features.std(axis=0)
        return mean, np.where(spread > 1e-6, 1.0 / np.maximum(spread, 1e-6), 0.0)

    @functools.cached_property
    def _strength(self) -> float:
        """Strength of the regression in all folds."""
        mean, scale = self._scale
        standard = (self._of(self._labelled) - mean) * scale
        labels = self._labels[self._labelled]
        return choose_setting(
            _FEATURE_STRENGTHS,
            lambda *_: standard,
            lambda strength: strength,
            labels,
            self._classes,
            _FEATURE_TOLERANCE,
            self._class_weights,
        )

    def _of(self, rows: np.ndarray) -> np.ndarray:
        return self._features[np.searchsorted(self._rows, rows)]


class _NetworksRung(Rung):
    """Classifiers that are networks, trained on documents of a corpus."""

    kind = Kind.NETWORK

    def __init__(self, corpus: EncodedCorpus) -> None:
        self._corpus = corpus

    def log_probabilities(self, member: Member, rows: np.ndarray) -> np.ndarray:
        """Log-probabilities (n, classes) of a trained classifier for documents of the corpus."""
        assert isinstance(member, ClassifierParts)
        return network_log_probabilities(member, [self._corpus.document(row) for row in rows])


class NetworkRung(_NetworksRung):
    """A classifier fine-tuned from a language model.

    Args:
        language_model: The language model.
        train: Trains a classifier from it on some rows, judged on others, under a name of its own.
        corpus: The documents.
        refits: See `Rung`.
    """

    def __init__(
        self,
        language_model: LanguageModelParts,
        train: Callable[[LanguageModelParts, np.ndarray, np.ndarray, str], ClassifierParts],
        corpus: EncodedCorpus,
        refits: bool,
    ) -> None:
        self.name = f"fine-tuned {language_model.direction}"
        self.refits = refits
        self._language_model = language_model
        self._train = train
        super().__init__(corpus)
        self._trainings = 0

    def fit(self, rows: np.ndarray, held_out: np.ndarray) -> Member:
        """Train on the labelled documents `rows`, validated on `held_out` if there are any."""
        self._trainings += 1
        trained = self._train(
            self._language_model, rows, held_out, f"{self._language_model.direction}-{self._trainings}"
        )
        assert member_name(trained) == self.name
        return trained


class StudentRung(_NetworksRung):
    """Two networks, taught by co-trained members on documents without labels.

    Each half of the labels teaches one network, which is judged on the other half: both are kept as they are, and
    judging costs no further training. With a pair of language models one network reads forward and the other backward.

    Args:
        language_models: The language models to start from.
        train: Trains a classifier on some rows, validated on others, under a name of its own, to soft targets.
        corpus: The documents.
        teacher: Co-training.
        classes: Number of classes.

    Source: self-training with soft labels on the surest documents: Xie et al. 2020, arXiv:1911.04252, section 2.
    """

    name = "self-trained"
    refits = False

    def __init__(
        self,
        language_models: Sequence[LanguageModelParts],
        train: Callable[[LanguageModelParts, np.ndarray, np.ndarray, str, np.ndarray], ClassifierParts],
        corpus: EncodedCorpus,
        teacher: Teacher,
        classes: int,
    ) -> None:
        self._language_models = tuple(language_models)
        self._train = train
        super().__init__(corpus)
        self._teacher = teacher
        self._classes = classes

    def fit(self, rows: np.ndarray, held_out: np.ndarray) -> Member:
        """Train the forward network on what the labels of `rows` teach."""
        return self._teach(self._language_models[0], rows, held_out, "1")

    def judge(self, splits: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, tuple[Member, ...]]:
        """Train a network on what each half of the labels teaches, and judge it on the other half; see `Rung.judge`."""
        held_out = np.concatenate([judged for _, judged in splits])
        labels = self._corpus.labels(held_out)
        is_first = np.zeros(len(held_out), dtype=bool)
        is_first[np.argsort(labels, kind="stable")[::2]] = True  # both halves have the classes in proportion
        logs = np.empty((len(held_out), self._classes))
        members = []
        for number, chosen in enumerate((is_first, ~is_first)):
            language_model = self._language_models[number % len(self._language_models)]
            member = self._teach(language_model, held_out[chosen], held_out[~chosen], str(number + 1))
            logs[~chosen] = self.log_probabilities(member, held_out[~chosen])
            members.append(member)
        return logs, tuple(members)

    def _teach(
        self, language_model: LanguageModelParts, rows: np.ndarray, held_out: np.ndarray, name: str
    ) -> ClassifierParts:
        """Train a network on the documents that the teacher is surest of, and on the given ones."""
        labels = self._corpus.labels(rows)
        taught = self._teacher(rows, held_out)
        is_text = self._teacher.rows < len(self._corpus)  # rather than the name of a class
        is_free = is_text & ~np.isin(self._teacher.rows, np.concatenate([rows, held_out]))
        shares = np.bincount(labels, minlength=self._classes) / len(labels)
        places, _ = surest(taught.log_probabilities, is_free, shares, _SURE_SHARE)
        sure = self._teacher.rows[places]
        targets = np.zeros((len(self._corpus), self._classes), dtype=np.float32)
        targets[sure] = np.exp(taught.log_probabilities[places])
        targets[rows] = np.eye(self._classes, dtype=np.float32)[labels]
        repeats = max(1, round(GIVEN_SHARE * len(sure) / len(rows)))
        return self._train(
            language_model, np.concatenate([np.repeat(rows, repeats), sure]), held_out, f"taught-{name}", targets
        )
