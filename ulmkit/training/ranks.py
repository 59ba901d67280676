"""Rank of this process among those that `torchrun` started. Imports without torch."""

import os


def is_first_process() -> bool:
    """True if this process has rank 0, or was started without `torchrun`."""
    return os.environ.get("RANK", "0") == "0"


def is_one_of_several() -> bool:
    """True if `torchrun` started further processes beside this one."""
    return os.environ.get("WORLD_SIZE", "1") != "1"
