"""The cache folder, also where the user's own cannot be written."""

import atexit
import functools
import os
import shutil
import tempfile
import warnings
from pathlib import Path

from ulmkit.files import expand_user


def default_cache() -> Path:
    """Return ulmkit's cache folder: $ULMKIT_CACHE, else `ulmkit` in the user's cache folder.

    If the user's cache folder cannot be written, a warning says so and a temporary folder takes its place, which is
    removed when the process ends.
    """
    if folder := os.environ.get("ULMKIT_CACHE"):
        return expand_user(folder)
    parent = expand_user(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return parent / "ulmkit" if parent.is_absolute() and is_writable(parent / "ulmkit") else _temporary_cache(parent)


@functools.cache
def _temporary_cache(parent: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ulmkit-cache-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    warnings.warn(
        f"{parent}: cannot be written, so the cache is lost when this process ends ({folder}); to keep it, set the "
        "environment variable ULMKIT_CACHE to a folder that can be written",
        stacklevel=3,
    )
    return folder


def is_writable(path: Path) -> bool:
    """Tell whether a folder can be written, or made if it does not exist."""
    for folder in (path, *path.parents):
        if folder.exists():
            return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    return False
