"""Predictions of ensembles and of their members."""

from collections.abc import Sequence

import numpy as np

from ulmkit.evaluation.metrics import SMALLEST_PROBABILITY
from ulmkit.hub import ClassifierParts, EnsembleParts, FeatureParts, LanguageModelParts, Member
from ulmkit.members.linear import LinearMember, class_log_probabilities
from ulmkit.pipeline.prediction import embed_documents, evaluate_rows, predict_backward, predict_outputs
from ulmkit.tasks import Report
from ulmkit.text import EncodedCorpus
from ulmkit.text.corpus.token_stream import reverse_document
from ulmkit.text.words import WordReader, word_places


class EnsemblePredictor:
    """Predicts with the members of an ensemble.

    Args:
        parts: The ensemble.
    """

    def __init__(self, parts: EnsembleParts) -> None:
        self._parts = parts
        linear = [member for member in parts.members if isinstance(member, LinearMember)]
        self._readers: dict[bool, WordReader] = {}
        self._places: dict[int, np.ndarray] = {}
        for joins_tokens in {member.joins_tokens for member in linear}:
            alike = [member for member in linear if member.joins_tokens == joins_tokens]
            words = list(dict.fromkeys(word for member in alike for word in member.words))
            self._readers[joins_tokens] = WordReader(
                parts.tokenizer, parts.vocabulary, joins_tokens=joins_tokens, words=words
            )
            for member in alike:
                self._places[id(member)] = word_places(words, member.words)

    def __call__(self, documents: Sequence[np.ndarray]) -> np.ndarray:
        """Predict for documents; each prediction is what it would be for that document alone.

        Args:
            documents: (T,) token ids of each document, in the order of the text.

        Returns:
            (n, classes) float32 probabilities.
        """
        if not len(documents):
            return np.empty((0, len(self._parts.label_names)), dtype=np.float32)
        return np.exp(self._parts.combiner(self.log_probabilities(documents))).astype(np.float32)

    def log_probabilities(self, documents: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Log-probabilities of each member, (n, classes) float64, for at least one document as above."""
        sequences = {joins: reader.read_many(documents) for joins, reader in self._readers.items()}
        logs = []
        for member in self._parts.members:
            if isinstance(member, LinearMember):
                words = sequences[member.joins_tokens].renumber(self._places[id(member)])
                logs.append(member.log_probabilities(words))
            else:
                logs.append(network_log_probabilities(member, documents))
        return logs


def evaluate_classifier(parts: ClassifierParts | EnsembleParts, corpus: EncodedCorpus, rows: np.ndarray) -> Report:
    """Evaluate a classifier on labelled documents of a corpus in its vocabulary."""
    if isinstance(parts, EnsembleParts):
        outputs = EnsemblePredictor(parts)([corpus.document(row) for row in rows])
        return parts.task.report(outputs, corpus, rows)
    return evaluate_rows(parts.model, corpus, rows, reverse=parts.direction == "backward")


def network_log_probabilities(member: ClassifierParts | FeatureParts, documents: Sequence[np.ndarray]) -> np.ndarray:
    """Log-probabilities of a member that is made of networks.

    Args:
        member: The member.
        documents: (T,) token ids of each document, in the order of the text.

    Returns:
        (n, classes) float64.
    """
    if isinstance(member, FeatureParts):
        scores = language_model_features(member.language_models, documents) @ member.coefficients + member.intercept
        return class_log_probabilities(scores.astype(np.float64))
    if member.direction == "backward":
        outputs = predict_backward(member.model, documents, bos_id=member.vocabulary.bos_id)
    else:
        outputs = predict_outputs(member.model, documents)
    return np.log(np.maximum(np.asarray(outputs, dtype=np.float64), SMALLEST_PROBABILITY))


def language_model_features(
    language_models: Sequence[LanguageModelParts], documents: Sequence[np.ndarray]
) -> np.ndarray:
    """Features of documents from several language models, side by side; see `embed_documents`.

    Args:
        language_models: The language models.
        documents: (T,) token ids of each document, in the order of the text.

    Returns:
        (n, F) float32.
    """
    features = []
    for parts in language_models:
        ordered = documents
        if parts.direction == "backward":
            ordered = [reverse_document(document, parts.vocabulary.bos_id) for document in documents]
        features.append(embed_documents(parts.model.encoder, ordered))
    return np.hstack(features)


def networks(members: Sequence[Member]) -> list[ClassifierParts | LanguageModelParts]:
    """The networks among members, language models whose features are read included."""
    found: list[ClassifierParts | LanguageModelParts] = []
    for member in members:
        if isinstance(member, FeatureParts):
            found += member.language_models
        elif isinstance(member, ClassifierParts):
            found.append(member)
    return found
