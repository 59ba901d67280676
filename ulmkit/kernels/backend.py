"""A backend of the LSTM as an object, and the checks of its arguments.

packed = backend.pack(w_ih, w_hh, keep_bits, keep_scale, dtype)  # once per training step, or once per load
y, h_n, c_n = packed.run(x, h0, c0, bias, lengths)               # as often as needed
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ulmkit.errors import ConfigError
from ulmkit.kernels.quantization import Int8Matrix

Weight: TypeAlias = Tensor | Int8Matrix
"""A weight matrix in float or in int8. Every backend takes both: it dequantizes or quantizes what it cannot use."""


LSTMFunction = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor, Tensor]]
"""A function of x, h0, c0, w_ih, w_hh, bias and lengths, see `ulmkit.kernels.reference.lstm`."""


@dataclass(frozen=True)
class Packed:
    """Weights of one layer, masked and laid out by one backend.

    Gradients flow through to the parameters that were packed.

    Attributes:
        function: The LSTM; it holds what its matmuls read beside w_ih and w_hh.
        w_ih: (4H, E), as the function takes it.
        w_hh: (4H, H), as the function takes it.
        dtype: Type of inputs and outputs.
        state_dtype: Type in which the function takes h0 and the bias.
        skips_padding: True if time steps beyond a sequence's length cost nothing.
    """

    function: LSTMFunction
    w_ih: Tensor
    w_hh: Tensor
    dtype: torch.dtype
    state_dtype: torch.dtype
    skips_padding: bool = False

    def run(
        self, x: Tensor, h0: Tensor, c0: Tensor, bias: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run one LSTM layer over a batch of sequences.

        Args:
            x: (T, B, E) float, time-major.
            h0: (B, H) float, hidden state before the first step.
            c0: (B, H) float, cell state before the first step.
            bias: (4H,) float, the sum of input and recurrent bias.
            lengths: (B,) int64, valid steps of each sequence, 0 <= length <= T; None if all are T.

        Returns:
            y: (T, B, H) in the type that was packed for, zero at steps beyond a sequence's length.
            h_n: (B, H) in h0's type, hidden state after each sequence's last valid step.
            c_n: (B, H) in c0's type, cell state after each sequence's last valid step.

        Raises:
            ConfigError: If a shape or device does not fit, or a length is beyond T (on CPUs).

        Source: `ulmkit.kernels.reference.lstm` has the formula.
        """
        check_sequences(x, h0, c0, bias, lengths, self.w_ih, self.w_hh)
        cell_dtype = torch.promote_types(self.dtype, torch.float32)  # the cell state stays in fp32
        states = h0.to(self.state_dtype), c0.to(cell_dtype)
        y, h_n, c_n = self.function(x.to(self.dtype), *states, self.w_ih, self.w_hh, bias.to(self.state_dtype), lengths)
        return y, h_n.to(h0.dtype), c_n.to(c0.dtype)


@dataclass(frozen=True)
class Backend:
    """One implementation of the LSTM.

    Attributes:
        name: Name in options and in `ulmkit info`.
        lay_out: Masks weights that fit together and lays them out: a function of the arguments of `pack`.
    """

    name: str
    lay_out: Callable[[Weight, Weight, Tensor | None, float, torch.dtype | None], Packed]

    def pack(
        self,
        w_ih: Weight,
        w_hh: Weight,
        keep_bits: Tensor | None = None,
        keep_scale: float = 1.0,
        dtype: torch.dtype | None = None,
    ) -> Packed:
        """Apply the recurrent mask and lay weights out; differentiable in w_ih and w_hh.

        The mask is drawn once for a whole sequence: the same weights are dropped at every time step.

        Args:
            w_ih: (4H, E) input weights, gates in the order i, f, g, o.
            w_hh: (4H, H) recurrent weights.
            keep_bits: (4H, ceil(H / 8)) uint8 from `draw_keep_bits`, or None to keep every weight.
            keep_scale: Factor on kept weights, 1 / (1 - dropout).
            dtype: Type to compute in; None for the weights' own.

        Raises:
            ConfigError: If a shape, type or device does not fit.

        Source: Merity, Keskar & Socher 2017, arXiv:1708.02182, section 2 (weight-dropped LSTM).
        """
        check_weights(w_ih, w_hh, keep_bits)
        return self.lay_out(w_ih, w_hh, keep_bits, keep_scale, dtype)


def _elements(weight: Weight) -> Tensor:
    return weight.values if isinstance(weight, Int8Matrix) else weight


def check_weights(w_ih: Weight, w_hh: Weight, keep_bits: Tensor | None) -> None:
    """Raise ConfigError, naming the argument, unless the weights and their mask fit together."""
    inputs, recurrent = _elements(w_ih), _elements(w_hh)
    if not (inputs.dim() == recurrent.dim() == 2 and recurrent.shape[0] == 4 * recurrent.shape[1] == inputs.shape[0]):
        raise ConfigError(
            f"pack: expected w_ih (4H, E) and w_hh (4H, H), got {tuple(inputs.shape)} and {tuple(recurrent.shape)}"
        )
    for name, tensor in (("w_hh", recurrent), ("keep_bits", keep_bits)):
        if tensor is not None and tensor.device != inputs.device:
            raise ConfigError(f"{name}: expected a tensor on {inputs.device}, as w_ih, got one on {tensor.device}")
    if keep_bits is None:
        return
    hidden = recurrent.shape[1]
    expected = (4 * hidden, (hidden + 7) // 8)
    if keep_bits.shape != expected:
        raise ConfigError(
            f"keep_bits: expected shape {expected}, got {tuple(keep_bits.shape)}; "
            "draw it with draw_keep_bits(4 * H, H, dropout)"
        )
    if keep_bits.dtype != torch.uint8:
        raise ConfigError(f"keep_bits: expected uint8, got {keep_bits.dtype}; draw it with draw_keep_bits")


def check_sequences(
    x: Tensor, h0: Tensor, c0: Tensor, bias: Tensor, lengths: Tensor | None, w_ih: Tensor, w_hh: Tensor
) -> None:
    """Raise ConfigError, naming the argument, unless the arguments of `Packed.run` fit the weights."""
    hidden = w_hh.shape[1]
    if x.dim() != 3 or x.shape[2] != w_ih.shape[1]:
        raise ConfigError(f"x: expected (T, B, {w_ih.shape[1]}), got {tuple(x.shape)}")
    steps, batch, _ = x.shape
    state = (batch, hidden)
    check_shapes(h0=(h0, state), c0=(c0, state), bias=(bias, (4 * hidden,)), lengths=(lengths, (batch,)))
    if lengths is not None and lengths.device.type == "cpu" and len(lengths):  # on a GPU, reading them would wait
        shortest, longest = lengths.aminmax()
        if shortest < 0 or longest > steps:
            raise ConfigError(f"lengths: expected 0 to {steps}, got {int(shortest)} to {int(longest)}")
    for name, tensor in (("x", x), ("h0", h0), ("c0", c0), ("bias", bias), ("lengths", lengths)):
        if tensor is not None and tensor.device != w_hh.device:
            raise ConfigError(f"{name}: expected a tensor on {w_hh.device}, got one on {tensor.device}")


def check_shapes(**expected: tuple[Tensor | None, tuple[int, ...]]) -> None:
    """Raise ConfigError, naming the argument, unless each tensor that is not None has the shape beside it."""
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ConfigError(f"{name}: expected {shape}, got {tuple(tensor.shape)}")
