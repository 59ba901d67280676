"""The backends of the LSTM, each from a function that masks weights and lays them out; see `Backend.pack`."""

from functools import partial

import torch
from torch import Tensor

from ulmkit.errors import ConfigError
from ulmkit.kernels import reference, stepwise, torch_backend
from ulmkit.kernels.backend import Backend, LSTMFunction, Packed, Weight
from ulmkit.kernels.cpu import fused_lstm
from ulmkit.kernels.cpu.library import PATHS, choose_path
from ulmkit.kernels.cuda import fused_lstm as cuda_lstm
from ulmkit.kernels.masks import mask_recurrent
from ulmkit.kernels.quantization import LARGEST, Int8Matrix, quantize_rows


def _plain(
    function: LSTMFunction,
    w_ih: Weight,
    w_hh: Weight,
    keep_bits: Tensor | None,
    keep_scale: float,
    dtype: torch.dtype | None,
) -> Packed:
    """Mask the weights and cast them, for a plain function of the masked weights."""
    w_ih, w_hh = _float(w_ih), _float(w_hh)
    dtype = dtype or w_ih.dtype
    return Packed(function, w_ih.to(dtype), mask_recurrent(w_hh, keep_bits, keep_scale).to(dtype), dtype, dtype)


def _fused_cpu(
    w_ih: Weight, w_hh: Weight, keep_bits: Tensor | None, keep_scale: float, dtype: torch.dtype | None
) -> Packed:
    """Mask the weights and lay them out for the fused C++ kernels, or put that off.

    While gradients are on and nothing is masked, an fp32 path defers: a few rows are cheaper to multiply by the
    weights as they are.
    """
    w_ih, w_hh = _float(w_ih), _float(w_hh)
    dtype = dtype or w_ih.dtype
    w_ih, w_hh = w_ih.float(), w_hh.float()
    layout = fused_lstm.Layout.of(w_ih, w_hh, keep_bits, keep_scale, _required_path("fused", dtype))
    can_defer = keep_bits is None and layout.path in PATHS[torch.float32]
    if not (torch.is_grad_enabled() and can_defer):
        layout.lay_out(w_ih, w_hh, backward=torch.is_grad_enabled() and (w_ih.requires_grad or w_hh.requires_grad))
    function = partial(fused_lstm.lstm, layout=layout)
    return Packed(function, w_ih, w_hh, dtype, torch.float32, skips_padding=True)


def _int8(w_ih: Weight, w_hh: Weight, keep_bits: Tensor | None, keep_scale: float, dtype: torch.dtype | None) -> Packed:
    """Lay int8 weights out for the fused C++ kernels, quantizing float ones; for inference.

    Inputs and states are rounded to int8 at each matmul; the sums are exact.

    Raises:
        ConfigError: If there is a mask, `dtype` is not float32, or a weight is -128.
    """
    if keep_bits is not None:
        raise ConfigError("keep_bits: expected None for int8 weights, which are for inference, got a mask")
    if dtype not in (None, torch.float32):
        raise ConfigError(f"dtype: expected torch.float32 around int8 weights, got {dtype}")
    inputs, recurrent = _quantized("w_ih", w_ih), _quantized("w_hh", w_hh)
    layout = fused_lstm.Layout(_required_path("int8", torch.int8))
    layout.lay_out(inputs.values, recurrent.values, inputs.scales, recurrent.scales, backward=False)
    function = partial(fused_lstm.lstm, layout=layout)
    return Packed(function, inputs.values, recurrent.values, torch.float32, torch.float32, skips_padding=True)


def _fused_cuda(
    w_ih: Weight, w_hh: Weight, keep_bits: Tensor | None, keep_scale: float, dtype: torch.dtype | None
) -> Packed:
    """Keep the weights in float32 beside their mask: our CUDA kernels lay them out in the launch that uses them."""
    w_ih, w_hh = _float(w_ih), _float(w_hh)
    function = partial(cuda_lstm.lstm, mask=cuda_lstm.Mask(keep_bits, keep_scale))
    return Packed(function, w_ih.float(), w_hh.float(), dtype or w_ih.dtype, torch.float32)


def _float(weight: Weight) -> Tensor:
    return weight.to_float() if isinstance(weight, Int8Matrix) else weight


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


REFERENCE = Backend("reference", partial(_plain, reference.lstm))
TORCH = Backend("torch", partial(_plain, torch_backend.lstm))
STEPWISE = Backend("stepwise", partial(_plain, stepwise.lstm))
FUSED_CPU = Backend("fused", _fused_cpu)
FUSED_CUDA = Backend("fused", _fused_cuda)
INT8 = Backend("int8", _int8)
