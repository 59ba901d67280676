"""Kernels of a device: chosen by shape, compiled at first use, and launched."""

import functools
import warnings
from collections.abc import Callable
from ctypes import Structure
from typing import Any

import torch

from ulmkit.errors import UlmkitError
from ulmkit.kernels.cuda.compiler import CompilerError, Source, cache_folder, compiler_version
from ulmkit.kernels.cuda.driver import Driver, Launch, NoRoomError, cuda_driver
from ulmkit.kernels.cuda.plan import Plan, ceil_div, plans

TYPE_NAMES = {torch.bfloat16: "BF16", torch.float16: "FP16", torch.float32: "FP32"}
"""Names in the sources of the types that they can be compiled for."""

THREADS = 256
"""Threads of a block, for all kernels except the persistent ones."""


def blocks_for(elements: int) -> int:
    """Return the number of blocks that has a thread for each element."""
    return ceil_div(elements, THREADS)


class Kernels:
    """Compiled kernels of one device, cached by shape.

    Args:
        driver: Driver that launches them.
        index: Number of the device.

    Attributes:
        device: Properties of the device.
        refused: Plans that do not compile, or for which the device turned out to have no room.
    """

    def __init__(self, driver: Driver, index: int) -> None:
        self._driver = driver
        self._index = index
        self.device = driver.device(index)
        self._functions: dict[tuple[Source, str], Any] = {}
        self._plans: dict[tuple[str, str, int, int], Plan | None] = {}
        self.refused: set[Plan] = set()

    def plan(self, direction: str, dtype: torch.dtype, batch: int, hidden_size: int) -> Plan | None:
        """Return the persistent kernel for a shape; None if none compiles and has all its blocks resident at once."""
        if dtype == torch.float32:
            return None
        key = direction, TYPE_NAMES[dtype], batch, hidden_size
        if key not in self._plans:
            candidates = (plan for plan in plans(*key, self.device) if plan not in self.refused)
            self._plans[key] = next((plan for plan in candidates if self._all_resident(plan, direction)), None)
        return self._plans[key]

    def _all_resident(self, plan: Plan, direction: str) -> bool:
        try:
            function = self.function(plan.source, f"lstm_{direction}", plan.launch.shared_bytes)
        except CompilerError as error:
            warnings.warn(f"{error}\nThis shape uses the next best kernel.", stacklevel=2)
            self.refused.add(plan)
            return False
        return self._driver.resident_blocks(function, plan.launch, self._index) >= plan.launch.blocks

    def function(self, source: Source, name: str, shared_bytes: int = 0) -> Any:
        """Return a kernel of a source, compiled at first use."""
        key = source, name
        if key not in self._functions:
            self._functions[key] = self._driver.function(source, name, shared_bytes, self._index)
        return self._functions[key]

    def persistent(self, plan: Plan, direction: str, arguments: Structure) -> bool:
        """Run all steps in one launch.

        Returns:
            Whether the device had room for it; if not, nothing was done, and the plan will not be chosen again.
        """
        function = self.function(plan.source, f"lstm_{direction}", plan.launch.shared_bytes)
        try:
            self._driver.launch(function, plan.launch, [arguments], self._index)
        except NoRoomError:
            self.refused.add(plan)
            self._plans = {key: kept for key, kept in self._plans.items() if kept != plan}
            return False
        return True

    def blocks(
        self, file: str, name: str, dtype: torch.dtype, blocks: int, *arguments: Any, shared_bytes: int = 8 * THREADS
    ) -> None:
        """Run a kernel of a source in blocks of THREADS threads with `shared_bytes` of shared memory each."""
        launch = Launch(blocks, THREADS, shared_bytes)
        function = self.function(Source.of(file, **{TYPE_NAMES[dtype]: 1}), name, launch.shared_bytes)
        self._driver.launch(function, launch, arguments, self._index)

    def pointwise(self, file: str, name: str, dtype: torch.dtype, elements: int, *arguments: Any) -> None:
        """Run a kernel of a source with one thread for each element."""
        self.blocks(file, name, dtype, blocks_for(elements), *arguments)

    def stream(self) -> int:
        """Return the address of torch's current stream."""
        return self._driver.stream(self._index)

    def is_recording(self) -> bool:
        """Return whether launches are being recorded instead of run."""
        return self._driver.is_recording(self._index)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record what `work` launches, without running it, and return a function that replays it."""
        return self._driver.record(work, self._index)


OLDEST = 8
"""Lowest major compute capability, the first with the matrix instructions that the kernels use."""


@functools.cache
def cuda_runs(device: torch.device, dtype: torch.dtype) -> tuple[str | None, str]:
    """Return the architecture that the kernels compile for, None where they do not run, and a description."""
    if dtype not in TYPE_NAMES:
        return None, f"has no kernels for {str(dtype).removeprefix('torch.')}"
    if not torch.cuda.is_available():
        return None, "needs a GPU, and torch finds none here"
    if torch.cuda.get_device_capability(device)[0] < OLDEST:
        major, minor = torch.cuda.get_device_capability(device)
        return None, f"needs compute capability {OLDEST}.0, the device has {major}.{minor}"
    try:
        architecture = kernels(device.index or 0).device.architecture
        version = compiler_version()
    except (ImportError, UlmkitError) as error:
        return None, f"cannot be compiled: {error}"
    return architecture, f"our own CUDA, compiled by NVRTC {version} for {architecture}, kept in {cache_folder()}"


@functools.cache
def kernels(index: int) -> Kernels:
    """Return the kernels of a GPU.

    Raises:
        ImportError: If cuda-bindings is not installed.
        CompilerError: If NVRTC is not installed.
        DriverError: If the CUDA driver refuses a call.
    """
    return Kernels(cuda_driver(), index)
