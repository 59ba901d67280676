"""The compiled kernels: finding them, and calling them by address.

The structures are those of kernels.h, field by field. The library is loaded after torch, so that both share one OpenMP
pool.
"""

import ctypes
import functools
import sysconfig
import threading
from ctypes import POINTER, Structure, byref, c_char_p, c_float, c_int, c_int32, c_int64, c_uint64, c_void_p
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

VERSION = 7
"""Of kernels.h: a library built from another is not called."""


class Sequences(Structure):
    _fields_: ClassVar = [("steps", c_int64), ("batch", c_int64), ("running", c_void_p), ("order", c_void_p)]


class Layer(Structure):
    _fields_: ClassVar = [("inputs", c_int64), ("hidden", c_int64)]


class Sizes(Structure):
    _fields_: ClassVar = [
        (name, c_int64)
        for name in (
            "forward_weights", "backward_weights", "inputs", "hidden", "cells", "gates",
            "pack_workspace", "forward_workspace", "backward_workspace",
        )
    ]  # fmt: skip


class Packing(Structure):
    _fields_: ClassVar = [
        ("w_ih", c_void_p),
        ("w_hh", c_void_p),
        ("scales_ih", c_void_p),
        ("scales_hh", c_void_p),
        ("keep_bits", c_void_p),
        ("keep_scale", c_float),
        ("forward_weights", c_void_p),
        ("backward_weights", c_void_p),
        ("workspace", c_void_p),
    ]


class Kept(Structure):
    _fields_: ClassVar = [(name, c_void_p) for name in ("inputs", "hidden", "cells", "gates")]


class Weights(Structure):
    _fields_: ClassVar = [(name, c_void_p) for name in ("laid_out", "w_ih", "w_hh")]


class Forward(Structure):
    _fields_: ClassVar = [
        *((name, c_void_p) for name in ("x", "h0", "c0", "bias")),
        ("weights", Weights),
        ("kept", Kept),
        *((name, c_void_p) for name in ("y", "h_n", "c_n", "workspace")),
    ]


class Backward(Structure):
    _fields_: ClassVar = [
        *((name, c_void_p) for name in ("dy", "dh_n", "dc_n")),
        ("weights", Weights),
        ("keep_bits", c_void_p),
        ("keep_scale", c_float),
        ("kept", Kept),
        *((name, c_void_p) for name in ("dx", "dh0", "dc0", "d_w_ih", "d_w_hh", "d_bias", "workspace")),
    ]


class CrossEntropy(Structure):
    _fields_: ClassVar = [
        *((name, c_int64) for name in ("rows", "features", "classes")),
        *((name, c_void_p) for name in ("x", "weight", "bias", "targets", "nll", "row_weights")),
        *((name, c_void_p) for name in ("dx", "d_weight", "d_bias")),
        ("scale", c_float),
        ("held_bytes", c_int64),
        ("workspace", c_void_p),
    ]


class Library:
    """The functions of a compiled library.

    Args: path: of the file.
    Attributes: paths: number of each path by its name, those that run here.
    Raises: OSError if it cannot be loaded or is of another version.
    """

    def __init__(self, path: Path) -> None:
        self._functions = ctypes.CDLL(str(path))
        version = self._functions.ulmkit_version()
        if version != VERSION:
            raise OSError(f"{path.name} is version {version}, expected {VERSION}")
        name = self._functions.ulmkit_path_name
        name.restype = c_char_p
        names: list[str] = []
        while found := name(len(names)):
            names.append(found.decode())
        self.paths = {n: i for i, n in enumerate(names) if self._functions.ulmkit_path_runs_here(i)}
        arguments = {
            "sizes": (Layer, Sequences, c_int, c_int, Sizes),
            "pack": (Layer, Packing, c_int),
            "forward": (Layer, Sequences, Forward, c_int),
            "backward": (Layer, Sequences, Backward, c_int),
            "cross_entropy_bytes": (CrossEntropy, c_int),
            "cross_entropy": (CrossEntropy, c_int),
        }
        for function, types in arguments.items():
            pointers: list[Any] = [kind if kind is c_int else POINTER(kind) for kind in types]
            getattr(self._functions, f"ulmkit_{function}").argtypes = [c_int, *pointers]
        self._functions.ulmkit_cross_entropy_bytes.restype = c_int64
        self._functions.ulmkit_keep_bits.argtypes = [c_int, c_uint64, c_int32, c_int64, c_void_p, c_int]

    def sizes(self, path: str, layer: Layer, sequences: Sequences, learns: bool) -> Sizes:
        """Bytes of every buffer. learns: whether a backward follows."""
        found = Sizes()
        self._functions.ulmkit_sizes(
            self.paths[path], byref(layer), byref(sequences), learns, torch.get_num_threads(), byref(found)
        )
        return found

    def pack(self, path: str, layer: Layer, packing: Packing) -> None:
        """Mask weights and lay them out."""
        self._functions.ulmkit_pack(self.paths[path], byref(layer), byref(packing), torch.get_num_threads())

    def forward(self, path: str, layer: Layer, sequences: Sequences, forward: Forward) -> None:
        """Run the sequences."""
        self._functions.ulmkit_forward(
            self.paths[path], byref(layer), byref(sequences), byref(forward), torch.get_num_threads()
        )

    def backward(self, path: str, layer: Layer, sequences: Sequences, backward: Backward) -> None:
        """All gradients."""
        self._functions.ulmkit_backward(
            self.paths[path], byref(layer), byref(sequences), byref(backward), torch.get_num_threads()
        )

    def cross_entropy(self, path: str, task: CrossEntropy) -> None:
        """Losses and, if `task.dx` is there, gradients; takes its workspace itself."""
        number, threads = self.paths[path], torch.get_num_threads()
        size = self._functions.ulmkit_cross_entropy_bytes(number, byref(task), threads)
        task.workspace = address(workspace(size))
        self._functions.ulmkit_cross_entropy(number, byref(task), threads)

    def keep_bits(self, path: str, seed: int, keep: int, bits: Tensor) -> None:
        """Fill `bits`, uint8, with bits that are 1 with probability keep / 2^16, 0 < keep < 2^16."""
        self._functions.ulmkit_keep_bits(
            self.paths[path], seed, keep, bits.numel(), address(bits), torch.get_num_threads()
        )


PATHS = {
    torch.bfloat16: ("amx_bf16", "avx512_bf16"),
    torch.float32: ("avx512", "avx2", "portable"),
    torch.int8: ("amx_int8", "avx512_vnni", "avx2_int8", "portable_int8"),
}
"""The paths that multiply in each type, the fastest first."""


def choose_path(dtype: torch.dtype) -> tuple[str | None, str]:
    """The path for products in `dtype` on this machine, and what to say of it: its name, or why there is none."""
    library = load_library()
    if isinstance(library, str):
        return None, library
    for name in PATHS.get(dtype, ()):
        if name in library.paths:
            return name, f"our own C++, path {name}"
    return None, f"has no path for {str(dtype).removeprefix('torch.')} on this processor"


def library() -> Library:
    """The library, where `choose_path` has found one."""
    found = load_library()
    assert isinstance(found, Library), found
    return found


@functools.cache
def load_library() -> Library | str:
    """The library that was built at install, or why there is none."""
    built = Path(__file__).with_name("_library" + sysconfig.get_config_var("EXT_SUFFIX"))
    if not built.exists():
        return "not built: there was no GCC with OpenMP at install, or it failed; install one, then ulmkit again"
    before = _openmp_runtimes()
    try:
        found = Library(built)
    except (OSError, AttributeError) as error:
        return f"cannot be loaded: {error}; install ulmkit again"
    second = _openmp_runtimes() - before
    if before and second:
        names = f"({', '.join(second)}) than torch's ({', '.join(before)})"
        return f"not used: it was built for another OpenMP {names}; build it with GCC"
    return found


def _openmp_runtimes() -> set[str]:
    """Files of OpenMP's runtimes in this process; none where the system does not list them."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    names = {line.rsplit("/", 1)[-1] for line in lines if "/" in line}
    return {name for name in names if name.startswith(("libgomp", "libomp", "libiomp"))}


class _Workspace(threading.local):
    memory: Tensor | None = None


_workspace = _Workspace()


def workspace(size: int) -> Tensor:
    """`size` bytes to work in, the same ones at every call from this thread."""
    memory = _workspace.memory
    if memory is None or memory.numel() < size:
        _workspace.memory = None  # freed before more is taken
        memory = _workspace.memory = torch.empty(size, dtype=torch.uint8, device="cpu")
    return memory


def address(tensor: Tensor | None) -> int | None:
    """Where a contiguous tensor's elements are."""
    return None if tensor is None else tensor.data_ptr()
