"""Fixtures for each path of the CPU kernels that runs on this machine.

AMX tiles are also emulated: the same source, with plain C++ in place of their few instructions.
"""

import functools
import os
import shutil
from pathlib import Path

import pytest
import torch
from support.builds import build_once

from ulmkit.kernels.cpu import fused_lstm
from ulmkit.kernels.cpu import library as library_module
from ulmkit.kernels.cpu.library import Library, load_library

EMULATED = ", emulated"
PATHS = [
    (dtype, name + variant)
    for dtype, names in library_module.PATHS.items()
    for name in names
    for variant in (("", EMULATED) if name.startswith("amx") else ("",))
]
SOURCES = Path(__file__).parents[2] / "ulmkit" / "kernels" / "cpu"


@functools.cache
def emulating_library() -> Library | str:
    """Return the library built with emulated tiles, or the reason that it cannot be."""
    compiler = shutil.which("c++")
    sources = [
        SOURCES / "library.cpp",
        *sorted(SOURCES.glob("path_amx_*.cpp")),
        *sorted(SOURCES.glob("path_portable*.cpp")),
    ]
    if compiler is None or not sources[0].exists():
        return "built with emulated tiles only from source, by a compiler"
    options = ["-std=c++17", "-O2", "-fopenmp", "-fPIC", "-shared", "-DULMKIT_EMULATE_AMX", "-w"]
    options += os.environ.get("CXXFLAGS", "").split()
    headers = [*SOURCES.glob("*.h"), *SOURCES.parent.glob("*.h")]
    file = build_once([compiler, *options, *map(str, sources)], [*sources, *headers])
    return "built with emulated tiles only by a compiler that has OpenMP" if file is None else Library(file)


@pytest.fixture(
    params=[path for path in PATHS if path[0] != torch.int8],
    ids=[name for dtype, name in PATHS if dtype != torch.int8],
)
def dtype(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.dtype:
    """Element type of a path, which is the only one of its type while the test runs."""
    dtype, name = request.param
    use_path(dtype, name, monkeypatch)
    return dtype


@pytest.fixture(params=[name for dtype, name in PATHS if dtype == torch.int8])
def int8_path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of an int8 path, which is the only one while the test runs."""
    return use_path(torch.int8, request.param, monkeypatch)


def use_path(dtype: torch.dtype, name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a path the only one of its type and return its name; skip the test if it does not run here."""
    library = load_library()
    if name.endswith(EMULATED):
        library, name = emulating_library(), name.removesuffix(EMULATED)
        monkeypatch.setattr(library_module, "load_library", emulating_library)
    if isinstance(library, str):
        pytest.skip(f"the kernel library is {library}")
    if name not in library.paths:
        pytest.skip(f"the processor lacks instructions of the path {name}")
    monkeypatch.setitem(library_module.PATHS, dtype, (name,))
    return name


@pytest.fixture(autouse=True)
def unclean_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill the kernels' buffers with NaN, in fp32 and in bf16, before each use."""
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
