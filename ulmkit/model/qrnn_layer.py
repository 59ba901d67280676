"""A QRNN layer of AWD-QRNN: one matrix, with weight drop on all of it."""

import math
from functools import partial

import torch
from torch import Tensor, nn

from ulmkit.kernels import choose_loop_backend, drop_weights
from ulmkit.kernels.qrnn import qrnn
from ulmkit.model.cells import PackedLoop


class QRNNLayer(nn.Module):
    """Parameters of one QRNN layer: a matrix with rows z, f, o, and a bias, initialized like torch.nn.Linear's.

    Args:
        input_size: E.
        hidden_size: H.
        window: 2 if the layer also reads the previous input, else 1.

    Source: Bradbury et al. 2017, arXiv:1611.01576; windows and weight drop: salesforce/awd-lstm-lm.
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
        """(3H, E or 2E) weight that multiplies the layer's input."""
        return self.weight

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Zeros: the previous input (B, E), or (B, 0) for a window of 1, and the cell state (B, H)."""
        hidden = len(self.bias) // 3
        return self.bias.new_zeros(batch_size, self._previous_size), self.bias.new_zeros(batch_size, hidden)

    def pack(
        self, dtype: torch.dtype, backend: str, weight_dropout: float, generator: torch.Generator | None
    ) -> PackedLoop:
        """Mask the matrix for one pass, dropping weights anew if `weight_dropout` is above 0."""
        reference = choose_loop_backend(backend, "qrnn") == "reference"
        masked = drop_weights(self.weight, weight_dropout, generator)
        return PackedLoop(partial(qrnn, reference=reference), masked.to(dtype), self.bias)
