"""Memory that weights need, compared with the machine's before any of it is allocated. Imports without torch."""

import os
from pathlib import Path

from ulmkit.errors import ConfigError

_WEIGHT_BYTES = 4
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def check_memory(weights: int) -> None:
    """Check that float32 weights fit into this machine's memory, even if nothing else does.

    Args:
        weights: Number of weights.

    Raises:
        ConfigError: If they do not.
    """
    needed = _WEIGHT_BYTES * weights
    available = machine_memory()
    if available is not None and needed > available:
        raise ConfigError(
            f"model: {weights:,} weights or more need {needed / 1e9:,.1f} GB, and this machine has "
            f"{available / 1e9:,.1f} GB of memory; take a smaller `hidden_size`, `embedding_size`, number of `layers` "
            "or vocabulary"
        )


def machine_memory() -> int | None:
    """Return the machine's memory in bytes, or the container's limit if that is less; None if it is not known."""
    limits = []
    try:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        limits.append(int(_CONTAINER_LIMIT.read_text()))
    except (AttributeError, OSError, ValueError):  # on another system, outside of a container, or "max"
        pass
    return min(limits, default=None)
