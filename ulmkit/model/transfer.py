"""Transfer of weights: a language model to a new vocabulary, an encoder into a classifier, a head to new classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ulmkit.errors import ConfigError, DataError
from ulmkit.model.awd_lstm import Encoder
from ulmkit.model.cells import cell_options
from ulmkit.model.heads import Head
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.model.transfer_report import TransferReport

NEW_TOKEN = -1
"""Entry of a mapping for a token that the old vocabulary does not have."""


def vocabulary_mapping(old_tokens: Sequence[str], new_tokens: Sequence[str]) -> np.ndarray:
    """Old id of each new token, (V_new,) int64; -1 where the old vocabulary does not have it."""
    old_ids = {token: index for index, token in enumerate(old_tokens)}
    return np.array([old_ids.get(token, NEW_TOKEN) for token in new_tokens], dtype=np.int64)


def transfer_language_model(
    model: AWDLSTMLanguageModel, mapping: np.ndarray, counts: np.ndarray | None = None
) -> tuple[AWDLSTMLanguageModel, TransferReport]:
    """Give a language model a new vocabulary: copy embedding rows and decoder biases by token.

    A new token's row is the mean of the old embedding, its bias the mean of the old biases. All other weights stay.

    Args:
        model: The language model; it is not changed and shares no memory with the result.
        mapping: (V_new,) int64, old id of each new token or -1, see `vocabulary_mapping`.
        counts: (V_new,) occurrences of each token in the new corpus, for the report.

    Returns:
        The new model, and the coverage of its vocabulary.

    Raises:
        DataError: If the mapping is empty or has an id that the model does not, or the counts have another shape.

    Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.2, and its published code (mean for new rows).
    """
    mapping = np.asarray(mapping, dtype=np.int64)
    _check_mapping(mapping, model.vocab_size)
    report = _report(mapping, counts)
    weights = model.state_dict()
    for name in ("encoder.embedding.weight", "decoder.weight"):
        if name in weights:
            weights[name] = _move_rows(weights[name], mapping)
    moved = AWDLSTMLanguageModel(model.config, len(mapping)).to(next(model.parameters()))
    moved.load_state_dict(weights)
    moved.train(model.training)
    moved.encoder.precision, moved.encoder.backend = model.encoder.precision, model.encoder.backend
    return moved, report


def _move_rows(old: Tensor, mapping: np.ndarray) -> Tensor:
    """Move rows (V_old, ...) → (V_new, ...): new[i] = old[mapping[i]], or the mean of all old rows for -1."""
    index = torch.from_numpy(mapping).to(old.device)
    known = (index != NEW_TOKEN).view(-1, *[1] * (old.dim() - 1))
    return torch.where(known, old[index.clamp(min=0)], old.mean(dim=0))


def _check_mapping(mapping: np.ndarray, old_size: int) -> None:
    if mapping.ndim != 1 or len(mapping) == 0:
        raise DataError(f"mapping: expected shape (V,) with at least one token, got {mapping.shape}")
    for worst in (int(mapping.min()), int(mapping.max())):
        if not NEW_TOKEN <= worst < old_size:
            raise DataError(f"mapping: expected old ids below {old_size}, or -1 for a new token, got {worst}")


def _report(mapping: np.ndarray, counts: np.ndarray | None) -> TransferReport:
    known = mapping != NEW_TOKEN
    corpus_share = None
    if counts is not None:
        if counts.shape != mapping.shape:
            raise DataError(f"counts: expected shape {mapping.shape}, got {counts.shape}")
        corpus_share = int(counts[known].sum()) / max(1, int(counts.sum()))
    return TransferReport(len(mapping), int(known.sum()), corpus_share)


def transfer_encoder(source: Encoder, target: Encoder) -> None:
    """Copy all weights of an encoder into another of the same sizes and cell, such as a classifier's.

    Dropouts may differ.

    Raises:
        ConfigError: If the two differ in a size, the cell or one of its options; names the first.
    """
    theirs = _architecture(source)
    for name, ours in _architecture(target).items():
        if ours != theirs[name]:
            raise ConfigError(f"{name}: expected {ours} as in the target encoder, got {theirs[name]} in the source")
    target.load_state_dict(source.state_dict())


def transfer_head(source: Head, target: Head, rows: np.ndarray) -> None:
    """Copy a head into another of the same kind and sizes, whose classes may differ.

    All layers are copied, running statistics included; of the last one, the rows of the classes that both have. The
    rows of new classes stay as they are in the target.

    Args:
        source: The head to copy.
        target: The head to copy into.
        rows: (C_target,) int64, row of the source for each class of the target; -1 for a new class.

    Raises:
        ConfigError: If the heads differ in kind or in hidden units.
    """
    if type(source) is not type(target):
        raise ConfigError(f"head: expected a {type(target).__name__} as in the target, got {type(source).__name__}")
    if source.config.hidden_size != target.config.hidden_size:
        raise ConfigError(
            f"head: expected {target.config.hidden_size} hidden units as in the target, got {source.config.hidden_size}"
        )
    last = f"layers.{len(source.layers) - 1}."
    index = torch.from_numpy(np.asarray(rows, dtype=np.int64))
    is_kept = index >= 0
    target_weights = target.state_dict()
    weights = dict(source.state_dict())
    for name in (last + "weight", last + "bias"):
        moved = target_weights[name].clone()
        moved[is_kept] = weights[name].to(moved)[index[is_kept]]
        weights[name] = moved
    target.load_state_dict(weights)


def _architecture(encoder: Encoder) -> dict[str, Any]:
    """Everything that decides the shapes of an encoder's weights; the cell comes before its options."""
    config = encoder.config
    return {
        "vocab_size": encoder.vocab_size,
        "embedding_size": config.embedding_size,
        "hidden_size": config.hidden_size,
        "layers": config.layers,
        "cell": config.cell.name,
        **cell_options(config.cell),
        "last_hidden_size": config.output_size,
    }
