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
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import is_dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ulmkit.errors import FolderError

TRAINING_LOG = "training_log.csv"
"""Name of the training log as a table, in the run's folder and in the model's."""

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
        if not final.exists():
            _check_parent(final)
            return
        if not final.is_dir() or (any(final.iterdir()) and not _is_ours(final)):
            raise FolderError(f"{final}: is already there and was not written by ulmkit; choose another name")
        _check_overwrite(final, overwrite)
        old = _set_aside(final)
        old.rename(final)
        old.parent.rmdir()


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
    old = _set_aside(final)
    try:
        new.rename(final)
    except BaseException:
        old.rename(final)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


def _set_aside(folder: Path) -> Path:
    """Rename a folder to make room for another of its name, and return its new path, alone in a temporary folder."""
    old = Path(tempfile.mkdtemp(prefix=_temporary_prefix(folder) + "old.", dir=folder.parent)) / "old"
    try:
        folder.rename(old)
    except OSError as error:
        old.parent.rmdir()
        raise FolderError(
            f"{folder}: cannot be replaced ({error.strerror}); if it is mounted, choose a folder inside it, "
            "otherwise another place"
        ) from error
    return old


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


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_files(folder: Path) -> dict[str, dict[str, Any]]:
    """Manifest of a folder: size and SHA-256 of each file in it, by its path with forward slashes."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_file(folder / name)} for name in names}


def check_files(folder: Path, files: Mapping[str, Any], advice: str, *, checksums: bool = True) -> None:
    """Check a folder's files against its manifest.

    Args:
        folder: The folder.
        files: Manifest, as `list_files` gave it.
        advice: What to do if a file does not match, for the message.
        checksums: Compare SHA-256 as well, which reads every file.

    Raises:
        FolderError: If a file is missing, truncated or altered, or an entry is not of a file in the folder.
    """
    for name, expected in files.items():
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise FolderError(f"{folder}: expected names of files inside the folder, got {name!r}; {advice}")
        if not isinstance(expected, Mapping) or not {"sha256", "bytes"} <= expected.keys():
            raise FolderError(f"{folder}: expected sha256 and bytes for {name!r}, got {expected!r}; {advice}")
        path = folder / name
        if not path.is_file():
            raise FolderError(f"{path}: no such file, but the folder lists it; {advice}")
        size = path.stat().st_size
        if size != expected["bytes"]:
            raise FolderError(
                f"{path}: expected {expected['bytes']} bytes, got {size}; it is truncated or was altered: {advice}"
            )
        if checksums and sha256_file(path) != expected["sha256"]:
            raise FolderError(f"{path}: its SHA-256 is not the recorded one, it was altered: {advice}")


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
        FolderError: If it is missing, truncated or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FolderError(f"{path}: no such file; is the folder complete?") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FolderError(f"{path}: not valid JSON ({error}); the file is truncated or was altered") from error


def csv_lines(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Format rows as lines of CSV without a header.

    Values that are None or missing become empty cells; the items of a list are joined by spaces.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    for row in rows:
        writer.writerow({name: " ".join(map(str, v)) if isinstance(v, list) else v for name, v in row.items()})
    return text.getvalue()
