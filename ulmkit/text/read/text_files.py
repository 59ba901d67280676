"""Bytes and lines of data files, compressed or not, with errors that name the file and the place in it."""

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from ulmkit.errors import DataError

COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")
"""Extensions of compressed files, which may follow those of text."""

COMPRESSION_MARKS = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst", b"BZh": ".bz2", b"\xfd7zXZ\0": ".xz"}
"""Extensions by the bytes with which compressed files begin."""

_NAMES = {"gz": "gzip", "zst": "zstd", "bz2": "bzip2", "xz": "xz"}
_BLOCK_BYTES = 1 << 20
_PEEK_BYTES = 1 << 16
_PEEK_CHARACTERS = 64
_OTHER_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # begins with the mark of UTF-16
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_ARCHIVE = b"PK\x03\x04"


def uncompressed_name(path: Path) -> str:
    """Return a file's name without the extension of its compression."""
    return path.stem if path.suffix.lower() in COMPRESSIONS else path.name


def data_suffix(path: Path) -> str:
    """Return a file's extension in lower case, without that of its compression: ".csv" for reviews.csv.gz."""
    return Path(uncompressed_name(path)).suffix.lower()


@contextlib.contextmanager
def open_data(path: Path) -> Iterator[IO[bytes]]:
    """Open a data file, decompressed by its extension.

    Raises:
        DataError: If the file is not a regular one, is damaged or truncated, or cannot be read.
    """
    check_regular(path)
    kind = path.suffix.lower().lstrip(".") if path.suffix.lower() in COMPRESSIONS else ""
    try:
        with _open(path, kind) as file:
            yield file
    except DataError:
        raise
    except EOFError as error:
        raise DataError(f"{path}: ends too early; it is truncated: fetch it again") from error
    except (zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: not a readable {_NAMES[kind]} file ({error}); fetch it again") from error
    except OSError as error:
        if error.errno is None and kind:
            raise DataError(f"{path}: not a readable {_NAMES[kind]} file ({error}); fetch it again") from error
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check the file") from error


def check_regular(path: Path) -> None:
    """Raise DataError for a pipe, a device or anything else that is no regular file, without opening it."""
    if not path.is_file():
        raise DataError(
            f"{path}: expected a file, got {describe_special(path)}; give a regular file, or - for standard input"
        )


def describe_special(path: Path) -> str:
    """Name what a path is that is neither a file nor a folder."""
    if path.is_fifo():
        return "a pipe"
    if path.is_socket():
        return "a socket"
    if path.is_dir():
        return "a folder"
    return "a device" if path.exists() else "nothing of that name"


def _open(path: Path, kind: str) -> IO[bytes]:
    if kind == "gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    if kind == "bz2":
        return bz2.open(path, "rb")
    if kind == "xz":
        return lzma.open(path, "rb")
    if kind == "zst":
        import pyarrow

        return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"), _PEEK_BYTES)
    return open(path, "rb", buffering=_PEEK_BYTES)


def read_text(path: Path) -> str:
    """Read a whole file of UTF-8 text; see `decode_utf8` for the errors."""
    with open_data(path) as file:
        return decode_utf8(file.read(), path)


def read_lines(path: Path) -> Iterator[str]:
    """Read the lines of a UTF-8 file, line ends kept, never more than one in memory.

    Carriage returns alone end lines too, as on old Macs, where the beginning of the file has no other line ends.
    """
    offset = 0
    with open_data(path) as file:
        for line, data in enumerate(_byte_lines(file), start=1):
            yield decode_utf8(data, path, offset, line)
            offset += len(data)


def warn_of_blank_lines(path: Path, count: int) -> None:
    """Warn that blank lines between the rows of a table are no rows, where each row is to have an answer."""
    if count:
        warnings.warn(f"{path}: {count:,} blank lines are not counted as rows and get no answer", stacklevel=2)


def _byte_lines(file: IO[bytes]) -> Iterator[bytes]:
    start = file.peek(_PEEK_BYTES)  # type: ignore[attr-defined]
    if b"\n" in start or b"\r" not in start[:-1]:
        yield from file
        return
    rest = b""
    while block := file.read(_BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\r")
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest


def _check_kind(data: bytes, path: Path) -> None:
    """Raise DataError if a file begins as text in UTF-16 or UTF-32, a compressed file, an archive or a pointer do."""
    if data.startswith(_LFS_POINTER):
        raise DataError(f"{path}: expected data, got a pointer of Git LFS to it; fetch the file: git lfs pull")
    for mark, encoding in _OTHER_ENCODINGS.items():
        if data.startswith(mark):
            raise DataError(f"{path}: expected UTF-8 text, got {encoding}; convert it: iconv -f {encoding} -t UTF-8")
    start = data[:_PEEK_CHARACTERS]
    for encoding, zeros in (("UTF-16LE", start[1::2]), ("UTF-16BE", start[::2])):
        if len(start) > 1 and start.count(b"\0") == len(zeros) and not any(zeros):
            raise DataError(f"{path}: expected UTF-8 text, got {encoding}; convert it: iconv -f {encoding} -t UTF-8")
    for mark, suffix in COMPRESSION_MARKS.items():
        if data.startswith(mark):
            raise DataError(f"{path}: expected text, got a {_NAMES[suffix[1:]]} file; call it {path.name}{suffix}")
    if data.startswith(_ARCHIVE):
        raise DataError(f"{path}: expected text, got a zip archive or a spreadsheet; unpack it, or save it as .csv")


def decode_utf8(data: bytes, path: Path, offset: int = 0, line: int = 1) -> str:
    """Decode the bytes of a file; a byte order mark at its start is dropped.

    Args:
        data: The bytes.
        path: The file, for messages.
        offset: Place of the first byte in the file.
        line: Line of the first byte.

    Raises:
        DataError: If it is not UTF-8 text; the message says at which offset and line.
    """
    if offset == 0:
        _check_kind(data, path)
    zero = data.find(b"\0")
    if zero >= 0:
        where = f"offset {offset + zero} (line {line + data.count(bytes([10]), 0, zero)})"
        raise DataError(f"{path}: expected text, got a binary file (zero byte at {where}); give a text file")
    if offset == 0 and data.startswith(codecs.BOM_UTF8):
        data = data[len(codecs.BOM_UTF8) :]
        offset = len(codecs.BOM_UTF8)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"offset {offset + error.start} (line {line + data.count(bytes([10]), 0, error.start)})"
        raise DataError(
            f"{path}: expected UTF-8 text, got byte 0x{data[error.start]:02x} at {where}; convert it, "
            "for example: iconv -f WINDOWS-1252 -t UTF-8"
        ) from None
