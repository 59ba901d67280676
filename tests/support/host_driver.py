"""The kernels' driver for tests: the same sources built for the CPU, see host_gpu.h."""

import ctypes
import functools
import itertools
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support.builds import build_once
from ulmkit.kernels.cuda.compiler import FOLDER, CompilerError, Source
from ulmkit.kernels.cuda.driver import Device, Launch, NoRoomError
from ulmkit.kernels.cuda.launcher import Kernels

HERE = Path(__file__).parents[1] / "kernels" / "cuda"
H200 = Device("sm_90a", multiprocessors=132, shared_bytes=232_448, clusters=True, cooperative=True)
SMALL = Device("sm_80", multiprocessors=6, shared_bytes=100_000, clusters=False, cooperative=True)


class Host(ctypes.Structure):
    _fields_ = [
        ("blocks", ctypes.c_int),
        ("threads", ctypes.c_int),
        ("shared_bytes", ctypes.c_int64),
        ("seed", ctypes.c_uint),
    ]


class HostDriver:
    """A driver that runs kernels on the host when they are launched, with a new order of threads for each launch.

    Kernels are built when they are first launched, and a recording repeats its work.

    Attributes:
        launches: All launches as (name, launch).
        fits: Answer to how many blocks fit; None for all.
        recorded: How often something was recorded.
        current_stream: Answer to which stream is current.
        records: Answer to whether a recording is under way.
        refuses: Whether a launch is refused.
        compiles: Whether a source compiles.
        refused: Launches that were refused.
    """

    def __init__(self, device: Device = H200, fits: int | None = None) -> None:
        self._device, self.fits = device, fits
        self.launches: list[tuple[str, Launch]] = []
        self.recorded, self.current_stream, self.records = 0, 0, False
        self.refuses: Callable[[Launch], bool] = lambda launch: False
        self.compiles: Callable[[Source], bool] = lambda source: True
        self.refused: list[Launch] = []
        self._seeds = itertools.count()

    def device(self, index: int) -> Device:
        return self._device

    def function(self, source: Source, name: str, shared_bytes: int, index: int) -> Any:
        assert shared_bytes <= self._device.shared_bytes
        if not self.compiles(source):
            raise CompilerError(f"{source.name}: NVRTC refuses it")
        return name, source

    def resident_blocks(self, function: Any, launch: Launch, index: int) -> int:
        return launch.blocks if self.fits is None else self.fits

    def launch(self, function: Any, launch: Launch, arguments: Sequence[Any], index: int) -> None:
        name, source = function
        if self.refuses(launch):
            self.refused.append(launch)
            raise NoRoomError("CUDA: CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE")
        self.launches.append((name, launch))
        run = getattr(built(source), f"host_{name}")
        run.restype = ctypes.c_bool
        host = Host(launch.blocks, launch.threads, launch.shared_bytes, next(self._seeds))
        assert run(host, *arguments), f"{name}: threads wait for each other for ever"

    def stream(self, index: int) -> int:
        return self.current_stream

    def is_recording(self, index: int) -> bool:
        return self.records

    def record(self, work: Callable[[], None], index: int) -> Callable[[], None]:
        self.recorded += 1
        return work


def stand_in(monkeypatch: pytest.MonkeyPatch, module: ModuleType, driver: HostDriver) -> HostDriver:
    """Have a module's kernels run by the driver. Returns: it."""
    found = Kernels(driver, 0)
    monkeypatch.setattr(module, "kernels", lambda index: found)
    return driver


@functools.cache
def compiler() -> str | None:
    """A C++ compiler; none on macOS, which lacks the contexts that a block's threads take turns in."""
    return None if sys.platform == "darwin" else shutil.which("g++") or shutil.which("c++")


@functools.cache
def built(source: Source) -> ctypes.CDLL:
    """Build a source with its constants for the CPU."""
    command = [str(compiler()), "-std=c++17", "-O1", "-fPIC", "-shared", "-w", f"-I{HERE}"]
    command += [f"-DULMKIT_{key}={value}" for key, value in source.constants]
    command += [f"-DULMKIT_HAS_{source.name.removesuffix('.cu')}", f'-DULMKIT_SOURCE="{FOLDER / source.name}"']
    sources = [*FOLDER.glob("*.h"), *FOLDER.glob("*.cu"), *FOLDER.parent.glob("*.h"), *HERE.glob("host_*")]
    library = build_once([*command, str(HERE / "host_kernels.cpp")], sources)
    assert library is not None, f"{source.name}: the compiler refuses it"
    return ctypes.CDLL(str(library))
