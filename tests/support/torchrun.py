"""Starting a program in two processes."""

import os
import subprocess
import sys

from torch.distributed.run import __file__ as launcher


def torchrun(*arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run `torchrun --nproc-per-node 2 ARGUMENTS` on the CPU and, with `check`, see that it succeeds.

    The processes can import what the tests can.
    """
    command = [sys.executable, launcher, "--standalone", "--nproc-per-node=2", *map(str, arguments)]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert not check or done.returncode == 0, done.stderr[-3000:]
    return done


def torchrun_code(code: str, *arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """The same for a program given as text."""
    return torchrun("--no-python", sys.executable, "-c", code, *arguments, check=check)
