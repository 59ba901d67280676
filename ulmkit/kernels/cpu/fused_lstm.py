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
from ulmkit.kernels.cpu.library import (
    PATHS,
    Backward,
    Forward,
    Kept,
    Layer,
    Packing,
    Sequences,
    Sizes,
    Weights,
    address,
    library,
    workspace,
)
from ulmkit.kernels.quantization import Int8Matrix

FEW_ROWS = 96
"""Most rows, over all steps, that are multiplied by weights as they are: laying them out would cost more."""


@dataclass
class Layout:
    """Weights of a layer, laid out for the matrix products.

    Attributes:
        path: Path of the library that they are laid out for.
        forward: uint8, weights for the forward pass, None until needed.
        backward: uint8, weights for the backward pass, None until needed.
        keep_bits: (4H, ceil(H / 8)) uint8, recurrent mask; None keeps all.
        keep_scale: Factor of the weights that are kept.
        versions: Version counters of the weights, which miss changes through `.data` and by torch's fused CPU
            optimizers; None for int8 weights, which have no gradient.
    """

    path: str
    forward: Tensor | None
    backward: Tensor | None
    keep_bits: Tensor | None
    keep_scale: float
    versions: tuple[int, ...] | None

    @classmethod
    def deferred(cls, w_ih: Tensor, w_hh: Tensor, path: str) -> "Layout":
        """Make a layout that is filled in once it pays."""
        return cls(path, None, None, None, 1.0, _versions(w_ih, w_hh))

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

    def laid_out_forward(self, w_ih: Tensor, w_hh: Tensor, *, learns: bool) -> Tensor:
        """Return `forward`, laid out now if necessary, together with `backward` if gradients will be needed.

        Raises:
            ConfigError: If the weights have changed since pack().
        """
        if self.forward is None:
            self._lay_out(w_ih, w_hh, backward=learns)
        assert self.forward is not None
        return self.forward

    def laid_out_backward(self, w_ih: Tensor, w_hh: Tensor) -> Tensor:
        """Return `backward`, laid out now if necessary; raise ConfigError if the weights have changed since pack()."""
        if self.backward is None:
            self._lay_out(w_ih, w_hh, backward=True)
        assert self.backward is not None
        return self.backward

    def _lay_out(self, w_ih: Tensor, w_hh: Tensor, *, backward: bool) -> None:
        self._check_unchanged(w_ih, w_hh)
        layout = lay_out(w_ih, w_hh, self.keep_bits, self.keep_scale, self.path, backward=backward)
        self.forward = layout.forward
        self.backward = layout.backward

    def _check_unchanged(self, w_ih: Tensor, w_hh: Tensor) -> None:
        if _versions(w_ih, w_hh) != self.versions:
            raise ConfigError("lstm: the weights have changed since pack(); pack them again")


def reads_rows(path: str, keep_bits: Tensor | None) -> bool:
    """Return whether a path can also multiply by weights that are not laid out, row by row."""
    return path in PATHS[torch.float32] and keep_bits is None


def lay_out(
    w_ih: Tensor, w_hh: Tensor, keep_bits: Tensor | None, keep_scale: float, path: str, *, backward: bool
) -> Layout:
    """Mask weights and lay them out.

    Args:
        w_ih: (4H, E) float32.
        w_hh: (4H, H) float32.
        keep_bits: (4H, ceil(H / 8)) uint8, recurrent mask; None keeps all.
        keep_scale: Factor of the weights that are kept.
        path: Path of the library, from `choose_path`.
        backward: Whether to lay them out for gradients too.

    Returns:
        The layout.
    """
    versions = _versions(w_ih, w_hh)
    w_ih = w_ih.detach().contiguous()
    w_hh = w_hh.detach().contiguous()
    layer = Layer(w_ih.shape[1], w_hh.shape[1])
    sizes = library().sizes(path, layer, Sequences(0, 0, None, None), learns=backward)
    layout = Layout(
        path,
        _bytes(sizes.forward_weights),
        _bytes(sizes.backward_weights) if backward else None,
        None if keep_bits is None else keep_bits.contiguous(),
        keep_scale,
        versions,
    )
    packing = Packing(
        address(w_ih),
        address(w_hh),
        None,
        None,
        address(layout.keep_bits),
        keep_scale,
        address(layout.forward),
        address(layout.backward),
        address(workspace(sizes.pack_workspace)),
    )
    library().pack(path, layer, packing)
    return layout


def lay_out_int8(w_ih: Int8Matrix, w_hh: Int8Matrix, path: str) -> Layout:
    """Lay int8 weights out.

    Args:
        w_ih: (4H, E) weights.
        w_hh: (4H, H) weights.
        path: Path of the library, from `choose_path`.

    Returns:
        The layout, which has no backward.
    """
    tensors = [tensor.contiguous() for tensor in (w_ih.values, w_hh.values, w_ih.scales, w_hh.scales)]
    layer = Layer(w_ih.values.shape[1], w_hh.values.shape[1])
    sizes = library().sizes(path, layer, Sequences(0, 0, None, None), learns=False)
    layout = Layout(path, _bytes(sizes.forward_weights), None, None, 1.0, None)
    packing = Packing(*(address(tensor) for tensor in tensors), None, 1.0, address(layout.forward), None, None)
    library().pack(path, layer, packing)
    return layout


def lstm(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    bias: Tensor,
    layout: Layout,
    lengths: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Run one LSTM layer over a batch of sequences.

    Args:
        x: (T, B, E) in the path's type.
        h0: (B, H) float32.
        c0: (B, H) float32.
        w_ih: (4H, E) weights that were laid out, for their gradient.
        w_hh: (4H, H) weights that were laid out, for their gradient.
        bias: (4H,) float32.
        layout: Layout of the weights.
        lengths: (B,) int64, None for T.

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
        learns = grad_enabled and any(ctx.needs_input_grad)
        if learns and layout.versions is None:
            raise ConfigError("lstm: int8 weights have no gradients; train the model they were made from")
        steps, batch, inputs = x.shape
        hidden = w_hh.shape[1]
        x, h0, c0, bias = (tensor.contiguous() for tensor in (x, h0, c0, bias))
        unpacked = layout.can_use_unpacked(w_ih, w_hh, steps * batch, lengths)
        laid_out = None if unpacked else layout.laid_out_forward(w_ih, w_hh, learns=learns)
        weights = [tensor.contiguous() for tensor in (w_ih, w_hh)] if unpacked else [None, None]
        running, order = _running(steps, batch, lengths)
        layer = Layer(inputs, hidden)
        sequences = Sequences(steps, batch, address(running), address(order))
        sizes = library().sizes(layout.path, layer, sequences, learns)
        kept = [
            _bytes(sizes.inputs) if learns else None,
            _bytes(sizes.hidden),
            _bytes(sizes.cells),
            _bytes(sizes.gates) if learns else None,
        ]
        new = torch.empty if lengths is None else torch.zeros  # the kernel writes nothing beyond a sequence's end
        y = new(steps, batch, hidden, dtype=x.dtype, device="cpu")
        h_n = torch.empty_like(h0)
        c_n = torch.empty_like(c0)
        arguments = Forward(
            *(address(tensor) for tensor in (x, h0, c0, bias)),
            Weights(*(address(tensor) for tensor in (laid_out, *weights))),
            Kept(*(address(tensor) for tensor in kept)),
            *(address(tensor) for tensor in (y, h_n, c_n, workspace(sizes.forward_workspace))),
        )
        library().forward(layout.path, layer, sequences, arguments)
        if learns:
            ctx.save_for_backward(w_ih, w_hh, running, order, *kept)
            ctx.layout = layout
            ctx.shape = (steps, batch, inputs, hidden)
            ctx.dtype = x.dtype
            ctx.new = new
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
        sizes: Sizes = library().sizes(layout.path, layer, sequences, learns=True)
        dy = dy.to(ctx.dtype).contiguous()
        dh_n = dh_n.contiguous()
        dc_n = dc_n.contiguous()
        wants_x, wants_states, wants_weights = (
            any(ctx.needs_input_grad[first:last]) for first, last in ((0, 1), (1, 3), (3, 6))
        )
        dx = ctx.new(steps, batch, inputs, dtype=ctx.dtype, device="cpu") if wants_x else None
        states: list[Tensor | None] = [torch.empty_like(dh_n), torch.empty_like(dc_n)] if wants_states else [None] * 2
        gradients: list[Tensor | None] = [None] * 3
        if wants_weights:
            gradients = [dh_n.new_empty(4 * hidden, *rest) for rest in ((inputs,), (hidden,), ())]
        arguments = Backward(
            *(address(tensor) for tensor in (dy, dh_n, dc_n)),
            Weights(*(address(tensor) for tensor in (laid_out, *weights))),
            address(layout.keep_bits),
            layout.keep_scale,
            Kept(*(address(tensor) for tensor in kept)),
            *(address(tensor) for tensor in (dx, *states, *gradients, workspace(sizes.backward_workspace))),
        )
        library().backward(layout.path, layer, sequences, arguments)
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
