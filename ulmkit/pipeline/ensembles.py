"""Predictions of ensembles and of their linear members. Imports without torch, which other members import."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ulmkit.explain import ClassifierPath, MemberPath, Predict, WeightedSum
from ulmkit.hub import ClassifierParts, EnsembleParts, FeatureParts, LanguageModelParts, Member, TrainingFacts
from ulmkit.members.combiner import Combiner
from ulmkit.members.linear import LinearMember
from ulmkit.pipeline.evaluation_data import EvaluationData
from ulmkit.pipeline.linear_path import LinearPath
from ulmkit.tasks import Report, find_task
from ulmkit.text import EncodedCorpus, Text
from ulmkit.text.words import UNITS, WordReader, WordSequence, join_words, word_places


class LinearMembers:
    """Linear members of an ensemble that read words alike.

    Args:
        members: The members, at least one.
        parts: The ensemble.

    Attributes:
        members: The members.
        reader: Reads the words that any of them knows.
    """

    def __init__(self, members: Sequence[LinearMember], parts: EnsembleParts) -> None:
        self.members = tuple(members)
        words = tuple(dict.fromkeys(word for member in members for word in member.words))
        first = members[0]
        self.reader = WordReader(
            parts.tokenizer, parts.vocabulary, joins_tokens=first.joins_tokens, unit=first.unit, words=words
        )
        self._places = [word_places(words, member.words) for member in members]

    def counts(self, words: WordSequence) -> list[Any]:
        """Counts of each member's n-grams, (documents, features) csr_array, in words that the reader has read."""
        return [
            member.ngrams.counts(words.renumber(places))
            for member, places in zip(self.members, self._places, strict=True)
        ]

    def paths(self, document: np.ndarray, is_word: np.ndarray) -> list[LinearPath]:
        """Put each member between a document, (T,) int64, and one without the tokens that `is_word` (T,) names."""
        ids, owners = self.reader.read_places(document)
        words = join_words([ids])
        return [
            LinearPath(member, words.renumber(places), owners, is_word)
            for member, places in zip(self.members, self._places, strict=True)
        ]

    def classify(self, counts: Sequence[Any]) -> list[np.ndarray]:
        """Log-probabilities of each member, (documents, classes) float64, for its counts."""
        return [member.classify(each) for member, each in zip(self.members, counts, strict=True)]

    def know(self, counts: Sequence[Any]) -> np.ndarray:
        """Tell which documents have an n-gram that a member knows, (documents,) bool."""
        return np.any([np.diff(each.indptr) > 0 for each in counts], axis=0)


class EnsemblePredictor:
    """Predicts with the members of an ensemble.

    Args:
        parts: The ensemble.

    Attributes:
        parts: The ensemble.
        linear: Its linear members, by the way they read words.
        networks: Its other members, each once.
    """

    def __init__(self, parts: EnsembleParts) -> None:
        self.parts = parts
        linear: dict[tuple[bool, str], list[LinearMember]] = {}
        networks: dict[int, ClassifierParts | FeatureParts] = {}
        for member in parts.members:
            if isinstance(member, LinearMember):
                linear.setdefault((member.joins_tokens, member.unit), []).append(member)
            else:
                networks[id(member)] = member
        self.linear = [LinearMembers(members, parts) for members in linear.values()]
        self.networks = list(networks.values())

    def __call__(self, documents: Sequence[np.ndarray]) -> np.ndarray:
        """Predict for documents; each prediction is what it would be for that document alone.

        Args:
            documents: (T,) token ids of each document, in the order of the text.

        Returns:
            (n, classes) float32 probabilities.
        """
        if not len(documents):
            return np.empty((0, len(self.parts.label_names)), dtype=np.float32)
        return np.exp(self._predict(documents)).astype(np.float32)

    def predict_texts(self, texts: Sequence[Text]) -> np.ndarray:
        """Predict for texts; see `__call__`."""
        tokens = self.parts.task.tokenize(self.parts.tokenizer, texts).tokens
        return self([self.parts.vocabulary.encode(each) for each in tokens])

    def predict_labelled(self, selected: EvaluationData) -> np.ndarray:
        """Predict for the labelled documents of evaluation data; see `__call__`."""
        return self([selected.corpus.document(row) for row in selected.rows(labelled=True)])

    def predict_kept(self, tokens: Sequence[str]) -> Predict:
        """Return a function that predicts for a text of which some tokens are kept.

        Args:
            tokens: The tokens of the text, in its order.
        """
        document = self.parts.vocabulary.encode(tokens)
        return lambda kept: self._predict([document[places] for places in kept])

    def path(self, tokens: Sequence[str], is_word: np.ndarray) -> ClassifierPath:
        """Put the ensemble between a text without words and a text, for integrated gradients.

        Args:
            tokens: The tokens of the text, in its order.
            is_word: (tokens,) bool, those that belong to words.
        """
        document = self.parts.vocabulary.encode(tokens)
        paths: dict[int, MemberPath] = {}
        for linear in self.linear:
            paths |= dict(zip(map(id, linear.members), linear.paths(document, is_word), strict=True))
        if self.networks:
            from ulmkit.pipeline.network_path import NetworkPath

            paths |= {id(member): NetworkPath(member, document, is_word) for member in self.networks}
        blend = WeightedSum(self.parts.combiner.weights, self.parts.combiner.bias)
        shares = self.parts.class_shares
        if shares is not None and not self.networks and not self._read([document])[1].any():  # see `combine`
            blend = WeightedSum(np.zeros(len(self.parts.members)), np.log(shares))
        return ClassifierPath([paths[id(member)] for member in self.parts.members], blend)

    def unknown_words(self, documents: Sequence[np.ndarray]) -> np.ndarray | None:
        """Share of the words of documents that no linear member knows, 0 without words.

        Args:
            documents: (T,) token ids of each document, in the order of the text.

        Returns:
            (n,) float64; the share of the n-grams of characters if all linear members read these; None if there are no
            linear members.
        """
        if not self.linear:
            return None
        reader = min(self.linear, key=lambda linear: UNITS.index(linear.reader.unit)).reader
        words = reader.read_many(documents)
        unknown = np.bincount(words.documents()[words.ids < 0], minlength=len(words))
        return np.asarray(unknown / np.maximum(np.diff(words.offsets), 1))

    def log_probabilities(self, documents: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Log-probabilities of each member, before they are combined.

        Args:
            documents: (T,) token ids of each document, in the order of the text; at least one.

        Returns:
            (n, classes) float64 for each member.
        """
        return self._read(documents)[0]

    def combine(self, logs: Sequence[np.ndarray], is_known: np.ndarray) -> np.ndarray:
        """Combine the members.

        Where linear members alone know nothing of a document, the answer is the share of each class among the
        documents that they learned from: what would be left is their constant terms, which are not fitted to that.

        Args:
            logs: (n, classes) log-probabilities of each member.
            is_known: (n,) bool, whether a linear member knows an n-gram of the document.

        Returns:
            (n, classes) log-probabilities.
        """
        combined = self.parts.combiner(logs)
        if self.parts.class_shares is not None and not self.networks:
            combined[~is_known] = np.log(self.parts.class_shares)
        return combined

    def _predict(self, documents: Sequence[np.ndarray]) -> np.ndarray:
        """Log-probabilities of the classes, (n, classes) float64, of at least one document."""
        return self.combine(*self._read(documents))

    def _read(self, documents: Sequence[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray]:
        """Read documents, at least one: log-probabilities of each member, and what `combine` calls `is_known`."""
        logs: dict[int, np.ndarray] = {}
        is_known = np.zeros(len(documents), dtype=bool)
        for linear in self.linear:
            counts = linear.counts(linear.reader.read_many(documents))
            is_known |= linear.know(counts)
            logs |= dict(zip(map(id, linear.members), linear.classify(counts), strict=True))
        if self.networks:
            from ulmkit.pipeline.network_members import network_log_probabilities

            logs |= {id(member): network_log_probabilities(member, documents) for member in self.networks}
        return [logs[id(member)] for member in self.parts.members], is_known


def make_ensemble(
    corpus: EncodedCorpus, members: Sequence[Member], combiner: Combiner, class_shares: np.ndarray | None = None
) -> EnsembleParts:
    """Make a classifier of members that were fitted to a corpus, of its task, labels and vocabulary."""
    return EnsembleParts(
        find_task(corpus.task),
        corpus.vocabulary,
        corpus.tokenizer,
        corpus.label_names,
        tuple(members),
        combiner,
        TrainingFacts(),
        class_shares=class_shares,
    )


def evaluate_classifier(parts: ClassifierParts | EnsembleParts, corpus: EncodedCorpus, rows: np.ndarray) -> Report:
    """Evaluate a classifier on labelled documents of a corpus in its vocabulary."""
    if isinstance(parts, EnsembleParts):
        outputs = EnsemblePredictor(parts)([corpus.document(row) for row in rows])
        return parts.task.report(outputs, corpus, rows)
    from ulmkit.pipeline.prediction import evaluate_rows

    return evaluate_rows(parts.model, corpus, rows, reverse=parts.direction == "backward")


def networks(members: Sequence[Member]) -> list[ClassifierParts | LanguageModelParts]:
    """The networks among members, language models whose features are read included."""
    network_parts: list[ClassifierParts | LanguageModelParts] = []
    for member in members:
        if isinstance(member, FeatureParts):
            network_parts += member.language_models
        elif isinstance(member, ClassifierParts):
            network_parts.append(member)
    return network_parts
