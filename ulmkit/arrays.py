"""Safetensors files of NumPy arrays, and what every reading of such files needs. Imports without torch."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from ulmkit.errors import FolderError
from ulmkit.files import clear_read_errors
from ulmkit.safe_writes import atomic_write


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as safetensors, atomically.

    Args:
        path: File to write.
        arrays: Arrays by name.

    Raises:
        FolderError: If the file cannot be written or the disk is full.
    """
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    with atomic_write(path, "wb") as file:
        file.write(content)


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a safetensors file, of types that NumPy has: it has no bfloat16.

    Raises:
        FolderError: If the file is missing, truncated or not safetensors, or a number is NaN, infinite or of another
            type.
    """
    with safetensors_file(path) as readable:
        arrays = load_file(readable)
        for name, array in arrays.items():
            if array.dtype.isbuiltin != 1:  # of another package, as ml_dtypes' bfloat16, which safetensors may read
                raise TypeError(f"{name!r} is {array.dtype}")
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise not_finite(path, name)
    return arrays


def read_header(path: Path) -> dict[str, str]:
    """Read the metadata of a safetensors file.

    Raises:
        FolderError: If the file is missing, truncated or not safetensors.
    """
    with safetensors_file(path) as readable, safe_open(readable, framework="np") as file:
        return dict(file.metadata() or {})


def not_finite(path: Path, name: str) -> FolderError:
    """Make the error for a file in which the tensor `name` has a value that is NaN or infinite."""
    return FolderError(f"{path}: expected finite numbers, got NaN or infinity in {name!r}; copy the file again")


@contextmanager
def safetensors_file(path: Path) -> Iterator[Path]:
    """Turn the errors of reading a safetensors file, in this block, into FolderErrors.

    Args:
        path: The file.

    Yields:
        The path to read from: a link to the file if its name is not UTF-8, which safetensors refuses.
    """
    try:
        with clear_read_errors(path), _utf8_name(path) as name:
            yield name
    except (SafetensorError, ValueError, RuntimeError, OverflowError, TypeError, KeyError, MemoryError) as error:
        raise FolderError(f"{path}: not valid safetensors ({error}); the file is truncated or was altered") from error


@contextmanager
def _utf8_name(path: Path) -> Iterator[Path]:
    """Yield the path, or a link to it if its name is not UTF-8."""
    if os.fsencode(path) == str(path).encode(errors="replace"):
        yield path
    else:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder) / "link"
            link.symlink_to(path.absolute())
            yield link
