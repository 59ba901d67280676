"""The kernels of a device: found by shape, compiled at first use, launched."""

import functools
import warnings
from collections.abc import Callable
from ctypes import Structure
from typing import Any

import torch

from ulmkit.errors import UlmkitError
from ulmkit.kernels.cuda.compiler import CompilerError, Source, cache_folder, compiler_version
from ulmkit.kernels.cuda.driver import Driver, Launch, NoRoomError, cuda_driver
from ulmkit.kernels.cuda.plan import Plan, plans

TYPE_NAMES = {torch.bfloat16: "BF16", torch.float16: "FP16", torch.float32: "FP32"}
"""What the sources call the types that they can be compiled for."""

THREADS = 256
"""Of a block of all kernels but the persistent ones."""


def blocks_for(elements: int) -> int:
    """Blocks that have a thread for each element."""
    return -(-elements // THREADS)


class Kernels:
    """Compiled kernels of one device, found by shape and kept.

    Args: driver: what launches them. index: of the device.
    Attributes: device: what it is.
    """

    def __init__(self, driver: Driver, index: int) -> None:
        self._driver, self._index = driver, index
        self.device = driver.device(index)
        self._functions: dict[tuple[Source, str], Any] = {}
        self._plans: dict[tuple[str, str, int, int], Plan | None] = {}
        self.refused: set[Plan] = set()  # plans that do not compile, or have no room after all

    def plan(self, direction: str, dtype: torch.dtype, batch: int, hidden_size: int) -> Plan | None:
        """The persistent kernel for a shape; None if there is none that compiles and whose blocks would all be there at
        once."""
        if dtype == torch.float32:
            return None
        key = direction, TYPE_NAMES[dtype], batch, hidden_size
        if key not in self._plans:
            found = (plan for plan in plans(*key, self.device) if plan not in self.refused)
            self._plans[key] = next((plan for plan in found if self._all_resident(plan, direction)), None)
        return self._plans[key]

    def _all_resident(self, plan: Plan, direction: str) -> bool:
        try:
            function = self.function(plan.source, f"lstm_{direction}", plan.launch.shared_bytes)
        except CompilerError as error:
            warnings.warn(f"{error}\nThe next best kernel is taken for this shape.", stacklevel=2)
            self.refused.add(plan)
            return False
        return self._driver.resident_blocks(function, plan.launch, self._index) >= plan.launch.blocks

    def function(self, source: Source, name: str, shared_bytes: int = 0) -> Any:
        """A kernel of a source, compiled at first use."""
        key = source, name
        if key not in self._functions:
            self._functions[key] = self._driver.function(source, name, shared_bytes, self._index)
        return self._functions[key]

    def persistent(self, plan: Plan, direction: str, arguments: Structure) -> bool:
        """Run all steps. Returns: whether the device has room for it; if not, nothing was done, and the plan is no
        longer one."""
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
        """Run a kernel of a source in blocks of THREADS. Args: shared_bytes: of a block."""
        launch = Launch(blocks, THREADS, shared_bytes)
        function = self.function(Source.of(file, **{TYPE_NAMES[dtype]: 1}), name, launch.shared_bytes)
        self._driver.launch(function, launch, arguments, self._index)

    def pointwise(self, file: str, name: str, dtype: torch.dtype, elements: int, *arguments: Any) -> None:
        """The same with a thread for each element."""
        self.blocks(file, name, dtype, blocks_for(elements), *arguments)

    def stream(self) -> int:
        """The current one's address."""
        return self._driver.stream(self._index)

    def is_recording(self) -> bool:
        """Whether what is launched is being recorded rather than done."""
        return self._driver.is_recording(self._index)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Work on the current stream that can be done again. Args: work: what launches it; it is not done here."""
        return self._driver.record(work, self._index)


OLDEST = 8
"""Major compute capability from which the kernels run: they need its matrix instructions."""


@functools.cache
def cuda_runs(device: torch.device, dtype: torch.dtype) -> tuple[str | None, str]:
    """The architecture that the kernels are compiled for, None where they do not run, and what to say of it."""
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
    """Of a GPU. Raises: ImportError, CompilerError or DriverError where they cannot be."""
    return Kernels(cuda_driver(), index)
