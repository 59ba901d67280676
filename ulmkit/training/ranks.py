"""Which of the processes that `torchrun` started this one is. Imports without torch."""

import os


def is_first_process() -> bool:
    """Whether this process has rank 0, or was started without `torchrun`."""
    return os.environ.get("RANK", "0") == "0"
