"""Measures of texts for the comparison of new texts with those of the training; see `ulmkit.evaluation.drift`."""

import math
from collections.abc import Sequence

import numpy as np

from ulmkit.evaluation import TextMeasures, sample_rows
from ulmkit.hub import ClassifierParts, EnsembleParts, FeatureParts, LanguageModelParts
from ulmkit.pipeline.ensembles import EnsemblePredictor
from ulmkit.tasks import Outputs
from ulmkit.text import EncodedCorpus
from ulmkit.text.corpus.token_stream import reverse_document

MOST_TEXTS = 1000
"""Held-out texts that a model folder keeps measures of at most."""

MOST_TOKENS = 150_000
"""Tokens of them at most, since a language model reads each."""

_LEAST_TOKENS = 20_000
_DIGITS = 5


def measure_documents(
    parts: LanguageModelParts | ClassifierParts | EnsembleParts,
    documents: Sequence[np.ndarray],
    words: np.ndarray,
    characters: np.ndarray,
    outputs: Outputs | None,
    unknown_words: np.ndarray | None = None,
) -> TextMeasures:
    """Measure documents, as far as the model can; a measure that is not finite is left out.

    Args:
        parts: The model.
        documents: (T,) token ids of each document in the model's vocabulary, in the order of the text; at least one.
        words: (n,) words of each.
        characters: (n,) characters of each.
        outputs: (n, C) probabilities of a classifier with one label per document; None for other models.
        unknown_words: (n,) float64, see `EnsemblePredictor.unknown_words`; None for other models.
    """
    tokens = np.array([len(document) for document in documents])
    values = {"tokens_per_word": tokens / np.maximum(words, 1), "words": np.asarray(words, dtype=np.float64)}
    unk_id = parts.vocabulary.unk_id
    if unk_id is not None:
        unknown = np.array([np.count_nonzero(document == unk_id) for document in documents])
        values["unknown_rate"] = unknown / np.maximum(tokens, 1)
    if unknown_words is not None:
        values["unknown_words"] = unknown_words
    scorer = _language_model(parts)
    if scorer is not None:
        values["bits_per_character"] = _bits(scorer, documents) / np.maximum(characters, 1)
    predicted = None
    if outputs is not None:
        probabilities = np.asarray(outputs)
        predicted = probabilities.argmax(axis=1).astype(np.int64)
        values["confidence"] = probabilities.max(axis=1).astype(np.float64)
    finite = {name: column.round(_DIGITS) for name, column in values.items() if np.isfinite(column).all()}
    return TextMeasures(finite, predicted)


def measure_held_out(
    parts: LanguageModelParts | ClassifierParts | EnsembleParts, corpus: EncodedCorpus, most_tokens: int = MOST_TOKENS
) -> TextMeasures | None:
    """Measure validation texts of a training corpus, labelled or not; None if there are none.

    Args:
        parts: The trained model.
        corpus: The corpus, in the model's vocabulary.
        most_tokens: Tokens to read at most, but never fewer than 20,000.
    """
    if "valid" not in corpus.split_names or not len(corpus.rows("valid")):
        return None
    rows = np.random.default_rng(0).permutation(sample_rows(corpus.rows("valid"), MOST_TEXTS))
    is_within = np.cumsum(corpus.table["length"][rows]) <= min(MOST_TOKENS, max(_LEAST_TOKENS, most_tokens))
    rows = np.sort(rows[: max(1, int(is_within.sum()))])
    documents = [corpus.document(row) for row in rows]
    outputs: Outputs | None = None
    unknown_words = None
    if isinstance(parts, EnsembleParts):
        predictor = EnsemblePredictor(parts)
        outputs, unknown_words = predictor(documents), predictor.unknown_words(documents)
    elif isinstance(parts, ClassifierParts) and parts.task.is_one_class:
        from ulmkit.pipeline.prediction import predict_rows  # imports torch

        outputs = parts.calibrated(predict_rows(parts.model, corpus, rows, reverse=parts.direction == "backward"))
    words, characters = corpus.table["words"][rows], corpus.table["characters"][rows]
    return measure_documents(parts, documents, words, characters, outputs, unknown_words)


def _language_model(parts: LanguageModelParts | ClassifierParts | EnsembleParts) -> LanguageModelParts | None:
    """The language model that a model is or holds; None if there is none."""
    if isinstance(parts, LanguageModelParts):
        return parts
    members = parts.members if isinstance(parts, EnsembleParts) else ()
    return next((member.language_models[0] for member in members if isinstance(member, FeatureParts)), None)


def _bits(parts: LanguageModelParts, documents: Sequence[np.ndarray]) -> np.ndarray:
    """Bits of each document, (n,)."""
    from ulmkit.pipeline.language_model_evaluation import score_ids  # imports torch

    if parts.direction == "backward":
        documents = [reverse_document(document, parts.vocabulary.bos_id) for document in documents]
    return np.array([-score.log_probability / math.log(2.0) for score in score_ids(parts, documents)])
