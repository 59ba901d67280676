"""Standard input as data: written to a temporary file, since data is read more than once."""

import functools
import shutil
import sys
import tempfile
from pathlib import Path

from ulmkit.errors import DataError
from ulmkit.text.read.readers import file_format, guess_text_format
from ulmkit.text.read.text_files import COMPRESSION_MARKS

STANDARD_INPUT = "-"
"""DATA that stands for standard input."""

_PARQUET_MAGIC = b"PAR1"


@functools.cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="ulmkit-stdin-")  # removed when the process ends


@functools.cache
def spool_standard_input(format: str | None = None) -> Path:
    """Write standard input to a temporary file, once in a process.

    Args:
        format: Format of the data; None to choose one by the content: parquet, JSON, CoNLL-U, a table with as many
            columns in each row, or else text.

    Returns:
        The file, whose name says its format.

    Raises:
        DataError: If standard input is closed or empty.
    """
    folder = Path(_folder().name)
    path = folder / "standard-input"
    if sys.stdin is None or sys.stdin.closed:
        raise DataError("standard input: expected data, but it is closed; give a file")
    with open(path, "wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    with open(path, "rb") as file:
        start = file.read(8)
    if not start:
        raise DataError("standard input: expected data, got none; is the command before the pipe right?")
    compression = next((suffix for magic, suffix in COMPRESSION_MARKS.items() if start.startswith(magic)), "")
    compressed = path.rename(folder / f"standard-input.txt{compression}")
    suffix = file_format(compressed, format) if format is not None else _guess_format(compressed, start)
    return compressed.rename(folder / f"standard-input{suffix}{compression}")


def _guess_format(path: Path, start: bytes) -> str:
    return ".parquet" if start.startswith(_PARQUET_MAGIC) else guess_text_format(path)
