"""Bindings of the compiled CPU kernels, with the structures of kernels.h field by field.

The library is loaded after torch, so that both share one OpenMP thread pool.
"""

import ctypes
import functools
import os
import sysconfig
import threading
from ctypes import POINTER, Structure, c_char_p, c_float, c_int, c_int32, c_int64, c_uint64, c_void_p
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ulmkit.kernels.arguments import address, fields

VERSION = 8
"""Version of kernels.h; a library of another version is not called."""


class Sequences(Structure):
    """Mirror of `struct Sequences` in kernels.h."""

    _fields_: ClassVar = [*fields(c_int64, "steps batch"), *fields(c_void_p, "running order")]


class Layer(Structure):
    """Mirror of `struct Layer` in kernels.h."""

    _fields_: ClassVar = fields(c_int64, "inputs hidden")


class Sizes(Structure):
    """Mirror of `struct Sizes` in kernels.h."""

    _fields_: ClassVar = [
        *fields(c_int64, "forward_weights backward_weights inputs hidden cells gates"),
        *fields(c_int64, "pack_workspace forward_workspace backward_workspace"),
    ]


class Packing(Structure):
    """Mirror of `struct Packing` in kernels.h."""

    _fields_: ClassVar = [
        *fields(c_void_p, "w_ih w_hh scales_ih scales_hh keep_bits"),
        ("keep_scale", c_float),
        *fields(c_void_p, "forward_weights backward_weights workspace"),
    ]


class Kept(Structure):
    """Mirror of `struct Kept` in kernels.h."""

    _fields_: ClassVar = fields(c_void_p, "inputs hidden cells gates")


class Weights(Structure):
    """Mirror of `struct Weights` in kernels.h."""

    _fields_: ClassVar = fields(c_void_p, "laid_out w_ih w_hh")


class Forward(Structure):
    """Mirror of `struct Forward` in kernels.h."""

    _fields_: ClassVar = [
        *fields(c_void_p, "x h0 c0 bias"),
        ("weights", Weights),
        ("kept", Kept),
        *fields(c_void_p, "y h_n c_n workspace"),
    ]


class Backward(Structure):
    """Mirror of `struct Backward` in kernels.h."""

    _fields_: ClassVar = [
        *fields(c_void_p, "dy dh_n dc_n"),
        ("weights", Weights),
        ("keep_bits", c_void_p),
        ("keep_scale", c_float),
        ("kept", Kept),
        *fields(c_void_p, "dx dh0 dc0 d_w_ih d_w_hh d_bias workspace"),
    ]


class CrossEntropy(Structure):
    """Mirror of `struct CrossEntropy` in kernels.h."""

    _fields_: ClassVar = [
        *fields(c_int64, "rows features classes"),
        *fields(c_void_p, "x weight bias targets nll row_weights dx d_weight d_bias"),
        ("scale", c_float),
        ("held_bytes", c_int64),
        ("workspace", c_void_p),
    ]


class DocumentVectors(Structure):
    """Mirror of `struct DocumentVectors` in kernels.h."""

    _fields_: ClassVar = [
        *fields(c_int64, "documents size noise_size"),
        *fields(c_void_p, "offsets features counts keep noise document_vectors feature_vectors order tokens"),
        *fields(c_float, "noise_weight first_rate last_rate"),
        ("seed", c_uint64),
    ]


class Library:
    """Functions of a compiled library.

    Args:
        path: File of the library.

    Attributes:
        paths: Number of each path that runs on this processor, by name.

    Raises:
        OSError: If the file cannot be loaded or has another version.
    """

    def __init__(self, path: Path) -> None:
        self._functions = ctypes.CDLL(str(path))
        version = self._functions.ulmkit_version()
        if version != VERSION:
            raise OSError(f"{path.name} is version {version}, expected {VERSION}")
        name = self._functions.ulmkit_path_name
        name.restype = c_char_p
        names: list[str] = []
        while encoded := name(len(names)):
            names.append(encoded.decode())
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
        self._functions.ulmkit_document_vectors.argtypes = [c_int, POINTER(DocumentVectors)]
        self._functions.ulmkit_keep_bits.argtypes = [c_int, c_uint64, c_int32, c_int64, c_void_p, c_int]

    def run(self, function: str, path: str, *arguments: Structure | int | None) -> int:
        """Run a function of library.cpp on a path, in torch's number of threads, which is its last argument."""
        result: int = getattr(self._functions, f"ulmkit_{function}")(
            self.paths[path], *arguments, torch.get_num_threads()
        )
        return result

    def sizes(self, path: str, layer: Layer, sequences: Sequences, requires_grad: bool) -> Sizes:
        """Return the bytes of every buffer; `requires_grad` is whether a backward pass follows."""
        sizes = Sizes()
        self._functions.ulmkit_sizes(self.paths[path], layer, sequences, requires_grad, torch.get_num_threads(), sizes)
        return sizes

    def document_vectors(self, path: str, task: DocumentVectors) -> None:
        """Pass over documents once, changing the vectors of documents and n-grams; in one thread."""
        self._functions.ulmkit_document_vectors(self.paths[path], task)

    def cross_entropy(self, path: str, task: CrossEntropy) -> None:
        """Compute losses and, if `task.dx` is set, gradients, in a workspace of this thread."""
        memory = workspace(self.run("cross_entropy_bytes", path, task))
        task.workspace = address(memory)
        self.run("cross_entropy", path, task)


PATHS = {
    torch.bfloat16: ("amx_bf16", "avx512_bf16"),
    torch.float32: ("avx512", "avx2", "portable"),
    torch.int8: ("amx_int8", "avx512_vnni", "avx2_int8", "portable_int8"),
}
"""Paths that multiply in each type, fastest first."""


def choose_path(dtype: torch.dtype) -> tuple[str | None, str]:
    """Choose the path for products in `dtype` on this machine.

    Returns:
        The path, None if there is none, and a description of it or the reason.
    """
    library = load_library()
    if isinstance(library, str):
        return None, library
    for name in PATHS.get(dtype, ()):
        if name in library.paths:
            return name, f"our own C++, path {name}"
    return None, f"has no path for {str(dtype).removeprefix('torch.')} on this processor"


def library() -> Library:
    """Return the library; `choose_path` must have chosen a path of it."""
    loaded = load_library()
    assert isinstance(loaded, Library), loaded
    return loaded


@functools.cache
def load_library() -> Library | str:
    """Load the library that was built at install, or return the reason that there is none."""
    built = Path(__file__).with_name("_library" + sysconfig.get_config_var("EXT_SUFFIX"))
    if not built.exists():
        return "not built: there was no GCC with OpenMP at install, or it failed; install one, then ulmkit again"
    before = _openmp_runtimes()
    try:
        loaded = Library(built)
    except (OSError, AttributeError) as error:
        return f"cannot be loaded: {error}; install ulmkit again"
    second = _openmp_runtimes() - before
    if before and second:
        names = f"({', '.join(second)}) than torch's ({', '.join(before)})"
        return f"not used: it was built for another OpenMP {names}; build it with GCC"
    return loaded


def _openmp_runtimes() -> set[str]:
    """Return the file names of the OpenMP runtimes in this process, none where the system does not list them."""
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
    """Return at least `size` bytes to work in, the same at every call from this thread."""
    memory = _workspace.memory
    if memory is None or memory.numel() < size:
        _workspace.memory = None  # frees it before the larger one is allocated
        memory = _workspace.memory = torch.empty(size, dtype=torch.uint8, device="cpu")
    return memory


def _use_one_thread() -> None:
    """Compute with one thread in a forked child, which lacks the parent's OpenMP threads and would wait for them."""
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # at import: loading a model may compute before it packs any weights
    os.register_at_fork(after_in_child=_use_one_thread)
