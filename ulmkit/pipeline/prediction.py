"""Predictions and features for many documents, in batches of similar length."""

from collections.abc import Sequence

import numpy as np
import torch

from ulmkit.errors import DataError
from ulmkit.model.awd_lstm import Encoder
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.config import feature_count
from ulmkit.model.document_features import document_features
from ulmkit.model.heads import IGNORED_LABEL
from ulmkit.pipeline.document_progress import documents_read
from ulmkit.tasks import Outputs, Report, find_task
from ulmkit.text import EncodedCorpus
from ulmkit.text.batches import pad_columns
from ulmkit.text.corpus.token_stream import reverse_document

_BATCH_TOKENS = 32_768
_BATCH_DOCUMENTS = 256


def predict_outputs(
    model: AWDLSTMClassifier,
    documents: Sequence[np.ndarray],
    boundaries: Sequence[int] | np.ndarray | None = None,
    words: Sequence[np.ndarray] | None = None,
) -> Outputs:
    """Predict for documents; each prediction is what it would be for that document alone.

    Args:
        model: A classifier.
        documents: (T,) token ids of each document.
        boundaries: For pairs, the position at which the second text of each begins.
        words: For a label per word, (words,) position of the last token of each word, for each document.

    Returns:
        Predictions in the order of the documents, see `Outputs`; for no documents an array with n = 0.

    Raises:
        DataError: If words are missing for a label per word, or given otherwise.
    """
    head = model.head
    if (words is not None) != head.per_token:
        got = "none" if words is None else f"them for a {type(head).__name__}"
        raise DataError(f"words: expected the positions of words for token labels alone, got {got}")
    lengths = np.array([len(document) for document in documents], dtype=np.int64)
    results: dict[int, np.ndarray] = {}
    device, was_training = model.encoder.device, model.training
    model.eval()
    with torch.no_grad():
        prepared = model.encoder.prepare(1)
        for rows in _batches(lengths):
            ids = torch.from_numpy(pad_columns([documents[row] for row in rows]))
            batch_lengths = torch.from_numpy(lengths[rows])
            starts = None if boundaries is None else torch.tensor([int(boundaries[row]) for row in rows], device=device)
            outputs = model(ids.to(device), batch_lengths, starts, prepared)
            predictions = head.predict(outputs.float()).cpu().numpy()
            for column, row in enumerate(rows):
                results[row] = predictions[column] if words is None else predictions[words[row], column]
            documents_read(len(rows))
    model.train(was_training)
    in_order = [results[row] for row in range(len(documents))]
    if words is not None:
        return in_order
    return np.array(in_order, dtype=np.float32).reshape(len(documents), *head.output_shape)


def predict_backward(
    model: AWDLSTMClassifier,
    documents: Sequence[np.ndarray],
    boundaries: Sequence[int] | np.ndarray | None = None,
    words: Sequence[np.ndarray] | None = None,
    *,
    bos_id: int | None,
) -> Outputs:
    """Predict with a backward model, which reads documents from their end, xxbos still first.

    Args:
        model: A backward classifier.
        documents: (T,) token ids of each document, in the order of the text.
        boundaries: For pairs, the position at which the second text of each begins, in the order of the text.
        words: For a label per word, (words,) position of the last token of each word, for each document.
        bos_id: Id of xxbos, if the vocabulary has it.

    Returns:
        See `predict_outputs`; labels of words are in the order of the text too.
    """
    if boundaries is not None:
        boundaries = [len(document) - start + 1 for document, start in zip(documents, boundaries, strict=True)]
    if words is not None:
        words = [_reversed_places(*each, bos_id) for each in zip(documents, words, strict=True)]
    return predict_outputs(model, [reverse_document(document, bos_id) for document in documents], boundaries, words)


def predict_rows(
    model: AWDLSTMClassifier, corpus: EncodedCorpus, rows: Sequence[int] | np.ndarray, *, reverse: bool = False
) -> Outputs:
    """Predict for documents of a corpus; with a label per word, for their labelled words.

    Args:
        model: A classifier.
        corpus: The documents, in the classifier's vocabulary.
        rows: (n,) rows of the corpus.
        reverse: Whether the classifier reads backward.

    Returns:
        See `predict_outputs`.
    """
    documents = [corpus.document(row) for row in rows]
    boundaries = words = None
    if model.head.per_token:
        words = [np.flatnonzero(corpus.token_labels(row) != IGNORED_LABEL) for row in rows]
    if model.head.reads_pairs:
        boundaries = np.asarray(corpus.table["boundary"][np.asarray(rows, dtype=np.int64)], dtype=np.int64)
    if reverse:
        return predict_backward(model, documents, boundaries, words, bos_id=corpus.vocabulary.bos_id)
    return predict_outputs(model, documents, boundaries, words)


def embed_documents(encoder: Encoder, documents: Sequence[np.ndarray]) -> np.ndarray:
    """Compute the features of documents; see `document_features`.

    Args:
        encoder: An encoder.
        documents: (T,) token ids of each document, in the order in which the encoder reads.

    Returns:
        (n, F) float32 in the order of the documents; each row is what it would be for that document alone.
    """
    lengths = np.array([len(document) for document in documents], dtype=np.int64)
    features = np.zeros((len(documents), feature_count(encoder.config)), dtype=np.float32)
    was_training = encoder.training
    encoder.eval()
    for rows in _batches(lengths):
        ids = torch.from_numpy(pad_columns([documents[row] for row in rows])).to(encoder.device)
        features[rows] = document_features(encoder, ids, torch.from_numpy(lengths[rows])).cpu().numpy()
        documents_read(len(rows))
    encoder.train(was_training)
    return features


def evaluate_rows(
    model: AWDLSTMClassifier, corpus: EncodedCorpus, rows: np.ndarray, *, reverse: bool = False
) -> Report:
    """Evaluate a classifier on labelled documents of a corpus, which was prepared for its task; see `predict_rows`."""
    return find_task(corpus.task).report(predict_rows(model, corpus, rows, reverse=reverse), corpus, rows)


def _reversed_places(document: np.ndarray, places: np.ndarray, bos_id: int | None) -> np.ndarray:
    """Map positions in a document to positions in the reversed document."""
    is_first_kept = bos_id is not None and len(document) and document[0] == bos_id
    return reverse_document(np.arange(len(document)), 0 if is_first_kept else None)[places]


def _batches(lengths: np.ndarray) -> list[np.ndarray]:
    """Group rows into batches, longest first, each within the limits on tokens and documents."""
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        stop = start + max(1, min(_BATCH_DOCUMENTS, _BATCH_TOKENS // longest))
        batches.append(order[start:stop])
        start = stop
    return batches
