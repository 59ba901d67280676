"""Fused LSTM on CPUs: weights are masked and laid out once, and all gates of a step are computed together in cache.

Laying weights out reads them once and writes them twice. For few rows, as in dynamic evaluation, which changes the
weights every few tokens, the fp32 paths therefore multiply by weights that are not laid out.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ulmkit.errors import ConfigError
from ulmkit.kernels.arguments import address
from ulmkit.kernels.cpu.library import Backward, Forward, Kept, Layer, Packing, Sequences, Weights, library, workspace

FEW_ROWS = 96
"""Most rows, over all steps, that are multiplied by weights as they are: laying them out would cost more."""


@dataclass
class Layout:
    """Weights of a layer, laid out for the matrix products.

    Attributes:
        path: Path of the library that they are laid out for.
        keep_bits: (4H, ceil(H / 8)) uint8, contiguous, recurrent mask; None keeps all.
        keep_scale: Factor of the weights that are kept.
        versions: Version counters of the weights, which miss changes through `.data` and by torch's fused CPU
            optimizers; None for int8 weights, which have no gradient.
        forward: uint8, weights for the forward pass, None until needed.
        backward: uint8, weights for the backward pass, None until needed.
    """

    path: str
    keep_bits: Tensor | None = None
    keep_scale: float = 1.0
    versions: tuple[int, ...] | None = None
    forward: Tensor | None = None
    backward: Tensor | None = None

    @classmethod
    def of(cls, w_ih: Tensor, w_hh: Tensor, keep_bits: Tensor | None, keep_scale: float, path: str) -> "Layout":
        """Make a layout of float32 weights that is filled in by `lay_out`, now or once it pays."""
        keep_bits = None if keep_bits is None else keep_bits.contiguous()
        return cls(path, keep_bits, keep_scale, _versions(w_ih, w_hh))

    def lay_out(self, w_ih: Tensor, w_hh: Tensor, *scales: Tensor, backward: bool) -> None:
        """Mask weights and lay them out.

        Args:
            w_ih: (4H, E) float32 or int8.
            w_hh: (4H, H) float32 or int8.
            scales: For int8 weights, the scales (4H,) float32 of w_ih and w_hh.
            backward: Whether to lay them out for gradients too.
        """
        weights = [tensor.detach().contiguous() for tensor in (w_ih, w_hh, *scales)]
        layer = Layer(w_ih.shape[1], w_hh.shape[1])
        sizes = library().sizes(self.path, layer, Sequences(0, 0, None, None), requires_grad=backward)
        laid_out = _bytes(sizes.forward_weights), _bytes(sizes.backward_weights) if backward else None
        no_scales = [None] * (2 - len(scales))
        packing = Packing(
            *map(address, (*weights, *no_scales, self.keep_bits)),
            self.keep_scale,
            *map(address, (*laid_out, workspace(sizes.pack_workspace))),
        )
        library().run("pack", self.path, layer, packing)
        self.forward, self.backward = laid_out

    def can_use_unpacked(self, w_ih: Tensor, w_hh: Tensor, rows: int, lengths: Tensor | None) -> bool:
        """Return whether to multiply by weights that are not laid out yet as they are.

        Args:
            w_ih: (4H, E) weights.
            w_hh: (4H, H) weights.
            rows: Steps of all sequences together.
            lengths: (B,) lengths of the sequences, None if equal.

        Raises:
            ConfigError: If so, and the weights have changed since pack().
        """
        if self.forward is not None or lengths is not None or rows > FEW_ROWS:
            return False
        self._check_unchanged(w_ih, w_hh)
        return True

    def laid_out_forward(self, w_ih: Tensor, w_hh: Tensor, *, requires_grad: bool) -> Tensor | None:
        """Return `forward`, laid out now if necessary, together with `backward` if gradients will be needed.

        Raises:
            ConfigError: If the weights have changed since pack().
        """
        if self.forward is None:
            self._check_unchanged(w_ih, w_hh)
            self.lay_out(w_ih, w_hh, backward=requires_grad)
        return self.forward

    def laid_out_backward(self, w_ih: Tensor, w_hh: Tensor) -> Tensor | None:
        """Return `backward`, laid out now if necessary; raise ConfigError if the weights have changed since pack()."""
        if self.backward is None:
            self._check_unchanged(w_ih, w_hh)
            self.lay_out(w_ih, w_hh, backward=True)
        return self.backward

    def _check_unchanged(self, w_ih: Tensor, w_hh: Tensor) -> None:
        if _versions(w_ih, w_hh) != self.versions:
            raise ConfigError("lstm: the weights have changed since pack(); pack them again")


def lstm(
    x: Tensor, h0: Tensor, c0: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor, lengths: Tensor | None, layout: Layout
) -> tuple[Tensor, Tensor, Tensor]:
    """Run one LSTM layer over a batch of sequences.

    Args:
        x: (T, B, E) in the path's type.
        h0: (B, H) float32.
        c0: (B, H) float32.
        w_ih: (4H, E) weights that were laid out, for their gradient.
        w_hh: (4H, H) weights that were laid out, for their gradient.
        bias: (4H,) float32.
        lengths: (B,) int64, None for T.
        layout: Layout of the weights.

    Returns:
        y (T, B, H) in x's type, h_n and c_n (B, H) float32.

    Source: `ulmkit.kernels.reference.lstm` has the formula; lstm_forward-inl.h and lstm_backward-inl.h compute it.
    """
    return _FusedLSTM.apply(x, h0, c0, w_ih, w_hh, bias, layout, lengths, torch.is_grad_enabled())


class _FusedLSTM(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,  # (T, B, E)
        h0: Tensor,  # (B, H) fp32
        c0: Tensor,  # (B, H) fp32
        w_ih: Tensor,  # (4H, E) fp32
        w_hh: Tensor,  # (4H, H) fp32
        bias: Tensor,  # (4H,) fp32
        layout: Layout,
        lengths: Tensor | None,  # (B,)
        grad_enabled: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        requires_grad = grad_enabled and any(ctx.needs_input_grad)
        if requires_grad and layout.versions is None:
            raise ConfigError("lstm: int8 weights have no gradients; train the model they were made from")
        steps, batch, inputs = x.shape
        hidden = w_hh.shape[1]
        x, h0, c0, bias = (tensor.contiguous() for tensor in (x, h0, c0, bias))
        unpacked = layout.can_use_unpacked(w_ih, w_hh, steps * batch, lengths)
        laid_out = None if unpacked else layout.laid_out_forward(w_ih, w_hh, requires_grad=requires_grad)
        weights = [tensor.contiguous() for tensor in (w_ih, w_hh)] if unpacked else [None, None]
        running, order = _running(steps, batch, lengths)
        layer = Layer(inputs, hidden)
        sequences = Sequences(steps, batch, address(running), address(order))
        sizes = library().sizes(layout.path, layer, sequences, requires_grad)
        kept = [
            _bytes(sizes.inputs) if requires_grad else None,
            _bytes(sizes.hidden),
            _bytes(sizes.cells),
            _bytes(sizes.gates) if requires_grad else None,
        ]
        new = x.new_empty if lengths is None else x.new_zeros  # the kernel writes nothing beyond a sequence's end
        y = new(steps, batch, hidden)
        h_n = torch.empty_like(h0)
        c_n = torch.empty_like(c0)
        arguments = Forward(
            *map(address, (x, h0, c0, bias)),
            Weights(*map(address, (laid_out, *weights))),
            Kept(*map(address, kept)),
            *map(address, (y, h_n, c_n, workspace(sizes.forward_workspace))),
        )
        library().run("forward", layout.path, layer, sequences, arguments)
        if requires_grad:
            ctx.save_for_backward(w_ih, w_hh, running, order, *kept)
            ctx.layout = layout
            ctx.shape = (steps, batch, inputs, hidden)
            ctx.dtype = x.dtype
            ctx.has_lengths = lengths is not None
            ctx.unpacked = unpacked
        return y, h_n, c_n

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dh_n: Tensor, dc_n: Tensor) -> tuple[Tensor | None, ...]:
        w_ih, w_hh, running, order, *kept = ctx.saved_tensors
        layout: Layout = ctx.layout
        steps, batch, inputs, hidden = ctx.shape
        laid_out = None if ctx.unpacked else layout.laid_out_backward(w_ih, w_hh)
        weights = [tensor.contiguous() for tensor in (w_ih, w_hh)] if ctx.unpacked else [None, None]
        layer = Layer(inputs, hidden)
        sequences = Sequences(steps, batch, address(running), address(order))
        sizes = library().sizes(layout.path, layer, sequences, requires_grad=True)
        dy = dy.to(ctx.dtype).contiguous()
        dh_n, dc_n = dh_n.contiguous(), dc_n.contiguous()
        wants_x, wants_states, wants_weights = (
            any(ctx.needs_input_grad[first:last]) for first, last in ((0, 1), (1, 3), (3, 6))
        )
        new = dy.new_zeros if ctx.has_lengths else dy.new_empty  # as in forward
        dx = new(steps, batch, inputs) if wants_x else None
        states: list[Tensor | None] = [torch.empty_like(dh_n), torch.empty_like(dc_n)] if wants_states else [None] * 2
        gradients: list[Tensor | None] = [None] * 3
        if wants_weights:
            gradients = [dh_n.new_empty(4 * hidden, *rest) for rest in ((inputs,), (hidden,), ())]
        arguments = Backward(
            *map(address, (dy, dh_n, dc_n)),
            Weights(*map(address, (laid_out, *weights))),
            address(layout.keep_bits),
            layout.keep_scale,
            Kept(*map(address, kept)),
            *map(address, (dx, *states, *gradients, workspace(sizes.backward_workspace))),
        )
        library().run("backward", layout.path, layer, sequences, arguments)
        return dx, *states, *gradients, None, None, None


def _versions(*weights: Tensor) -> tuple[int, ...]:
    """Return the weights' version counters; inference tensors have none, and no gradients either."""
    return tuple(0 if weight.is_inference() else weight._version for weight in weights)


def _bytes(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.uint8, device="cpu")


def _running(steps: int, batch: int, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the number of sequences that have each step (T,), and their order from longest to shortest (B,)."""
    if lengths is None:
        return torch.full((steps,), batch, device="cpu"), torch.arange(batch, device="cpu")
    order = torch.argsort(lengths, descending=True, stable=True)
    ended = torch.bincount(lengths, minlength=steps + 1).cumsum(0)[:steps]
    return batch - ended, order
