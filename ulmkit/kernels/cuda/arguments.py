"""Arguments of the kernels: the structures of the CUDA sources, field by field."""

from collections.abc import Iterable
from ctypes import Structure, c_float, c_int, c_int64, c_void_p
from typing import Any, ClassVar

from torch import Tensor


def address(tensor: Tensor | None) -> int | None:
    """Return the address of a tensor's elements, None for None."""
    return None if tensor is None else tensor.data_ptr()


def _pointers(names: Iterable[str]) -> list[tuple[str, Any]]:
    return [(name, c_void_p) for name in names]


class Sequences(Structure):
    """Sequences of lstm_step.h."""

    _fields_: ClassVar = [
        *_pointers(["lengths"]),
        *((name, c_int) for name in ("steps", "batch", "hidden_size", "width", "gates_width")),
    ]


class Forward(Structure):
    """Forward of lstm_step.h."""

    _fields_: ClassVar = [
        ("sequences", Sequences),
        *_pointers(["sums", "weights", "h0", "y", "h_n", "c_n", "cells", "gates", "spilled", "met"]),
    ]


class Backward(Structure):
    """Backward of lstm_step.h."""

    _fields_: ClassVar = [
        ("sequences", Sequences),
        *_pointers(["dy", "weights", "cells", "gates", "d_gates", "dh", "dc", "spilled", "met"]),
    ]


class Masked(Structure):
    """Masked of masks.cu."""

    _fields_: ClassVar = [*_pointers(["w_hh", "keep_bits"]), ("hidden_size", c_int64), ("keep_scale", c_float)]
