"""The quasi-recurrent layer: one product for all time steps, and a recurrence that is elementwise.

Source: Bradbury, Merity, Xiong & Socher 2017, "Quasi-recurrent neural networks", arXiv:1611.01576.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from ulmkit.errors import ConfigError

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
    """One QRNN layer over a batch of sequences, its window as wide as the weight is.

    a_t = W [x_t, x_{t-1}] + b, or W x_t + b for a window of 1;  y, c_n = fo_pool(a, c0)

    Args:
        x: (T, B, E) float, time-major.
        previous: (B, E) float, the input before the first step; (B, 0) for a window of 1.
        c0: (B, H) float, cell state before the first step.
        weight: (3H, E) or (3H, 2E) float, already masked: z, f, o in rows; this input, then the one before, in columns.
        bias: (3H,) float.
        lengths: (B,) int64, valid steps of each sequence, 0 <= length <= T; None if all are T.
        reference: pool by the plain loop.
    Returns:
        y: (T, B, H) in the weight's type, zero at steps beyond a sequence's length.
        previous_n: as `previous`, in its type, the input of each sequence's last valid step.
        c_n: (B, H) in c0's type, the state after it.
    Raises: ConfigError for shapes that do not fit, naming them.
    Source: Bradbury et al. 2017, arXiv:1611.01576; the input before carried over as in
        salesforce/pytorch-qrnn, but with its gradient.
    """
    _check_shapes(x, previous, c0, weight, bias, lengths)
    dtype = weight.dtype
    x = x.to(dtype)
    source, last = x, previous
    if previous.shape[1]:
        inputs = torch.cat([previous.to(dtype).unsqueeze(0), x])
        source = torch.cat([x, inputs[:-1]], dim=2)
        last = (inputs[-1] if lengths is None else _after(inputs, lengths)).to(previous.dtype)
    pool = fo_pool_reference if reference else fo_pool
    cell_type = torch.promote_types(dtype, torch.float32)
    y, c = pool(linear(source, weight, bias.to(dtype)), c0.to(cell_type), lengths)
    return y, last, c.to(c0.dtype)


def fo_pool(a: Tensor, c0: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The recurrence of the QRNN.

    z, f, o = tanh(a_z), sigmoid(a_f), sigmoid(a_o)
    c_t = f_t * c_{t-1} + (1 - f_t) * z_t;  h_t = o_t * c_t

    Args: a: (T, B, 3H) z, f, o before their nonlinearities. c0: (B, H) fp32 or wider. lengths: (B,), see `qrnn`.
    Returns: h (T, B, H) in a's type, and c (B, H) after each sequence's last valid step, in c0's.
    Source: Bradbury et al. 2017, arXiv:1611.01576 (fo-pooling). Deviation from salesforce/pytorch-qrnn,
        which has f and 1 - f exchanged: its f is this one's 1 - f, of the negative argument.
    """
    return _FOPool.apply(a, c0, lengths)


def fo_pool_reference(a: Tensor, c0: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`fo_pool` as its formula, step by step: what it is tested against."""
    c, outputs = c0, []
    for t in range(a.shape[0]):
        z, f, o = a[t].to(c0.dtype).chunk(3, dim=1)
        c_next = f.sigmoid() * c + (1 - f.sigmoid()) * z.tanh()
        h = (o.sigmoid() * c_next).to(a.dtype)
        valid = torch.ones(len(c), 1, dtype=torch.bool) if lengths is None else (t < lengths).unsqueeze(1)
        c = torch.where(valid.to(c.device), c_next, c)
        outputs.append(torch.where(valid.to(c.device), h, torch.zeros_like(h)))
    y = torch.stack(outputs) if outputs else a.new_empty(0, *c0.shape)
    return y, c


class _FOPool(torch.autograd.Function):
    """What the backward needs of the gates it computes again, step by step: so the memory is `a` and the cells."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, c0: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        steps, batch, hidden = a.shape[0], a.shape[1], c0.shape[1]
        ended = _ended_steps(steps, lengths, c0)
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
        """With dc the gradient of c_t, that of the later steps included,

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
    """z, f, o (B, H) of one step, in `buffer` (B, 3H); where a sequence has ended, those that change nothing."""
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


def _ended_steps(steps: int, lengths: Tensor | None, like: Tensor) -> Tensor | None:
    """(T, B, 1) bool, set beyond each sequence's length; None if no sequence ends early."""
    if lengths is None:
        return None
    return (torch.arange(steps, device=like.device).unsqueeze(1) >= lengths).unsqueeze(2)


def _after(inputs: Tensor, lengths: Tensor) -> Tensor:
    """(B, E) of inputs (T + 1, B, E), the first before any step: each sequence's after `lengths` steps."""
    return inputs[lengths, torch.arange(inputs.shape[1], device=inputs.device)]


def _check_shapes(
    x: Tensor, previous: Tensor, c0: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor | None
) -> None:
    batch, inputs, hidden = x.shape[1], x.shape[2], c0.shape[1]
    expected = {
        "previous": (previous, ((batch, inputs), (batch, 0))),
        "c0": (c0, ((batch, hidden),)),
        "weight": (weight, ((3 * hidden, inputs + previous.shape[1]),)),
        "bias": (bias, ((3 * hidden,),)),
        "lengths": (lengths, ((batch,),)),
    }
    for name, (tensor, shapes) in expected.items():
        if tensor is not None and tuple(tensor.shape) not in shapes:
            raise ConfigError(f"{name}: expected {' or '.join(map(str, shapes))}, got {tuple(tensor.shape)}")
