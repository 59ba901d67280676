"""Allocator settings that keep freed memory in the process."""

import ctypes
import platform

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Make glibc keep large freed blocks for reuse instead of returning them to the system.

    A training step on the CPU frees and requests the same large temporaries again and again. By default glibc maps
    each of 32 MB or more afresh, and the system must clear every page of it again. The setting holds for the whole
    process from now on, so its memory stays at the highest use so far. Other allocators are left alone.

    Returns:
        Whether it was set.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    without_mmap = mallopt(_M_MMAP_MAX, 0)
    return bool(mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT) and without_mmap)
