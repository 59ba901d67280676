"""A QRNN layer as AWD-QRNN has it: one matrix, all of whose weights are dropped."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ulmkit.kernels import choose_loop_backend, draw_keep_bits, mask_recurrent
from ulmkit.kernels.qrnn import qrnn


@dataclass(frozen=True)
class PackedQRNN:
    """weight: (3H, E or 2E), masked, in the type computed in; bias: (3H,); reference: whether by the plain loop."""

    weight: Tensor
    bias: Tensor
    reference: bool

    @property
    def skips_padding(self) -> bool:
        """Steps beyond a sequence's length cost as much as any."""
        return False

    def run(self, x: Tensor, h: Tensor, c: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """As `ulmkit.kernels.qrnn`; h is the input before."""
        return qrnn(x, h, c, self.weight, self.bias, lengths, reference=self.reference)


class QRNNLayer(nn.Module):
    """Parameters of one QRNN layer: a matrix for z, f, o in rows, and a bias; both begin as torch.nn.Linear's.

    Args: window: 2 if the layer reads the input before too, else 1.
    Source: Bradbury et al. 2017, arXiv:1611.01576; the windows and the dropped matrix: salesforce/awd-lstm-lm.
    """

    def __init__(self, input_size: int, hidden_size: int, *, window: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3 * hidden_size, window * input_size))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size))
        self._previous_size = (window - 1) * input_size
        bound = 1.0 / math.sqrt(window * input_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    @property
    def input_weight(self) -> nn.Parameter:
        """What the layer reads its input with, (3H, E or 2E)."""
        return self.weight

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Zeros: the input before (B, E), (B, 0) for a window of 1, and the cell state (B, H)."""
        hidden = len(self.bias) // 3
        return self.bias.new_zeros(batch_size, self._previous_size), self.bias.new_zeros(batch_size, hidden)

    def pack(
        self, dtype: torch.dtype, backend: str, weight_dropout: float, generator: torch.Generator | None
    ) -> PackedQRNN:
        """The matrix for one pass, with a new mask if `weight_dropout` is above 0."""
        reference = choose_loop_backend(backend, "qrnn") == "reference"
        keep_bits = None
        if weight_dropout > 0.0:
            rows, columns = self.weight.shape
            keep_bits = draw_keep_bits(rows, columns, weight_dropout, device=self.weight.device, generator=generator)
        masked = mask_recurrent(self.weight, keep_bits, 1.0 / (1.0 - weight_dropout))
        return PackedQRNN(masked.to(dtype), self.bias, reference)
