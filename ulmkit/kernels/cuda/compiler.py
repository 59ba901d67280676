"""CUDA sources made into machine code by NVRTC at first use, and kept on disk."""

import functools
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ulmkit.errors import UlmkitError
from ulmkit.files import atomic_write

FOLDER = Path(__file__).parent
HEADERS = ("primitives.h", "block.h", "product.h", "lstm_step.h", "../lstm_cell-inl.h")
CACHE_VARIABLE = "ULMKIT_CACHE"


class CompilerError(UlmkitError):
    """NVRTC is not there, or refuses a source."""


@dataclass(frozen=True)
class Source:
    """A kernel's source with its constants.

    Attributes: name: of the file. constants: macros ULMKIT_<key> by key, for example {"BF16": 1, "UNITS": 18}.
    """

    name: str
    constants: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, name: str, **constants: int) -> "Source":
        """Args: constants: by key, in capitals."""
        return cls(name, tuple(sorted(constants.items())))

    def options(self, architecture: str) -> list[str]:
        """What the compiler is called with. Args: architecture: for example "sm_90a"."""
        return [f"--gpu-architecture={architecture}", "--std=c++17"] + [
            f"--define-macro=ULMKIT_{key}={value}" for key, value in self.constants
        ]


def cache_folder() -> Path:
    """Where compiled kernels are kept: ULMKIT_CACHE, XDG_CACHE_HOME/ulmkit or ~/.cache/ulmkit, and cuda in it."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named) / "cuda"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ulmkit" / "cuda"


def machine_code(source: Source, architecture: str, folder: Path | None = None) -> bytes:
    """The kernel for an architecture (a cubin), from the cache or compiled and put there.

    Several processes may ask at once: a file is complete when it has its name. Where the folder cannot be written to,
    the kernel is compiled anew by each process.

    Args: folder: of the cache, None for `cache_folder()`.
    Raises: CompilerError if NVRTC is not there or refuses the source, with its messages.
    """
    folder = cache_folder() if folder is None else folder
    file = folder / f"{source.name.removesuffix('.cu')}-{architecture}-{_key(source, architecture)}.cubin"
    try:
        return file.read_bytes()
    except OSError:
        code = compile_source(source, architecture)[0]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(file, "wb") as out:
            out.write(code)
    except OSError:
        pass  # a cache that cannot be kept costs time alone
    return code


def compile_source(source: Source, architecture: str, *further_options: str) -> tuple[bytes, str]:
    """The machine code, and what the compiler said.

    Args: further_options: for example "--ptxas-options=-v", to be told of registers and spills.
    Raises: CompilerError, with the compiler's messages.
    """
    nvrtc = load_nvrtc()
    texts = _texts()
    headers = [name.encode() for name in HEADERS]
    program = _call(
        nvrtc.nvrtcCreateProgram(
            (FOLDER / source.name).read_bytes(),
            source.name.encode(),
            len(headers),
            [texts[n] for n in HEADERS],
            headers,
        )
    )
    try:
        options = [option.encode() for option in (*source.options(architecture), *further_options)]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        said = bytearray(_call(nvrtc.nvrtcGetProgramLogSize(program)))
        nvrtc.nvrtcGetProgramLog(program, said)
        messages = said.decode(errors="replace").strip("\0\n")
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise CompilerError(f"{source.name}: NVRTC refuses it for {architecture}: {status.name}\n{messages}")
        code = bytearray(_call(nvrtc.nvrtcGetCUBINSize(program)))
        nvrtc.nvrtcGetCUBIN(program, code)
        return bytes(code), messages
    finally:
        nvrtc.nvrtcDestroyProgram(program)


@functools.cache
def load_nvrtc() -> ModuleType:
    """cuda.bindings.nvrtc. Raises: CompilerError if it is not there, saying what to install."""
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError) as error:
        raise CompilerError(
            f"NVRTC: is not there ({error}); install cuda-bindings and nvidia-cuda-nvrtc, as torch for GPUs has them"
        ) from error
    return nvrtc


def compiler_version() -> str:
    """NVRTC's, for example "13.0". Raises: CompilerError if it is not there."""
    nvrtc = load_nvrtc()
    _, major, minor = nvrtc.nvrtcVersion()
    return f"{major}.{minor}"


def _key(source: Source, architecture: str) -> str:
    """Of all that the machine code depends on."""
    digest = hashlib.sha256()
    parts = [*_texts().values(), (FOLDER / source.name).read_bytes(), compiler_version().encode()]
    for part in (*parts, *(option.encode() for option in source.options(architecture))):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:32]


@functools.cache
def _texts() -> Mapping[str, bytes]:
    return {name: (FOLDER / name).read_bytes() for name in HEADERS}


def _call(result: tuple[Any, ...]) -> Any:
    """What an NVRTC function gives. Raises: CompilerError for another status than success."""
    status, *values = result
    if status.value != 0:
        raise CompilerError(f"NVRTC: {status.name}")
    return values[0] if values else None
