"""Matrix products of 16-bit factors that are summed, and kept, in float32."""

import torch
from torch import Tensor


def product_into(out: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a b. Args: out: float32, where it is put. Returns: `out`."""
    if a.dtype == torch.float32:
        return torch.mm(a, b, out=out)
    if a.device.type == "cuda":
        return torch.mm(a, b, out_dtype=torch.float32, out=out)
    return torch.mm(a.float(), b.float(), out=out)


def add_product(to: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """to += a b. Args: to: float32. Returns: `to`."""
    if a.dtype == torch.float32:
        return torch.addmm(to, a, b, out=to)
    if a.device.type == "cuda":
        return torch.addmm(to, a, b, out_dtype=torch.float32, out=to)
    return torch.addmm(to, a.float(), b.float(), out=to)
