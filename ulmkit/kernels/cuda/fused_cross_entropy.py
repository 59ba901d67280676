"""Softmax cross-entropy of a linear layer on GPUs: torch's products, and one kernel for all between them."""

from collections.abc import Iterator
from ctypes import Structure, c_int, c_int64, c_void_p
from typing import ClassVar

import torch
from torch import Tensor

from ulmkit.kernels.arguments import address, empty_row_major, fields
from ulmkit.kernels.cuda.launcher import kernels
from ulmkit.kernels.cuda.operators import without_autocast
from ulmkit.kernels.cuda.plan import round_up
from ulmkit.kernels.cuda.products import product_into

_BLOCK_ELEMENTS = 1 << 25
"""Most logits to hold at once, 64 MiB in bf16.

More would not stay in the L2 cache of a large GPU, and fewer would add more often to the weights' gradient, which is as
large as the weights.
"""

_ALIGNED_BYTES = 16
_ALIGNMENT = 8  # elements, so that each row of logits starts at a multiple of 16 bytes


class Logits(Structure):
    """Logits of cross_entropy.cu."""

    _fields_: ClassVar = [
        *fields(c_void_p, "logits bias targets row_weights nll"),
        *fields(c_int64, "width classes"),
        ("gradients", c_int),
    ]


@torch.library.custom_op("ulmkit::cross_entropy", mutates_args=())
@without_autocast
def cross_entropy(x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int) -> Tensor:
    """Compute -log softmax(x W^T + b)[target] of each row.

    Args:
        x: (N, E) bf16, fp16 or fp32, N > 0.
        weight: (V, E) fp32.
        bias: (V,) fp32 or None.
        targets: (N,) int64.
        classes: Number of classes, at most V; later rows of `weight` are padding.

    Returns:
        (N,) float32.
    """
    nll = x.new_empty(x.shape[0], dtype=torch.float32)
    for rows, logits in _blocks(x, weight.to(x.dtype)):
        _softmax(logits, nll[rows], bias, targets[rows], classes, None, gradients=False)
    return nll


@cross_entropy.register_fake
def _(x, weight, bias, targets, classes):  # type: ignore[no-untyped-def]
    return x.new_empty(x.shape[0], dtype=torch.float32)


def cross_entropy_with_gradients(
    x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int, row_weights: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Compute `cross_entropy` and the gradients of its sum over rows, weighted by row_weights (N,) float32.

    The gradients are those of the sum, not of the mean: divided by N they could underflow in fp16.

    Returns:
        Loss of each row (N,), and the gradients of x, weight and bias (None without a bias).
    """
    nll, grad_x, grad_weight, grad_bias = _with_gradients(x, weight, bias, targets, classes, row_weights)
    return nll, grad_x, grad_weight, None if bias is None else grad_bias


@torch.library.custom_op("ulmkit::cross_entropy_with_gradients", mutates_args=())
@without_autocast
def _with_gradients(
    x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int, row_weights: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run the operator of `cross_entropy_with_gradients`; without a bias its gradient is empty."""
    nll = x.new_empty(x.shape[0], dtype=torch.float32)
    grad_x = empty_row_major(x)
    grad_weight = empty_row_major(weight)
    grad_bias = weight.new_zeros(0 if bias is None else len(bias))
    low_weight = weight.to(x.dtype)
    for rows, logits in _blocks(x, low_weight):
        weights = None if row_weights is None else row_weights[rows]
        _softmax(logits, nll[rows], bias, targets[rows], classes, weights, gradients=True)
        gradients = logits[:, : weight.shape[0]]
        torch.mm(gradients, low_weight, out=grad_x[rows])
        if bias is not None:
            grad_bias += gradients.sum(0, dtype=torch.float32)
        product_into(grad_weight, gradients.T, x[rows], add=rows.start > 0)
    return nll, grad_x, grad_weight, grad_bias


@_with_gradients.register_fake
def _(x, weight, bias, targets, classes, row_weights):  # type: ignore[no-untyped-def]
    grad_bias = weight.new_empty(0 if bias is None else bias.shape[0])
    return x.new_empty(x.shape[0], dtype=torch.float32), empty_row_major(x), empty_row_major(weight), grad_bias


def _blocks(x: Tensor, weight: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield blocks of rows with their x W^T (rows, V rounded up to the alignment), in one reused buffer."""
    columns = weight.shape[0]
    width = round_up(columns, _ALIGNMENT)
    height = min(x.shape[0], max(1, _BLOCK_ELEMENTS // width))
    buffer = x.new_empty(height, width)
    for start in range(0, x.shape[0], height):
        rows = slice(start, min(start + height, x.shape[0]))
        logits = buffer[: rows.stop - start]
        torch.mm(x[rows], weight.T, out=logits[:, :columns])
        yield rows, logits


def _softmax(
    logits: Tensor,
    nll: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    classes: int,
    row_weights: Tensor | None,
    gradients: bool,
) -> None:
    """Compute the loss of each row from its logits and, if asked, replace the logits by their gradients.

    Args:
        logits: (N, V rounded up to the alignment) x W^T, contiguous.
        nll: (N,) float32, filled with the losses.
        bias: (V,) fp32 or None.
        targets: (N,) int64.
        classes: Number of classes.
        row_weights: (N,) float32, weights of the rows in the sum that the gradients are of.
        gradients: Whether to replace the logits by their gradients.
    """
    targets = targets.contiguous()
    bias, row_weights = (None if tensor is None else tensor.contiguous() for tensor in (bias, row_weights))
    if bias is not None and bias.data_ptr() % _ALIGNED_BYTES:
        bias = bias.clone()
    arguments = Logits(*map(address, (logits, bias, targets, row_weights, nll)), logits.shape[1], classes, gradients)
    run = kernels(logits.device.index or 0)
    run.blocks("cross_entropy.cu", "softmax_rows", logits.dtype, logits.shape[0], arguments)
