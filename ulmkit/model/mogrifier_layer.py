"""A layer of the Mogrifier LSTM."""

import math
from functools import partial

import torch
from torch import nn

from ulmkit.kernels import choose_loop_backend, drop_weights
from ulmkit.kernels.mogrifier import mogrifier
from ulmkit.model.cells import PackedLoop
from ulmkit.model.lstm_layer import LSTMParameters


class MogrifierLayer(LSTMParameters):
    """Parameters of one Mogrifier LSTM layer: an LSTM's, and one matrix per round, Q and R in turn.

    Args:
        input_size: E.
        hidden_size: H.
        rounds: Rounds of gating; 0 for an LSTM.
        rank: Rank k of a matrix (m, n) kept as a product (m, k) (k, n). None, or a rank that is not below m and n,
            keeps the matrix whole.

    Source: Melis et al. 2020, arXiv:1909.01792, section 2.
    """

    def __init__(self, input_size: int, hidden_size: int, *, rounds: int, rank: int | None) -> None:
        super().__init__(input_size, hidden_size)
        sizes = (input_size, hidden_size)
        self.modulations = nn.ModuleList(
            _factors(sizes[number % 2], sizes[1 - number % 2], rank) for number in range(rounds)
        )

    def pack(
        self, dtype: torch.dtype, backend: str, weight_dropout: float, generator: torch.Generator | None
    ) -> PackedLoop:
        """Pack the weights for one pass, dropping recurrent ones anew if `weight_dropout` is above 0."""
        reference = choose_loop_backend(backend, "mogrifier") == "reference"
        w_hh = drop_weights(self.weight_hh, weight_dropout, generator)
        weight = torch.cat([self.weight_ih.to(dtype), w_hh.to(dtype)], dim=1)
        modulations = [tuple(factor.to(dtype) for factor in factors.parameters()) for factors in self.modulations]
        function = partial(mogrifier, modulations=modulations, reference=reference)
        return PackedLoop(function, weight, self.bias())


def _factors(rows: int, columns: int, rank: int | None) -> nn.ParameterList:
    """A matrix (m, n), or two factors of it; small enough for 2 sigmoid(...) to begin near 1."""
    shapes = [(rows, columns)] if rank is None or rank >= min(rows, columns) else [(rows, rank), (rank, columns)]
    return nn.ParameterList(
        torch.empty(rows, inputs).uniform_(-1.0 / math.sqrt(inputs), 1.0 / math.sqrt(inputs)) for rows, inputs in shapes
    )
