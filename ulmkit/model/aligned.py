"""Parameters with one row per token, padded so that matmuls over the vocabulary are aligned.

Padding rows stay zero, take no probability and are never saved.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from ulmkit.kernels import Int8Matrix

ALIGNMENT = 8


def aligned_rows(rows: int) -> int:
    """The smallest multiple of 8 that is at least `rows`."""
    return math.ceil(rows / ALIGNMENT) * ALIGNMENT


class AlignedRows(nn.Module):
    """A parameter `weight` of shape (aligned_rows(rows), *rest), of which only the first `rows` rows are saved."""

    def __init__(self, rows: int, *rest: int) -> None:
        super().__init__()
        self.rows = rows
        self.weight = nn.Parameter(torch.zeros(aligned_rows(rows), *rest))

    def table(self) -> Tensor:
        """The weight, for all of its uses in one pass.

        Gradients of `look_up` stay sparse until all are summed: however many chunks a pass reads, it makes one dense
        gradient of the weight's size.
        """
        return _Gather.apply(self.weight)

    def _save_to_state_dict(self, destination: dict[str, Tensor], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "weight"] = destination[prefix + "weight"][: self.rows]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        name = prefix + "weight"
        saved = state_dict.get(name)
        if saved is not None and saved.shape[0] == self.rows:
            padding = saved.new_zeros(self.weight.shape[0] - self.rows, *saved.shape[1:])
            state_dict = {**state_dict, name: torch.cat([saved, padding])}
        super()._load_from_state_dict(state_dict, prefix, *args)


class _Gather(torch.autograd.Function):
    """Identity whose gradient is dense."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        return weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.to_dense() if gradient.is_sparse else gradient


def look_up(ids: Tensor, table: Tensor | Int8Matrix) -> Tensor:
    """Embedding lookup: ids (...) int64, table (V, E) from `AlignedRows.table` or in int8 → (..., E)."""
    if isinstance(table, Int8Matrix):
        return table.rows(ids)
    return functional.embedding(ids, table, sparse=table.device.type == "cpu")


def count_parameters(model: nn.Module) -> int:
    """Number of trained values, float or int8, without padding rows."""
    saved = model.state_dict()
    parameters = sum(saved[name].numel() for name, _ in model.named_parameters())
    return parameters + sum(tensor.numel() for tensor in model.buffers() if tensor.dtype == torch.int8)
