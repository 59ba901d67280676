"""The quasi-recurrent layer: one matmul for all time steps, then an elementwise recurrence.

Source: Bradbury, Merity, Xiong & Socher 2017, "Quasi-recurrent neural networks", arXiv:1611.01576.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from ulmkit.errors import ConfigError
from ulmkit.kernels.backend import check_shapes
from ulmkit.kernels.stepwise import valid_steps

_sigmoid_backward, _tanh_backward = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward


def qrnn(
    x: Tensor,
    previous: Tensor,
    c0: Tensor,
    weight: Tensor,
    bias: Tensor,
    lengths: Tensor | None = None,
    *,
    reference: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """One QRNN layer over a batch of sequences; the weight's shape says how wide its window is.

    a_t = W [x_t, x_{t-1}] + b, or W x_t + b for a window of 1;  y, c_n = fo_pool(a, c0)

    Args:
        x: (T, B, E) float, time-major.
        previous: (B, E) float, the input before the first step; (B, 0) for a window of 1.
        c0: (B, H) float, cell state before the first step.
        weight: (3H, E) or (3H, 2E) float, masked; rows z, f, o; columns this input, then the previous one.
        bias: (3H,) float.
        lengths: (B,) int64, valid steps of each sequence, 0 <= length <= T; None if all are T.
        reference: True to pool by the plain loop.

    Returns:
        y: (T, B, H) in the weight's type, zero at steps beyond a sequence's length.
        previous_n: (B, E) or (B, 0) in the type of `previous`, the input of each sequence's last valid step.
        c_n: (B, H) in c0's type, the cell state after it.

    Raises:
        ConfigError: If a shape does not fit, naming the argument.

    Source: Bradbury et al. 2017, arXiv:1611.01576; the previous input is carried over as in salesforce/pytorch-qrnn.
    Deviation: the gradient of the previous input is carried over too.
    """
    _check_shapes(x, previous, c0, weight, bias, lengths)
    dtype = weight.dtype
    x = x.to(dtype)
    source, last = x, previous
    if previous.shape[1]:
        inputs = torch.cat([previous.to(dtype).unsqueeze(0), x])
        source = torch.cat([x, inputs[:-1]], dim=2)
        last = inputs[-1] if lengths is None else inputs[lengths, torch.arange(x.shape[1], device=x.device)]
        last = last.to(previous.dtype)
    pool = fo_pool_reference if reference else fo_pool
    cell_type = torch.promote_types(dtype, torch.float32)
    y, c = pool(linear(source, weight, bias.to(dtype)), c0.to(cell_type), lengths)
    return y, last, c.to(c0.dtype)


def fo_pool(a: Tensor, c0: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The recurrence of the QRNN, fo-pooling.

    z, f, o = tanh(a_z), sigmoid(a_f), sigmoid(a_o)
    c_t = f_t * c_{t-1} + (1 - f_t) * z_t;  h_t = o_t * c_t

    Args:
        a: (T, B, 3H) pre-activations of z, f, o.
        c0: (B, H) fp32 or wider.
        lengths: (B,) valid steps of each sequence; None if all are T.

    Returns:
        h (T, B, H) in a's type, and c (B, H) in c0's type, after each sequence's last valid step.

    Source: Bradbury et al. 2017, arXiv:1611.01576 (fo-pooling).
    Deviation: salesforce/pytorch-qrnn exchanges f and 1 - f; its f is 1 - f here, with the sign of a_f flipped.
    """
    return _FOPool.apply(a, c0, lengths)


def fo_pool_reference(a: Tensor, c0: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Fo-pooling as its formula, step by step: the reference that `fo_pool` is tested against."""
    c, outputs = c0, []
    valid = valid_steps(len(a), lengths, c0)
    for t in range(a.shape[0]):
        z, f, o = a[t].to(c0.dtype).chunk(3, dim=1)
        c_next = f.sigmoid() * c + (1 - f.sigmoid()) * z.tanh()
        h = (o.sigmoid() * c_next).to(a.dtype)
        c = c_next if valid is None else torch.where(valid[t], c_next, c)
        outputs.append(h if valid is None else torch.where(valid[t], h, torch.zeros_like(h)))
    y = torch.stack(outputs) if outputs else a.new_empty(0, *c0.shape)
    return y, c


class _FOPool(torch.autograd.Function):
    """Fo-pooling that keeps only `a` and the cell states: backward recomputes the gates, step by step."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, c0: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        steps, batch, hidden = a.shape[0], a.shape[1], c0.shape[1]
        valid = valid_steps(steps, lengths, c0)
        ended = None if valid is None else ~valid
        y = a.new_empty(steps, batch, hidden)
        c = torch.cat([c0.unsqueeze(0), c0.new_empty(steps, batch, hidden)])
        buffer = c0.new_empty(batch, 3 * hidden)
        for t in range(steps):
            z, f, o = _gates(a[t], buffer, None if ended is None else ended[t])
            torch.lerp(z, c[t], f, out=c[t + 1])
            torch.mul(o, c[t + 1], out=y[t])
        ctx.save_for_backward(a, c, ended)
        return y, c[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dc_n: Tensor) -> tuple[Tensor, Tensor, None]:
        """Backward through time; dc is the gradient of c_t, later steps included.

        dc_t += o dh_t;  da_o = dh_t c_t o (1 - o)
        da_z = dc_t (1 - f) (1 - z^2);  da_f = dc_t (c_{t-1} - z) f (1 - f);  dc_{t-1} = f dc_t
        """
        a, c, ended = ctx.saved_tensors
        steps, batch, hidden = dy.shape
        da, dc = torch.empty_like(a), dc_n.clone()
        dh, earlier = torch.empty_like(dc), torch.empty_like(dc)
        buffer, d_gates = c.new_empty(2, batch, 3 * hidden)
        dz, df, do = d_gates.chunk(3, dim=1)
        for t in reversed(range(steps)):
            z, f, o = _gates(a[t], buffer, None if ended is None else ended[t])
            dh.copy_(dy[t])
            dc.addcmul_(dh, o)
            torch.mul(dh, c[t + 1], out=do)
            torch.sub(c[t], z, out=df).mul_(dc)
            torch.mul(dc, f, out=earlier)
            torch.sub(dc, earlier, out=dz)
            dc, earlier = earlier, dc
            _tanh_backward.grad_input(dz, z, grad_input=dz)
            _sigmoid_backward.grad_input(d_gates[:, hidden:], buffer[:, hidden:], grad_input=d_gates[:, hidden:])
            da[t] = d_gates
        return da, dc, None


def _gates(a: Tensor, buffer: Tensor, ended: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """z, f, o (B, H) of one step, in `buffer` (B, 3H); 0, 1, 0 where a sequence has ended, which keep its state."""
    hidden = buffer.shape[1] // 3
    buffer.copy_(a)
    z, f, o = buffer.chunk(3, dim=1)
    z.tanh_()
    buffer[:, hidden:].sigmoid_()
    if ended is not None:
        z.masked_fill_(ended, 0.0)
        f.masked_fill_(ended, 1.0)
        o.masked_fill_(ended, 0.0)
    return z, f, o


def _check_shapes(
    x: Tensor, previous: Tensor, c0: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor | None
) -> None:
    batch, inputs, hidden = x.shape[1], x.shape[2], c0.shape[1]
    if tuple(previous.shape) not in ((batch, inputs), (batch, 0)):
        raise ConfigError(f"previous: expected {(batch, inputs)} or {(batch, 0)}, got {tuple(previous.shape)}")
    check_shapes(
        c0=(c0, (batch, hidden)),
        weight=(weight, (3 * hidden, inputs + previous.shape[1])),
        bias=(bias, (3 * hidden,)),
        lengths=(lengths, (batch,)),
    )
