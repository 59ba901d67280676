"""What the CUDA driver is told, with its own structures and without a GPU."""

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ulmkit.kernels.cuda import driver as driver_module
from ulmkit.kernels.cuda.compiler import Source
from ulmkit.kernels.cuda.driver import CudaDriver, DriverError, Launch, NoRoomError

cuda = pytest.importorskip("cuda.bindings.driver", reason="needs cuda-bindings")
SOURCE = Source.of("masks.cu", FP32=1)
ADDRESSES = {0: 0, 1: 0}  # of the current stream on each of two devices: the default one


class FakeCuda:
    """Types and constants as they are; functions write down what they are given, and return what is in `answers`.

    Attributes: calls: (name, arguments) of all. answers: by name, a status or values; success without a value where
        there is none.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.answers: dict[str, Any] = {"cuCtxGetCurrent": cuda.CUcontext(1)}

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cu"):
            return getattr(cuda, name)

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append((name, arguments))
            answer = self.answers.get(name)
            answer = answer(*arguments) if callable(answer) and not isinstance(answer, cuda.CUresult) else answer
            return (answer,) if isinstance(answer, cuda.CUresult) else (cuda.CUresult.CUDA_SUCCESS, answer)

        return call

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]

    def given(self, name: str) -> tuple[Any, ...]:
        """Arguments of the only call of this name."""
        (arguments,) = (arguments for called, arguments in self.calls if called == name)
        return arguments


class FakeGraph:
    """Of torch.cuda.CUDAGraph. Attributes: log: what was done, on which device's and which stream."""

    log: list[tuple[Any, ...]]

    def capture_begin(self, pool: Any, capture_error_mode: str) -> None:
        self.log.append(("begin", *FakeGraph.now(), capture_error_mode, pool))

    def capture_end(self) -> None:
        self.log.append(("end", *FakeGraph.now()))

    def replay(self) -> None:
        self.log.append(("replay", *FakeGraph.now()))

    now: Callable[[], tuple[Any, ...]]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """The driver's functions, and torch.cuda with two devices."""
    place = {"device": 0, "stream": None}

    @contextlib.contextmanager
    def within(**changes: Any) -> Iterator[None]:
        before = dict(place)
        place.update(changes)
        yield
        place.update(before)

    def stream(index: int) -> SimpleNamespace:
        return SimpleNamespace(device_index=index)

    properties = SimpleNamespace(major=9, minor=0, multi_processor_count=132)
    monkeypatch.setattr(torch.cuda, "device", lambda index: within(device=index))
    monkeypatch.setattr(torch.cuda, "stream", lambda found: within(device=found.device_index, stream=found))
    monkeypatch.setattr(torch.cuda, "Stream", stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda index: SimpleNamespace(cuda_stream=ADDRESSES[index]))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(FakeGraph, "log", [], raising=False)
    monkeypatch.setattr(FakeGraph, "now", lambda: (place["device"], place["stream"]), raising=False)
    return FakeCuda()


@pytest.fixture
def driver(fake: FakeCuda) -> CudaDriver:
    made = CudaDriver()
    made._cuda = fake
    return made


def attributes_of(config: Any) -> dict[Any, Any]:
    found = {}
    for attribute in config.attrs:
        if attribute.id == cuda.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
            found["cooperative"] = attribute.value.cooperative
        else:
            assert attribute.id == cuda.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
            size = attribute.value.clusterDim
            found["cluster"] = size.x, size.y, size.z
    assert config.numAttrs == len(found) == len(config.attrs)
    return found


def test_what_a_launch_is_given(driver, fake, monkeypatch):
    monkeypatch.setitem(ADDRESSES, 1, 77)
    seen = []

    def look(config, function, pointers, extra):
        places = (ctypes.c_void_p * 2).from_address(pointers)
        values = ctypes.c_int.from_address(places[0]).value, ctypes.c_int64.from_address(places[1]).value
        seen.append((function, *values, extra))

    fake.answers["cuLaunchKernelEx"] = look
    driver.launch("f", Launch(128, 256, 90_000, 4, cooperative=True), [ctypes.c_int(5), ctypes.c_int64(-6)], 1)
    assert seen == [("f", 5, -6, 0)]
    config = fake.given("cuLaunchKernelEx")[0]
    assert (config.gridDimX, config.gridDimY, config.gridDimZ) == (128, 1, 1)
    assert (config.blockDimX, config.blockDimY, config.blockDimZ) == (256, 1, 1)
    assert (config.sharedMemBytes, int(config.hStream)) == (90_000, 77)
    assert attributes_of(config) == {"cooperative": 1, "cluster": (4, 1, 1)}


def test_a_launch_of_blocks_that_do_not_know_each_other(driver, fake):
    driver.launch("f", Launch(3, 64), [], 0)
    assert attributes_of(fake.given("cuLaunchKernelEx")[0]) == {}


def test_a_function_is_loaded_and_then_allowed_its_shared_memory(driver, fake, monkeypatch):
    monkeypatch.setattr(driver_module, "machine_code", lambda source, architecture: architecture.encode())
    fake.answers |= {"cuDeviceGetAttribute": 1, "cuModuleLoadData": "module", "cuModuleGetFunction": "function"}
    assert driver.function(SOURCE, "keep_bits", 1234, 0) == "function"
    assert fake.names()[-3:] == ["cuModuleLoadData", "cuModuleGetFunction", "cuFuncSetAttribute"]
    assert fake.given("cuModuleLoadData") == (b"sm_90a",)
    assert fake.given("cuModuleGetFunction") == ("module", b"keep_bits")
    attribute = cuda.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    assert fake.given("cuFuncSetAttribute") == ("function", attribute, 1234)


def test_the_device(driver, fake):
    def attribute(name, handle):
        assert handle == "handle"
        names = cuda.CUdevice_attribute
        return {
            names.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: 232_448,
            names.CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH: 1,
        }[name]

    fake.answers |= {"cuDeviceGet": "handle", "cuDeviceGetAttribute": attribute}
    found = driver.device(1)
    assert fake.given("cuDeviceGet") == (1,)
    assert found == driver_module.Device("sm_90a", 132, 232_448, clusters=True, cooperative=True)


def test_how_many_blocks_fit(driver, fake):
    fake.answers |= {"cuOccupancyMaxActiveBlocksPerMultiprocessor": 2, "cuOccupancyMaxActiveClusters": 31}
    assert driver.resident_blocks("f", Launch(128, 256, 90_000, cooperative=True), 0) == 2 * 132
    assert fake.given("cuOccupancyMaxActiveBlocksPerMultiprocessor") == ("f", 256, 90_000)
    assert driver.resident_blocks("f", Launch(128, 256, 90_000, 4, cooperative=True), 0) == 4 * 31
    function, config = fake.given("cuOccupancyMaxActiveClusters")
    assert function == "f"
    assert attributes_of(config) == {"cluster": (4, 1, 1)}


def test_a_thread_without_a_context_is_given_the_one_that_torch_has(driver, fake):
    driver.launch("f", Launch(1, 32), [], 0)
    assert fake.names() == ["cuCtxGetCurrent", "cuLaunchKernelEx"]
    fake.calls.clear()
    fake.answers |= {"cuCtxGetCurrent": cuda.CUcontext(0), "cuDeviceGet": "handle", "cuDevicePrimaryCtxRetain": "ours"}
    driver.launch("f", Launch(1, 32), [], 1)
    assert fake.given("cuDeviceGet") == (1,)
    assert fake.given("cuDevicePrimaryCtxRetain") == ("handle",)
    assert fake.given("cuCtxSetCurrent") == ("ours",)
    assert fake.names()[-1] == "cuLaunchKernelEx"


def test_driver_errors_are_named(driver, fake):
    fake.answers["cuLaunchKernelEx"] = cuda.CUresult.CUDA_ERROR_INVALID_VALUE
    with pytest.raises(DriverError, match="CUDA: CUDA_ERROR_INVALID_VALUE") as raised:
        driver.launch("f", Launch(1, 32), [], 0)
    assert not isinstance(raised.value, NoRoomError)


@pytest.mark.parametrize("name", ["COOPERATIVE_LAUNCH_TOO_LARGE", "INVALID_CLUSTER_SIZE", "LAUNCH_OUT_OF_RESOURCES"])
def test_a_launch_without_room_is_told_apart(driver, fake, name):
    fake.answers["cuLaunchKernelEx"] = getattr(cuda.CUresult, f"CUDA_ERROR_{name}")
    with pytest.raises(NoRoomError, match=f"CUDA: CUDA_ERROR_{name}"):
        driver.launch("f", Launch(1, 32, cooperative=True), [], 0)


def test_each_device_records_on_a_stream_of_its_own(driver):
    """The default streams of all devices have the same address."""
    replays = []
    for index in (0, 1, 0, 1):
        with torch.cuda.device(index):
            replays.append(driver.record(lambda: None, index))
    begun = [entry for entry in FakeGraph.log if entry[0] == "begin"]
    assert [entry[1] for entry in begun] == [entry[2].device_index for entry in begun] == [0, 1, 0, 1]
    assert {entry[3] for entry in begun} == {"thread_local"}
    assert begun[0][2] is begun[2][2], "of one stream they share a workspace"
    assert begun[0][4] is begun[2][4] is not begun[1][4], "and the memory that it is in"
    FakeGraph.log.clear()
    for replay in replays:
        replay()
    assert FakeGraph.log == [("replay", index, None) for index in (0, 1, 0, 1)]


def test_each_stream_of_a_device_records_apart(driver, monkeypatch):
    for address in (0, 5):
        monkeypatch.setitem(ADDRESSES, 0, address)
        driver.record(lambda: None, 0)
    first, second = (entry for entry in FakeGraph.log if entry[0] == "begin")
    assert first[2] is not second[2]
    assert first[4] is not second[4]
