"""The AWD-LSTM encoder with int8 weights, for inference."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ulmkit.errors import ConfigError
from ulmkit.kernels import Int8Matrix, choose_backend, choose_precision, int8_runs, quantize_rows
from ulmkit.model.awd_lstm import AWDLSTM, Encoder
from ulmkit.model.lstm_layer import LSTMLayer, PackedLSTM, zero_state
from ulmkit.model.prepared import PreparedWeights


class Int8Encoder(Encoder):
    """An AWD-LSTM whose embedding and weights are rounded to int8: smaller and faster, but it cannot be trained.

    Inputs and states are rounded to int8 at each matmul where the CPU has kernels for that and `precision` is "auto";
    elsewhere the weights are dequantized, for the backend that `backend` names.

    Args:
        encoder: The encoder to quantize; it is not changed.

    Raises:
        ConfigError: If the encoder's cell has no int8 kernels, or a weight is not finite.
    """

    embedding: "Int8Rows"
    layers: Sequence["Int8LSTMLayer"]

    def __init__(self, encoder: AWDLSTM) -> None:
        super().__init__(encoder.config, encoder.vocab_size)
        if not all(isinstance(layer, LSTMLayer) for layer in encoder.layers):
            raise ConfigError(
                f"int8: expected the cell 'lstm', which has int8 kernels, got {encoder.config.cell.name!r}; "
                "use the model as it is"
            )
        self.embedding = Int8Rows(encoder.embedding.weight[: encoder.vocab_size])
        layers = nn.ModuleList(Int8LSTMLayer(cast(LSTMLayer, layer)) for layer in encoder.layers)
        self.layers = cast(Sequence[Int8LSTMLayer], layers)
        self.eval()

    def train(self, mode: bool = True) -> "Int8Encoder":
        """Set evaluation mode.

        Raises:
            ConfigError: If `mode` is True.
        """
        if mode:
            raise ConfigError("train: int8 weights cannot be trained; train the model they were made from")
        return super().train(mode)

    def _prepare(self, batch_size: int, generator: torch.Generator | None) -> PreparedWeights:
        backend = self.backend
        dtype = choose_precision(self.precision, self.device, torch.float32)
        if self.precision == "auto" and int8_runs(self.device)[0]:
            backend = "int8"
            dtype = torch.float32
        return PreparedWeights(
            dtype=dtype,
            table=self.embedding.matrix(),
            packed=[layer.pack(dtype, backend) for layer in self.layers],
            embedding_mask=None,
            input_mask=None,
            output_masks=[None] * len(self.layers),
        )


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
        bias = layer.bias_ih if layer.bias_ih.is_meta else layer.bias()  # no arithmetic, as in quantize_rows
        self.register_buffer("bias_sum", bias.detach())

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Zeros: hidden and cell state (B, H)."""
        return zero_state(self.bias_sum, batch_size)

    def pack(self, dtype: torch.dtype, backend: str) -> PackedLSTM:
        """Weights laid out for a backend, which dequantizes them unless it is "int8"."""
        chosen = choose_backend(backend, self.bias_sum.device, dtype)
        return PackedLSTM(chosen.pack(self.weight_ih.matrix(), self.weight_hh.matrix(), dtype=dtype), self.bias_sum)
