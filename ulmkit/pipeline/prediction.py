"""What a classifier says of many documents, in batches of like length and without padding work."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.text.token_stream import reverse_document

_BATCH_TOKENS = 32_768
_BATCH_DOCUMENTS = 256

Outputs = np.ndarray | list[np.ndarray]
"""(n, C) probabilities (single, multi, pair), (n,) numbers, or for token labels a (T, C) array for each document."""


def predict_outputs(
    model: AWDLSTMClassifier,
    documents: Sequence[np.ndarray],
    boundaries: Sequence[int] | np.ndarray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Outputs:
    """The predictions for documents, in their order; each is what it would be for that document alone.

    Args:
        documents: (T,) token ids of each.
        boundaries: for pairs, where the second text of each begins.
        progress: called with documents done and in all.
    Returns: see `Outputs`; of no documents an array of its shape with n = 0.
    """
    lengths = np.array([len(document) for document in documents], dtype=np.int64)
    found: list[np.ndarray | None] = [None] * len(documents)
    done = 0
    device, was_training = model.encoder.device, model.training
    model.eval()
    with torch.no_grad():
        prepared = model.encoder.prepare(1)
        for rows in _batches(lengths):
            ids, batch_lengths = _padded([documents[row] for row in rows])
            starts = None if boundaries is None else torch.tensor([int(boundaries[row]) for row in rows], device=device)
            outputs = model(ids.to(device), batch_lengths, starts, prepared)
            for row, prediction in zip(rows, _each(model, outputs, batch_lengths), strict=True):
                found[row] = prediction
            done += len(rows)
            if progress is not None:
                progress(done, len(documents))
    model.train(was_training)
    predictions = [prediction for prediction in found if prediction is not None]
    head = model.head.config
    if head.kind == "tokens":
        return predictions
    shape = () if head.kind == "number" else (head.classes,)
    return np.array(predictions, dtype=np.float32).reshape(len(documents), *shape)


def predict_backward(
    model: AWDLSTMClassifier,
    documents: Sequence[np.ndarray],
    boundaries: Sequence[int] | np.ndarray | None = None,
    *,
    bos_id: int | None,
) -> Outputs:
    """What a backward model says of documents: it reads each from its end, xxbos (`bos_id`) still first.

    Args: documents, boundaries: as `predict_outputs`, in the order of the text.
    Returns: as `predict_outputs`; token labels are in the order of the text too.
    """
    if boundaries is not None:
        boundaries = [len(document) - start + 1 for document, start in zip(documents, boundaries, strict=True)]
    outputs = predict_outputs(model, [reverse_document(document, bos_id) for document in documents], boundaries)
    if not isinstance(outputs, list):
        return outputs
    places = [reverse_document(np.arange(len(document)), _first_place(document, bos_id)) for document in documents]
    return [output[place] for output, place in zip(outputs, places, strict=True)]


def _first_place(document: np.ndarray, bos_id: int | None) -> int | None:
    """0, a document's first place, if its xxbos is there; None if it begins otherwise."""
    return 0 if bos_id is not None and len(document) and document[0] == bos_id else None


def _batches(lengths: np.ndarray) -> list[np.ndarray]:
    """Rows in batches, longest first, each within the limits on tokens and documents."""
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        stop = start + max(1, min(_BATCH_DOCUMENTS, _BATCH_TOKENS // longest))
        batches.append(order[start:stop])
        start = stop
    return batches


def _padded(documents: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """ids (T, B) int64, zero after each document, and lengths (B,)."""
    lengths = torch.tensor([len(document) for document in documents])
    ids = np.zeros((max(1, int(lengths.max())), len(documents)), dtype=np.int64)
    for at, document in enumerate(documents):
        ids[: len(document), at] = document
    return torch.from_numpy(ids), lengths


def _each(model: AWDLSTMClassifier, outputs: Tensor, lengths: Tensor) -> list[np.ndarray]:
    predictions = model.head.predict(outputs.float()).cpu().numpy()
    if model.head.config.kind != "tokens":
        return list(predictions)
    return [predictions[:length, at] for at, length in enumerate(lengths.tolist())]
