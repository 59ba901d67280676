"""Predictions of a fine-tuned network, or of a forward and backward pair."""

from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp

from ulmkit.errors import ConfigError
from ulmkit.evaluation import scaled_log_probabilities
from ulmkit.explain import ClassifierPath, MeanProbability, Predict, WeightedSum
from ulmkit.hub import ClassifierParts
from ulmkit.pipeline.data import prepare
from ulmkit.pipeline.evaluation_data import EvaluationData
from ulmkit.pipeline.network_members import network_log_probabilities
from ulmkit.pipeline.network_path import NetworkPath
from ulmkit.pipeline.prediction import predict_backward, predict_outputs, predict_rows
from ulmkit.tasks import Outputs
from ulmkit.text import Text


class NetworkPredictor:
    """Predicts with a fine-tuned network, or with the mean of a pair.

    Args:
        networks: The network, or the forward and the backward one, which may have tokenizers of their own.
    """

    def __init__(self, networks: Sequence[ClassifierParts]) -> None:
        self._networks = tuple(networks)

    def predict_texts(self, texts: Sequence[Text]) -> Outputs:
        """Predict for texts; see `predict_outputs`."""
        return self._combine([_predict_texts(parts, texts) for parts in self._networks])

    def predict_labelled(self, selected: EvaluationData) -> Outputs:
        """Predict for the labelled documents of evaluation data; see `predict_rows`."""
        rows = selected.rows(labelled=True)
        outputs = []
        for parts in self._networks:
            corpus = selected.corpus
            if parts.vocabulary != corpus.vocabulary or parts.tokenizer.fingerprint != corpus.tokenizer.fingerprint:
                corpus = prepare(
                    selected.data,
                    selected.options,
                    task=parts.task.name,
                    tokenizer=parts.tokenizer,
                    vocabulary=parts.vocabulary,
                    label_names=parts.label_names,
                )
            outputs.append(predict_rows(parts.model, corpus, rows, reverse=parts.direction == "backward"))
        return self._combine(outputs)

    def predict_kept(self, tokens: Sequence[str]) -> Predict:
        """Return a function that predicts for a text of which some tokens are kept.

        Args:
            tokens: The tokens of the text, in its order.

        Raises:
            ConfigError: If the networks of a pair have different tokenizers.
        """
        documents = self._encode(tokens)
        temperature = self._networks[0].temperature if len(self._networks) == 1 else 1.0

        def predict(kept: Sequence[np.ndarray]) -> np.ndarray:
            logs = [
                network_log_probabilities(parts, [document[places] for places in kept])
                for parts, document in zip(self._networks, documents, strict=True)
            ]
            scaled = [scaled_log_probabilities(each, temperature) for each in logs]
            return np.asarray(logsumexp(scaled, axis=0) - np.log(len(scaled)))

        return predict

    def path(self, tokens: Sequence[str], is_word: np.ndarray) -> ClassifierPath:
        """Put the classifier between a text without words and a text, for integrated gradients.

        Args:
            tokens: The tokens of the text, in its order.
            is_word: (tokens,) bool, those that belong to words.

        Raises:
            ConfigError: If the networks of a pair have different tokenizers.
        """
        members = [
            NetworkPath(parts, document, is_word)
            for parts, document in zip(self._networks, self._encode(tokens), strict=True)
        ]
        if len(members) > 1:
            return ClassifierPath(members, MeanProbability())
        return ClassifierPath(members, WeightedSum(np.array([1.0 / self._networks[0].temperature])))

    def _encode(self, tokens: Sequence[str]) -> list[np.ndarray]:
        """Token ids of a text, (T,) int64, for each network."""
        if len({parts.tokenizer.fingerprint for parts in self._networks}) > 1:
            raise ConfigError("explain: expected a pair of one tokenizer, got two; load one of its folders")
        return [parts.vocabulary.encode(tokens).astype(np.int64) for parts in self._networks]

    def _combine(self, outputs: Sequence[Outputs]) -> Outputs:
        """Mean of the predictions of a pair, or those of one network, calibrated."""
        if len(outputs) == 1:
            return self._networks[0].calibrated(outputs[0])
        if isinstance(outputs[0], list):
            return [np.mean(both, axis=0) for both in zip(*outputs, strict=True)]
        return np.asarray(np.mean(outputs, axis=0))


def _predict_texts(parts: ClassifierParts, texts: Sequence[Text]) -> Outputs:
    tokens, boundaries, words = parts.task.tokenize(parts.tokenizer, texts)
    documents = [parts.vocabulary.encode(each).astype(np.int64) for each in tokens]
    if parts.direction == "backward":
        return predict_backward(parts.model, documents, boundaries, words, bos_id=parts.vocabulary.bos_id)
    return predict_outputs(parts.model, documents, boundaries, words)
