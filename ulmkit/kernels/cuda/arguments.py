"""The kernels' arguments: the structures of lstm_step.h, field by field."""

from ctypes import Structure, c_float, c_int64, c_void_p
from typing import ClassVar


class Sequences(Structure):
    _fields_: ClassVar = [
        ("lengths", c_void_p),
        *((name, c_int64) for name in ("steps", "batch", "hidden_size", "width", "gates_width")),
    ]


class Forward(Structure):
    _fields_: ClassVar = [
        ("sequences", Sequences),
        *(
            (n, c_void_p)
            for n in ("sums", "w_hh", "keep_bits", "h0", "y", "h_n", "c_n", "cells", "gates", "spilled", "met")
        ),
        ("keep_scale", c_float),
    ]


class Backward(Structure):
    _fields_: ClassVar = [
        ("sequences", Sequences),
        *(
            (n, c_void_p)
            for n in ("dy", "w_hh", "keep_bits", "cells", "gates", "d_gates", "dh", "dc", "spilled", "met")
        ),
        ("keep_scale", c_float),
    ]
