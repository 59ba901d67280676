"""Softmax cross-entropy of a linear layer on CPUs, computed by cross_entropy-inl.h in blocks of rows."""

import torch
from torch import Tensor

from ulmkit.kernels.arguments import address, empty_row_major
from ulmkit.kernels.cpu.library import CrossEntropy, choose_path, library

_HELD_BYTES = 1 << 26
"""Most bytes of logits to hold at once."""


def cross_entropy(x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int) -> Tensor:
    """Compute -log softmax(x W^T + b)[target] of each row.

    Args:
        x: (N, E) in a type for which `choose_path` has a path.
        weight: (V, E) float32.
        bias: (V,) float32 or None.
        targets: (N,) int64, each below `classes`.
        classes: Number of classes, at most V; later rows of `weight` are padding.

    Returns:
        (N,) float32.
    """
    return _run(x, classes, 0.0, weight=weight, bias=bias, targets=targets)


def cross_entropy_with_gradients(
    x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int, row_weights: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Compute `cross_entropy` and the gradients of its mean over rows.

    Args:
        x: (N, E) in a type for which `choose_path` has a path.
        weight: (V, E) float32.
        bias: (V,) float32 or None.
        targets: (N,) int64, each below `classes`.
        classes: Number of classes, at most V.
        row_weights: (N,) float32; gradients are then those of the weighted sum over rows, not of the mean.

    Returns:
        Loss of each row (N,), and the gradients of x, weight and bias (None without a bias).
    """
    dx, d_weight = empty_row_major(x), empty_row_major(weight)
    d_bias = None if bias is None else empty_row_major(bias)
    arguments = {"weight": weight, "bias": bias, "targets": targets, "row_weights": row_weights}
    scale = 1.0 / len(targets) if row_weights is None else 1.0
    nll = _run(x, classes, scale, **arguments, dx=dx, d_weight=d_weight, d_bias=d_bias)
    d_weight[classes:] = 0.0
    if d_bias is not None:
        d_bias[classes:] = 0.0
    return nll, dx, d_weight, d_bias


def _run(x: Tensor, classes: int, scale: float, **tensors: Tensor | None) -> Tensor:
    """Compute the loss of each row (N,) and fill the gradients that are among the tensors, named as in kernels.h."""
    x = x.contiguous()
    tensors = {name: None if tensor is None else tensor.contiguous() for name, tensor in tensors.items()}
    nll = torch.empty(len(x), dtype=torch.float32, device="cpu")
    addresses = {name: address(tensor) for name, tensor in tensors.items()}
    sizes = {"rows": len(x), "features": x.shape[1], "classes": classes}
    task = CrossEntropy(**sizes, **addresses, x=address(x), nll=address(nll), scale=scale, held_bytes=_HELD_BYTES)
    path, reason = choose_path(x.dtype)
    assert path is not None, reason
    library().cross_entropy(path, task)
    return nll
