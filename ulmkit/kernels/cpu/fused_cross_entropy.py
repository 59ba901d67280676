"""Softmax cross-entropy of a linear layer on CPUs, computed by cross_entropy-inl.h in blocks of rows."""

import torch
from torch import Tensor

from ulmkit.kernels.cpu.library import CrossEntropy, address, library

_HELD_BYTES = 1 << 26
"""Most bytes of logits to hold at once."""


def cross_entropy(x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int, path: str) -> Tensor:
    """Compute -log softmax(x W^T + b)[target] of each row.

    Args:
        x: (N, E) in the path's type.
        weight: (V, E) float32.
        bias: (V,) float32 or None.
        targets: (N,) int64, each below `classes`.
        classes: Number of classes, at most V; later rows of `weight` are padding.
        path: Path of the library, from `choose_path`.

    Returns:
        (N,) float32.
    """
    x, weight, bias, targets = _contiguous(x, weight, bias, targets)
    nll = weight.new_empty(len(targets))
    task = _task(x, weight, bias, targets, classes, nll)
    library().cross_entropy(path, task)
    return nll


def cross_entropy_with_gradients(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    classes: int,
    path: str,
    row_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Compute `cross_entropy` and the gradients of its mean over rows.

    Args:
        x: (N, E) in the path's type.
        weight: (V, E) float32.
        bias: (V,) float32 or None.
        targets: (N,) int64, each below `classes`.
        classes: Number of classes, at most V.
        path: Path of the library, from `choose_path`.
        row_weights: (N,) float32; gradients are then those of the weighted sum over rows, not of the mean.

    Returns:
        Loss of each row (N,), and the gradients of x, weight and bias (None without a bias).
    """
    x, weight, bias, targets = _contiguous(x, weight, bias, targets)
    row_weights = None if row_weights is None else row_weights.contiguous()
    nll = weight.new_empty(len(targets))
    dx = torch.empty_like(x)
    d_weight = torch.empty_like(weight)
    d_bias = None if bias is None else torch.empty_like(bias)
    task = _task(x, weight, bias, targets, classes, nll)
    task.dx = address(dx)
    task.d_weight = address(d_weight)
    task.d_bias = address(d_bias)
    task.row_weights = address(row_weights)
    task.scale = 1.0 / len(targets) if row_weights is None else 1.0
    library().cross_entropy(path, task)
    d_weight[classes:] = 0.0
    if d_bias is not None:
        d_bias[classes:] = 0.0
    return nll, dx, d_weight, d_bias


def _contiguous(
    x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Return contiguous tensors, which the caller must hold while their addresses are in use."""
    return x.contiguous(), weight.contiguous(), None if bias is None else bias.contiguous(), targets.contiguous()


def _task(x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int, nll: Tensor) -> CrossEntropy:
    """Describe the task to the library, without gradients."""
    rows, features = x.shape
    return CrossEntropy(
        rows=rows,
        features=features,
        classes=classes,
        x=address(x),
        weight=address(weight),
        bias=address(bias),
        targets=address(targets),
        nll=address(nll),
        held_bytes=_HELD_BYTES,
    )
