"""The weights of one LSTM layer, in float for training and in bytes for serving."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ulmkit.kernels import Int8Matrix, PackedWeights, draw_keep_bits, lstm, pack, pack_int8, quantize_rows


@dataclass(frozen=True)
class PackedLSTM:
    """weights: laid out; bias: (4H,) the sum of both."""

    weights: PackedWeights
    bias: Tensor

    @property
    def skips_padding(self) -> bool:
        """Whether steps beyond a sequence's length cost nothing."""
        return self.weights.skips_padding

    def run(self, x: Tensor, h: Tensor, c: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """As `ulmkit.kernels.lstm`."""
        return lstm(x, h, c, self.weights, self.bias, lengths)


class LSTMLayer(nn.Module):
    """Parameters of one LSTM layer, as torch.nn.LSTM has them: gates i, f, g, o, two biases that are added.

    Two biases rather than their sum keep SGD's step on the bias the one of the published recipes.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(4 * hidden_size))
        bound = 1.0 / math.sqrt(hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def bias(self) -> Tensor:
        """(4H,) the sum of both biases."""
        return self.bias_ih + self.bias_hh

    @property
    def input_weight(self) -> nn.Parameter:
        """What the layer reads its input with, (4H, E)."""
        return self.weight_ih

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Zeros: hidden and cell state (B, H)."""
        return _zeros(self.bias_ih, batch_size)

    def pack(
        self, dtype: torch.dtype, backend: str, weight_dropout: float, generator: torch.Generator | None
    ) -> PackedLSTM:
        """Weights laid out for one pass, with a new recurrent mask if `weight_dropout` is above 0."""
        keep_bits = None
        if weight_dropout > 0.0:
            rows, columns = self.weight_hh.shape
            device = self.weight_hh.device
            keep_bits = draw_keep_bits(
                rows, columns, weight_dropout, device=device, generator=generator, backend=backend
            )
        keep_scale = 1.0 / (1.0 - weight_dropout)
        weights = pack(self.weight_ih, self.weight_hh, keep_bits, keep_scale, dtype, backend)
        return PackedLSTM(weights, self.bias())


class Int8Rows(nn.Module):
    """A matrix of bytes with a scale for each row, as buffers. Args: weight: (R, C) float, which is rounded."""

    values: Tensor
    scales: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        rounded = quantize_rows(weight)
        self.register_buffer("values", rounded.values)
        self.register_buffer("scales", rounded.scales)

    def table(self) -> Int8Matrix:
        """The matrix as the kernels take it."""
        return Int8Matrix(self.values, self.scales)


class Int8LSTMLayer(nn.Module):
    """The weights of an LSTM layer as bytes; the biases' sum stays float32. It serves, and does not learn.

    Args: layer: what it is made from.
    """

    bias_sum: Tensor

    def __init__(self, layer: LSTMLayer) -> None:
        super().__init__()
        self.weight_ih = Int8Rows(layer.weight_ih)
        self.weight_hh = Int8Rows(layer.weight_hh)
        self.register_buffer("bias_sum", layer.bias().detach())

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Zeros: hidden and cell state (B, H)."""
        return _zeros(self.bias_sum, batch_size)

    def pack(
        self, dtype: torch.dtype, backend: str, weight_dropout: float, generator: torch.Generator | None
    ) -> PackedLSTM:
        """Weights laid out for products of bytes (torch.int8), or made float again for another type and backend."""
        w_ih, w_hh = self.weight_ih.table(), self.weight_hh.table()
        if dtype == torch.int8:
            return PackedLSTM(pack_int8(w_ih, w_hh), self.bias_sum)
        return PackedLSTM(pack(w_ih.to_float(), w_hh.to_float(), dtype=dtype, backend=backend), self.bias_sum)


def _zeros(bias: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """Hidden and cell state (B, H) of a layer with this bias (4H,)."""
    hidden = len(bias) // 4
    return bias.new_zeros(batch_size, hidden), bias.new_zeros(batch_size, hidden)
