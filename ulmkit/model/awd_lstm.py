"""The AWD-LSTM encoder: token ids in, one vector per token out.

    x_0 = m_input * m_embedding[ids] * embedding[ids]
    h_l = LSTM(x_{l-1}; W_ih, m_weight * W_hh, b_ih + b_hh)     for each layer l = 1 ... L
    x_l = m_l * h_l

The masks m are drawn once for a whole pass, so that a mask is the same at every time step; each kept value is scaled by
1 / (1 - dropout). m_weight is the weight drop: each layer draws it in `pack`, which `AWDLSTM.prepare` calls.

Source: Merity, Keskar & Socher 2017, "Regularizing and optimizing LSTM language models", arXiv:1708.02182.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ulmkit.config import check_whole
from ulmkit.kernels import choose_precision
from ulmkit.model.aligned import AlignedRows, look_up
from ulmkit.model.cells import Layer, TrainableLayer, make_layers
from ulmkit.model.config import AWDLSTMConfig
from ulmkit.model.dropout import apply_mask, embedding_dropout_mask, locked_dropout_mask
from ulmkit.model.memory import check_memory
from ulmkit.model.prepared import EncoderOutput, PreparedCache, PreparedWeights, State


class Encoder(nn.Module, ABC):
    """The forward pass of an encoder, whose weights a subclass holds in float or in int8.

    Args:
        config: Sizes, cell and dropouts.
        vocab_size: Number of token ids, V.

    Attributes:
        precision: "auto", "fp32" or "bf16"; may change at any time and is not saved.
        backend: "auto" or a name of `ulmkit.kernels.BACKENDS`; may change at any time and is not saved.
        on_embedded: Changes the embedded words (T, B, E) that `forward` encodes; None leaves them.
    """

    embedding: nn.Module
    layers: Sequence[Layer]

    def __init__(self, config: AWDLSTMConfig, vocab_size: int) -> None:
        super().__init__()
        check_whole("vocab_size", vocab_size)
        check_memory(config.weight_count(vocab_size))
        self.config = config
        self.vocab_size = vocab_size
        self.precision = "auto"
        self.backend = "auto"
        self.on_embedded: Callable[[Tensor], Tensor] | None = None
        self._cache = PreparedCache()

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(itertools.chain(self.parameters(), self.buffers())).device

    def initial_state(self, batch_size: int) -> State:
        """Zeros for every layer."""
        return [layer.initial_state(batch_size) for layer in self.layers]

    def prepare(self, batch_size: int, generator: torch.Generator | None = None) -> PreparedWeights:
        """Draw the dropout masks of one pass (when training) and pack the weights.

        In evaluation mode without gradients the result is kept until the weights change, see `PreparedCache`.

        Args:
            batch_size: Number of sequences B that follow.
            generator: Source of randomness; None for torch's own.
        """
        return self._cache.get(self, (self.precision, self.backend), lambda: self._prepare(batch_size, generator))

    @abstractmethod
    def _prepare(self, batch_size: int, generator: torch.Generator | None) -> PreparedWeights: ...

    def forward(
        self,
        ids: Tensor,
        state: State | None = None,
        prepared: PreparedWeights | None = None,
        lengths: Tensor | None = None,
    ) -> EncoderOutput:
        """Encode a batch of sequences.

        Args:
            ids: (T, B) int64 token ids.
            state: State to continue from, which is not changed; None for zeros.
            prepared: Masks and weights from `prepare(B)`; None prepares them for this call alone.
            lengths: (B,) int64 valid steps of each sequence; None if all are T. Outputs beyond them are zero.
        """
        prepared = self.prepare(ids.shape[1]) if prepared is None else prepared
        x = look_up(ids, prepared.table).to(prepared.dtype)  # (T, B, E)
        if prepared.embedding_mask is not None:
            x = x * prepared.embedding_mask[ids].unsqueeze(-1)  # (T, B, E) * (T, B, 1)
        if self.on_embedded is not None:
            x = self.on_embedded(x)
        return self.encode(x, state, prepared, lengths)

    def encode(
        self, x: Tensor, state: State | None, prepared: PreparedWeights, lengths: Tensor | None = None
    ) -> EncoderOutput:
        """Encode a batch of sequences of embeddings (T, B, E); see `forward`."""
        state = self.initial_state(x.shape[1]) if state is None else state
        x = apply_mask(x, prepared.input_mask)  # (T, B, E) * (1, B, E)
        layers: list[Tensor] = []
        new_state: State = []
        for packed, (h, c), mask in zip(prepared.packed, state, prepared.output_masks, strict=True):
            raw, h, c = packed.run(x, h, c, lengths)  # (T, B, H), (B, H), (B, H)
            layers.append(raw)
            new_state.append((h, c))
            x = apply_mask(raw, mask)  # (T, B, H) * (1, B, H)
        return EncoderOutput(layers, x, new_state)


class AWDLSTM(Encoder):
    """Embedding and recurrent layers with the paper's five dropouts.

    Args:
        config: Sizes, cell and dropouts.
        vocab_size: Number of token ids, V.
    """

    embedding: AlignedRows
    layers: Sequence[TrainableLayer]

    def __init__(self, config: AWDLSTMConfig, vocab_size: int) -> None:
        super().__init__(config, vocab_size)
        self.embedding = AlignedRows(vocab_size, config.embedding_size)
        nn.init.uniform_(self.embedding.weight[:vocab_size], -0.1, 0.1)
        self.layers = make_layers(config.cell, config.layer_sizes)

    def _prepare(self, batch_size: int, generator: torch.Generator | None) -> PreparedWeights:
        config = self.config if self.training else self.config.without_dropout()
        weight = self.embedding.weight
        dtype = choose_precision(self.precision, weight.device, weight.dtype)
        like = weight.new_empty(0, dtype=dtype)
        dropouts = [*[config.hidden_dropout] * (config.layers - 1), config.output_dropout]
        return PreparedWeights(  # the masks of a seed depend on the order in which they are drawn
            dtype=dtype,
            embedding_mask=embedding_dropout_mask(self.vocab_size, config.embedding_dropout, like, generator),
            table=self.embedding.table(),
            packed=[layer.pack(dtype, self.backend, config.weight_dropout, generator) for layer in self.layers],
            input_mask=locked_dropout_mask(batch_size, config.embedding_size, config.input_dropout, like, generator),
            output_masks=[
                locked_dropout_mask(batch_size, size, dropout, like, generator)
                for (_, size), dropout in zip(config.layer_sizes, dropouts, strict=True)
            ],
        )
