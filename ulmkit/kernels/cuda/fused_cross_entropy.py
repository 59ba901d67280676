"""The softmax cross-entropy of a linear layer on GPUs: products by torch, and one kernel for all between them."""

from collections.abc import Iterator
from ctypes import Structure, c_float, c_int, c_int64, c_void_p
from typing import ClassVar

import torch
from torch import Tensor

from ulmkit.kernels.cuda.launcher import kernels
from ulmkit.kernels.cuda.plan import round_up
from ulmkit.kernels.cuda.steps import product_into

_BLOCK_ELEMENTS = 1 << 24  # logits held at once: 32 MiB in bf16, which a large GPU's cache holds
_ALIGNMENT = 8  # elements: a row's logits begin where 16 bytes do


class Logits(Structure):
    """As in cross_entropy.cu."""

    _fields_: ClassVar = [
        *((name, c_void_p) for name in ("logits", "bias", "targets", "row_weights", "nll")),
        *((name, c_int64) for name in ("width", "classes")),
        ("weight", c_float),
        ("gradients", c_int),
    ]


def cross_entropy(x: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, classes: int) -> Tensor:
    """Each row's -log softmax(x W^T + b)[target], (N,) float32.

    Args: x: (N, E) bf16, fp16 or fp32, N > 0. weight: (V, E) fp32. bias: (V,) fp32 or None. targets: (N,) int64.
        classes: rows of `weight` that are.
    """
    nll = x.new_empty(x.shape[0], dtype=torch.float32)
    low_weight = weight.to(x.dtype)
    for rows, logits in _blocks(x, low_weight):
        softmax_rows(logits, nll[rows], bias, targets[rows], classes, None, 0.0, False)
    return nll


def cross_entropy_with_gradients(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    classes: int,
    row_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """`cross_entropy`, and gradients in x, weight and bias: of the rows' mean, or of their sum weighted by row_weights
    (N,) float32."""
    nll, grad_x = x.new_empty(x.shape[0], dtype=torch.float32), torch.empty_like(x)
    grad_weight, grad_bias = torch.empty_like(weight), None if bias is None else torch.zeros_like(bias)
    low_weight = weight.to(x.dtype)
    for rows, logits in _blocks(x, low_weight):
        weights = None if row_weights is None else row_weights[rows]
        softmax_rows(logits, nll[rows], bias, targets[rows], classes, weights, 1.0 / x.shape[0], True)
        gradients = logits[:, : weight.shape[0]]
        torch.mm(gradients, low_weight, out=grad_x[rows])
        if grad_bias is not None:
            grad_bias += gradients.sum(0, dtype=torch.float32)
        if rows.start == 0:
            product_into(grad_weight, gradients.T, x[rows])
        else:
            _add_product(grad_weight, gradients.T, x[rows])
    return nll, grad_x, grad_weight, grad_bias


def _blocks(x: Tensor, weight: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Rows and their x W^T in the same room each time, (rows, V up to a multiple of the alignment)."""
    columns = weight.shape[0]
    width = round_up(columns, _ALIGNMENT)
    height = min(x.shape[0], max(1, _BLOCK_ELEMENTS // width))
    room = x.new_empty(height, width)
    for start in range(0, x.shape[0], height):
        rows = slice(start, min(start + height, x.shape[0]))
        logits = room[: rows.stop - start]
        torch.mm(x[rows], weight.T, out=logits[:, :columns])
        yield rows, logits


def _add_product(to: Tensor, a: Tensor, b: Tensor) -> None:
    """to += a b, summed in float32."""
    if a.dtype == torch.float32:
        torch.addmm(to, a, b, out=to)
    elif a.device.type == "cuda":
        torch.addmm(to, a, b, out_dtype=torch.float32, out=to)
    else:
        torch.addmm(to, a.float(), b.float(), out=to)


@torch.library.custom_op("ulmkit::softmax_rows", mutates_args=("logits", "nll"))
def softmax_rows(
    logits: Tensor,  # (N, V and more, a multiple of the alignment), x W^T; contiguous
    nll: Tensor,  # (N,) fp32
    bias: Tensor | None,  # (V,) fp32
    targets: Tensor,  # (N,) int64
    classes: int,
    row_weights: Tensor | None,  # (N,) fp32
    weight: float,
    gradients: bool,
) -> None:
    """Fill `nll`. With `gradients` the logits become those of the rows' sum, weighted by `row_weights` or `weight`."""
    read = [None if tensor is None else tensor.contiguous() for tensor in (bias, targets, row_weights)]
    addresses = (None if tensor is None else tensor.data_ptr() for tensor in (logits, *read, nll))
    arguments = Logits(*addresses, logits.shape[1], classes, weight, gradients)
    run = kernels(logits.device.index or 0)
    run.blocks("cross_entropy.cu", "softmax_rows", logits.dtype, logits.shape[0], arguments)


@softmax_rows.register_fake
def _(logits, nll, bias, targets, classes, row_weights, weight, gradients):  # type: ignore[no-untyped-def]
    return None
