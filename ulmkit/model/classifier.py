"""The classifier: an encoder read chunk by chunk, and a head.

A document's outputs do not depend on its batch mates, on padding, or on how it was cut into chunks.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ulmkit.config import check_positive
from ulmkit.errors import DataError
from ulmkit.model.awd_lstm import AWDLSTM, Prepared, State
from ulmkit.model.config import CHUNK_STEPS, GRADIENT_STEPS, AWDLSTMConfig
from ulmkit.model.copies import to_device
from ulmkit.model.heads import HeadConfig
from ulmkit.model.pooling import PairPoolingState, PoolingState, Reading, TokenOutputs


@dataclass(frozen=True)
class ClassifierState:
    """Where the reading of a batch of documents stands.

    prepared: masks and weights of this pass. encoder: state of each layer. reading: what the head reads.
    """

    prepared: Prepared
    encoder: State
    reading: Reading


@dataclass(frozen=True)
class Chunk:
    """A part of a batch whose documents are sorted by length, longest first.

    start, stop: steps. documents: how many still go on. full: whether all of these go on to `stop`.
    cut: how many of these take no gradient yet.
    """

    start: int
    stop: int
    documents: int
    full: bool
    cut: int


def plan_chunks(lengths: Sequence[int], chunk_steps: int, gradient_steps: int) -> Iterator[Chunk]:
    """Cut documents into chunks, and decide for each document which of its chunks take a gradient.

    A document of L steps takes gradients from chunk floor(max(0, L - gradient_steps) / chunk_steps) on: its last
    gradient_steps steps, rounded up to whole chunks. Nothing but its own length decides.

    Args: lengths: of each document, longest first.
    Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.3 (BPT3C).
    """
    for start in range(0, max(lengths), chunk_steps):
        going = [length for length in lengths if length > start]
        stop = min(start + chunk_steps, going[0])
        cut = sum((length - gradient_steps) // chunk_steps > start // chunk_steps for length in going)
        yield Chunk(start, stop, len(going), going[-1] >= stop, cut)


class AWDLSTMClassifier(nn.Module):
    """An AWD-LSTM encoder, pooling over the whole document, and a head.

    Back-propagation through time for text classification (BPT3C): a document is read in chunks, its loss is
    differentiated through the last ones (see `plan_chunks`), and pooling covers them all.

    Args:
        config: the encoder's.
        vocab_size: number of token ids.
        head: the head's.
        chunk_steps: steps read at a time.
        gradient_steps: last steps of each document that the encoder learns from, rounded up to whole chunks.
    Raises: ConfigError for steps below 1.
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
        check_positive("chunk_steps", chunk_steps)
        check_positive("gradient_steps", gradient_steps)
        self.encoder = AWDLSTM(config, vocab_size)
        self.head = head.make(config.output_size)
        self.chunk_steps = chunk_steps
        self.gradient_steps = gradient_steps

    @property
    def config(self) -> AWDLSTMConfig:
        return self.encoder.config

    def to_int8(self) -> "AWDLSTMClassifier":
        """A copy whose encoder has its weights as bytes: smaller and faster, for serving. The head stays as it is."""
        rounded = copy.deepcopy(self)
        rounded.encoder.make_int8()
        return rounded.eval()

    def begin(
        self, batch_size: int, boundaries: Tensor | None = None, prepared: Prepared | None = None
    ) -> ClassifierState:
        """Start to read a batch of documents with one set of dropout masks (when training) and of packed weights.

        Args:
            batch_size: B, at least 1.
            boundaries: (B,) int64, for pairs: index of the step at which the second text begins.
            prepared: masks and weights from `encoder.prepare(B)`; None prepares here. When serving, prepare once: in
                evaluation mode it serves batches of any size.
        Raises: ConfigError if the batch is empty; DataError if boundaries are missing for a pair, or given otherwise.
        """
        check_positive("batch_size", batch_size)
        prepared = self.encoder.prepare(batch_size) if prepared is None else prepared
        reading = self._empty_reading(batch_size, boundaries, prepared.dtype)
        return ClassifierState(prepared, self.encoder.initial_state(batch_size), reading)

    def _empty_reading(self, batch_size: int, boundaries: Tensor | None, dtype: torch.dtype) -> Reading:
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
        """Read the next piece of each document; pieces may have any lengths, 0 among them.

        Args: ids: (T, B) int64, padded with any id. lengths: (B,) int64, valid steps of each piece; on the CPU, where
            a look at them waits for nothing, or where the ids are.
        Returns: the state to go on with; `state` is not changed and may be gone on from again.
        Raises: DataError for shapes that do not fit or a length outside 0..T.
        """
        _check_batch(ids, lengths)
        lengths = to_device(lengths, ids.device)
        output = self.encoder(ids, state.encoder, state.prepared, lengths)
        return ClassifierState(state.prepared, output.state, state.reading.update(output.raw, lengths))

    def finish(self, state: ClassifierState) -> Tensor:
        """The head's outputs for what was read: (B, C), (B,) for a number, (T, B, C) for token labels."""
        return self.head(state.reading.features())

    def forward(
        self, ids: Tensor, lengths: Tensor, boundaries: Tensor | None = None, prepared: Prepared | None = None
    ) -> Tensor:
        """The head's outputs for whole documents.

        Args:
            ids: (T, B) int64, padded after each document with any id.
            lengths: (B,) int64, steps of each document, 0 <= length <= T; where, see `step`.
            boundaries: (B,) int64, for pairs: index of the step at which the second text begins.
            prepared: see `begin`.
        Returns: (B, C) logits; (B,) for a number; (T, B, C) for token labels (beyond a document's end they mean
            nothing).
        Raises: DataError for shapes that do not fit or a length outside 0..T.
        """
        given = _check_batch(ids, lengths)
        order = sorted(range(len(given)), key=given.__getitem__, reverse=True)  # longest first
        index = to_device(torch.tensor(order), ids.device)
        sorted_ids = ids.index_select(1, index)
        sorted_lengths = to_device(lengths, ids.device).index_select(0, index)
        if boundaries is not None:
            boundaries = to_device(boundaries, ids.device).index_select(0, index)
        state = self.begin(len(order), boundaries, prepared)
        chunks = list(plan_chunks([given[document] for document in order], self.chunk_steps, self.gradient_steps))
        if not chunks and len(ids):  # a step of padding: processes that share a batch need a gradient of every share
            chunks = [Chunk(0, 1, len(order), full=False, cut=0)]
        for chunk in chunks:
            state = self._read_chunk(chunk, sorted_ids, sorted_lengths, state)
        features = state.reading.features().index_select(-2, torch.argsort(index))
        if self.head.per_token:
            features = pad(features, (0, 0, 0, 0, 0, len(ids) - len(features)))
        return self.head(features)

    def _read_chunk(self, chunk: Chunk, ids: Tensor, lengths: Tensor, state: ClassifierState) -> ClassifierState:
        """Read a chunk of sorted documents. One that ends in it may be read on into its padding, which is pooled away:
        its state is not needed any more, and with most backends sequences of one length run faster."""
        prepared, documents = state.prepared, chunk.documents
        valid = None if chunk.full else (lengths[:documents] - chunk.start).clamp(max=chunk.stop - chunk.start)
        if documents < len(state.encoder[0][0]):
            prepared = prepared.select(torch.arange(documents, device=ids.device))
        before = [(h[:documents], c[:documents]) for h, c in state.encoder]
        with torch.set_grad_enabled(torch.is_grad_enabled() and chunk.cut < documents):
            ends = valid if prepared.packed[0].skips_padding else None
            output = self.encoder(ids[chunk.start : chunk.stop, :documents], before, prepared, ends)
        raw = _cut_gradient(output.raw, chunk.cut)
        after = [(_cut_gradient(h, chunk.cut), _cut_gradient(c, chunk.cut)) for h, c in output.state]
        return ClassifierState(prepared, after, state.reading.update(raw, valid))


def _cut_gradient(x: Tensor, documents: int) -> Tensor:
    """(..., B, F) → the same values, no gradient through the first `documents`."""
    if documents == 0 or not x.requires_grad:
        return x
    return torch.cat([x[..., :documents, :].detach(), x[..., documents:, :]], dim=-2)


def _check_batch(ids: Tensor, lengths: Tensor) -> list[int]:
    """The lengths as numbers, if they fit ids (T, B)."""
    if ids.dim() != 2 or ids.shape[1] == 0:
        raise DataError(f"ids: expected shape (T, B) with at least one document, got {tuple(ids.shape)}")
    if lengths.shape != ids.shape[1:]:
        raise DataError(f"lengths: expected shape {tuple(ids.shape[1:])}, got {tuple(lengths.shape)}")
    given = lengths.tolist()
    for length in given:
        if not 0 <= length <= len(ids):
            raise DataError(f"lengths: expected 0..{len(ids)} steps, got {length}")
    return given
