"""Files and folders that appear whole or not at all, and checks of output paths before any work."""

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ulmkit.errors import FolderError
from ulmkit.files import expand_user, marker_file

_RANDOM_PART = "[a-z0-9_]{8}"  # how tempfile ends the names that it makes
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)
_PREFIX_CHARACTERS = 40
_EVENT_FILES = "events.out.tfevents."
_STREAMS = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "w", *, streams: bool = True) -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on success it becomes `path`, on failure it is removed.

    A symbolic link stays, and its target is replaced.

    Args:
        path: Final name of the file.
        mode: "w" for UTF-8 text or "wb" for bytes.
        streams: Whether `path` may be a pipe or a device, which is written to directly. False is for files that are
            read again: a pipe that nobody reads would never open.

    Yields:
        The open file.

    Raises:
        FolderError: If the folder cannot be written, the disk is full, or `path` is a pipe or a device although
            `streams` is False.
    """
    # A path that is not UTF-8 has surrogates, which become escapes that JSON reads back.
    text = {} if "b" in mode else {"encoding": "utf-8", "errors": "backslashreplace"}
    final = _behind_links(path)
    with _clear_write_errors(final):
        if _is_stream(path):
            if not streams:
                raise FolderError(f"{path}: expected a regular file or none, got a pipe or a device; remove it")
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


def check_event_folder(
    path: str | os.PathLike[str], *, resume: bool, overwrite: bool, inputs: Iterable[str | os.PathLike[str]] = ()
) -> None:
    """Check, before any work, that TensorBoard event files may be written into the folder `path`.

    Args:
        path: The folder.
        resume: Whether its event files are continued.
        overwrite: Whether they may be replaced; see `remove_event_files`.
        inputs: Files and folders that are read, which are never replaced.

    Raises:
        FolderError: If they may not be written, or the folder holds anything else.
    """
    check_ends_in_name(path, "folder")
    final = _behind_links(path)
    with _clear_write_errors(final):
        if final.exists():
            check_not_input(final, inputs)
            files = [file for file in final.rglob("*") if not file.is_dir()] if final.is_dir() else [final]
            for file in files:
                if not file.name.startswith(_EVENT_FILES):
                    raise FolderError(f"{file}: is not a TensorBoard event file; choose another folder")
            if files and not resume:
                _check_overwrite(final, overwrite)
        _check_parent(final / "events")


def remove_event_files(path: str | os.PathLike[str]) -> None:
    """Remove the TensorBoard event files of earlier trainings below a folder, if it is there."""
    for file in expand_user(path).rglob(f"{_EVENT_FILES}*"):
        file.unlink()


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
        if not final.is_dir() or (any(final.iterdir()) and marker_file(final) is None):
            raise FolderError(f"{final}: already exists and was not written by ulmkit; choose another name")
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
        raise FolderError(f"{final}: already exists; choose another name, or replace it with overwrite=True")


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


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, atomically; NaN and infinity raise ValueError, as JSON has neither."""
    with atomic_write(path) as file:
        json.dump(value, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")
