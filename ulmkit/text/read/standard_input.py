"""Standard input as data: written to a temporary file, since data is read more than once."""

import functools
import itertools
import re
import shutil
import sys
import tempfile
from pathlib import Path

from ulmkit.errors import DataError
from ulmkit.text.read.readers import file_format
from ulmkit.text.read.separated import PEEK_ROWS, is_even_table
from ulmkit.text.read.text_files import read_lines

STANDARD_INPUT = "-"
"""DATA that stands for standard input."""

_MAGIC = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst", b"BZh": ".bz2", b"\xfd7zXZ\0": ".xz"}
_PARQUET_MAGIC = b"PAR1"
_JSON_START = re.compile(r'\{\s*("|$)|\[\s*(\{|$)')
_CONLLU_LINE = re.compile(r"1\t([^\t]*\t){8}[^\t]*$")


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
    compression = next((suffix for magic, suffix in _MAGIC.items() if start.startswith(magic)), "")
    compressed = path.rename(folder / f"standard-input.txt{compression}")
    suffix = file_format(compressed, format) if format is not None else _guess_format(compressed, start)
    return compressed.rename(folder / f"standard-input{suffix}{compression}")


def _guess_format(path: Path, start: bytes) -> str:
    if start.startswith(_PARQUET_MAGIC):
        return ".parquet"
    lines = list(itertools.islice((line.strip() for line in read_lines(path) if line.strip()), PEEK_ROWS))
    if lines and _JSON_START.match(lines[0]):
        return ".jsonl"
    if any(map(_CONLLU_LINE.match, lines)):
        return ".conllu"
    return ".csv" if is_even_table(path) else ".txt"
