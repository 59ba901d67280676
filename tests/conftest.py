"""Settings for all tests."""

import gc
import os

import pytest

# The tests' tensors are tiny: threads would only wait for each other, most of all on a busy machine. PyTorch and
# OpenBLAS read this when they are loaded, and so do the commands that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _same_precision_on_every_cpu():
    """Precision "auto" is fp32 on every CPU, as if none multiplied bf16 fast; a test of bf16 asks for it."""
    from ulmkit.kernels import dispatch
    from ulmkit.kernels.cuda.operators import constant_when_compiled

    pays = dispatch.bf16_pays

    @constant_when_compiled
    def pays_on_gpus_alone(device):
        return (False, "the tests ask for it") if device.type == "cpu" else pays(device)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dispatch, "bf16_pays", pays_on_gpus_alone)
        yield


@pytest.fixture
def bf16_pays(monkeypatch):
    """Precision "auto" is bf16, as on a CPU that multiplies bf16 fast."""
    from ulmkit.kernels import dispatch

    monkeypatch.setattr(dispatch, "bf16_pays", lambda device: (True, "the test wants it"))


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_disks():
    """No test outlives a loss of power: files need not have reached the disk before the next step."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Encoded corpora go to a cache of the test run's own."""
    os.environ["ULMKIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def pytest_collection_finish() -> None:
    """Keep what was imported out of the garbage collections to come, which would walk through all of it each time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each worker a run of neighbouring tests, which share fixtures, unless --dist names another way."""
    if config.getvalue("dist") != "load":  # the default of -n
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)
