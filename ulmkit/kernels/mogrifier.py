"""The Mogrifier LSTM: before each step, input and hidden state gate each other in turn.

Source: Melis, Kocisky & Blunsom 2020, "Mogrifier LSTM", arXiv:1909.01792.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from ulmkit.errors import ConfigError
from ulmkit.kernels import reference as reference_lstm
from ulmkit.kernels.backend import check_shapes
from ulmkit.kernels.stepwise import (
    activate,
    backward_step,
    cell_slopes,
    forward_step,
    outputs,
    room_for_states,
    valid_steps,
)

Modulation = tuple[Tensor, ...]
"""A matrix Q or R as one factor, or as two factors of low rank whose product it is."""


def mogrifier(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weight: Tensor,
    bias: Tensor,
    modulations: Sequence[Modulation],
    lengths: Tensor | None = None,
    *,
    reference: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """One Mogrifier LSTM layer over a batch of sequences.

    h_t, c_t = LSTM(x*, h*, c_{t-1}) with x*, h* = mogrify(x_t, h_{t-1})

    Args:
        x: (T, B, E) float, time-major.
        h0: (B, H) float, hidden state before the first step.
        c0: (B, H) float, cell state before the first step.
        weight: (4H, E + H) float, of the input and (masked) of the hidden state, gates in the order i, f, g, o.
        bias: (4H,) float.
        modulations: The matrix of each round, in weight's type, see `mogrify`.
        lengths: (B,) int64, valid steps of each sequence, 0 <= length <= T; None if all are T.
        reference: True to run the plain loop.

    Returns:
        y: (T, B, H) in the weight's type, zero at steps beyond a sequence's length.
        h_n: (B, H) in h0's type, hidden state after each sequence's last valid step.
        c_n: (B, H) in c0's type, cell state after each sequence's last valid step.

    Raises:
        ConfigError: If a shape does not fit, naming the argument.

    Source: Melis et al. 2020, arXiv:1909.01792, section 2.
    Deviation: the LSTM's gates are independent; the authors' code (google-deepmind/lamb) caps the input gate at 1 - f.
    """
    _check_shapes(x, h0, c0, weight, bias, modulations, lengths)
    dtype = weight.dtype
    cell_type = torch.promote_types(dtype, torch.float32)
    sequence = x.to(dtype), h0.to(dtype), c0.to(cell_type), weight, bias.to(dtype)
    if reference:
        y, h, c = mogrifier_reference(*sequence, modulations, lengths)
    else:
        factors = [factor for modulation in modulations for factor in modulation]
        y, h, c = _Mogrifier.apply(*sequence, lengths, [len(modulation) for modulation in modulations], *factors)
    return y, h.to(h0.dtype), c.to(c0.dtype)


def mogrify(x: Tensor, h: Tensor, modulations: Sequence[Modulation]) -> tuple[Tensor, Tensor]:
    """Gate input and hidden state by each other, in r rounds.

    x^i = 2 sigmoid(Q^i h^{i-1}) * x^{i-2} for odd i;  h^i = 2 sigmoid(R^i x^{i-1}) * h^{i-2} for even i
    with x^{-1} = x and h^0 = h, i = 1 ... r

    Args:
        x: (..., E).
        h: (..., H).
        modulations: Q^1, R^2, Q^3, ... as factors; Q (E, H), R (H, E).

    Returns:
        x and h after the last round, in their own types.

    Source: Melis et al. 2020, arXiv:1909.01792, section 2.
    Deviation: no biases, which the authors' code (google-deepmind/lamb) adds to the products.
    """
    values = [x, h]
    for number, modulation in enumerate(modulations):
        side = number % 2
        values[side] = values[side] * (2 * _product(values[1 - side], modulation)[-1].to(x.dtype).sigmoid())
    return values[0], values[1]


def mogrifier_reference(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weight: Tensor,
    bias: Tensor,
    modulations: Sequence[Modulation],
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The Mogrifier LSTM as its formula: the reference that `mogrifier` is tested against."""
    h, c, steps = h0, c0, []
    w_ih, w_hh = weight.split([x.shape[2], h0.shape[1]], dim=1)
    for t in range(x.shape[0]):
        x_t, h_t = (value.to(x.dtype) for value in mogrify(x[t].to(c0.dtype), h.to(c0.dtype), modulations))
        remaining = None if lengths is None else lengths - t
        y, _, c = reference_lstm.lstm(x_t.unsqueeze(0), h_t, c, w_ih, w_hh, bias, remaining)
        h = y[0] if remaining is None else torch.where((remaining > 0).unsqueeze(1), y[0], h)
        steps.append(y)
    return (torch.cat(steps) if steps else x.new_empty(0, *h0.shape)), h, c


class _Mogrifier(torch.autograd.Function):
    """The Mogrifier LSTM with a hand-written backward, which recomputes the rounds for all steps at once."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,  # (T, B, E)
        h0: Tensor,  # (B, H)
        c0: Tensor,  # (B, H) fp32 or wider
        weight: Tensor,  # (4H, E + H)
        bias: Tensor,  # (4H,)
        lengths: Tensor | None,  # (B,)
        counts: list[int],  # factors of each round
        *factors: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        steps, (batch, hidden) = x.shape[0], c0.shape
        valid, modulations = valid_steps(steps, lengths, c0), _grouped(factors, counts)
        a = x.new_empty(steps, batch, 4 * hidden)
        h, c = room_for_states(steps, h0, c0)
        transposed = weight.T
        for t in range(steps):
            joined = torch.cat(mogrify(x[t].to(c.dtype), h[t].to(c.dtype), modulations), dim=1)
            torch.addmm(bias, joined.to(x.dtype), transposed, out=a[t])
            forward_step(activate(a[t].to(c.dtype, copy=True)), h, c, t, valid)
        ctx.save_for_backward(x, weight, a, h, c, valid, *factors)
        ctx.counts = counts
        return outputs(h, c, valid)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dh_n: Tensor, dc_n: Tensor) -> tuple[Any, ...]:
        x, weight, a, h, c, valid, *factors = ctx.saved_tensors
        rounds = _Rounds(x, h[:-1], c.dtype, _grouped(factors, ctx.counts))
        slopes = cell_slopes(activate(a.to(c.dtype, copy=True)), c, valid)
        dy = dy if valid is None else dy * valid
        dx, da = torch.empty_like(x), torch.empty_like(a)
        dh, dc = dh_n.to(c.dtype), dc_n
        for t in reversed(range(len(x))):
            carried = None if valid is None else torch.where(valid[t], 0.0, dh)
            dc = backward_step(da[t], dh + dy[t], dc, slopes, t)
            dx[t], dh = rounds.backward_step((da[t] @ weight).to(c.dtype), t)
            if carried is not None:
                dh = dh + carried
        flat = da.flatten(0, 1)
        d_weight = flat.T @ rounds.joined.flatten(0, 1)
        d_bias = flat.sum(0, dtype=c.dtype).to(flat.dtype)
        return dx, dh.to(h.dtype), dc, d_weight, d_bias, None, None, *rounds.factor_gradients()


class _Rounds:
    """The gating rounds of all steps, and their backward.

    Args:
        x: (T, B, E) inputs.
        h: (T, B, H) hidden state before each step.
        wide: Type of the elementwise operations.
        modulations: The matrix of each round.

    Attributes:
        joined: (T, B, E + H) gated input and hidden state, which the LSTM reads.
    """

    def __init__(self, x: Tensor, h: Tensor, wide: torch.dtype, modulations: Sequence[Modulation]) -> None:
        self._modulations = modulations
        self._inputs: list[list[Tensor]] = []  # inputs of each round's factors, the last factor's first
        self._scales: list[Tensor] = []  # 2 sigmoid(p), where p is the round's product
        self._slopes: list[Tensor] = []  # derivative of the gated features by p
        self._gradients: list[Tensor] = []  # gradient of p
        values = [x.to(wide), h.to(wide)]
        for number, modulation in enumerate(modulations):
            side = number % 2
            *inputs, product = _product(values[1 - side], modulation)
            scale = product.to(wide).sigmoid_().mul_(2)
            self._inputs.append(inputs)
            self._scales.append(scale)
            self._slopes.append((1 - scale / 2).mul_(scale).mul_(values[side]))
            self._gradients.append(torch.empty_like(product))
            values[side] = values[side] * scale
        self._sizes = [x.shape[2], h.shape[2]]
        self.joined = torch.cat(values, dim=2).to(x.dtype)

    def backward_step(self, d_joined: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """Gradients of x (B, E) and h (B, H) at step t, from that of `joined` (B, E + H).

        dp^i = dx^i * x^{i-2} s (1 - s / 2), dx^{i-2} = dx^i s, dh^{i-1} += Q^T dp^i with s = 2 sigmoid(p^i), and
        the same with x and h exchanged.
        """
        gradients = list(d_joined.split(self._sizes, dim=1))
        for number in reversed(range(len(self._modulations))):
            side = number % 2
            d_product = self._gradients[number][t]
            d_product.copy_(gradients[side] * self._slopes[number][t])
            gradients[side] = gradients[side] * self._scales[number][t]
            for factor in self._modulations[number]:
                d_product = d_product @ factor
            gradients[1 - side] = gradients[1 - side] + d_product
        return gradients[0], gradients[1]

    def factor_gradients(self) -> list[Tensor]:
        """Gradients of all factors, round by round; call it after `backward_step` of all steps."""
        gradients = []
        for modulation, inputs, gradient in zip(self._modulations, self._inputs, self._gradients, strict=True):
            flat = gradient.flatten(0, 1)
            for factor, factor_input in zip(modulation, reversed(inputs), strict=True):
                gradients.append(flat.T @ factor_input.flatten(0, 1))
                flat = flat @ factor
        return gradients


def _product(value: Tensor, modulation: Modulation) -> list[Tensor]:
    """All partial products of a matrix's factors with value (..., n), last factor first: [value, ..., Q value]."""
    products = [value.to(modulation[0].dtype)]
    for factor in reversed(modulation):
        products.append(linear(products[-1], factor))
    return products


def _grouped(factors: Sequence[Tensor], counts: Sequence[int]) -> list[Modulation]:
    remaining = iter(factors)
    return [tuple(next(remaining) for _ in range(count)) for count in counts]


def _check_shapes(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weight: Tensor,
    bias: Tensor,
    modulations: Sequence[Modulation],
    lengths: Tensor | None,
) -> None:
    (_, batch, inputs), hidden = x.shape, h0.shape[1]
    check_shapes(
        h0=(h0, (batch, hidden)),
        c0=(c0, (batch, hidden)),
        weight=(weight, (4 * hidden, inputs + hidden)),
        bias=(bias, (4 * hidden,)),
        lengths=(lengths, (batch,)),
    )
    for number, modulation in enumerate(modulations):
        sizes = (inputs, hidden) if number % 2 == 0 else (hidden, inputs)
        inner = [modulation[0].shape[0], *(factor.shape[1] for factor in modulation)]
        fit = all(a.shape[1] == b.shape[0] for a, b in itertools.pairwise(modulation))
        if not fit or (inner[0], inner[-1]) != sizes:
            shapes = " times ".join(str(tuple(factor.shape)) for factor in modulation)
            raise ConfigError(f"modulations[{number}]: expected factors of a matrix {sizes}, got {shapes}")
