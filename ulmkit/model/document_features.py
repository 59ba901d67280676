"""Document features: pooled states of every layer of an encoder, the input of linear models."""

import torch
from torch import Tensor

from ulmkit.model.aligned import look_up
from ulmkit.model.awd_lstm import Encoder
from ulmkit.model.classifier import plan_chunks
from ulmkit.model.config import CHUNK_STEPS, AWDLSTMConfig
from ulmkit.model.pooling import PoolingState


def feature_count(config: AWDLSTMConfig) -> int:
    """Number of features F that `document_features` computes for an encoder."""
    return config.embedding_size + 3 * sum(units for _, units in config.layer_sizes)


@torch.no_grad()
def document_features(encoder: Encoder, ids: Tensor, lengths: Tensor) -> Tensor:
    """Pool the embeddings of documents and the states of every layer.

    f = [mean_t x_t, h^1_T, max_t h^1_t, mean_t h^1_t, ..., h^L_T, max_t h^L_t, mean_t h^L_t]

    The features of a document do not depend on its batch mates or on padding.

    Args:
        encoder: An encoder in evaluation mode.
        ids: (T, B) int64, padded after each document with any id.
        lengths: (B,) int64, steps of each document, 0 <= length <= T.

    Returns:
        (B, F) float32, on the encoder's device; zeros for an empty document.

    Source: concat pooling of Howard & Ruder 2018, arXiv:1801.06146, section 3.3, here of every layer.
    """
    prepared = encoder.prepare(1)  # kept by the encoder from one call to the next
    order = torch.argsort(lengths, descending=True, stable=True)
    ids, lengths = ids[:, order.to(ids.device)], lengths[order]
    size, documents = encoder.config.embedding_size, len(order)
    sizes = [size, *(units for _, units in encoder.config.layer_sizes)]
    pools = [PoolingState.empty(documents, units, device=encoder.device, dtype=torch.float32) for units in sizes]
    state = encoder.initial_state(documents)
    for chunk in plan_chunks(lengths.tolist(), CHUNK_STEPS, CHUNK_STEPS):
        active = chunk.active_documents
        chunk_ids = ids[chunk.start : chunk.stop, :active]
        valid = None
        if not chunk.full:
            valid = (lengths[:active] - chunk.start).clamp(max=chunk.stop - chunk.start).to(encoder.device)
        encoder_lengths = valid if prepared.packed[0].skips_padding else None
        output = encoder(chunk_ids, [(h[:active], c[:active]) for h, c in state], prepared, encoder_lengths)
        state = output.state
        outputs = [look_up(chunk_ids, prepared.table), *output.layers]
        pools = [pool.update(layer.float(), valid) for pool, layer in zip(pools, outputs, strict=True)]
    embedded, *layers = (pool.features() for pool in pools)
    features = torch.cat([embedded[:, 2 * size :], *layers], dim=1)
    return features[torch.argsort(order).to(features.device)]
