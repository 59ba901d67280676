"""Matrix products of 16-bit factors that are summed and returned in float32."""

import torch
from torch import Tensor


def product_into(out: Tensor, a: Tensor, b: Tensor, *, add: bool = False) -> Tensor:
    """Write a b to `out`, float32, or add it to `out`, and return that."""
    if a.device.type != "cuda":  # on CPUs, torch's products have no type of their own for the result
        a, b = a.float(), b.float()
    if a.dtype == torch.float32:
        return torch.addmm(out, a, b, out=out) if add else torch.mm(a, b, out=out)
    if add:
        return torch.addmm(out, a, b, out_dtype=torch.float32, out=out)
    return torch.mm(a, b, out_dtype=torch.float32, out=out)
