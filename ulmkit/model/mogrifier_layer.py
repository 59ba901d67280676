"""A layer of the Mogrifier LSTM."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ulmkit.kernels import choose_loop_backend, draw_keep_bits, mask_recurrent
from ulmkit.kernels.mogrifier import mogrifier


@dataclass(frozen=True)
class PackedMogrifier:
    """weight: (4H, E + H), the part of the hidden state masked, and modulations: factors of each round's matrix, both
    in the type computed in; bias: (4H,); reference: whether by the plain loop."""

    weight: Tensor
    bias: Tensor
    modulations: list[tuple[Tensor, ...]]
    reference: bool

    @property
    def skips_padding(self) -> bool:
        """Steps beyond a sequence's length cost as much as any."""
        return False

    def run(self, x: Tensor, h: Tensor, c: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """As `ulmkit.kernels.mogrifier`."""
        return mogrifier(x, h, c, self.weight, self.bias, self.modulations, lengths, reference=self.reference)


class MogrifierLayer(nn.Module):
    """Parameters of one Mogrifier LSTM layer: an LSTM's, and the matrices Q and R in turn, as many as there are rounds.

    Args:
        rounds: r; 0 for an LSTM.
        rank: k of matrices (m, n) kept as a product (m, k) (k, n); where it is not below m and n, or None, the matrix
            is kept itself.
    Source: Melis et al. 2020, arXiv:1909.01792, section 2.
    """

    def __init__(self, input_size: int, hidden_size: int, *, rounds: int, rank: int | None) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(4 * hidden_size))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1.0 / math.sqrt(hidden_size), 1.0 / math.sqrt(hidden_size))
        sizes = (input_size, hidden_size)
        self.modulations = nn.ModuleList(
            _factors(sizes[number % 2], sizes[1 - number % 2], rank) for number in range(rounds)
        )

    @property
    def input_weight(self) -> nn.Parameter:
        """What the layer reads its input with, (4H, E)."""
        return self.weight_ih

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Zeros: hidden and cell state (B, H)."""
        hidden = self.weight_hh.shape[1]
        return self.bias_ih.new_zeros(batch_size, hidden), self.bias_ih.new_zeros(batch_size, hidden)

    def pack(
        self, dtype: torch.dtype, backend: str, weight_dropout: float, generator: torch.Generator | None
    ) -> PackedMogrifier:
        """Weights for one pass, with a new mask of the recurrent ones if `weight_dropout` is above 0."""
        reference = choose_loop_backend(backend, "mogrifier") == "reference"
        keep_bits = None
        if weight_dropout > 0.0:
            rows, columns = self.weight_hh.shape
            keep_bits = draw_keep_bits(rows, columns, weight_dropout, device=self.weight_hh.device, generator=generator)
        w_hh = mask_recurrent(self.weight_hh, keep_bits, 1.0 / (1.0 - weight_dropout))
        weight = torch.cat([self.weight_ih.to(dtype), w_hh.to(dtype)], dim=1)
        modulations = [tuple(factor.to(dtype) for factor in factors.parameters()) for factors in self.modulations]
        return PackedMogrifier(weight, self.bias_ih + self.bias_hh, modulations, reference)


def _factors(rows: int, columns: int, rank: int | None) -> nn.ParameterList:
    """A matrix (m, n), or two whose product it is; small enough for 2 sigmoid(...) to begin near 1."""
    shapes = [(rows, columns)] if rank is None or rank >= min(rows, columns) else [(rows, rank), (rank, columns)]
    bounds = [1.0 / math.sqrt(inputs) for _, inputs in shapes]
    return nn.ParameterList(
        torch.empty(shape).uniform_(-bound, bound) for shape, bound in zip(shapes, bounds, strict=True)
    )
