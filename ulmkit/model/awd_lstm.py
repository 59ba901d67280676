"""The AWD-LSTM encoder: token ids in, a vector for every token out.

Source: Merity, Keskar & Socher 2017, "Regularizing and optimizing LSTM language models", arXiv:1708.02182.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from ulmkit.config import check_positive
from ulmkit.errors import ConfigError
from ulmkit.kernels import Int8Matrix, choose_precision, int8_runs
from ulmkit.model.aligned import AlignedRows, look_up
from ulmkit.model.cells import Layer, PackedLayer, make_layers
from ulmkit.model.config import AWDLSTMConfig
from ulmkit.model.dropout import embedding_dropout_mask, locked_dropout_mask
from ulmkit.model.lstm_layer import Int8LSTMLayer, Int8Rows, LSTMLayer

State: TypeAlias = list[tuple[Tensor, Tensor]]
"""Hidden and cell state (B, H) of each layer; a QRNN layer's first is the input before, see `QRNNLayer`."""


@dataclass(frozen=True)
class Prepared:
    """Masks and packed weights of one pass: one training step, one batch of documents, or one load when serving.

    table: (V, E) embedding, see `AlignedRows.table`, or its bytes. embedding_mask: (V,); input_mask: (1, B, E);
    hidden_masks: a (1, B, H) for each layer but the last; output_mask: (1, B, H) for that. A mask is None where nothing
    is dropped.
    """

    dtype: torch.dtype
    table: Tensor | Int8Matrix
    packed: list[PackedLayer]
    embedding_mask: Tensor | None
    input_mask: Tensor | None
    hidden_masks: list[Tensor | None]
    output_mask: Tensor | None

    def select(self, sequences: Tensor) -> "Prepared":
        """The same pass for some of its sequences: `sequences` (n,) int64 indexes the batch."""

        def of(mask: Tensor | None) -> Tensor | None:
            return None if mask is None else mask.index_select(1, sequences)

        return Prepared(
            self.dtype,
            self.table,
            self.packed,
            self.embedding_mask,
            of(self.input_mask),
            [of(mask) for mask in self.hidden_masks],
            of(self.output_mask),
        )


@dataclass(frozen=True)
class EncoderOutput:
    """raw: (T, B, H) last layer's output; dropped: the same after output dropout; state: after each last valid step."""

    raw: Tensor
    dropped: Tensor
    state: State


class AWDLSTM(nn.Module):
    """Embedding and recurrent layers with the paper's five dropouts.

    Args: config: sizes, cell and dropouts. vocab_size: number of token ids.
    Attributes: precision: "auto", "fp32" or "bf16", and backend: "auto" or a name; how to compute, not what, so they
        may change at any time and are not saved.
    """

    def __init__(self, config: AWDLSTMConfig, vocab_size: int) -> None:
        super().__init__()
        check_positive("vocab_size", vocab_size)
        self.config = config
        self.vocab_size = vocab_size
        self.precision = "auto"
        self.backend = "auto"
        self.embedding: AlignedRows | Int8Rows = AlignedRows(vocab_size, config.embedding_size)
        nn.init.uniform_(self.embedding.weight[:vocab_size], -0.1, 0.1)
        self.layers: Sequence[Layer] = make_layers(config.cell, config.layer_sizes)
        self._laid_out: tuple[Any, Prepared] | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(itertools.chain(self.parameters(), self.buffers())).device

    @property
    def is_int8(self) -> bool:
        """Whether the weights are bytes, for serving."""
        return isinstance(self.embedding, Int8Rows)

    def make_int8(self) -> None:
        """Round the weights to bytes, in place: the model serves from then on, and cannot learn.

        Raises: ConfigError if they are bytes already, not finite, or a cell's that has no kernels for bytes.
        """
        if not all(isinstance(layer, LSTMLayer | Int8LSTMLayer) for layer in self.layers):
            raise ConfigError(
                f"int8: expected the cell 'lstm', which has kernels for bytes, got {self.config.cell.name!r}; serve "
                "the model as it is"
            )
        if not isinstance(self.embedding, AlignedRows):
            raise ConfigError("make_int8: the weights are bytes already")
        self.embedding = Int8Rows(self.embedding.weight[: self.vocab_size])
        layers = nn.ModuleList(Int8LSTMLayer(cast(LSTMLayer, layer)) for layer in self.layers)
        self.layers = cast(Sequence[Layer], layers)
        self.precision = "auto"
        self.eval()

    def train(self, mode: bool = True) -> "AWDLSTM":
        """As torch.nn.Module.train. Raises: ConfigError for weights of bytes."""
        if mode and self.is_int8:
            raise ConfigError("train: the weights are bytes, for serving; train the model that they were made from")
        if mode:
            self._laid_out = None
        return super().train(mode)

    def __getstate__(self) -> dict[str, Any]:
        """A copy lays its weights out itself."""
        return {**self.__dict__, "_laid_out": None}

    def initial_state(self, batch_size: int) -> State:
        """Zeros: a pair a layer."""
        return [layer.initial_state(batch_size) for layer in self.layers]

    def prepare(self, batch_size: int, generator: torch.Generator | None = None) -> Prepared:
        """Draw the dropout masks of one pass (when training) and lay the weights out.

        In evaluation mode without gradients the weights are laid out once, and again only after they have changed: by
        torch's operations, not through `.data`, or by an optimizer after a pass with gradients.

        Args: batch_size: B of the sequences that follow. generator: source of randomness, None for torch's own.
        """
        weights = [*self.parameters(), *self.buffers()]
        if self.training or torch.is_grad_enabled() or any(tensor.is_inference() for tensor in weights):
            self._laid_out = None  # an optimizer that follows need not count what it changes: torch's fused ones do not
            return self._prepare(batch_size, generator)
        key = self.precision, self.backend, [(tensor.data_ptr(), tensor._version) for tensor in weights]
        found = self._laid_out
        if found is None or found[0] != key:
            found = self._laid_out = None  # freed before it is made anew
            found = self._laid_out = key, self._prepare(batch_size, generator)
        return found[1]

    def _prepare(self, batch_size: int, generator: torch.Generator | None) -> Prepared:
        config, zero = self.config, self.layers[0].initial_state(0)[1]
        if self.is_int8 and self.precision == "auto" and int8_runs(zero.device)[0]:
            products, dtype = torch.int8, torch.float32
        else:
            products = dtype = choose_precision(self.precision, zero.device, zero.dtype)
        like = zero.to(dtype)
        weight_dropout = config.weight_dropout if self.training else 0.0

        def locked(features: int, dropout: float) -> Tensor | None:
            if not self.training or dropout == 0.0:
                return None
            return locked_dropout_mask(batch_size, features, dropout, like=like, generator=generator)

        row_mask = None
        if self.training and config.embedding_dropout > 0.0:
            row_mask = embedding_dropout_mask(self.vocab_size, config.embedding_dropout, like=like, generator=generator)
        return Prepared(
            dtype=dtype,
            table=self.embedding.table(),
            packed=[layer.pack(products, self.backend, weight_dropout, generator) for layer in self.layers],
            embedding_mask=row_mask,
            input_mask=locked(config.embedding_size, config.input_dropout),
            hidden_masks=[locked(size, config.hidden_dropout) for _, size in config.layer_sizes[:-1]],
            output_mask=locked(config.output_size, config.output_dropout),
        )

    def forward(
        self,
        ids: Tensor,
        state: State | None = None,
        prepared: Prepared | None = None,
        lengths: Tensor | None = None,
    ) -> EncoderOutput:
        """Encode a batch of sequences.

        Args:
            ids: (T, B) int64 token ids.
            state: from an earlier call to go on from, None for zeros; it is not changed.
            prepared: masks and weights from `prepare(B)`; None prepares for this call alone.
            lengths: (B,) int64 valid steps of each sequence; None if all are T. Outputs beyond them are zero.
        """
        batch = ids.shape[1]
        prepared = self.prepare(batch) if prepared is None else prepared
        state = self.initial_state(batch) if state is None else state
        x = self._embed(ids, prepared)
        new_state: State = []
        raw = x
        for number, packed in enumerate(prepared.packed):
            raw, h, c = packed.run(x, *state[number], lengths)
            new_state.append((h, c))
            if number < len(prepared.hidden_masks):
                x = _masked(raw, prepared.hidden_masks[number])
        return EncoderOutput(raw, _masked(raw, prepared.output_mask), new_state)

    def _embed(self, ids: Tensor, prepared: Prepared) -> Tensor:
        table = prepared.table
        x = (table.rows(ids) if isinstance(table, Int8Matrix) else look_up(ids, table)).to(prepared.dtype)
        if prepared.embedding_mask is not None:
            x = x * prepared.embedding_mask[ids].unsqueeze(-1)
        return _masked(x, prepared.input_mask)


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask
