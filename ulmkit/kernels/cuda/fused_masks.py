"""Bits of the recurrent mask, drawn on GPUs."""

from ctypes import c_int, c_int64, c_void_p

import torch
from torch import Tensor

from ulmkit.kernels.cuda.launcher import kernels


def keep_bits(size: int, keep: int, device: torch.device | str, generator: torch.Generator | None = None) -> Tensor:
    """Random bytes whose bits are 1 with probability keep / 2^16.

    Args: size: bytes. keep: 1 to 2^16 - 1. generator: of the device, which gives the seed; None for torch's own.
    Returns: (size,) uint8.
    """
    seed = torch.empty((), dtype=torch.int64, device=device).random_(generator=generator)
    words = torch.empty(-(-size // 8), dtype=torch.int64, device=device)
    arguments = c_void_p(seed.data_ptr()), c_int(keep), c_int64(len(words)), c_void_p(words.data_ptr())
    kernels(words.device.index or 0).pointwise("keep_bits.cu", "keep_bits", torch.float32, len(words), *arguments)
    return words.view(torch.uint8)[:size]
