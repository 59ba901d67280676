"""The AWD-LSTM encoder with int8 weights, for inference."""

from collections.abc import Sequence
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from ulmkit.errors import ConfigError
from ulmkit.kernels import Int8Matrix, choose_backend, choose_precision, int8_runs, quantize_rows
from ulmkit.model.awd_lstm import AWDLSTM, encode
from ulmkit.model.lstm_layer import LSTMLayer, PackedLSTM
from ulmkit.model.prepared import EncoderOutput, PreparedCache, PreparedWeights, State


class Int8Encoder(nn.Module):
    """An AWD-LSTM whose embedding and weights are rounded to int8: smaller and faster, but it cannot be trained.

    Inputs and states are rounded to int8 at each matmul where the CPU has kernels for that and `precision` is "auto";
    elsewhere the weights are dequantized.

    Args:
        encoder: The encoder to quantize; it is not changed.

    Attributes:
        config: As the encoder's.
        vocab_size: Number of token ids.
        precision: "auto", "fp32" or "bf16".
        backend: "auto" or a name, for weights that are dequantized.

    Raises:
        ConfigError: If the encoder's cell has no int8 kernels, or a weight is not finite.
    """

    def __init__(self, encoder: AWDLSTM) -> None:
        super().__init__()
        if not all(isinstance(layer, LSTMLayer) for layer in encoder.layers):
            raise ConfigError(
                f"int8: expected the cell 'lstm', which has int8 kernels, got {encoder.config.cell.name!r}; "
                "use the model as it is"
            )
        self.config = encoder.config
        self.vocab_size = encoder.vocab_size
        self.precision = "auto"
        self.backend = "auto"
        self.embedding = Int8Rows(encoder.embedding.weight[: encoder.vocab_size])
        layers = nn.ModuleList(Int8LSTMLayer(cast(LSTMLayer, layer)) for layer in encoder.layers)
        self.layers = cast(Sequence[Int8LSTMLayer], layers)
        self._cache = PreparedCache()
        self.eval()

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.embedding.values.device

    def train(self, mode: bool = True) -> "Int8Encoder":
        """Set evaluation mode.

        Raises:
            ConfigError: If `mode` is True.
        """
        if mode:
            raise ConfigError("train: int8 weights cannot be trained; train the model they were made from")
        return super().train(mode)

    def initial_state(self, batch_size: int) -> State:
        """Zeros for each layer."""
        return [layer.initial_state(batch_size) for layer in self.layers]

    def prepare(self, batch_size: int, generator: torch.Generator | None = None) -> PreparedWeights:
        """Lay the weights out; without gradients once for all calls, until the weights or options change.

        Args:
            batch_size: Any: nothing is dropped.
            generator: Any: nothing is drawn.
        """
        return self._cache.get(self, (self.precision, self.backend), self._prepare)

    def _prepare(self) -> PreparedWeights:
        backend, dtype = self.backend, choose_precision(self.precision, self.device, torch.float32)
        if self.precision == "auto" and int8_runs(self.device)[0]:
            backend, dtype = "int8", torch.float32
        return PreparedWeights(
            dtype=dtype,
            table=self.embedding.matrix(),
            packed=[layer.pack(dtype, backend) for layer in self.layers],
            embedding_mask=None,
            input_mask=None,
            output_masks=[None] * len(self.layers),
        )

    def forward(
        self,
        ids: Tensor,
        state: State | None = None,
        prepared: PreparedWeights | None = None,
        lengths: Tensor | None = None,
    ) -> EncoderOutput:
        """Encode a batch of sequences; see `AWDLSTM.forward`."""
        batch = ids.shape[1]
        prepared = self.prepare(batch) if prepared is None else prepared
        state = self.initial_state(batch) if state is None else state
        return encode(ids, state, prepared, lengths)


class Int8Rows(nn.Module):
    """An int8 matrix with a scale for each row, as buffers.

    Args:
        weight: (R, C) float, which is quantized.
    """

    values: Tensor
    scales: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        quantized = quantize_rows(weight)
        self.register_buffer("values", quantized.values)
        self.register_buffer("scales", quantized.scales)

    def matrix(self) -> Int8Matrix:
        """The matrix as the kernels take it."""
        return Int8Matrix(self.values, self.scales)


class Int8LSTMLayer(nn.Module):
    """An LSTM layer with int8 weights; the sum of its biases stays float32.

    Args:
        layer: The layer to quantize; it is not changed.
    """

    bias_sum: Tensor

    def __init__(self, layer: LSTMLayer) -> None:
        super().__init__()
        self.weight_ih = Int8Rows(layer.weight_ih)
        self.weight_hh = Int8Rows(layer.weight_hh)
        self.register_buffer("bias_sum", layer.bias().detach())

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Zeros: hidden and cell state (B, H)."""
        hidden = len(self.bias_sum) // 4
        return self.bias_sum.new_zeros(batch_size, hidden), self.bias_sum.new_zeros(batch_size, hidden)

    def pack(self, dtype: torch.dtype, backend: str) -> PackedLSTM:
        """Weights laid out for a backend, which dequantizes them unless it is "int8"."""
        chosen = choose_backend(backend, self.bias_sum.device, dtype)
        return PackedLSTM(chosen.pack(self.weight_ih.matrix(), self.weight_hh.matrix(), dtype=dtype), self.bias_sum)


Encoder: TypeAlias = AWDLSTM | Int8Encoder
"""An encoder to train or to run, or one that only runs."""
