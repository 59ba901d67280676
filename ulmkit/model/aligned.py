"""Parameters with a row per vocabulary entry, padded so that products over the vocabulary are aligned.

The padding rows stay zero, take no probability and are never saved.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

ALIGNMENT = 8


def aligned_rows(rows: int) -> int:
    """The smallest multiple of 8 that is at least `rows`."""
    return -(-rows // ALIGNMENT) * ALIGNMENT


class AlignedRows(nn.Module):
    """Holds `weight`, of shape (aligned_rows(rows), *rest); its state dict holds the first `rows` rows only."""

    def __init__(self, rows: int, *rest: int) -> None:
        super().__init__()
        self.rows = rows
        self.weight = nn.Parameter(torch.zeros(aligned_rows(rows), *rest))

    def table(self) -> Tensor:
        """The weight for all uses in one pass: their gradients are gathered, and those of `look_up` stay rows until
        then, so that a pass makes one gradient of the weight's size however many pieces it reads."""
        return _Gather.apply(self.weight)

    def _save_to_state_dict(self, destination: dict[str, Tensor], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "weight"] = destination[prefix + "weight"][: self.rows]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        name = prefix + "weight"
        given = state_dict.get(name)
        if given is not None and given.shape[0] == self.rows:
            padding = given.new_zeros(self.weight.shape[0] - self.rows, *given.shape[1:])
            state_dict = {**state_dict, name: torch.cat([given, padding])}
        super()._load_from_state_dict(state_dict, prefix, *args)


class _Gather(torch.autograd.Function):
    """The same tensor; its gradient is dense."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        return weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.to_dense() if gradient.is_sparse else gradient


def look_up(ids: Tensor, table: Tensor) -> Tensor:
    """Rows by number: ids (...) int64, table (V, E) from `AlignedRows.table` → (..., E)."""
    return functional.embedding(ids, table, sparse=table.device.type == "cpu")


def count_parameters(model: nn.Module) -> int:
    """How many numbers a model has learnt, as parameters or rounded to bytes; rows that only align are not counted."""
    saved = model.state_dict()
    parameters = sum(saved[name].numel() for name, _ in model.named_parameters())
    return parameters + sum(tensor.numel() for tensor in model.buffers() if tensor.dtype == torch.int8)
