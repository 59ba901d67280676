"""Compilation of the CUDA sources by NVRTC at first use, cached on disk."""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ulmkit.cache_folder import default_cache
from ulmkit.errors import UlmkitError
from ulmkit.safe_writes import atomic_write

FOLDER = Path(__file__).parent
HEADERS = ("primitives.h", "block.h", "product.h", "lstm_step.h", "../lstm_cell-inl.h")


class CompilerError(UlmkitError):
    """NVRTC is not installed, or refuses a source."""


@dataclass(frozen=True)
class Source:
    """Source of a kernel with its constants.

    Attributes:
        name: Name of the file.
        constants: Pairs (key, value) that become macros ULMKIT_<key>, for example ("BF16", 1), ("UNITS", 18).
    """

    name: str
    constants: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, name: str, **constants: int) -> "Source":
        """Make a source from constants by upper-case key."""
        return cls(name, tuple(sorted(constants.items())))

    def options(self, architecture: str) -> list[str]:
        """Return the compiler options for an architecture, such as "sm_90a"."""
        return [f"--gpu-architecture={architecture}", "--std=c++17"] + [
            f"--define-macro=ULMKIT_{key}={value}" for key, value in self.constants
        ]


def cache_folder() -> Path:
    """Return the folder of compiled kernels, `cuda` in ulmkit's cache folder."""
    return default_cache() / "cuda"


def machine_code(source: Source, architecture: str, folder: Path | None = None) -> bytes:
    """Return the machine code (cubin) of a kernel, from the cache or compiled and then cached.

    Several processes may ask at once, because files are written atomically. If the folder is not writable, each
    process compiles for itself.

    Args:
        source: Source with its constants.
        architecture: GPU architecture, such as "sm_90a".
        folder: Folder of the cache, None for `cache_folder()`.

    Returns:
        The cubin.

    Raises:
        CompilerError: If NVRTC is not installed or refuses the source, with its messages.
    """
    folder = cache_folder() if folder is None else folder
    file = folder / f"{source.name.removesuffix('.cu')}-{architecture}-{cache_key(source, architecture)}.cubin"
    try:
        return file.read_bytes()
    except OSError:
        code = compile_source(source, architecture)[0]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(file, "wb") as out:
            out.write(code)
    except OSError:
        pass  # without a cache, only time is lost
    return code


def compile_source(source: Source, architecture: str, *further_options: str) -> tuple[bytes, str]:
    """Compile a kernel, without the cache.

    Args:
        source: Source with its constants.
        architecture: GPU architecture, such as "sm_90a".
        further_options: Compiler options; "--ptxas-options=-v" reports registers and spills.

    Returns:
        The cubin and the compiler's messages.

    Raises:
        CompilerError: If NVRTC is not installed or refuses the source, with its messages.
    """
    nvrtc = load_nvrtc()
    texts = list(_texts().values())
    names = [name.encode() for name in HEADERS]
    text = (FOLDER / source.name).read_bytes()
    program = _call(nvrtc.nvrtcCreateProgram(text, source.name.encode(), len(names), texts, names))
    try:
        options = [option.encode() for option in (*source.options(architecture), *further_options)]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        log = bytearray(_call(nvrtc.nvrtcGetProgramLogSize(program)))
        nvrtc.nvrtcGetProgramLog(program, log)
        messages = log.decode(errors="replace").strip("\0\n")
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise CompilerError(f"{source.name}: NVRTC refuses it for {architecture}: {status.name}\n{messages}")
        code = bytearray(_call(nvrtc.nvrtcGetCUBINSize(program)))
        nvrtc.nvrtcGetCUBIN(program, code)
        return bytes(code), messages
    finally:
        nvrtc.nvrtcDestroyProgram(program)


@functools.cache
def load_nvrtc() -> ModuleType:
    """Import cuda.bindings.nvrtc; raise CompilerError, saying what to install, if it is missing."""
    try:
        from cuda.bindings import nvrtc

        nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError) as error:
        raise CompilerError(
            f"NVRTC: is not installed ({error}); install cuda-bindings and nvidia-cuda-nvrtc, as torch for GPUs does"
        ) from error
    return nvrtc


def compiler_version() -> str:
    """Return NVRTC's version, such as "13.0"; raise CompilerError if it is missing."""
    nvrtc = load_nvrtc()
    _, major, minor = nvrtc.nvrtcVersion()
    return f"{major}.{minor}"


def cache_key(source: Source, architecture: str) -> str:
    """Hash everything that the machine code depends on."""
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
    """Return the result of an NVRTC call; raise CompilerError unless it succeeded."""
    status, *values = result
    if status.value != 0:
        raise CompilerError(f"NVRTC: {status.name}")
    return values[0] if values else None
