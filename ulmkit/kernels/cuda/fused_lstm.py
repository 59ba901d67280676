"""Fused LSTM on GPUs: all steps in one launch where the shape allows it, else one GEMM and one kernel per step."""

from ctypes import Structure
from typing import Any

import torch
from torch import Tensor

from ulmkit.kernels.arguments import address, empty_row_major
from ulmkit.kernels.cuda.arguments import Backward, Forward, Sequences
from ulmkit.kernels.cuda.fused_masks import Mask, lay_out_weights, mask_gradient, room_for_weights
from ulmkit.kernels.cuda.launcher import Kernels, kernels
from ulmkit.kernels.cuda.operators import without_autocast
from ulmkit.kernels.cuda.plan import TILE, round_up
from ulmkit.kernels.cuda.products import product_into
from ulmkit.kernels.cuda.steps import recordings


def lstm(
    x: Tensor, h0: Tensor, c0: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, lengths: Tensor | None, mask: Mask
) -> tuple[Tensor, Tensor, Tensor]:
    """Run one LSTM layer over a batch of sequences.

    Args:
        x: (T, B, E) bf16, fp16 or fp32, the type of products.
        h0: (B, H) float32.
        c0: (B, H) float32.
        w_ih: (4H, E) float32.
        w_hh: (4H, H) float32.
        bias: (4H,) float32.
        lengths: (B,) int64, None for T.
        mask: Mask of w_hh.

    Returns:
        y (T, B, H) in x's type, h_n and c_n (B, H) float32.

    Source: `ulmkit.kernels.reference.lstm` has the formula; lstm_forward.cu, lstm_backward.cu and lstm_steps.cu
        compute it.
    """
    requires_grad = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, h0, c0, w_ih, w_hh, bias))
    y, h_n, c_n, _, _ = lstm_forward(
        x, h0, c0, w_ih, w_hh, bias, mask.keep_bits, mask.keep_scale, lengths, requires_grad
    )
    return y, h_n, c_n


@torch.library.custom_op("ulmkit::lstm_forward", mutates_args=())
@without_autocast
def lstm_forward(
    x: Tensor,  # (T, B, E)
    h0: Tensor,  # (B, H) fp32
    c0: Tensor,  # (B, H) fp32
    w_ih: Tensor,  # (4H, E) fp32
    w_hh: Tensor,  # (4H, H) fp32
    bias: Tensor,  # (4H,) fp32
    keep_bits: Tensor | None,  # (4H, ceil(H / 8)) uint8
    keep_scale: float,
    lengths: Tensor | None,  # (B,)
    requires_grad: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run the forward pass, and return what the backward pass needs.

    Returns:
        y, h_n, c_n, cells (T + 1, B, H), and gates (T, B, 4H), empty unless `requires_grad`.
    """
    steps, batch, hidden = x.shape[0], x.shape[1], w_hh.shape[1]
    lengths = None if lengths is None else lengths.to(torch.int64).contiguous()
    sequences = _sequences(steps, batch, hidden, lengths)
    sums = torch.addmm(bias.to(x.dtype), x.flatten(0, 1), w_ih.to(x.dtype).T)
    y = _padded(x, steps * batch, hidden).view(steps, batch, sequences.width)
    h_n = _copy(h0)
    c_n = _copy(c0)
    cells = c0.new_empty(steps + 1, batch, hidden)
    cells[0] = c0
    gates = x.new_empty(steps, batch, 4 * hidden) if requires_grad else x.new_empty(0)
    if steps and batch:
        tensors = {
            "sums": sums,
            "y": y,
            "h_n": h_n,
            "c_n": c_n,
            "cells": cells,
            "gates": gates if requires_grad else None,
        }
        arguments = Forward(sequences, **{name: address(tensor) for name, tensor in tensors.items()})
        mask = _mask(keep_bits, keep_scale)
        _all_steps(kernels(x.device.index or 0), "forward", x, arguments, w_hh.contiguous(), mask, h0)
    return y[:, :, :hidden], h_n, c_n, cells, gates


@lstm_forward.register_fake
def _(x, h0, c0, w_ih, w_hh, bias, keep_bits, keep_scale, lengths, requires_grad):  # type: ignore[no-untyped-def]
    steps, batch, hidden = x.shape[0], x.shape[1], w_hh.shape[1]
    width = round_up(hidden, TILE)
    y = x.new_empty_strided((steps, batch, hidden), (batch * width, width, 1))
    gates = x.new_empty((steps, batch, 4 * hidden) if requires_grad else (0,))
    return y, empty_row_major(h0), empty_row_major(c0), c0.new_empty(steps + 1, batch, hidden), gates


@torch.library.custom_op("ulmkit::lstm_backward", mutates_args=())
@without_autocast
def lstm_backward(
    dy: Tensor,  # (T, B, H)
    dh_n: Tensor,  # (B, H) fp32
    dc_n: Tensor,  # (B, H) fp32
    x: Tensor,
    h0: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    keep_bits: Tensor | None,
    keep_scale: float,
    lengths: Tensor | None,
    y: Tensor,
    cells: Tensor,
    gates: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Compute the gradients of x, h0, c0, w_ih, w_hh and bias from arguments and results of `lstm_forward`."""
    steps, batch, hidden = x.shape[0], x.shape[1], w_hh.shape[1]
    lengths = None if lengths is None else lengths.to(torch.int64).contiguous()
    sequences = _sequences(steps, batch, hidden, lengths)
    d_gates = _padded(x, steps * batch, 4 * hidden)
    dh = _copy(dh_n)
    dc = _copy(dc_n)
    dy = dy.to(x.dtype).contiguous()
    mask = _mask(keep_bits, keep_scale)
    w_hh = w_hh.contiguous()
    run = kernels(x.device.index or 0)
    if steps and batch:
        tensors = {"dy": dy, "cells": cells, "gates": gates, "d_gates": d_gates, "dh": dh, "dc": dc}
        arguments = Backward(sequences, **{name: address(tensor) for name, tensor in tensors.items()})
        _all_steps(run, "backward", x, arguments, w_hh, mask)
    flat = d_gates[:, : 4 * hidden]
    d_w_hh = _product(flat[batch:].T, y[:-1].flatten(0, 1)) if steps > 1 else torch.zeros_like(w_hh)
    if steps:
        d_w_hh += _product(flat[:batch].T, h0.to(x.dtype))
    if keep_bits is not None:
        mask_gradient(run, d_w_hh, mask)
    d_w_ih = _product(flat.T, x.flatten(0, 1))
    dx = torch.mm(flat, w_ih.to(x.dtype)).view(x.shape)
    return dx, dh, dc, d_w_ih, d_w_hh, flat.sum(0, dtype=torch.float32)


@lstm_backward.register_fake
def _(dy, dh_n, dc_n, x, h0, w_ih, w_hh, *others):  # type: ignore[no-untyped-def]
    bias = w_hh.new_empty(w_hh.shape[0])
    return (*(empty_row_major(tensor) for tensor in (x, dh_n, dc_n, w_ih, w_hh)), bias)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, h0, _, w_ih, w_hh, _, keep_bits, ctx.keep_scale, lengths, _ = inputs
    y, _, _, cells, gates = output
    ctx.mark_non_differentiable(cells, gates)
    ctx.set_materialize_grads(False)  # avoids writing zeros for cells and gates
    ctx.save_for_backward(x, h0, w_ih, w_hh, keep_bits, lengths, y, cells, gates)


def _gradients(
    ctx: Any, dy: Tensor | None, dh_n: Tensor | None, dc_n: Tensor | None, *_: Any
) -> tuple[Tensor | None, ...]:
    x, h0, w_ih, w_hh, keep_bits, lengths, y, cells, gates = ctx.saved_tensors
    dy = torch.zeros_like(y) if dy is None else dy
    dh_n = torch.zeros_like(h0) if dh_n is None else dh_n
    dc_n = torch.zeros_like(h0) if dc_n is None else dc_n
    gradients = lstm_backward(dy, dh_n, dc_n, x, h0, w_ih, w_hh, keep_bits, ctx.keep_scale, lengths, y, cells, gates)
    return *gradients, None, None, None, None


lstm_forward.register_autograd(_gradients, setup_context=_save)


def _all_steps(
    run: Kernels,
    direction: str,
    like: Tensor,
    arguments: Structure,
    w_hh: Tensor,
    mask: Mask,
    first: Tensor | None = None,
) -> None:
    """Run all steps in one launch if the device has room for one, else step by step.

    Args:
        run: Kernels of the device.
        direction: "forward" or "backward".
        like: Tensor of the products' type and device.
        arguments: `Forward` or `Backward` without weights, h0, spilled and met, which are set here.
        w_hh: (4H, H) fp32, contiguous.
        mask: Mask of w_hh.
        first: (B, H) state before the first step, None for zeros.
    """
    batch, hidden = arguments.sequences.batch, arguments.sequences.hidden_size
    weights = before = None  # the fallback has buffers of its own
    # The device may turn out to have no room for a plan; `persistent` then refuses it, and the next best is tried.
    while (plan := run.plan(direction, like.dtype, batch, hidden)) is not None:
        if weights is None:
            weights = lay_out_weights(run, direction, w_hh, mask, room_for_weights(direction, like, hidden))
            arguments.weights = address(weights)
        if first is not None and before is None:
            before = _padded(like, batch, hidden)
            before[:, :hidden] = first
            arguments.h0 = address(before)
        # Memory for weights that do not fit into shared memory, and the counters of the block barriers.
        spilled = like.new_empty(plan.spilled_bytes, dtype=torch.uint8) if plan.spilled_bytes else None
        met = torch.zeros(plan.groups, dtype=torch.int32, device=like.device)
        arguments.spilled, arguments.met = address(spilled), address(met)
        if run.persistent(plan, direction, arguments):
            return
    recordings(run).run(direction, like, arguments, w_hh, mask, first)


def _mask(keep_bits: Tensor | None, keep_scale: float) -> Mask:
    return Mask(None if keep_bits is None else keep_bits.contiguous(), keep_scale)


def _copy(tensor: Tensor) -> Tensor:
    """Copy a tensor to row-major memory."""
    return tensor.clone(memory_format=torch.contiguous_format)


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return a b, summed in float32."""
    return product_into(a.new_empty(a.shape[0], b.shape[1], dtype=torch.float32), a, b)


def _padded(like: Tensor, rows: int, columns: int) -> Tensor:
    """Allocate (rows, columns rounded up to a tile), with zeros in the padding and the rest uninitialised."""
    width = round_up(columns, TILE)
    return like.new_empty(rows, width) if width == columns else like.new_zeros(rows, width)


def _sequences(steps: int, batch: int, hidden: int, lengths: Tensor | None) -> Sequences:
    return Sequences(address(lengths), steps, batch, hidden, round_up(hidden, TILE), round_up(4 * hidden, TILE))
