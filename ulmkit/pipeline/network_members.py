"""Predictions of the members of an ensemble that are made of networks."""

from collections.abc import Sequence

import numpy as np

from ulmkit.evaluation.metrics import SMALLEST_PROBABILITY
from ulmkit.hub import ClassifierParts, FeatureParts, LanguageModelParts
from ulmkit.members.linear import class_log_probabilities
from ulmkit.pipeline.prediction import embed_documents, predict_backward, predict_outputs
from ulmkit.tasks import Outputs
from ulmkit.text.corpus.token_stream import reverse_document


def network_log_probabilities(member: ClassifierParts | FeatureParts, documents: Sequence[np.ndarray]) -> np.ndarray:
    """Log-probabilities of a member that is made of networks.

    Args:
        member: The member.
        documents: (T,) token ids of each document, in the order of the text.

    Returns:
        (n, classes) float64.
    """
    if isinstance(member, FeatureParts):
        return feature_log_probabilities(member, language_model_features(member.language_models, documents))
    if member.direction == "backward":
        outputs = predict_backward(member.model, documents, bos_id=member.vocabulary.bos_id)
    else:
        outputs = predict_outputs(member.model, documents)
    return log_outputs(outputs)


def log_outputs(outputs: Outputs) -> np.ndarray:
    """Log-probabilities, float64, of probabilities that a network predicts."""
    return np.log(np.maximum(np.asarray(outputs, dtype=np.float64), SMALLEST_PROBABILITY))


def feature_log_probabilities(member: FeatureParts, features: np.ndarray) -> np.ndarray:
    """Log-probabilities of the classes, (n, classes) float64, for features (n, F) of its language models."""
    scores = features @ member.coefficients + member.intercept
    return class_log_probabilities(scores.astype(np.float64))


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
