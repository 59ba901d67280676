"""Document features: pooled states of every layer of an encoder, the input of linear models."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ulmkit.model.aligned import look_up
from ulmkit.model.awd_lstm import Encoder
from ulmkit.model.classifier import plan_chunks
from ulmkit.model.config import CHUNK_STEPS
from ulmkit.model.pooling import PoolingState
from ulmkit.model.prepared import EncoderOutput, PreparedWeights, State


@dataclass(frozen=True)
class FeatureState:
    """Progress of a batch of documents whose features are computed.

    Attributes:
        prepared: Weights of this pass.
        encoder: State of each layer.
        pools: Pooled embeddings, and pooled states of each layer, bottom to top.
    """

    prepared: PreparedWeights
    encoder: State
    pools: tuple[PoolingState, ...]

    @classmethod
    @torch.no_grad()
    def begin(cls, encoder: Encoder, batch_size: int) -> "FeatureState":
        """Start reading a batch of documents with an encoder in evaluation mode."""
        sizes = [encoder.config.embedding_size, *(units for _, units in encoder.config.layer_sizes)]
        pools = tuple(
            PoolingState.empty(batch_size, size, device=encoder.device, dtype=torch.float32) for size in sizes
        )
        # The encoder keeps what it prepares from one call to the next.
        return cls(encoder.prepare(1), encoder.initial_state(batch_size), pools)

    @torch.no_grad()
    def step(self, encoder: Encoder, ids: Tensor, lengths: Tensor | None = None) -> "FeatureState":
        """Read the next piece of the first n documents of the batch; the others have ended.

        Args:
            encoder: The encoder that the state began with.
            ids: (T, n) int64, padded with any id, on the encoder's device.
            lengths: (n,) int64, valid steps of each piece, on the encoder's device; None if all are T. A document with
                fewer is not read on.

        Returns:
            Progress after the piece.
        """
        documents = ids.shape[1]
        before = [(h[:documents], c[:documents]) for h, c in self.encoder]
        encoder_lengths = lengths if self.prepared.packed[0].skips_padding else None
        output = encoder(ids, before, self.prepared, encoder_lengths)
        return self._after(look_up(ids, self.prepared.table), output, lengths)

    def step_embedded(self, encoder: Encoder, x: Tensor) -> "FeatureState":
        """Read the next piece of each document as embeddings (T, B, E), with gradients; see `step`."""
        return self._after(x, encoder.encode(x, self.encoder, self.prepared), None)

    def _after(self, x: Tensor, output: EncoderOutput, lengths: Tensor | None) -> "FeatureState":
        pools = zip(self.pools, [x, *output.layers], strict=True)
        return FeatureState(
            self.prepared, output.state, tuple(pool.update(layer.float(), lengths) for pool, layer in pools)
        )

    def features(self) -> Tensor:
        """Features of what was read so far, (B, F) float32; see `document_features`."""
        embedded, *layers = (pool.features() for pool in self.pools)
        _, _, mean = embedded.chunk(3, dim=1)
        return torch.cat([mean, *layers], dim=1)


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
    order = torch.argsort(lengths, descending=True, stable=True)
    ids, lengths = ids[:, order.to(ids.device)], lengths[order]
    state = FeatureState.begin(encoder, len(order))
    for chunk in plan_chunks(lengths.tolist(), CHUNK_STEPS, CHUNK_STEPS):
        active = chunk.active_documents
        valid = None
        if not chunk.full:
            valid = (lengths[:active] - chunk.start).clamp(max=chunk.stop - chunk.start).to(encoder.device)
        state = state.step(encoder, ids[chunk.start : chunk.stop, :active], valid)
    features = state.features()
    return features[torch.argsort(order).to(features.device)]
