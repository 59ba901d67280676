"""Rank of this process among those that `torchrun` started. Imports without torch."""

import os


def is_first_process() -> bool:
    """True if this process has rank 0, or was started without `torchrun`."""
    return os.environ.get("RANK", "0") == "0"
