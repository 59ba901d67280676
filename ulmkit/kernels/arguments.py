"""Arguments of compiled kernels: addresses of tensors, and the fields of C structures."""

from typing import Any

import torch
from torch import Tensor


def address(tensor: Tensor | None) -> int | None:
    """Return the address of a contiguous tensor's elements, None for None."""
    return None if tensor is None else tensor.data_ptr()


def fields(kind: type, names: str) -> list[tuple[str, Any]]:
    """List a structure's fields of one C type, from their names with spaces between."""
    return [(name, kind) for name in names.split()]


def empty_row_major(like: Tensor) -> Tensor:
    """Allocate a row-major tensor of the same shape and type, as the kernels write it."""
    return torch.empty_like(like, memory_format=torch.contiguous_format)
