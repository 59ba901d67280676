"""Checks of output paths, atomic writes of files and folders, checksums, JSON and CSV; the cache folder."""

import atexit
import csv
import errno
import functools
import hashlib
import io
import json
import math
import os
import re
import shutil
import stat
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, is_dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ulmkit.errors import FolderError

TRAINING_LOG = "training_log.csv"
"""Name of the training log as a table, in the run's folder and in the model's."""

_RANDOM_PART = "[a-z0-9_]{8}"  # how tempfile ends the names that it makes
_MAX_DEPTH = 100
_MAX_NAME_BYTES = 1000
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)
_PREFIX_CHARACTERS = 40
_STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")
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


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on success it becomes `path`, on failure it is removed.

    A symbolic link stays, and its target is replaced. A pipe or a device is written to directly.

    Args:
        path: Final name of the file.
        mode: "w" for UTF-8 text or "wb" for bytes.

    Yields:
        The open file.

    Raises:
        FolderError: If the folder cannot be written or the disk is full.
    """
    # A path that is not UTF-8 has surrogates, which become escapes that JSON reads back.
    text = {} if "b" in mode else {"encoding": "utf-8", "errors": "backslashreplace"}
    final = _behind_links(path)
    with _clear_write_errors(final):
        if _is_stream(path):
            with open(expand_user(path), mode, **text) as file:  # type: ignore[call-overload]
                yield file
            return
        final.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=_temporary_prefix(final), dir=final.parent)
        lock = _lock(Path(temporary))
        try:
            with os.fdopen(handle, mode, **text) as file:  # type: ignore[call-overload]
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, final)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        finally:
            _unlock(lock)


@contextmanager
def atomic_folder(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it becomes `path`, on failure it is removed.

    A symbolic link stays, and its target is replaced.

    Args:
        path: Final name of the folder.
        overwrite: Whether to replace an existing folder, which is kept until the new one is complete.

    Yields:
        The temporary folder.

    Raises:
        FolderError: If `check_writable` refuses the folder, it cannot be written, or the disk is full.
    """
    check_writable(path, overwrite)
    final = _behind_links(path)
    with _clear_write_errors(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=_temporary_prefix(final), dir=final.parent))
        lock = _lock(temporary)
        os.chmod(temporary, 0o777 & ~_umask())
        try:
            yield temporary
            if overwrite:
                _replace_folder(temporary, final)
            else:
                _name_folder(temporary, final)
        except BaseException as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if isinstance(error, FolderError) and str(temporary) in str(error):
                raise FolderError(str(error).replace(str(temporary), str(final))) from error
            raise
        finally:
            _unlock(lock)


def check_output_file(
    path: str | os.PathLike[str], *, overwrite: bool, inputs: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Check, before any work, that the file `path` may be written.

    Args:
        path: Final name of the file. A pipe or a device may always be written.
        overwrite: Whether an existing file may be replaced.
        inputs: Files and folders that are read, which are never replaced.

    Raises:
        FolderError: If it may not be written, `path` does not end in a name, or its folder cannot be written.
    """
    check_ends_in_name(path, "file")
    final = _behind_links(path)
    with _clear_write_errors(final):
        if _is_stream(path):
            return
        if final.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(final))
        if final.exists():
            check_not_input(final, inputs)
            _check_overwrite(final, overwrite)
        _check_parent(final)


def check_writable(path: str | os.PathLike[str], overwrite: bool) -> None:
    """Check, before any work, that the folder `path` may be written.

    Args:
        path: Final name of the folder.
        overwrite: Whether an existing folder may be replaced, if it is empty or was written by ulmkit.

    Raises:
        FolderError: If it may not be written, `path` does not end in a name, or an existing folder cannot be renamed
            to make room, as a mounted one cannot.
    """
    check_ends_in_name(path, "folder")
    final = _behind_links(path)
    with _clear_write_errors(final):
        remove_leftovers(final.parent, re.escape(final.name[:_PREFIX_CHARACTERS]))
        if not final.exists():
            _check_parent(final)
            return
        if not final.is_dir() or (any(final.iterdir()) and not _is_ours(final)):
            raise FolderError(f"{final}: is already there and was not written by ulmkit; choose another name")
        _check_overwrite(final, overwrite)
        old, lock = _set_aside(final)
        old.rename(final)
        old.parent.rmdir()
        _unlock(lock)


def remove_leftovers(folder: Path, names: str) -> None:
    """Remove what killed processes left of files and folders that they were writing into a folder.

    An older folder that was set aside to be replaced comes back if the new one was not finished.

    Args:
        folder: The folder.
        names: Regular expression of the final names.
    """
    leftover = re.compile(rf"\.({names})\.(old\.)?{_RANDOM_PART}")
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = leftover.fullmatch(path.name)
        lock = None if match is None else _lock(path)
        if match is None or lock is None:
            continue
        with suppress(OSError):
            final = folder / match[1]
            is_whole_name = len(match[1]) < _PREFIX_CHARACTERS
            if match[2] and (path / "old").exists() and not (is_whole_name and final.exists()):
                if not is_whole_name:
                    continue  # the final name may be longer, and the older folder may be needed
                (path / "old").rename(final)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        _unlock(lock)


def _lock(path: Path) -> int | None:
    """Lock a temporary file or folder until `_unlock` or the end of the process.

    Returns:
        The lock; None if another process holds it, or there are no locks here.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _unlock(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def check_not_input(path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Check that writing `path` would replace nothing that is read.

    Args:
        path: File or folder to write; nothing is replaced if it does not exist.
        inputs: Files and folders that are read; names that do not exist are passed over.

    Raises:
        FolderError: If an input is `path`, is a folder that holds it, or lies in it.
    """
    output = Path(os.path.realpath(expand_user(path)))
    for name in inputs if output.exists() else ():
        with suppress(ValueError):  # a name with a zero character
            source = Path(os.path.realpath(expand_user(name)))
            is_nested = source.is_relative_to(output) if output.is_dir() else output.is_relative_to(source)
            if source.exists() and (is_nested or source.samefile(output)):
                raise FolderError(f"{path}: would replace {name}, which is read; choose another name")


def check_ends_in_name(path: str | os.PathLike[str], kind: str) -> None:
    """Raise FolderError unless a path ends in the name of a "file" or "folder"."""
    if Path(path).name in ("", ".."):
        raise FolderError(f"{os.fspath(path)!r}: expected a path that ends in a {kind}'s name; choose another name")
    if "\0" in os.fspath(path):
        raise FolderError(f"{os.fspath(path)!r}: expected a path without zero characters; choose another name")


def _check_overwrite(final: Path, overwrite: bool) -> None:
    if not overwrite:
        raise FolderError(f"{final}: is already there; choose another name, or replace it with overwrite=True")


def _check_parent(final: Path) -> None:
    """Raise OSError unless a file can be made in the folder of `final`, or in the nearest one that exists."""
    folder = next(folder for folder in final.absolute().parents if folder.exists())
    try:
        with tempfile.NamedTemporaryFile(prefix=_temporary_prefix(final), dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


def _is_stream(path: str | os.PathLike[str]) -> bool:
    """Tell whether a path is a pipe, a device, or the standard output even where that is a file."""
    expanded = expand_user(path)
    is_special = expanded.exists() and not expanded.is_file() and not expanded.is_dir()
    return is_special or str(expanded).startswith(_STREAMS)


def _temporary_prefix(final: Path) -> str:
    """Return how the names of temporary files for `final` begin; short, since the name may be as long as can be."""
    return f".{final.name[:_PREFIX_CHARACTERS]}."


def _behind_links(path: str | os.PathLike[str]) -> Path:
    final = expand_user(path)  # without a trailing slash, which would hide a link
    return Path(os.path.realpath(final)) if final.is_symlink() else final


def _is_ours(folder: Path) -> bool:
    return marker_file(folder) is not None


def marker_file(folder: Path) -> str | None:
    """Return the name of the file that shows that ulmkit wrote a folder; None if it did not."""
    for name, keys in _MARKER_FILES.items():
        with suppress(FolderError, OSError):
            if (folder / name).is_file():
                document = read_json(folder / name)
                if isinstance(document, dict) and keys <= document.keys():
                    return name
    return None


def _name_folder(new: Path, final: Path) -> None:
    """Rename a new folder; raise FolderError if another process wrote one of that name meanwhile."""
    try:
        new.rename(final)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise FolderError(
            f"{final}: was written by another process meanwhile; use it, or choose another name"
        ) from error


def _replace_folder(new: Path, final: Path) -> None:
    if not final.exists():
        _name_folder(new, final)
        return
    old, lock = _set_aside(final)
    try:
        new.rename(final)
    except BaseException:
        old.rename(final)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)
        _unlock(lock)


def _set_aside(folder: Path) -> tuple[Path, int | None]:
    """Rename a folder to make room for another of its name.

    Returns:
        Its new path, alone in a temporary folder, and the lock of that folder.
    """
    old = Path(tempfile.mkdtemp(prefix=_temporary_prefix(folder) + "old.", dir=folder.parent)) / "old"
    lock = _lock(old.parent)
    try:
        folder.rename(old)
    except OSError as error:
        old.parent.rmdir()
        _unlock(lock)
        raise FolderError(
            f"{folder}: cannot be replaced ({error.strerror}); if it is mounted, choose a folder inside it, "
            "otherwise another place"
        ) from error
    return old, lock


@contextmanager
def _clear_write_errors(path: Path) -> Iterator[None]:
    """Raise FolderError that names `path` and what to do, where it cannot be written."""
    try:
        yield
    except FolderError:
        raise
    except OSError as error:
        cache = os.environ.get("ULMKIT_CACHE")
        is_cached = cache is not None and path.is_relative_to(expand_user(cache))
        elsewhere = "set ULMKIT_CACHE to a folder that can be written" if is_cached else "choose another place"
        if error.errno in _FULL:
            raise FolderError(f"{path}: the disk is full; free some space and run again, or {elsewhere}") from error
        if error.errno == errno.EFBIG:
            raise FolderError(f"{path}: was not written ({error.strerror}); {elsewhere}") from error
        if error.errno in _NOT_WRITABLE:
            where = error.filename2 or error.filename or path
            raise FolderError(f"{where}: cannot be written ({error.strerror}); {elsewhere}") from error
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, atomically; NaN and infinity raise ValueError, as JSON has neither."""
    with atomic_write(path) as file:
        json.dump(value, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")


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
        ValueError: If it is not JSON in UTF-8, is nested more than 100 deep, or holds a number of more digits than
            Python converts.
    """
    try:
        value = json.loads(text if isinstance(text, str) else text.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [item for group in map(_items, level) for item in group if isinstance(item, dict | list)]
        if not level:
            return value
    raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")


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
