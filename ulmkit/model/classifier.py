"""The classifier: an encoder that reads documents in chunks, pooling, and a head.

    h_1 ... h_T = AWD-LSTM(ids), chunk by chunk, the state carried over
    y = head([h_T, max_t h_t, mean_t h_t])      for one label; other tasks pool as `ulmkit.model.pooling` says

A document's outputs do not depend on its batch mates, on padding, or on where it is cut into chunks.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ulmkit.config import check_whole
from ulmkit.errors import ConfigError, DataError
from ulmkit.model.awd_lstm import AWDLSTM, Encoder
from ulmkit.model.config import CHUNK_STEPS, GRADIENT_STEPS, AWDLSTMConfig
from ulmkit.model.copies import to_device
from ulmkit.model.heads import HeadConfig
from ulmkit.model.int8_encoder import Int8Encoder
from ulmkit.model.pooling import PairPoolingState, Pooling, PoolingState, TokenOutputs
from ulmkit.model.prepared import PreparedWeights, State


@dataclass(frozen=True)
class ClassifierState:
    """Progress of a batch of documents that is being read.

    Attributes:
        prepared: Masks and weights of this pass.
        encoder: State of each layer.
        pooling: Features gathered for the head so far.
    """

    prepared: PreparedWeights
    encoder: State
    pooling: Pooling


@dataclass(frozen=True)
class Chunk:
    """A chunk of a batch whose documents are sorted by length, longest first.

    Attributes:
        start: First step.
        stop: Step after the last one.
        active_documents: Number of documents longer than `start`, the first of the batch.
        full: True if all of these reach `stop`.
        detached_documents: Number of these whose gradient does not flow into this chunk.
    """

    start: int
    stop: int
    active_documents: int
    full: bool
    detached_documents: int


def plan_chunks(lengths: Sequence[int], chunk_steps: int, gradient_steps: int) -> Iterator[Chunk]:
    """Cut documents into chunks, and decide into which chunks each document's gradient flows.

    The gradient of a document of L steps flows from chunk floor(max(0, L - gradient_steps) / chunk_steps) on: through
    its last gradient_steps steps, rounded up to whole chunks. This depends on its own length alone.

    Args:
        lengths: Steps of each document, longest first.
        chunk_steps: Steps of a chunk.
        gradient_steps: Last steps of each document to back-propagate through.

    Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.3 (BPT3C).
    """
    for start in range(0, max(lengths), chunk_steps):
        remaining = [length for length in lengths if length > start]
        stop = min(start + chunk_steps, remaining[0])
        detached = sum((length - gradient_steps) // chunk_steps > start // chunk_steps for length in remaining)
        yield Chunk(start, stop, len(remaining), remaining[-1] >= stop, detached)


class AWDLSTMClassifier(nn.Module):
    """An AWD-LSTM encoder, pooling over the whole document, and a head.

    Back-propagation through time for text classification (BPT3C): a document is read in chunks, pooling covers all of
    them, and its loss is back-propagated through the last ones (see `plan_chunks`).

    Args:
        config: Sizes, cell and dropouts of the encoder.
        vocab_size: Number of token ids.
        head: Kind and sizes of the head.
        chunk_steps: Steps read at a time.
        gradient_steps: Last steps of each document to back-propagate through, rounded up to whole chunks.

    Attributes:
        encoder: The encoder, in float or in int8.
        head: The head.

    Raises:
        ConfigError: If the steps are below 1.

    Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.3.
    """

    def __init__(
        self,
        config: AWDLSTMConfig,
        vocab_size: int,
        head: HeadConfig,
        *,
        chunk_steps: int = CHUNK_STEPS,
        gradient_steps: int = GRADIENT_STEPS,
    ) -> None:
        super().__init__()
        check_whole("chunk_steps", chunk_steps)
        check_whole("gradient_steps", gradient_steps)
        self.encoder: Encoder = AWDLSTM(config, vocab_size)
        self.head = head.make(config.output_size)
        self.chunk_steps = chunk_steps
        self.gradient_steps = gradient_steps

    @property
    def config(self) -> AWDLSTMConfig:
        """The encoder's config."""
        return self.encoder.config

    def to_int8(self) -> "AWDLSTMClassifier":
        """A copy with an int8 encoder, which is smaller and faster but cannot be trained. The head stays in float32.

        Raises:
            ConfigError: If the weights are int8 already, not finite, or of a cell that has no int8 kernels.
        """
        if not isinstance(self.encoder, AWDLSTM):
            raise ConfigError("to_int8: the weights are int8 already")
        int8 = {id(self.encoder): Int8Encoder(self.encoder)}  # the copy takes this in place of a copy of the encoder
        return copy.deepcopy(self, int8).eval()

    def begin(
        self, batch_size: int, boundaries: Tensor | None = None, prepared: PreparedWeights | None = None
    ) -> ClassifierState:
        """Start reading a batch of documents, with one set of dropout masks (when training) and packed weights.

        Args:
            batch_size: Number of documents B, at least 1.
            boundaries: (B,) int64, for pairs: step at which the second text begins.
            prepared: Masks and weights from `encoder.prepare(B)`; None prepares them. In evaluation mode they fit
                batches of any size.

        Raises:
            ConfigError: If the batch is empty.
            DataError: If boundaries are missing for pairs, or given for another task.
        """
        check_whole("batch_size", batch_size)
        prepared = self.encoder.prepare(batch_size) if prepared is None else prepared
        pooling = self._empty_pooling(batch_size, boundaries, prepared.dtype)
        return ClassifierState(prepared, self.encoder.initial_state(batch_size), pooling)

    def _empty_pooling(self, batch_size: int, boundaries: Tensor | None, dtype: torch.dtype) -> Pooling:
        size, device = self.config.output_size, self.encoder.device
        if self.head.reads_pairs:
            if boundaries is None or boundaries.shape != (batch_size,):
                got = "None" if boundaries is None else f"shape {tuple(boundaries.shape)}"
                raise DataError(f"boundaries: expected shape ({batch_size},) for pairs of texts, got {got}")
            return PairPoolingState.empty(to_device(boundaries, device), size, dtype=dtype)
        if boundaries is not None:
            raise DataError(f"boundaries: only for heads of pairs of texts, got them for a {type(self.head).__name__}")
        if self.head.per_token:
            return TokenOutputs.empty(batch_size, size, device=device, dtype=dtype)
        return PoolingState.empty(batch_size, size, device=device, dtype=dtype)

    def step(self, ids: Tensor, lengths: Tensor, state: ClassifierState) -> ClassifierState:
        """Read the next piece of each document; pieces may have any length, including 0.

        Args:
            ids: (T, B) int64, padded with any id.
            lengths: (B,) int64, valid steps of each piece, on the ids' device or, to avoid waiting for a GPU, on the
                CPU.
            state: Progress so far; it is not changed and can be continued from again.

        Returns:
            Progress after the piece.

        Raises:
            DataError: If a shape does not fit, or a length is outside 0..T.
        """
        _check_batch(ids, lengths)
        lengths = to_device(lengths, ids.device)
        output = self.encoder(ids, state.encoder, state.prepared, lengths)
        return ClassifierState(state.prepared, output.state, state.pooling.update(output.raw, lengths))

    def step_embedded(self, x: Tensor, state: ClassifierState) -> ClassifierState:
        """Read the next piece of each document as embeddings (T, B, E); see `step`."""
        output = self.encoder.encode(x, state.encoder, state.prepared)
        return ClassifierState(state.prepared, output.state, state.pooling.update(output.raw))

    def finish(self, state: ClassifierState) -> Tensor:
        """The head's outputs for the text read so far: (B, C), (B,) for a number, (T, B, C) for token labels."""
        return self.head(state.pooling.features())

    def forward(
        self, ids: Tensor, lengths: Tensor, boundaries: Tensor | None = None, prepared: PreparedWeights | None = None
    ) -> Tensor:
        """The head's outputs for whole documents.

        Args:
            ids: (T, B) int64, padded after each document with any id.
            lengths: (B,) int64, steps of each document, 0 <= length <= T, on the CPU or on the ids' device.
            boundaries: (B,) int64, for pairs: step at which the second text begins.
            prepared: Masks and weights, see `begin`.

        Returns:
            (B, C) logits; (B,) for a number; (T, B, C) for token labels, meaningless beyond a document's end.

        Raises:
            DataError: If a shape does not fit, or a length is outside 0..T.
        """
        document_steps = _check_batch(ids, lengths)
        order = sorted(range(len(document_steps)), key=document_steps.__getitem__, reverse=True)  # longest first
        index = to_device(torch.tensor(order), ids.device)
        sorted_ids = ids.index_select(1, index)
        sorted_lengths = to_device(lengths, ids.device).index_select(0, index)
        if boundaries is not None:
            boundaries = to_device(boundaries, ids.device).index_select(0, index)
        state = self.begin(len(order), boundaries, prepared)
        sorted_steps = [document_steps[document] for document in order]
        chunks = list(plan_chunks(sorted_steps, self.chunk_steps, self.gradient_steps))
        if not chunks and len(ids):
            # Empty documents read one step of padding: processes that share a batch need gradients from every share.
            chunks = [Chunk(0, 1, len(order), full=False, detached_documents=0)]
        for chunk in chunks:
            state = self._read_chunk(chunk, sorted_ids, sorted_lengths, state)
        features = state.pooling.features().index_select(-2, torch.argsort(index))
        if self.head.per_token:
            features = pad(features, (0, 0, 0, 0, 0, len(ids) - len(features)))
        return self.head(features)

    def _read_chunk(self, chunk: Chunk, ids: Tensor, lengths: Tensor, state: ClassifierState) -> ClassifierState:
        """Read one chunk of sorted documents.

        A document that ends inside the chunk still runs to the chunk's end: pooling masks the extra steps, its state is
        discarded, and equal lengths are faster on most backends.
        """
        prepared, documents = state.prepared, chunk.active_documents
        valid = None if chunk.full else (lengths[:documents] - chunk.start).clamp(max=chunk.stop - chunk.start)
        if documents < len(state.encoder[0][0]):
            prepared = prepared.select(torch.arange(documents, device=ids.device))
        before = [(h[:documents], c[:documents]) for h, c in state.encoder]
        with torch.set_grad_enabled(torch.is_grad_enabled() and chunk.detached_documents < documents):
            encoder_lengths = valid if prepared.packed[0].skips_padding else None
            output = self.encoder(ids[chunk.start : chunk.stop, :documents], before, prepared, encoder_lengths)
        detached = chunk.detached_documents
        raw = _cut_gradient(output.raw, detached)
        after = [(_cut_gradient(h, detached), _cut_gradient(c, detached)) for h, c in output.state]
        return ClassifierState(prepared, after, state.pooling.update(raw, valid))


def _cut_gradient(x: Tensor, documents: int) -> Tensor:
    """Stop the gradient through the first `documents` of x (..., B, F)."""
    if documents == 0 or not x.requires_grad:
        return x
    return torch.cat([x[..., :documents, :].detach(), x[..., documents:, :]], dim=-2)


def _check_batch(ids: Tensor, lengths: Tensor) -> list[int]:
    """The lengths as a list. Raises: DataError if they do not fit ids (T, B)."""
    if ids.dim() != 2 or ids.shape[1] == 0:
        raise DataError(f"ids: expected shape (T, B) with at least one document, got {tuple(ids.shape)}")
    if lengths.shape != ids.shape[1:]:
        raise DataError(f"lengths: expected shape {tuple(ids.shape[1:])}, got {tuple(lengths.shape)}")
    document_steps: list[int] = lengths.tolist()
    for length in document_steps:
        if not 0 <= length <= len(ids):
            raise DataError(f"lengths: expected 0..{len(ids)} steps, got {length}")
    return document_steps
