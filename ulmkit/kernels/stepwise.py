"""The LSTM as one matmul for all inputs, one matmul per time step, and a hand-written backward.

The cell state stays in fp32 whatever type the matmuls use. This backend is right where oneDNN's bf16 kernels are not:
on processors with AMX, torch 2.13's bf16 LSTM gives wrong gradients if the hidden size is a multiple of 32 and at least
1024 (the input's are off by a relative error of 1.2 at 1152), and on some other processors it cannot be created.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def lstm(
    x: Tensor, h0: Tensor, c0: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """One LSTM layer over a batch of sequences; see `ulmkit.kernels.reference.lstm`."""
    return _StepwiseLSTM.apply(x, h0, c0, w_ih, w_hh, bias, lengths)


class _StepwiseLSTM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,  # (T, B, E)
        h0: Tensor,  # (B, H)
        c0: Tensor,  # (B, H) fp32 or wider
        w_ih: Tensor,  # (4H, E)
        w_hh: Tensor,  # (4H, H)
        bias: Tensor,  # (4H,)
        lengths: Tensor | None,  # (B,)
    ) -> tuple[Tensor, Tensor, Tensor]:
        steps = len(x)
        valid = valid_steps(steps, lengths, c0)
        from_input = torch.nn.functional.linear(x, w_ih, bias)
        gates = torch.empty_like(from_input)
        h, c = room_for_states(steps, h0, c0)
        recurrent = w_hh.T
        for t in range(steps):
            step_gates = activate(torch.addmm(from_input[t], h[t], recurrent).to(c.dtype))
            forward_step(step_gates, h, c, t, valid)
            gates[t] = step_gates
        ctx.save_for_backward(x, w_ih, w_hh, gates, h, c, valid)
        return outputs(h, c, valid)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dh_n: Tensor, dc_n: Tensor) -> tuple[Tensor | None, ...]:
        x, w_ih, w_hh, gates, h, c, valid = ctx.saved_tensors
        d_gates, dh, dc = _backward_through_time(gates, c, w_hh, dy, dh_n, dc_n, valid)
        flat = d_gates.flatten(0, 1)
        dx = (flat @ w_ih).view_as(x)
        d_w_ih = flat.T @ x.flatten(0, 1)
        d_w_hh = flat.T @ h[:-1].flatten(0, 1)
        d_bias = flat.sum(0, dtype=c.dtype).to(flat.dtype)
        return dx, dh.to(h.dtype), dc, d_w_ih, d_w_hh, d_bias, None


def _backward_through_time(
    gates: Tensor, c: Tensor, w_hh: Tensor, dy: Tensor, dh_n: Tensor, dc_n: Tensor, valid: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the gates' pre-activations a (T, B, 4H) and of the first hidden and cell state (B, H).

    dh_{t-1} = W_hh^T da_t
    """
    slopes = cell_slopes(gates.to(c.dtype), c, valid)
    dy = dy if valid is None else dy * valid
    d_gates = torch.empty_like(gates)
    dh, dc = dh_n.to(c.dtype), dc_n
    for t in reversed(range(len(gates))):
        # a sequence that has ended hands its state, and the state's gradient, from step to step unchanged
        carried = None if valid is None else torch.where(valid[t], 0.0, dh)
        dc = backward_step(d_gates[t], dh + dy[t], dc, slopes, t)
        dh = (d_gates[t] @ w_hh).to(c.dtype)
        if carried is not None:
            dh = dh + carried
    return d_gates, dh, dc


def room_for_states(steps: int, h0: Tensor, c0: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden and cell states (T + 1, B, H) of a sequence, of which only the first, h0 and c0, are set."""
    h, c = (torch.cat([first.unsqueeze(0), first.new_empty(steps, *first.shape)]) for first in (h0, c0))
    return h, c


def activate(a: Tensor) -> Tensor:
    """Gates i, f, g, o from their pre-activations (..., 4H), in place."""
    hidden = a.shape[-1] // 4
    a[..., : 2 * hidden].sigmoid_()
    a[..., 2 * hidden : 3 * hidden].tanh_()
    a[..., 3 * hidden :].sigmoid_()
    return a


def forward_step(gates: Tensor, h: Tensor, c: Tensor, t: int, valid: Tensor | None) -> None:
    """Fill h[t + 1] and c[t + 1] from c[t] and the gates.

    c_t = f c_{t-1} + i g;  h_t = o tanh(c_t)

    Args:
        gates: (B, 4H) i, f, g, o in c's type.
        h: (T + 1, B, H) hidden states from `room_for_states`.
        c: (T + 1, B, H) cell states.
        t: The step.
        valid: (T, B, 1) bool from `valid_steps`, or None.
    """
    i, f, g, o = gates.chunk(4, dim=1)
    torch.mul(f, c[t], out=c[t + 1]).addcmul_(i, g)
    h[t + 1] = c[t + 1].tanh().mul_(o)
    if valid is not None:
        c[t + 1] = torch.where(valid[t], c[t + 1], c[t])
        h[t + 1] = torch.where(valid[t], h[t + 1], h[t])


def outputs(h: Tensor, c: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return y (T, B, H), zero beyond a sequence's length, h_n and c_n (B, H), from the states of all steps."""
    y = h[1:].clone() if valid is None else torch.where(valid, h[1:], torch.zeros((), dtype=h.dtype))
    return y, h[-1].clone(), c[-1].clone()


@dataclass(frozen=True)
class CellSlopes:
    """Derivatives of an LSTM's steps that do not depend on later steps.

    Attributes:
        from_dc: (T, B, 3, H) derivatives of c_t by the pre-activations of i, f and g.
        from_dh: (T, B, H) derivative of h_t by the pre-activation of o.
        dh_to_dc: (T, B, H) derivative of h_t by c_t.
        forget: (T, B, H) derivative of c_t by c_{t-1}.
    """

    from_dc: Tensor
    from_dh: Tensor
    dh_to_dc: Tensor
    forget: Tensor


def cell_slopes(gates: Tensor, c: Tensor, valid: Tensor | None) -> CellSlopes:
    """Compute the derivatives that `backward_step` needs, for all steps at once.

    Args:
        gates: (T, B, 4H) i, f, g, o.
        c: (T + 1, B, H) cell states, the one before the first step included.
        valid: (T, B, 1) bool from `valid_steps`, or None.
    """
    i, f, g, o = gates.chunk(4, dim=2)
    tanh_c = c[1:].tanh()
    from_dc = torch.stack([g * i * (1 - i), c[:-1] * f * (1 - f), i * (1 - g * g)], dim=2)  # (T, B, 3, H)
    from_dh = tanh_c * o * (1 - o)
    dh_to_dc = o * (1 - tanh_c * tanh_c)
    if valid is not None:
        from_dc, from_dh, dh_to_dc = from_dc * valid.unsqueeze(2), from_dh * valid, dh_to_dc * valid
        f = torch.where(valid, f, 1.0)
    return CellSlopes(from_dc, from_dh, dh_to_dc, f)


def backward_step(d_gates: Tensor, dh: Tensor, dc: Tensor, slopes: CellSlopes, t: int) -> Tensor:
    """Backward through the cell at step t; a are the gates' pre-activations.

    dc_t += dh_t o (1 - tanh^2 c_t)
    da_i = dc_t g i (1 - i);  da_f = dc_t c_{t-1} f (1 - f);  da_g = dc_t i (1 - g^2);  da_o = dh_t tanh(c_t) o (1 - o)
    dc_{t-1} = dc_t f

    Args:
        d_gates: (B, 4H) contiguous, filled with da.
        dh: (B, H) gradient of h_t.
        dc: (B, H) gradient of c_t from later steps.
        slopes: Derivatives from `cell_slopes`.
        t: The step.

    Returns:
        (B, H) gradient of c_{t-1}.
    """
    dc = torch.addcmul(dc, dh, slopes.dh_to_dc[t])
    step = d_gates.view(len(dh), 4, -1)
    step[:, :3] = dc.unsqueeze(1) * slopes.from_dc[t]
    step[:, 3] = dh * slopes.from_dh[t]
    return dc * slopes.forget[t]


def valid_steps(steps: int, lengths: Tensor | None, like: Tensor) -> Tensor | None:
    """Mask of valid steps, (T, B, 1) bool; None without lengths."""
    if lengths is None:
        return None
    return (torch.arange(steps, device=like.device).unsqueeze(1) < lengths).unsqueeze(2)
