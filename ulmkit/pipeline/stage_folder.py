"""Folders of training stages: the output folder, and the folder of checkpoints beside it.

A stage that trains several networks has a subfolder of checkpoints for each: `forward`, `backward`, `forward-1`,
`taught-1`, ...
"""

import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ulmkit.errors import FolderError
from ulmkit.files import TRAINING_LOG, expand_user
from ulmkit.hub.folder_config import CONFIG_FILE
from ulmkit.safe_writes import check_writable, remove_leftovers
from ulmkit.training import JSONL_NAME, latest_checkpoint
from ulmkit.training.checkpoint import STATE_FILE
from ulmkit.training.interrupt import StopRequested, TrainingInterrupted
from ulmkit.training.monitor import BEST_NAME
from ulmkit.training.run import is_finished

_NAMES = "|".join([r"checkpoint-\d{8,}", *map(re.escape, (TRAINING_LOG, JSONL_NAME, BEST_NAME))])
_OF_A_RUN = re.compile(rf"({_NAMES})|\.({_NAMES})\..+")  # the latter are left half-written by a killed process
_NETWORK = re.compile(r"(forward|backward|taught)(-\d+)?")


def training_folder(out: str) -> Path:
    """Path of OUT.training, which holds the checkpoints of a stage until `out` is written."""
    folder = expand_user(out)
    return folder.with_name(folder.name + ".training")


def newest_checkpoint(folder: Path) -> Path | None:
    """Newest checkpoint in a training folder, those of its networks included."""
    checkpoints = [checkpoint for part in _parts(folder) if (checkpoint := latest_checkpoint(part)) is not None]
    if len(checkpoints) < 2:
        return checkpoints[0] if checkpoints else None
    return max(checkpoints, key=lambda checkpoint: (checkpoint / STATE_FILE).stat().st_mtime_ns)


@contextmanager
def run_folder(out: str, resume: bool, overwrite: bool) -> Iterator[Path]:
    """Hold the `training_folder` of `out`; it is removed at the end unless a stopped run can be resumed from it.

    Args:
        out: Folder that the stage writes.
        resume: Continue from the checkpoint in the training folder. A training that had written `out` and was killed
            before it removed the folder may write `out` again.
        overwrite: Replace an existing `out`.

    Yields:
        The training folder, which need not exist yet.

    Raises:
        FolderError: Before any work, if `out` may not be written, the training folder holds something else, a
            checkpoint exists but `resume` is False, or none exists but `resume` is True.
        TrainingInterrupted: If the stage is stopped and can be resumed.
    """
    is_written = _is_written(out)
    check_writable(out, overwrite or (resume and is_written))
    folder = training_folder(out)
    _check_own(folder)
    checkpoint = newest_checkpoint(folder)
    for part in _parts(folder):
        remove_leftovers(part, _NAMES)
    if is_written and not resume:
        _remove(folder)  # the process was killed after it had written `out`, before it removed this
        checkpoint = None
    if resume and checkpoint is None:
        raise FolderError(f"{folder}: expected a checkpoint to resume, got none; begin without resume=True")
    if checkpoint is not None and not resume:
        raise FolderError(
            f"{checkpoint}: is left from an earlier run; continue it with resume=True, or remove {folder}"
        )
    try:
        yield folder
    except BaseException as error:
        kept = newest_checkpoint(folder)
        if kept is None:
            _remove(folder)
        elif isinstance(error, FolderError):
            raise FolderError(f"{error}; {kept} was kept, and the same command with resume=True continues") from error
        elif isinstance(error, KeyboardInterrupt) and getattr(error, "checkpoint", None) is None:
            # Stopped between two networks, or before the first checkpoint of a later one.
            number = error.number if isinstance(error, StopRequested) else signal.SIGINT
            message = f"training stopped: the newest checkpoint is {kept}; run again with resume=True to continue"
            raise TrainingInterrupted(message, kept, number) from error
        raise
    _remove(folder)


def _parts(folder: Path) -> list[Path]:
    """A training folder and those of its networks."""
    if not folder.is_dir():
        return [folder]
    return [folder, *sorted(path for path in folder.iterdir() if _NETWORK.fullmatch(path.name) and path.is_dir())]


def _is_written(out: str) -> bool:
    """Tell whether `out` was written at the end of the training whose checkpoints are still beside it."""
    checkpoint = newest_checkpoint(training_folder(out)) if Path(out).name else None
    if checkpoint is None:
        return False
    try:
        is_newer = (expand_user(out) / CONFIG_FILE).stat().st_mtime_ns >= (checkpoint / STATE_FILE).stat().st_mtime_ns
    except OSError:
        return False
    return is_newer and is_finished(checkpoint)


def _check_own(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FolderError(f"{folder}: expected a folder for checkpoints, got a file; choose another `out`")
    for path in sorted(folder.iterdir()):
        if _NETWORK.fullmatch(path.name) and path.is_dir():
            _check_own(path)
        elif not _OF_A_RUN.fullmatch(path.name):
            raise FolderError(f"{path}: was not written by a training; move it elsewhere, or choose another `out`")


def _remove(folder: Path) -> None:
    """Remove what a run wrote, and the folder unless it holds something else."""
    with suppress(OSError):
        for path in folder.iterdir():
            if _NETWORK.fullmatch(path.name) and path.is_dir():
                _remove(path)
            elif not _OF_A_RUN.fullmatch(path.name):
                continue
            elif path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        folder.rmdir()
