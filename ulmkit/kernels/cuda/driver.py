"""Loading of machine code and launching of kernels: all calls of the CUDA driver."""

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
    """The CUDA driver refused a call."""


class NoRoomError(DriverError):
    """The device has no room for all blocks of a launch, or of a cluster, at once."""


_NO_ROOM = {
    "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE",
    "CUDA_ERROR_INVALID_CLUSTER_SIZE",
    "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
}


@dataclass(frozen=True)
class Device:
    """Properties of a GPU that decide how kernels are launched.

    Attributes:
        architecture: NVRTC's name, such as "sm_90a".
        multiprocessors: Number of multiprocessors.
        shared_bytes: Most shared memory of a block.
        clusters: Whether blocks can be launched in clusters.
        cooperative: Whether a block may wait for all others.
    """

    architecture: str
    multiprocessors: int
    shared_bytes: int
    clusters: bool
    cooperative: bool


@dataclass(frozen=True)
class Launch:
    """Dimensions of a launch.

    Attributes:
        blocks: Number of blocks.
        threads: Threads per block.
        shared_bytes: Shared memory per block.
        cluster: Blocks that share their memory, 1 for none.
        cooperative: Whether all blocks must be on the device at once.
    """

    blocks: int
    threads: int
    shared_bytes: int = 0
    cluster: int = 1
    cooperative: bool = False


class Driver(Protocol):
    """Interface of a driver; tests run the kernels on the CPU behind it."""

    def device(self, index: int) -> Device:
        """Return the properties of a GPU."""

    def function(self, source: Source, name: str, shared_bytes: int, index: int) -> Any:
        """Load a kernel of a source, which may use `shared_bytes` of shared memory."""

    def resident_blocks(self, function: Any, launch: Launch, index: int) -> int:
        """Return how many of the launch's blocks should fit on the device at once."""

    def launch(self, function: Any, launch: Launch, arguments: Sequence[Any], index: int) -> None:
        """Launch a kernel on torch's current stream.

        Args:
            function: Kernel from `function`.
            launch: Dimensions.
            arguments: ctypes values, in the kernel's order.
            index: Number of the GPU.

        Raises:
            NoRoomError: If the blocks do not fit after all; nothing was launched.
        """

    def stream(self, index: int) -> int:
        """Return the address of torch's current stream."""

    def is_recording(self, index: int) -> bool:
        """Return whether launches on the current stream are being recorded instead of run."""

    def record(self, work: Callable[[], None], index: int) -> Callable[[], None]:
        """Record what `work` launches, and return a function that replays it on the then current stream.

        `work` must have run before, and may not allocate memory.
        """


class CudaDriver:
    """CUDA driver through cuda-bindings."""

    def __init__(self) -> None:
        from cuda.bindings import driver

        self._cuda = driver
        self._recorded: dict[tuple[int, int], tuple[torch.cuda.Stream, Any]] = {}  # by device and stream

    def device(self, index: int) -> Device:
        """Return the properties of a GPU."""
        attribute = self._cuda.CUdevice_attribute
        names = (
            attribute.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
            attribute.CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH,
        )
        properties = torch.cuda.get_device_properties(index)  # also initialises the driver
        handle = self._call(self._cuda.cuDeviceGet(index))
        shared, cooperative = (self._call(self._cuda.cuDeviceGetAttribute(name, handle)) for name in names)
        # From sm_90 on, only code for this very architecture ("a") may use all of its instructions.
        is_90_or_later = properties.major >= 9
        architecture = f"sm_{properties.major}{properties.minor}" + ("a" if is_90_or_later else "")
        return Device(architecture, properties.multi_processor_count, shared, is_90_or_later, bool(cooperative))

    def function(self, source: Source, name: str, shared_bytes: int, index: int) -> Any:
        """Load a kernel of a source, which may use `shared_bytes` of shared memory."""
        code = machine_code(source, self.device(index).architecture)
        with self._on(index):
            module = self._call(self._cuda.cuModuleLoadData(code))
            function = self._call(self._cuda.cuModuleGetFunction(module, name.encode()))
            attribute = self._cuda.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
            self._call(self._cuda.cuFuncSetAttribute(function, attribute, shared_bytes))
        return function

    def resident_blocks(self, function: Any, launch: Launch, index: int) -> int:
        """Return how many of the launch's blocks should fit on the device at once."""
        with self._on(index):
            if launch.cluster > 1:
                config = self._config(replace(launch, cooperative=False), 0)
                return launch.cluster * self._call(self._cuda.cuOccupancyMaxActiveClusters(function, config))
            each = self._call(
                self._cuda.cuOccupancyMaxActiveBlocksPerMultiprocessor(function, launch.threads, launch.shared_bytes)
            )
        return each * torch.cuda.get_device_properties(index).multi_processor_count

    def launch(self, function: Any, launch: Launch, arguments: Sequence[Any], index: int) -> None:
        """Launch a kernel on torch's current stream."""
        with self._on(index):
            config = self._config(launch, torch.cuda.current_stream(index).cuda_stream)
            pointers = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(each) for each in arguments))
            self._call(self._cuda.cuLaunchKernelEx(config, function, ctypes.addressof(pointers), 0))

    def stream(self, index: int) -> int:
        """Return the address of torch's current stream."""
        return torch.cuda.current_stream(index).cuda_stream

    def is_recording(self, index: int) -> bool:
        """Return whether launches on the current stream are being recorded."""
        with torch.cuda.device(index):
            return torch.cuda.is_current_stream_capturing()

    def record(self, work: Callable[[], None], index: int) -> Callable[[], None]:
        """Record what `work` launches as a CUDA graph, and return a function that replays it."""
        # The default stream cannot be recorded, so each stream gets another one to record on. Recordings of one such
        # stream share the workspace of torch's products, and must not run at the same time. They also share a memory
        # pool that holds this workspace: torch may drop the workspace, as recordings by torch.compile make it do, but
        # the pool lives as long as a recording. The key has the device, as default streams have the same address.
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
        """Make the device's context, which torch shares, current inside the block.

        A thread on which torch has not used the device yet has no context, for example torch's backward thread if
        the pass starts with one of our kernels.
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
        config.sharedMemBytes = launch.shared_bytes
        config.hStream = cuda.CUstream(stream)
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
        config.attrs = attributes
        config.numAttrs = len(attributes)
        return config

    @staticmethod
    def _call(result: tuple[Any, ...]) -> Any:
        status, *values = result
        if status.value != 0:
            raise (NoRoomError if status.name in _NO_ROOM else DriverError)(f"CUDA: {status.name}")
        return values[0] if values else None


@functools.cache
def cuda_driver() -> Driver:
    """Return the driver of this machine; raise ImportError if cuda-bindings is not installed."""
    return CudaDriver()
