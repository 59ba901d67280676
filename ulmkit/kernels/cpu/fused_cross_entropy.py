"""Softmax cross-entropy of a linear layer on CPUs: cross_entropy-inl.h computes it, a block of rows at a time."""

import torch
from torch import Tensor

from ulmkit.kernels.cpu.library import CrossEntropy, address, library

_HELD_BYTES = 1 << 26
"""Of the logits that are held at once."""


def cross_entropy(x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int, path: str) -> Tensor:
    """Each row's -log softmax(x W^T + b)[target].

    Args: x: (N, E) in the path's type. weight: (V, E) float32. bias: (V,) float32 or None. targets: (N,) int64, below
    classes <= V. path: from `choose_path`.
    Returns: (N,) float32.
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
    """As `cross_entropy`, with the gradients of the rows' mean in x, weight and bias (None without one).

    Args: row_weights: (N,) float32; the gradients are then of the rows' sum weighted by them, not of the mean.
    """
    x, weight, bias, targets = _contiguous(x, weight, bias, targets)
    row_weights = None if row_weights is None else row_weights.contiguous()
    nll, dx, d_weight = weight.new_empty(len(targets)), torch.empty_like(x), torch.empty_like(weight)
    d_bias = None if bias is None else torch.empty_like(bias)
    task = _task(x, weight, bias, targets, classes, nll)
    task.dx, task.d_weight, task.d_bias = address(dx), address(d_weight), address(d_bias)
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
    """Tensors to be held while their addresses are in use."""
    return x.contiguous(), weight.contiguous(), None if bias is None else bias.contiguous(), targets.contiguous()


def _task(x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int, nll: Tensor) -> CrossEntropy:
    """Without gradients."""
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
