"""The functional LSTM in two steps: lay the weights out once, then run sequences with them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ulmkit.errors import ConfigError
from ulmkit.kernels.cpu import fused_lstm
from ulmkit.kernels.cpu.library import choose_path
from ulmkit.kernels.cuda import fused_lstm as cuda_lstm
from ulmkit.kernels.dispatch import LSTM_FUNCTIONS, choose_backend
from ulmkit.kernels.masks import mask_recurrent
from ulmkit.kernels.quantization import LARGEST, Int8Matrix


@dataclass(frozen=True)
class PackedWeights:
    """Weights of one layer, masked and laid out for one backend, one training step or one load.

    dtype: the type computed in. w_ih: (4H, E), w_hh: (4H, H); for the backend "fused" float32 or bytes as they were
    given, with their `layout` (on CPUs) or `mask` (on GPUs) beside, for the others masked and in `dtype`. Gradients
    flow through to the parameters they were packed from.
    """

    backend: str
    dtype: torch.dtype
    w_ih: Tensor
    w_hh: Tensor
    layout: fused_lstm.Layout | None = None
    mask: cuda_lstm.Mask | None = None

    @property
    def hidden_size(self) -> int:
        return self.w_hh.shape[1]

    @property
    def skips_padding(self) -> bool:
        """Whether steps beyond a sequence's length cost nothing."""
        return self.layout is not None


def pack(
    w_ih: Tensor,
    w_hh: Tensor,
    keep_bits: Tensor | None = None,
    keep_scale: float = 1.0,
    dtype: torch.dtype | None = None,
    backend: str = "auto",
) -> PackedWeights:
    """Apply the recurrent mask and lay weights out; differentiable in w_ih and w_hh.

    The mask is drawn once for a whole sequence: the same weights are dropped at every time step.

    Args:
        w_ih: (4H, E) input weights, gates in the order i, f, g, o.
        w_hh: (4H, H) recurrent weights.
        keep_bits: (4H, ceil(H / 8)) uint8 from `draw_keep_bits`, or None to keep every weight.
        keep_scale: factor on kept weights, 1 / (1 - dropout).
        dtype: type to compute in; None for the weights' own.
        backend: "auto", or a name of `BACKENDS`.
    Raises: ConfigError for shapes that do not fit or an unknown backend.
    Source: Merity, Keskar & Socher 2017, arXiv:1708.02182, section 2 (weight-dropped LSTM).
    """
    _check_weights(w_ih, w_hh)
    hidden = w_hh.shape[1]
    if keep_bits is not None and keep_bits.shape != (4 * hidden, (hidden + 7) // 8):
        raise ConfigError(
            f"keep_bits: expected shape {(4 * hidden, (hidden + 7) // 8)}, got {tuple(keep_bits.shape)}; "
            "draw it with draw_keep_bits(4 * H, H, dropout)"
        )
    for name, tensor in (("w_hh", w_hh), ("keep_bits", keep_bits)):
        if tensor is not None and tensor.device != w_ih.device:
            raise ConfigError(f"{name}: expected a tensor on {w_ih.device}, as w_ih, got one on {tensor.device}")
    if keep_bits is not None and keep_bits.dtype != torch.uint8:
        raise ConfigError(f"keep_bits: expected uint8, got {keep_bits.dtype}; draw it with draw_keep_bits")
    dtype = dtype or w_ih.dtype
    backend = choose_backend(backend, w_ih.device, dtype)
    if backend == "fused":
        w_ih, w_hh = w_ih.float(), w_hh.float()
        if w_ih.device.type == "cuda":
            return PackedWeights(backend, dtype, w_ih, w_hh, mask=cuda_lstm.Mask(keep_bits, keep_scale))
        path, _ = choose_path(dtype)
        assert path is not None, dtype
        if torch.is_grad_enabled() and fused_lstm.reads_rows(path, keep_bits):
            layout = fused_lstm.Layout.deferred(w_ih, w_hh, path)
        else:
            learns = torch.is_grad_enabled() and (w_ih.requires_grad or w_hh.requires_grad)
            layout = fused_lstm.lay_out(w_ih, w_hh, keep_bits, keep_scale, path, backward=learns)
        return PackedWeights(backend, dtype, w_ih, w_hh, layout)
    masked = mask_recurrent(w_hh, keep_bits, keep_scale)
    return PackedWeights(backend, dtype, w_ih.to(dtype), masked.to(dtype))


def pack_int8(w_ih: Int8Matrix, w_hh: Int8Matrix) -> PackedWeights:
    """Lay weights of bytes out, for serving: inputs and states are rounded to bytes at each product, sums are exact.

    On devices without kernels for it the weights are made float32 again.

    Args: w_ih: (4H, E). w_hh: (4H, H).
    Raises: ConfigError for shapes that do not fit, and for a byte of -128.
    """
    _check_weights(w_ih.values, w_hh.values)
    for name, matrix in (("w_ih", w_ih), ("w_hh", w_hh)):
        if matrix.values.numel() and int(matrix.values.min()) < -LARGEST:
            raise ConfigError(
                f"{name}: expected bytes from -{LARGEST} to {LARGEST}, got -128; round it by quantize_rows"
            )
    if not int8_runs(w_hh.values.device)[0]:
        return pack(w_ih.to_float(), w_hh.to_float())
    path, _ = choose_path(torch.int8)
    assert path is not None
    layout = fused_lstm.lay_out_int8(w_ih, w_hh, path)
    return PackedWeights("fused", torch.float32, w_ih.values, w_hh.values, layout)


def int8_runs(device: torch.device) -> tuple[bool, str]:
    """Whether weights of bytes are multiplied as bytes on `device`, and by what or why not."""
    path, reason = choose_path(torch.int8) if device.type == "cpu" else (None, f"has no kernels for {device.type}")
    return path is not None, reason


def lstm(
    x: Tensor, h0: Tensor, c0: Tensor, packed: PackedWeights, bias: Tensor, lengths: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """One LSTM layer over a batch of sequences.

    Args:
        x: (T, B, E) float, time-major.
        h0, c0: (B, H) float, hidden and cell state before the first step.
        packed: weights from `pack`.
        bias: (4H,) float, the sum of input and recurrent bias.
        lengths: (B,) int64, valid steps of each sequence, 0 <= length <= T; None if all are T.
    Returns:
        y: (T, B, H) in the packed weights' type, zero at steps beyond a sequence's length.
        h_n, c_n: (B, H) in h0's type, states after each sequence's last valid step.
    Raises: ConfigError for shapes that do not fit, naming them, and for lengths beyond T (on CPUs).
    Source: `ulmkit.kernels.reference.lstm` has the formula.
    """
    _check_shapes(x, h0, c0, packed, bias, lengths)
    dtype = packed.dtype
    if packed.layout is not None:
        y, h_n, c_n = fused_lstm.lstm(
            x.to(dtype), h0.float(), c0.float(), packed.w_ih, packed.w_hh, bias.float(), packed.layout, lengths
        )
        return y, h_n.to(h0.dtype), c_n.to(c0.dtype)
    if packed.mask is not None:
        y, h_n, c_n = cuda_lstm.lstm(
            x.to(dtype), h0.float(), c0.float(), packed.w_ih, packed.w_hh, bias.float(), packed.mask, lengths
        )
        return y, h_n.to(h0.dtype), c_n.to(c0.dtype)
    run = LSTM_FUNCTIONS[packed.backend]
    cell_dtype = torch.promote_types(dtype, torch.float32)
    y, h_n, c_n = run(x.to(dtype), h0.to(dtype), c0.to(cell_dtype), packed.w_ih, packed.w_hh, bias.to(dtype), lengths)
    return y, h_n.to(h0.dtype), c_n.to(c0.dtype)


def _check_weights(w_ih: Tensor, w_hh: Tensor) -> None:
    if not (w_ih.dim() == w_hh.dim() == 2 and w_hh.shape[0] == 4 * w_hh.shape[1] == w_ih.shape[0]):
        raise ConfigError(
            f"pack: expected w_ih (4H, E) and w_hh (4H, H), got {tuple(w_ih.shape)} and {tuple(w_hh.shape)}"
        )


def _check_shapes(
    x: Tensor, h0: Tensor, c0: Tensor, packed: PackedWeights, bias: Tensor, lengths: Tensor | None
) -> None:
    hidden = packed.hidden_size
    if x.dim() != 3 or x.shape[2] != packed.w_ih.shape[1]:
        raise ConfigError(f"x: expected (T, B, {packed.w_ih.shape[1]}), got {tuple(x.shape)}")
    for name, tensor, shape in (
        ("h0", h0, (x.shape[1], hidden)),
        ("c0", c0, (x.shape[1], hidden)),
        ("bias", bias, (4 * hidden,)),
        ("lengths", lengths, (x.shape[1],)),
    ):
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ConfigError(f"{name}: expected {shape}, got {tuple(tensor.shape)}")
    if lengths is not None and lengths.device.type == "cpu" and len(lengths):  # a look at a GPU's would wait for it
        shortest, longest = lengths.aminmax()
        if shortest < 0 or longest > x.shape[0]:
            raise ConfigError(f"lengths: expected 0 to {x.shape[0]}, got {int(shortest)} to {int(longest)}")
    for name, tensor in (("x", x), ("h0", h0), ("c0", c0), ("bias", bias), ("lengths", lengths)):
        if tensor is not None and tensor.device != packed.w_hh.device:
            raise ConfigError(f"{name}: expected a tensor on {packed.w_hh.device}, got one on {tensor.device}")
