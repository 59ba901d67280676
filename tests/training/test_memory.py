import platform
import subprocess
import sys

import pytest

from ulmkit.training import keep_freed_memory

ON_GLIBC = platform.libc_ver()[0] == "glibc"

PROGRAM = """
import resource, sys
import torch
from ulmkit.training import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(12):
    torch.ones(16 << 20)
before = faults()
for _ in range(5):
    torch.ones(16 << 20)  # 64 MB
print(faults() - before)
"""


def page_faults(mode):
    return int(subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, check=True).stdout)


# The first dozen is not counted: glibc cuts each aligned block out of a larger one and keeps the cuttings, up to seven
# of a size. Only when it has seven does it join the next with its neighbours, which are then used again.
@pytest.mark.slow
@pytest.mark.skipif(not ON_GLIBC, reason="the allocator is not glibc's")
def test_large_blocks_are_used_again():
    assert page_faults("keep") <= page_faults("default") / 5


def test_does_nothing_elsewhere(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert not keep_freed_memory()
