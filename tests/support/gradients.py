"""Gradients of kernels, and how far two tensors are apart."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def gradients(values: Mapping[str, Tensor], outputs: Sequence[Tensor]) -> dict[str, Tensor]:
    """Gradients by name, for all inputs with elements, of a weighted sum of all outputs, so that each path counts."""
    generator = torch.Generator().manual_seed(7)
    weights = [torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out.dtype) for out in outputs]
    loss = sum((out * weight).sum() for out, weight in zip(outputs, weights, strict=True))
    names = [name for name in values if values[name].numel()]
    return dict(zip(names, torch.autograd.grad(loss, [values[name] for name in names]), strict=True))


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """Norm of the difference, relative to the norm of what was expected."""
    difference = actual.double() - expected.double()
    return (difference.norm() / expected.double().norm().clamp(min=1e-30)).item()
