"""Matrix products of 16-bit factors that are summed and returned in float32."""

import torch
from torch import Tensor


def product_into(out: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Write a b to `out`, float32, and return it."""
    if a.dtype == torch.float32:
        return torch.mm(a, b, out=out)
    if a.device.type == "cuda":
        return torch.mm(a, b, out_dtype=torch.float32, out=out)
    return torch.mm(a.float(), b.float(), out=out)


def add_product(to: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Add a b to `to`, float32, and return it."""
    if a.dtype == torch.float32:
        return torch.addmm(to, a, b, out=to)
    if a.device.type == "cuda":
        return torch.addmm(to, a, b, out_dtype=torch.float32, out=to)
    return torch.addmm(to, a.float(), b.float(), out=to)
