"""What the benchmarks on GPUs time, with a device that only counts."""

import cuda_timing
import pytest
import torch

from ulmkit.kernels.cuda.compiler import CompilerError, Source, compile_source, load_nvrtc


class Kernels:
    """Launches take as long as their plan says; what is launched around them takes 5 ms."""

    def __init__(self) -> None:
        self.clock, self.asleep = 0.0, 0

    def persistent(self, plan: float, direction: str, arguments: None) -> bool:
        self.clock += plan
        return plan > 0

    def sleep(self, cycles: int) -> None:
        self.asleep += 1
        self.clock += 1000.0


@pytest.fixture
def device(monkeypatch):
    kernels = Kernels()

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            self.at = kernels.clock

        def elapsed_time(self, end: "Event") -> float:
            return end.at - self.at

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(torch.cuda, "_sleep", kernels.sleep)
    monkeypatch.setattr(cuda_timing, "kernels", lambda index: kernels)
    return kernels


def training(device: Kernels):
    def run() -> None:
        for direction, milliseconds in (("forward", 2.0), ("backward", 3.0)):
            device.clock += 5.0
            device.persistent(milliseconds, direction, None)

    return run


def test_a_call_is_timed_from_its_launch_on(device):
    assert cuda_timing.milliseconds(training(device), 4) == 15.0
    assert device.asleep == 4
    assert cuda_timing.milliseconds(training(device), 4, ahead=False) == 15.0
    assert device.asleep == 4


def test_launches_are_timed_alone_and_left_as_they_were(device):
    assert cuda_timing.launch_milliseconds(training(device), 3) == {"forward": 2.0, "backward": 3.0}
    assert device.asleep == 3
    assert "persistent" not in vars(device)
    assert cuda_timing.launch_milliseconds(lambda: None, 3) == {}
    assert cuda_timing.launch_milliseconds(lambda: device.persistent(0.0, "forward", None), 3) == {}, "refused"


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90a"])
def test_the_bare_barrier_compiles(architecture):
    try:
        load_nvrtc()
    except CompilerError as error:
        pytest.skip(str(error))
    assert b"meet_often" in compile_source(Source.of("barrier.cu"), architecture)[0]
