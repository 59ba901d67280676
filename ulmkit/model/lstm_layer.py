"""An LSTM layer, with weight drop."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ulmkit.kernels import Packed, choose_backend, draw_keep_bits


@dataclass(frozen=True)
class PackedLSTM:
    """An LSTM layer's weights for one pass.

    Attributes:
        weights: Masked and laid out by a backend.
        bias: (4H,) sum of both biases.
    """

    weights: Packed
    bias: Tensor

    @property
    def skips_padding(self) -> bool:
        """True if time steps beyond a sequence's length cost nothing."""
        return self.weights.skips_padding

    def run(self, x: Tensor, h: Tensor, c: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Run the layer over a batch of sequences; see `PackedLayer.run`."""
        return self.weights.run(x, h, c, self.bias, lengths)


class LSTMParameters(nn.Module):
    """Parameters of one LSTM layer, as in torch.nn.LSTM: gates i, f, g, o, and two biases that are added.

    Two biases double the step that SGD takes on their sum, compared with one; published recipes assume this.

    Args:
        input_size: E.
        hidden_size: H.
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
        """(4H,) sum of both biases."""
        return self.bias_ih + self.bias_hh

    @property
    def input_weight(self) -> nn.Parameter:
        """(4H, E) weight that multiplies the layer's input."""
        return self.weight_ih

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Zeros: hidden and cell state (B, H)."""
        return zero_state(self.bias_ih, batch_size)


def zero_state(bias: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """Zeros: hidden and cell state (B, H) of an LSTM layer, in the type and on the device of its bias (4H,)."""
    hidden = len(bias) // 4
    return bias.new_zeros(batch_size, hidden), bias.new_zeros(batch_size, hidden)


class LSTMLayer(LSTMParameters):
    """An LSTM layer whose recurrent weights are dropped; see `LSTMParameters` for its arguments."""

    def pack(
        self, dtype: torch.dtype, backend: str, weight_dropout: float, generator: torch.Generator | None
    ) -> PackedLSTM:
        """Pack the weights for one pass, dropping recurrent ones anew if `weight_dropout` is above 0."""
        device = self.weight_hh.device
        keep_bits = None
        if weight_dropout > 0.0:
            rows, columns = self.weight_hh.shape
            keep_bits = draw_keep_bits(
                rows, columns, weight_dropout, device=device, generator=generator, backend=backend
            )
        keep_scale = 1.0 / (1.0 - weight_dropout)
        chosen = choose_backend(backend, device, dtype)
        return PackedLSTM(chosen.pack(self.weight_ih, self.weight_hh, keep_bits, keep_scale, dtype), self.bias())
