"""Activation and temporal activation regularization (AR, TAR) on GPUs, in one kernel for each direction."""

from ctypes import Structure, c_float, c_int64, c_void_p
from typing import Any, ClassVar

import torch
from torch import Tensor

from ulmkit.kernels.arguments import address, empty_row_major, fields
from ulmkit.kernels.cuda.launcher import blocks_for, kernels


class Regularization(Structure):
    """Regularization of regularization.cu."""

    _fields_: ClassVar = [
        *fields(c_void_p, "h mask"),
        *fields(c_int64, "steps columns"),
        *fields(c_float, "alpha beta"),
        *fields(c_void_p, "sums d_sum d_h"),
    ]


@torch.library.custom_op("ulmkit::regularization", mutates_args=())
def regularization(h: Tensor, mask: Tensor | None, alpha: float, beta: float) -> Tensor:
    """Compute the AR and TAR losses, differentiable in h.

    alpha mean((m h_t)^2) + beta mean((h_{t+1} - h_t)^2), the second term zero for a single step

    Args:
        h: (T, B, H) bf16, fp16 or fp32, not empty.
        mask: (1, B, H) m in h's type, None for 1.
        alpha: Weight of AR.
        beta: Weight of TAR.

    Returns:
        Scalar float32.

    Source: Merity, Keskar & Socher 2017, arXiv:1708.02182, section 4.6; see `ulmkit.model.regularizers`.
    """
    h = h.contiguous()
    columns = h[0].numel()
    sums = h.new_empty(blocks_for(columns), dtype=torch.float32)
    _launch("regularization_forward", h, mask, alpha, beta, sums=sums)
    return sums.sum()


@regularization.register_fake
def _(h, mask, alpha, beta):  # type: ignore[no-untyped-def]
    return h.new_empty((), dtype=torch.float32)


@torch.library.custom_op("ulmkit::regularization_backward", mutates_args=())
def regularization_backward(d_sum: Tensor, h: Tensor, mask: Tensor | None, alpha: float, beta: float) -> Tensor:
    """Compute the gradient of h from that of the loss, scalar float32."""
    h = h.contiguous()
    d_h = empty_row_major(h)
    _launch("regularization_backward", h, mask, alpha, beta, d_sum=d_sum, d_h=d_h)
    return d_h


@regularization_backward.register_fake
def _(d_sum, h, mask, alpha, beta):  # type: ignore[no-untyped-def]
    return empty_row_major(h)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    h, mask, ctx.alpha, ctx.beta = inputs
    ctx.save_for_backward(h, mask)


def _gradient(ctx: Any, d_sum: Tensor) -> tuple[Tensor | None, ...]:
    return regularization_backward(d_sum, *ctx.saved_tensors, ctx.alpha, ctx.beta), None, None, None


regularization.register_autograd(_gradient, setup_context=_save)


def _launch(name: str, h: Tensor, mask: Tensor | None, alpha: float, beta: float, **results: Tensor) -> None:
    steps, columns = h.shape[0], h[0].numel()
    mask = None if mask is None else mask.contiguous()
    arguments = Regularization(
        h=address(h),
        mask=address(mask),
        steps=steps,
        columns=columns,
        alpha=alpha / h.numel(),
        beta=beta / max(1, h.numel() - columns),
        **{key: address(tensor) for key, tensor in results.items()},
    )
    kernels(h.device.index or 0).pointwise("regularization.cu", name, h.dtype, columns, arguments)
