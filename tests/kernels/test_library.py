"""The compiled library and its paths: found, of torch's OpenMP, and what is said where it is not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ulmkit.errors import ConfigError
from ulmkit.kernels import backend_statuses, choose_backend
from ulmkit.kernels.cpu import library as library_module
from ulmkit.kernels.cpu.library import Library, load_library

CPU = torch.device("cpu")

COUNT_THREADS = """
import os
import torch
from ulmkit.kernels import pack

def threads():
    return len(os.listdir("/proc/self/task"))

torch.set_num_threads(2)
(torch.rand(1 << 20) + 1).sum()  # torch's pool is there now
before = threads()
with torch.no_grad():
    packed = pack(torch.randn(256, 64), torch.randn(256, 64), backend="fused")
    packed.run(torch.randn(9, 16, 64), torch.zeros(16, 64), torch.zeros(16, 64), torch.zeros(256))
pools = {line.split("/")[-1].strip() for line in open("/proc/self/maps") if "libgomp" in line}
print(before, threads(), len(pools))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")
def test_the_kernels_run_in_torchs_threads(tmp_path: Path):
    if isinstance(load_library(), str):
        pytest.skip("the kernel library is not built")
    command = [sys.executable, "-c", COUNT_THREADS]  # elsewhere: here it would import what is not installed
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    before, after, pools = map(int, run.stdout.split())
    assert (after, pools) == (before, 1)
    assert before >= 2


def test_some_path_runs_here():
    library = load_library()
    if isinstance(library, str):
        pytest.skip(f"the kernel library is {library}")
    assert "portable" in library.paths
    has_more = not library.paths.keys().isdisjoint({"avx512", "avx2"})
    assert choose_backend("auto", CPU, torch.float32).name == ("fused" if has_more else "torch")


def test_plain_cpp_is_to_be_asked_for(monkeypatch):
    """On processors that have nothing better it has not been compared with torch's own kernels."""
    if isinstance(load_library(), str):
        pytest.skip("the kernel library is not built")
    monkeypatch.setitem(library_module.PATHS, torch.float32, ("portable",))
    assert choose_backend("auto", CPU, torch.float32).name == "torch"
    assert choose_backend("fused", CPU, torch.float32).name == "fused"
    status = next(status for status in backend_statuses(CPU, torch.float32) if status.name == "fused")
    assert (status.chosen, status.available) == (False, True)
    assert "path portable; not compared with torch's" in status.reason


def test_a_second_openmp_is_refused(monkeypatch):
    """A library of another compiler would bring its own threads beside torch's."""
    if isinstance(load_library(), str):
        pytest.skip("the kernel library is not built")
    runtimes = iter([{"libgomp.so.1"}, {"libgomp.so.1", "libomp.so.5"}])
    monkeypatch.setattr(library_module, "_openmp_runtimes", lambda: next(runtimes))
    expected = "not used: it was built for another OpenMP (libomp.so.5) than torch's (libgomp.so.1); build it with GCC"
    assert load_library.__wrapped__() == expected


def test_without_the_library(monkeypatch):
    monkeypatch.setattr(library_module, "load_library", lambda: "not built: no compiler")
    assert choose_backend("auto", CPU, torch.float32).name == "torch"
    assert choose_backend("auto", CPU, torch.bfloat16).name == "stepwise"
    with pytest.raises(ConfigError, match="backend: 'fused' not built: no compiler; use backend='auto'"):
        choose_backend("fused", CPU, torch.float32)
    status = next(status for status in backend_statuses(CPU, torch.float32) if status.name == "fused")
    assert (status.chosen, status.available, status.reason) == (False, False, "not built: no compiler")


def test_types_without_a_path():
    if isinstance(load_library(), str):
        pytest.skip("the kernel library is not built")
    assert choose_backend("auto", CPU, torch.float64).name == "torch"
    with pytest.raises(ConfigError, match="backend: 'fused' has no path for float64 on this processor"):
        choose_backend("fused", CPU, torch.float64)
    with pytest.raises(ConfigError, match="backend: 'fused' has no kernels for xpu"):
        choose_backend("fused", torch.device("xpu"), torch.float32)
    if torch.cuda.is_available():
        return
    with pytest.raises(ConfigError, match="backend: 'fused' needs a GPU, and torch finds none here"):
        choose_backend("fused", torch.device("cuda"), torch.float32)


def test_a_file_that_is_no_library(tmp_path: Path):
    (tmp_path / "_library.so").write_bytes(b"no library")
    with pytest.raises(OSError, match="_library.so"):
        Library(tmp_path / "_library.so")
