"""The paths of the fused kernels that run here.

AMX tiles run emulated as well: the same source, with plain C++ in place of its few instructions.
"""

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch

from ulmkit.kernels.cpu import fused_lstm
from ulmkit.kernels.cpu import library as library_module
from ulmkit.kernels.cpu.library import Library, load_library

PATHS = [(dtype, name) for dtype, names in library_module.PATHS.items() for name in names]
EMULATED = "amx_bf16, emulated"
SOURCES = Path(__file__).parents[2] / "ulmkit" / "kernels" / "cpu"


@functools.cache
def emulating_library() -> Library | str:
    """The library built with emulated tiles, or why it cannot be."""
    compiler, sources = shutil.which("c++"), sorted(SOURCES.glob("*.cpp"))
    if compiler is None or not sources:
        return "built with emulated tiles only from source, by a compiler"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "emulating.so"
        options = ["-std=c++17", "-O2", "-fopenmp", "-fPIC", "-shared", "-DULMKIT_EMULATE_AMX", "-w", "-o", str(file)]
        subprocess.run([compiler, *options, *map(str, sources)], check=True)
        return Library(file)


@pytest.fixture(params=[*PATHS, (torch.bfloat16, EMULATED)], ids=[*(name for _, name in PATHS), EMULATED])
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.dtype:
    """The type of a path, which is the only one of its type while the test runs."""
    dtype, name = request.param
    library = load_library()
    if name == EMULATED:
        library, name = emulating_library(), "amx_bf16"
        monkeypatch.setattr(library_module, "load_library", emulating_library)
    if isinstance(library, str):
        pytest.skip(f"the kernel library is {library}")
    if name not in library.paths:
        pytest.skip(f"the processor has not what the path {name} needs")
    monkeypatch.setitem(library_module.PATHS, dtype, (name,))
    return dtype


@pytest.fixture(autouse=True)
def unclean_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels' buffers begin as not-a-numbers, in fp32 and in bf16."""

    held: list[torch.Tensor] = []  # their addresses are in use

    def unclean(size: int) -> torch.Tensor:
        held[:] = [*held[-8:], torch.full((size,), 255, dtype=torch.uint8)]
        return held[-1]

    monkeypatch.setattr(library_module, "workspace", unclean)
    monkeypatch.setattr(fused_lstm, "workspace", unclean)
    monkeypatch.setattr(fused_lstm, "_bytes", unclean)


@pytest.fixture
def restore_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
