"""Mask of the recurrent weights on GPUs: drawing it, and applying it to the weights and to their gradient."""

from ctypes import c_int, c_int64, c_void_p
from dataclasses import dataclass

import torch
from torch import Tensor

from ulmkit.kernels.arguments import address
from ulmkit.kernels.cuda.arguments import Masked
from ulmkit.kernels.cuda.launcher import Kernels, kernels
from ulmkit.kernels.cuda.plan import TILE, ceil_div, round_up

_FILE = "masks.cu"
_TRANSPOSED_TILE = 32


@dataclass(frozen=True)
class Mask:
    """Mask of the recurrent weights.

    Attributes:
        keep_bits: (4H, ceil(H / 8)) uint8; None keeps all.
        keep_scale: Factor of the weights that are kept.
    """

    keep_bits: Tensor | None
    keep_scale: float

    def arguments(self, w_hh: Tensor | None, hidden_size: int) -> Masked:
        """Return the arguments for masks.cu; w_hh is (4H, H) fp32, contiguous, or None to mask something else."""
        return Masked(address(w_hh), address(self.keep_bits), hidden_size, self.keep_scale)


def keep_bits(size: int, keep: int, device: torch.device | str, generator: torch.Generator | None = None) -> Tensor:
    """Draw random bytes whose bits are 1 with probability keep / 2^16.

    Args:
        size: Number of bytes.
        keep: 1 to 2^16 - 1.
        device: GPU to draw on.
        generator: Generator of the device that draws the seed; None for torch's global one.

    Returns:
        (size,) uint8.
    """
    seed = torch.randint(torch.iinfo(torch.int64).max, (), generator=generator, device=device)
    return keep_bits_of_seed(seed, size, keep)


@torch.library.custom_op("ulmkit::keep_bits", mutates_args=())
def keep_bits_of_seed(seed: Tensor, size: int, keep: int) -> Tensor:
    """Compute the random bytes of a seed, a scalar int64 on the device, for `keep_bits`."""
    words = seed.new_empty(ceil_div(size, 8))
    arguments = c_void_p(seed.data_ptr()), c_int(keep), c_int64(len(words)), c_void_p(words.data_ptr())
    kernels(words.device.index or 0).pointwise(_FILE, "keep_bits", torch.float32, len(words), *arguments)
    return words.view(torch.uint8)[:size]


@keep_bits_of_seed.register_fake
def _(seed, size, keep):  # type: ignore[no-untyped-def]
    return seed.new_empty(size, dtype=torch.uint8)


def mask_gradient(run: Kernels, gradient: Tensor, mask: Mask) -> None:
    """Mask dW_hh (4H, H) fp32 in place."""
    arguments = mask.arguments(None, gradient.shape[1]), c_void_p(gradient.data_ptr())
    run.pointwise(_FILE, "mask_gradient", torch.float32, gradient.numel(), *arguments)


def room_for_weights(direction: str, like: Tensor, hidden_size: int) -> Tensor:
    """Allocate masked weights, (4H, K) forward or (H, G) backward, of the type and device of `like`."""
    rows, columns = 4 * hidden_size, hidden_size
    if direction == "backward":
        rows, columns = columns, rows
    return like.new_empty(rows, round_up(columns, TILE))


def lay_out_weights(run: Kernels, direction: str, w_hh: Tensor, mask: Mask, to: Tensor) -> Tensor:
    """Write the masked weights in the products' type to `to`, transposed if the direction is "backward".

    Args:
        run: Kernels of the device.
        direction: "forward" or "backward".
        w_hh: (4H, H) fp32, contiguous.
        mask: Mask of w_hh.
        to: (4H, K) or (H, G) from `room_for_weights`.

    Returns:
        The tensor that was written to.
    """
    arguments = mask.arguments(w_hh, w_hh.shape[1]), c_int64(to.shape[1]), c_void_p(to.data_ptr())
    if direction == "forward":
        run.pointwise(_FILE, "mask_weights", to.dtype, to.numel(), *arguments)
    else:
        tiles = ceil_div(to.shape[0], _TRANSPOSED_TILE) * ceil_div(to.shape[1], _TRANSPOSED_TILE)
        shared_bytes = _TRANSPOSED_TILE * (_TRANSPOSED_TILE + 1) * to.element_size()
        run.blocks(_FILE, "mask_weights_transposed", to.dtype, tiles, *arguments, shared_bytes=shared_bytes)
    return to
