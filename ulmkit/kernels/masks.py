"""DropConnect masks of weights, one bit per weight."""

import torch
from torch import Tensor

from ulmkit.config import check_probability
from ulmkit.kernels.arguments import address
from ulmkit.kernels.capabilities import fused_on_gpu
from ulmkit.kernels.cpu.library import choose_path, library
from ulmkit.kernels.cuda.fused_masks import keep_bits

_PROBABILITY_BITS = 16


def draw_keep_bits(
    rows: int,
    columns: int,
    dropout: float,
    *,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
    backend: str = "auto",
) -> Tensor:
    """Draw one random bit per weight, set where the weight is kept.

    Each bit is 1 with probability 1 - dropout, independently. The probability is rounded to a multiple of 2^-16. Its
    binary digits are folded with random bits, lowest digit first: `random | bits` for a 1, `random & bits` for a 0.
    That takes at most 16 random bits per weight, and one for dropout 0.5. On CPUs with compiled kernels, and on GPUs
    with the backend "fused", a faster generator draws the bits, seeded by torch's (keep_bits-inl.h, masks.cu).

    Args:
        rows: Rows of the masked matrix.
        columns: Columns of the masked matrix.
        dropout: Probability of dropping a weight, 0 <= dropout < 1.
        device: Device of the bits.
        generator: Source of randomness; None for torch's own.
        backend: Name of a backend, or "auto".

    Returns:
        (rows, ceil(columns / 8)) uint8; column j is bit j % 8 (lowest first) of byte j // 8.

    Raises:
        ConfigError: If dropout is outside its range.

    Source: Wan et al. 2013, "Regularization of neural networks using DropConnect", section 3.
    """
    check_probability("dropout", dropout)
    shape = (rows, (columns + 7) // 8)
    keep = round((1.0 - dropout) * (1 << _PROBABILITY_BITS))
    if keep in (0, 1 << _PROBABILITY_BITS):
        return torch.full(shape, 255 if keep else 0, dtype=torch.uint8, device=device)
    if fused_on_gpu(torch.device(device), torch.float32, backend):
        return keep_bits(shape[0] * shape[1], keep, device, generator).view(shape)
    path = choose_path(torch.float32)[0] if torch.device(device).type == "cpu" else None
    if path is not None:
        seed = int(torch.empty((), dtype=torch.int64).random_(generator=generator))
        bits = torch.empty(shape, dtype=torch.uint8)
        library().run("keep_bits", path, seed, keep, bits.numel(), address(bits))
        return bits
    bits = torch.zeros(shape, dtype=torch.uint8, device=device)
    trailing_zeros = (keep & -keep).bit_length() - 1
    for position in range(trailing_zeros, _PROBABILITY_BITS):
        random = _random_bytes(shape, device, generator)
        bits = random | bits if keep >> position & 1 else random & bits
    return bits


def _random_bytes(shape: tuple[int, int], device: torch.device | str, generator: torch.Generator | None) -> Tensor:
    words = (shape[0] * shape[1] + 7) // 8
    lowest, highest = torch.iinfo(torch.int64).min, torch.iinfo(torch.int64).max
    drawn = torch.randint(lowest, highest, (words,), generator=generator, device=device)
    return drawn.view(torch.uint8)[: shape[0] * shape[1]].view(shape)


def unpack_keep_bits(bits: Tensor, columns: int) -> Tensor:
    """Unpack bits (rows, ceil(columns / 8)) uint8 → (rows, columns) bool."""
    shifts = torch.arange(8, dtype=torch.uint8, device=bits.device)
    return (bits.unsqueeze(-1) >> shifts & 1).flatten(1)[:, :columns].bool()


def mask_recurrent(w_hh: Tensor, keep_bits: Tensor | None, keep_scale: float) -> Tensor:
    """DropConnect: w_hh (4H, H) with dropped weights at zero and kept ones times `keep_scale`; differentiable.

    Source: Merity, Keskar & Socher 2017, arXiv:1708.02182, section 2 (weight-dropped LSTM).
    """
    if keep_bits is None:
        return w_hh
    return w_hh * unpack_keep_bits(keep_bits, w_hh.shape[1]).to(w_hh.dtype).mul_(keep_scale)


def drop_weights(weight: Tensor, dropout: float, generator: torch.Generator | None = None) -> Tensor:
    """DropConnect with a mask drawn now: each value of a matrix is zero with probability `dropout`, else scaled up."""
    if dropout == 0.0:
        return weight
    rows, columns = weight.shape
    keep_bits = draw_keep_bits(rows, columns, dropout, device=weight.device, generator=generator)
    return mask_recurrent(weight, keep_bits, 1.0 / (1.0 - dropout))
