"""Loading machine code and launching kernels: the one place that calls the CUDA driver."""

import contextlib
import ctypes
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch

from ulmkit.errors import UlmkitError
from ulmkit.kernels.cuda.compiler import Source, machine_code


class DriverError(UlmkitError):
    """The CUDA driver refuses a call."""


class NoRoomError(DriverError):
    """A launch is refused since its blocks, or those of a cluster, cannot be on the device at once."""


_NO_ROOM = {
    "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE",
    "CUDA_ERROR_INVALID_CLUSTER_SIZE",
    "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
}


@dataclass(frozen=True)
class Device:
    """What of a GPU decides how kernels are launched.

    Attributes: architecture: as NVRTC has it, for example "sm_90a". multiprocessors: how many. shared_bytes: that a
    block can have. clusters: whether blocks can be launched in clusters. cooperative: whether blocks may wait for all
    others.
    """

    architecture: str
    multiprocessors: int
    shared_bytes: int
    clusters: bool
    cooperative: bool


@dataclass(frozen=True)
class Launch:
    """How many blocks and threads, and of what. blocks, threads: of a block. shared_bytes: of a block. cluster: blocks
    that share their memory, 1 for none. cooperative: all blocks must be on the device at once."""

    blocks: int
    threads: int
    shared_bytes: int = 0
    cluster: int = 1
    cooperative: bool = False


class Driver(Protocol):
    """What the kernels need of a driver; tests have another one."""

    def device(self, index: int) -> Device: ...

    def function(self, source: Source, name: str, shared_bytes: int, index: int) -> Any:
        """A kernel of a source on a device, that may have so much shared memory."""

    def resident_blocks(self, function: Any, launch: Launch, index: int) -> int:
        """How many of the launch's blocks should fit on the device at once."""

    def launch(self, function: Any, launch: Launch, arguments: Sequence[Any], index: int) -> None:
        """Start a kernel on torch's current stream.

        Args: arguments: ctypes values, in the kernel's order.
        Raises: NoRoomError, with nothing begun, where the blocks do not fit after all.
        """

    def stream(self, index: int) -> int:
        """The address of torch's current stream."""

    def is_recording(self, index: int) -> bool:
        """Whether what is launched on the current stream is being recorded rather than done."""

    def record(self, work: Callable[[], None], index: int) -> Callable[[], None]:
        """What does, on the stream that is then the current one, what `work` launches; `work` must have been done
        before, and may not allocate memory."""


class CudaDriver:
    """The CUDA driver, through cuda-bindings."""

    def __init__(self) -> None:
        from cuda.bindings import driver

        self._cuda = driver
        self._recorded: dict[tuple[int, int], tuple[torch.cuda.Stream, Any]] = {}  # streams and their memory

    def device(self, index: int) -> Device:
        attribute = self._cuda.CUdevice_attribute
        names = (
            attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
            attribute.CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH,
        )
        found = torch.cuda.get_device_properties(index)  # which also starts the driver
        handle = self._call(self._cuda.cuDeviceGet(index))
        shared, cooperative = (self._call(self._cuda.cuDeviceGetAttribute(name, handle)) for name in names)
        # From sm_90 on code for the very architecture ("a") may use all of its instructions.
        architecture = f"sm_{found.major}{found.minor}" + ("a" if found.major >= 9 else "")
        return Device(architecture, found.multi_processor_count, shared, found.major >= 9, bool(cooperative))

    def function(self, source: Source, name: str, shared_bytes: int, index: int) -> Any:
        code = machine_code(source, self.device(index).architecture)
        with self._on(index):
            module = self._call(self._cuda.cuModuleLoadData(code))
            function = self._call(self._cuda.cuModuleGetFunction(module, name.encode()))
            attribute = self._cuda.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._call(self._cuda.cuFuncSetAttribute(function, attribute, shared_bytes))
        return function

    def resident_blocks(self, function: Any, launch: Launch, index: int) -> int:
        with self._on(index):
            if launch.cluster > 1:
                config = self._config(replace(launch, cooperative=False), 0)
                return launch.cluster * self._call(self._cuda.cuOccupancyMaxActiveClusters(function, config))
            each = self._call(
                self._cuda.cuOccupancyMaxActiveBlocksPerMultiprocessor(function, launch.threads, launch.shared_bytes)
            )
        return each * torch.cuda.get_device_properties(index).multi_processor_count

    def launch(self, function: Any, launch: Launch, arguments: Sequence[Any], index: int) -> None:
        with self._on(index):
            config = self._config(launch, torch.cuda.current_stream(index).cuda_stream)
            pointers = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(each) for each in arguments))
            self._call(self._cuda.cuLaunchKernelEx(config, function, ctypes.addressof(pointers), 0))

    def stream(self, index: int) -> int:
        return torch.cuda.current_stream(index).cuda_stream

    def is_recording(self, index: int) -> bool:
        with torch.cuda.device(index):
            return torch.cuda.is_current_stream_capturing()

    def record(self, work: Callable[[], None], index: int) -> Callable[[], None]:
        # The default stream cannot be recorded, so another one is, for each stream on which recordings run: those that
        # were recorded on the same one share the workspace of torch's products, and must take turns. They share their
        # memory too: the workspace is in that, and torch may give it up, as torch.compile's own recordings have it do,
        # but the memory is kept as long as there is a recording. The default stream has the same address on every
        # device.
        key = index, self.stream(index)
        if key not in self._recorded:
            self._recorded[key] = torch.cuda.Stream(index), torch.cuda.graph_pool_handle()
        stream, memory = self._recorded[key]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(stream):
            graph.capture_begin(pool=memory, capture_error_mode="thread_local")
            try:
                work()
            finally:
                graph.capture_end()

        def replay() -> None:
            with torch.cuda.device(index):
                graph.replay()

        return replay

    @contextlib.contextmanager
    def _on(self, index: int) -> Iterator[None]:
        """Within the block the device's context, which torch shares, is the current one.

        A thread that torch has done nothing on that needs the context has none, even where the device is its current
        one: as the thread in which torch goes backward, if that begins with a kernel of ours.
        """
        with torch.cuda.device(index):
            if int(self._call(self._cuda.cuCtxGetCurrent())) == 0:
                context = self._call(self._cuda.cuDevicePrimaryCtxRetain(self._call(self._cuda.cuDeviceGet(index))))
                self._call(self._cuda.cuCtxSetCurrent(context))
            yield

    def _config(self, launch: Launch, stream: int) -> Any:
        cuda = self._cuda
        config = cuda.CUlaunchConfig()
        config.gridDimX, config.gridDimY, config.gridDimZ = launch.blocks, 1, 1
        config.blockDimX, config.blockDimY, config.blockDimZ = launch.threads, 1, 1
        config.sharedMemBytes, config.hStream = launch.shared_bytes, cuda.CUstream(stream)
        attributes = []
        if launch.cooperative:
            attribute = cuda.CUlaunchAttribute()
            attribute.id = cuda.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_COOPERATIVE
            attribute.value.cooperative = 1
            attributes.append(attribute)
        if launch.cluster > 1:
            attribute = cuda.CUlaunchAttribute()
            attribute.id = cuda.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
            size = attribute.value.clusterDim
            size.x, size.y, size.z = launch.cluster, 1, 1
            attributes.append(attribute)
        config.attrs, config.numAttrs = attributes, len(attributes)
        return config

    @staticmethod
    def _call(result: tuple[Any, ...]) -> Any:
        status, *values = result
        if status.value != 0:
            raise (NoRoomError if status.name in _NO_ROOM else DriverError)(f"CUDA: {status.name}")
        return values[0] if values else None


@functools.cache
def cuda_driver() -> Driver:
    """The driver of this machine. Raises: ImportError where cuda-bindings is not there."""
    return CudaDriver()
