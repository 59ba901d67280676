"""Arguments of the kernels: the structures of the CUDA sources, field by field."""

from ctypes import Structure, c_float, c_int, c_int64, c_void_p
from typing import ClassVar

from ulmkit.kernels.arguments import fields


class Sequences(Structure):
    """Mirror of `struct Sequences` in lstm_step.h."""

    _fields_: ClassVar = [("lengths", c_void_p), *fields(c_int, "steps batch hidden_size width gates_width")]


class Forward(Structure):
    """Mirror of `struct Forward` in lstm_step.h."""

    _fields_: ClassVar = [
        ("sequences", Sequences),
        *fields(c_void_p, "sums weights h0 y h_n c_n cells gates spilled met"),
    ]


class Backward(Structure):
    """Mirror of `struct Backward` in lstm_step.h."""

    _fields_: ClassVar = [
        ("sequences", Sequences),
        *fields(c_void_p, "dy weights cells gates d_gates dh dc spilled met"),
    ]


class Masked(Structure):
    """Mirror of `struct Masked` in masks.cu."""

    _fields_: ClassVar = [
        *fields(c_void_p, "w_hh keep_bits"),
        ("hidden_size", c_int64),
        ("keep_scale", c_float),
    ]
