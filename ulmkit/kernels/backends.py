"""The backends of the LSTM, each an object with the one signature of `ulmkit.kernels.backend`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from ulmkit.errors import ConfigError
from ulmkit.kernels import reference, stepwise, torch_backend
from ulmkit.kernels.backend import Weight, check_sequences, check_weights, float_weights
from ulmkit.kernels.cpu import fused_lstm
from ulmkit.kernels.cpu.library import choose_path
from ulmkit.kernels.cuda import fused_lstm as cuda_lstm
from ulmkit.kernels.masks import mask_recurrent
from ulmkit.kernels.quantization import LARGEST, Int8Matrix, quantize_rows

Layout = TypeVar("Layout")

LSTMFunction = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor, Tensor]]
"""A function of x, h0, c0, w_ih, w_hh, bias and lengths, see `ulmkit.kernels.reference.lstm`."""


@dataclass(frozen=True)
class FunctionBackend:
    """A backend that is a plain function of the masked weights: it needs no layout of its own."""

    name: str
    function: LSTMFunction

    def pack(
        self,
        w_ih: Weight,
        w_hh: Weight,
        keep_bits: Tensor | None = None,
        keep_scale: float = 1.0,
        dtype: torch.dtype | None = None,
    ) -> "PackedMatrices":
        """Mask the weights and cast them; see `Backend.pack`."""
        w_ih, w_hh = float_weights(w_ih, w_hh, keep_bits)
        dtype = dtype or w_ih.dtype
        masked = mask_recurrent(w_hh, keep_bits, keep_scale)
        return PackedMatrices(self.function, w_ih.to(dtype), masked.to(dtype))


@dataclass(frozen=True)
class PackedMatrices:
    """Masked weights in the type to compute in.

    Attributes:
        function: The LSTM as a function of them.
        w_ih: (4H, E).
        w_hh: (4H, H), masked.
    """

    function: LSTMFunction
    w_ih: Tensor
    w_hh: Tensor
    skips_padding: ClassVar[bool] = False

    def run(
        self, x: Tensor, h0: Tensor, c0: Tensor, bias: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run one LSTM layer; see `Packed.run`."""
        check_sequences(x, h0, c0, bias, lengths, self.w_ih, self.w_hh)
        dtype = self.w_ih.dtype
        cell_dtype = torch.promote_types(dtype, torch.float32)  # the cell state stays in fp32
        y, h_n, c_n = self.function(
            x.to(dtype), h0.to(dtype), c0.to(cell_dtype), self.w_ih, self.w_hh, bias.to(dtype), lengths
        )
        return y, h_n.to(h0.dtype), c_n.to(c0.dtype)


class FusedCPUBackend:
    """The fused C++ kernels, which lay weights out for their matmuls and skip padding."""

    name: ClassVar[str] = "fused"

    def pack(
        self,
        w_ih: Weight,
        w_hh: Weight,
        keep_bits: Tensor | None = None,
        keep_scale: float = 1.0,
        dtype: torch.dtype | None = None,
    ) -> "PackedFused[fused_lstm.Layout]":
        """Mask the weights and lay them out, or put that off; see `Backend.pack`.

        While gradients are on and nothing is masked, an fp32 path defers: a few rows are cheaper to multiply by the
        weights as they are.
        """
        w_ih, w_hh = float_weights(w_ih, w_hh, keep_bits)
        dtype = dtype or w_ih.dtype
        path = _required_path(self.name, dtype)
        w_ih, w_hh = w_ih.float(), w_hh.float()
        if torch.is_grad_enabled() and fused_lstm.reads_rows(path, keep_bits):
            layout = fused_lstm.Layout.deferred(w_ih, w_hh, path)
        else:
            needs_grad = torch.is_grad_enabled() and (w_ih.requires_grad or w_hh.requires_grad)
            layout = fused_lstm.lay_out(w_ih, w_hh, keep_bits, keep_scale, path, backward=needs_grad)
        return PackedFused(fused_lstm.lstm, dtype, w_ih, w_hh, layout, skips_padding=True)


class Int8Backend:
    """The fused C++ kernels with int8 weights, for inference.

    Inputs and states are rounded to int8 at each matmul; the sums are exact.
    """

    name: ClassVar[str] = "int8"

    def pack(
        self,
        w_ih: Weight,
        w_hh: Weight,
        keep_bits: Tensor | None = None,
        keep_scale: float = 1.0,
        dtype: torch.dtype | None = None,
    ) -> "PackedFused[fused_lstm.Layout]":
        """Lay int8 weights out, quantizing float ones; see `Backend.pack`.

        Raises:
            ConfigError: If there is a mask, `dtype` is not float32, or a weight is -128.
        """
        check_weights(w_ih, w_hh, keep_bits)
        if keep_bits is not None:
            raise ConfigError("keep_bits: expected None for int8 weights, which are for inference, got a mask")
        if dtype not in (None, torch.float32):
            raise ConfigError(f"dtype: expected torch.float32 around int8 weights, got {dtype}")
        input_weights, recurrent_weights = _quantized("w_ih", w_ih), _quantized("w_hh", w_hh)
        layout = fused_lstm.lay_out_int8(input_weights, recurrent_weights, _required_path(self.name, torch.int8))
        return PackedFused(
            fused_lstm.lstm, torch.float32, input_weights.values, recurrent_weights.values, layout, skips_padding=True
        )


class FusedCUDABackend:
    """Our own CUDA kernels, which mask and lay weights out in the launch that uses them."""

    name: ClassVar[str] = "fused"

    def pack(
        self,
        w_ih: Weight,
        w_hh: Weight,
        keep_bits: Tensor | None = None,
        keep_scale: float = 1.0,
        dtype: torch.dtype | None = None,
    ) -> "PackedFused[cuda_lstm.Mask]":
        """Keep the weights in float32 beside their mask; see `Backend.pack`."""
        w_ih, w_hh = float_weights(w_ih, w_hh, keep_bits)
        mask = cuda_lstm.Mask(keep_bits, keep_scale)
        dtype = dtype or w_ih.dtype
        return PackedFused(cuda_lstm.lstm, dtype, w_ih.float(), w_hh.float(), mask, skips_padding=False)


@dataclass(frozen=True)
class PackedFused(Generic[Layout]):
    """Weights for our own kernels, with what their matmuls read beside them.

    Attributes:
        kernel: The LSTM of a device, called with the layout.
        dtype: Type of inputs and outputs.
        w_ih: (4H, E), float32 or int8, as they were packed.
        w_hh: (4H, H), float32 or int8, as they were packed, without the mask.
        layout: The weights as the C++ kernels read them, masked; on a GPU the mask alone.
        skips_padding: Whether time steps beyond a sequence's length cost nothing.
    """

    kernel: Callable[
        [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Layout, Tensor | None], tuple[Tensor, Tensor, Tensor]
    ]
    dtype: torch.dtype
    w_ih: Tensor
    w_hh: Tensor
    layout: Layout
    skips_padding: bool

    def run(
        self, x: Tensor, h0: Tensor, c0: Tensor, bias: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run one LSTM layer; see `Packed.run`."""
        check_sequences(x, h0, c0, bias, lengths, self.w_ih, self.w_hh)
        y, h_n, c_n = self.kernel(
            x.to(self.dtype), h0.float(), c0.float(), self.w_ih, self.w_hh, bias.float(), self.layout, lengths
        )
        return y, h_n.to(h0.dtype), c_n.to(c0.dtype)


def _required_path(name: str, dtype: torch.dtype) -> str:
    path, reason = choose_path(dtype)
    if path is None:
        raise ConfigError(f"backend: {name!r} {reason}; use backend='auto'")
    return path


def _quantized(name: str, weight: Weight) -> Int8Matrix:
    if not isinstance(weight, Int8Matrix):
        return quantize_rows(weight)
    if weight.values.numel() and int(weight.values.min()) < -LARGEST:
        raise ConfigError(
            f"{name}: expected int8 weights from -{LARGEST} to {LARGEST}, got -128; quantize with quantize_rows"
        )
    return weight


REFERENCE = FunctionBackend("reference", reference.lstm)
TORCH = FunctionBackend("torch", torch_backend.lstm)
STEPWISE = FunctionBackend("stepwise", stepwise.lstm)
FUSED_CPU = FusedCPUBackend()
FUSED_CUDA = FusedCUDABackend()
INT8 = Int8Backend()
