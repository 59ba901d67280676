"""Reading of files and folders: checksums, manifests and JSON, with errors that name the file."""

import csv
import hashlib
import io
import json
import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, is_dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ulmkit.errors import FolderError

TRAINING_LOG = "training_log.csv"
"""Name of the training log as a table, in the run's folder and in the model's."""

_MAX_DEPTH = 100
_MAX_NAME_BYTES = 1000
_MARKER_FILES = {
    "config.json": {"format_version", "kind", "fingerprint"},
    "corpus.json": {"format_version", "split_policy", "fingerprint"},
    "state.json": {"format_version", "sha256", "fingerprint"},
    "quickstart.json": {"perplexity_before", "perplexity_after", "reports"},
}
"""Signs that ulmkit wrote a folder: a file of this name that holds an object with these keys."""


def expand_user(path: str | os.PathLike[str]) -> Path:
    """Return a path with a leading ~ or ~user replaced by the home folder, if there is one."""
    return Path(os.path.expanduser(path))


def marker_file(folder: Path) -> str | None:
    """Return the name of the file that shows that ulmkit wrote a folder; None if it did not."""
    for name, keys in _MARKER_FILES.items():
        with suppress(FolderError, OSError):
            if (folder / name).is_file():
                document = read_json(folder / name)
                if isinstance(document, dict) and keys <= document.keys():
                    return name
    return None


@contextmanager
def clear_read_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Check that `path` is a regular file, and turn errors of reading it into a FolderError that names it."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise FolderError(f"{path}: expected a regular file, got a folder, a pipe or a device; remove it")
        yield
    except FolderError:
        raise
    except FileNotFoundError as error:
        raise FolderError(f"{path}: no such file; is the folder complete?") from error
    except OSError as error:
        raise FolderError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_bytes(path: Path) -> bytes:
    """Read a whole file.

    Raises:
        FolderError: If it is missing, not a regular file, or cannot be read.
    """
    with clear_read_errors(path):
        return path.read_bytes()


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        FolderError: If it is missing, not a regular file, or cannot be read.
    """
    with clear_read_errors(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One file of a manifest.

    Attributes:
        bytes: Size of the file.
        sha256: SHA-256 of its content, in hexadecimal.
    """

    bytes: int
    sha256: str


def list_files(folder: Path) -> dict[str, FileEntry]:
    """Manifest of a folder: size and SHA-256 of each file in it, by its path with forward slashes."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: FileEntry(bytes=(folder / name).stat().st_size, sha256=sha256_file(folder / name)) for name in names}


def check_files(
    folder: Path, files: Mapping[str, FileEntry], advice: str, *, needed: Iterable[str] = (), checksums: bool = True
) -> None:
    """Check a folder's files against its manifest.

    Args:
        folder: The folder.
        files: Manifest, as `list_files` gave it.
        advice: What to do if a file does not match, for the message.
        needed: Files that will be opened, which the manifest must list.
        checksums: Compare SHA-256 as well, which reads every file.

    Raises:
        FolderError: If a file is missing, not regular, truncated or altered, a needed one is not listed, or an entry is
            not of a file in the folder.
    """
    for name in needed:
        if name not in files:
            raise FolderError(f"{folder / name}: expected it in the list of the folder's files, got none; {advice}")
    for name, expected in files.items():
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts or not relative.parts or not _is_file_name(name):
            raise FolderError(f"{folder}: expected names of files inside the folder, got {name!r:.80}; {advice}")
        path = folder / name
        if not path.exists():
            raise FolderError(f"{path}: no such file, but the folder lists it; {advice}")
        with clear_read_errors(path):
            size = path.stat().st_size
        if size != expected.bytes:
            raise FolderError(
                f"{path}: expected {expected.bytes} bytes, got {size}; it is truncated or was altered: {advice}"
            )
        if checksums and sha256_file(path) != expected.sha256:
            raise FolderError(f"{path}: its SHA-256 is not the recorded one, it was altered: {advice}")


def _is_file_name(name: str) -> bool:
    """Tell whether a name of the manifest can be one of a file: no zero characters, UTF-8, not too long."""
    try:
        return len(name.encode()) <= _MAX_NAME_BYTES and "\0" not in name
    except UnicodeEncodeError:
        return False


def fingerprint(*parts: Any) -> str:
    """Return a short stable hash, 16 hexadecimal digits, of JSON-serialisable `parts`."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def json_safe(value: Any) -> Any:
    """Convert a value into JSON values.

    Dataclasses become objects, tuples and NumPy arrays lists, NumPy numbers Python's, NaN and infinity None.
    """
    if is_dataclass(value):
        value = vars(value)
    elif hasattr(value, "tolist"):  # of NumPy
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        FolderError: If it is missing, truncated or not JSON, or holds deep nesting or endless numbers.
    """
    try:
        with clear_read_errors(path):
            return parse_json(Path(path).read_bytes())
    except ValueError as error:
        raise FolderError(f"{path}: not valid JSON ({error}); the file is truncated or was altered") from error


def parse_json(text: str | bytes) -> Any:
    """Parse JSON that somebody else may have written.

    Raises:
        ValueError: If it is not JSON in UTF-8, is nested more than 100 deep, holds a number of more digits than Python
            converts, or an object with a key twice.
    """
    try:
        value = json.loads(text if isinstance(text, str) else text.decode("utf-8"), object_pairs_hook=_distinct)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [item for group in map(_items, level) for item in group if isinstance(item, dict | list)]
        if not level:
            return value
    raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its keys and values, each key once: Python would keep the last of two values."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {max(names, key=names.count)!r:.80} is there twice")
    return value


def _items(value: Any) -> Iterable[Any]:
    """The items of a JSON array or object."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def csv_lines(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Format rows as lines of CSV without a header.

    Values that are None or missing become empty cells; the items of a list are joined by spaces.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    for row in rows:
        writer.writerow({name: " ".join(map(str, v)) if isinstance(v, list) else v for name, v in row.items()})
    return text.getvalue()
