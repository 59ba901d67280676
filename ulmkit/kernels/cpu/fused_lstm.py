"""The fused LSTM on CPUs: weights masked and laid out once, then all gates of a step computed together in cache."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ulmkit.errors import ConfigError
from ulmkit.kernels.cpu.library import (
    Backward,
    Forward,
    Kept,
    Layer,
    Packing,
    Sequences,
    Sizes,
    address,
    library,
    workspace,
)
from ulmkit.kernels.quantization import Int8Matrix


@dataclass
class Layout:
    """Weights of a layer as the products read them.

    path: what they are laid out for. forward, backward: for either direction in time; backward is None until a
    gradient is asked for. keep_bits, keep_scale: the recurrent mask. versions: of the weights, in which changes through
    `.data` do not show, nor those by torch's own fused optimizers on CPUs; None for bytes, which have no gradient.
    """

    path: str
    forward: Tensor
    backward: Tensor | None
    keep_bits: Tensor | None
    keep_scale: float
    versions: tuple[int, ...] | None

    def laid_out_backward(self, w_ih: Tensor, w_hh: Tensor) -> Tensor:
        """`backward`, laid out now if it has not been.

        Raises: ConfigError if the weights have changed since `forward` was laid out.
        """
        backward = self.backward
        if backward is None:
            if _versions(w_ih, w_hh) != self.versions:
                raise ConfigError("lstm: the weights have changed since pack(); pack them again")
            backward = lay_out(w_ih, w_hh, self.keep_bits, self.keep_scale, self.path, backward=True).backward
            assert backward is not None
            self.backward = backward
        return backward


def lay_out(
    w_ih: Tensor, w_hh: Tensor, keep_bits: Tensor | None, keep_scale: float, path: str, *, backward: bool
) -> Layout:
    """Mask and lay weights out.

    Args: w_ih: (4H, E) float32. w_hh: (4H, H) float32. keep_bits, keep_scale: as `ulmkit.kernels.pack`.
    path: from `choose_path`. backward: whether for gradients too.
    """
    versions = _versions(w_ih, w_hh)
    w_ih, w_hh = w_ih.detach().contiguous(), w_hh.detach().contiguous()
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
    """Lay weights of bytes out. Args: w_ih: (4H, E). w_hh: (4H, H). path: from `choose_path`."""
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
    """One LSTM layer over a batch of sequences.

    Args:
        x: (T, B, E) in the path's type. h0, c0: (B, H) float32.
        w_ih, w_hh: the weights that were laid out, for their gradients. bias: (4H,) float32.
        lengths: (B,) int64 or None.
    Returns: y (T, B, H) in x's type, h_n and c_n (B, H) float32.
    Source: `ulmkit.kernels.reference.lstm` has the formula; lstm_forward.h and lstm_backward.h compute it.
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
            raise ConfigError("lstm: weights of bytes have no gradients; train the model they were made from")
        steps, batch, inputs = x.shape
        hidden = w_hh.shape[1]
        x, h0, c0, bias = (tensor.contiguous() for tensor in (x, h0, c0, bias))
        running, order = _running(steps, batch, lengths)
        layer, sequences = Layer(inputs, hidden), Sequences(steps, batch, address(running), address(order))
        sizes = library().sizes(layout.path, layer, sequences, learns)
        kept = [
            _bytes(size) if needed else None
            for size, needed in (
                (sizes.inputs, learns), (sizes.hidden, True), (sizes.cells, True), (sizes.gates, learns)
            )
        ]  # fmt: skip
        new = torch.empty if lengths is None else torch.zeros  # what is beyond a sequence's end is not written
        y = new(steps, batch, hidden, dtype=x.dtype, device="cpu")
        h_n, c_n = torch.empty_like(h0), torch.empty_like(c0)
        arguments = Forward(
            *(address(tensor) for tensor in (x, h0, c0, bias, layout.forward)),
            Kept(*(address(tensor) for tensor in kept)),
            *(address(tensor) for tensor in (y, h_n, c_n, workspace(sizes.forward_workspace))),
        )
        library().forward(layout.path, layer, sequences, arguments)
        if learns:
            ctx.save_for_backward(w_ih, w_hh, running, order, *kept)
            ctx.layout, ctx.shape, ctx.dtype, ctx.new = layout, (steps, batch, inputs, hidden), x.dtype, new
        return y, h_n, c_n

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, dh_n: Tensor, dc_n: Tensor) -> tuple[Tensor | None, ...]:
        w_ih, w_hh, running, order, *kept = ctx.saved_tensors
        layout: Layout = ctx.layout
        steps, batch, inputs, hidden = ctx.shape
        laid_out = layout.laid_out_backward(w_ih, w_hh)
        layer, sequences = Layer(inputs, hidden), Sequences(steps, batch, address(running), address(order))
        sizes: Sizes = library().sizes(layout.path, layer, sequences, learns=True)
        dy, dh_n, dc_n = dy.to(ctx.dtype).contiguous(), dh_n.contiguous(), dc_n.contiguous()
        wants_x, wants_weights = ctx.needs_input_grad[0], any(ctx.needs_input_grad[3:6])
        dx = ctx.new(steps, batch, inputs, dtype=ctx.dtype, device="cpu") if wants_x else None
        dh0, dc0 = torch.empty_like(dh_n), torch.empty_like(dc_n)
        weights: list[Tensor | None] = [None, None, None]
        if wants_weights:
            weights = [dh_n.new_empty(4 * hidden, *rest) for rest in ((inputs,), (hidden,), ())]
        arguments = Backward(
            *(address(tensor) for tensor in (dy, dh_n, dc_n, laid_out, layout.keep_bits)),
            layout.keep_scale,
            Kept(*(address(tensor) for tensor in kept)),
            *(address(tensor) for tensor in (dx, dh0, dc0, *weights, workspace(sizes.backward_workspace))),
        )
        library().backward(layout.path, layer, sequences, arguments)
        return dx, dh0, dc0, *weights, None, None, None


def _versions(*weights: Tensor) -> tuple[int, ...]:
    """Numbers that grow when the weights change; tensors of inference mode have none and no gradients either."""
    return tuple(0 if weight.is_inference() else weight._version for weight in weights)


def _bytes(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.uint8, device="cpu")


def _running(steps: int, batch: int, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """How many sequences have each step (T,), and the places of the sequences from the longest to the shortest (B,)."""
    if lengths is None:
        return torch.full((steps,), batch, device="cpu"), torch.arange(batch, device="cpu")
    order = torch.argsort(lengths, descending=True, stable=True)
    ended = torch.bincount(lengths, minlength=steps + 1).cumsum(0)[:steps]
    return batch - ended, order
