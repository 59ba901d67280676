"""Folders that the training commands write: what is there already, and the checkpoints beside it."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ulmkit.errors import FolderError
from ulmkit.files import TRAINING_LOG, check_writable
from ulmkit.training import JSONL_NAME, latest_checkpoint
from ulmkit.training.monitor import BEST_NAME

_NAMES = "|".join([r"checkpoint-\d{8,}", "tensorboard", *map(re.escape, (TRAINING_LOG, JSONL_NAME, BEST_NAME))])
_OF_A_RUN = re.compile(rf"({_NAMES})|\.({_NAMES})\..+")  # the second: half-written when the process was killed


def training_folder(out: str) -> Path:
    """OUT.training, where the run of a stage that writes `out` keeps its checkpoints until that is written."""
    return Path(out).with_name(Path(out).name + ".training")


@contextmanager
def run_folder(out: str, resume: bool, overwrite: bool) -> Iterator[Path]:
    """The `training_folder` of `out`, removed at the end, unless a run was stopped that can go on.

    Raises: FolderError, before any work, if `out` may not be written, or OUT.training holds what no run writes, or if
        there is a checkpoint and not to be resumed, or none to resume.
    """
    check_writable(out, overwrite)
    folder = training_folder(out)
    _check_own(folder)
    found = latest_checkpoint(folder)
    if resume and found is None:
        raise FolderError(f"{folder}: expected a checkpoint to resume, got none; begin without --resume")
    if found is not None and not resume:
        raise FolderError(f"{found}: is there from an earlier run; go on with it by --resume, or remove {folder}")
    try:
        yield folder
    except BaseException:
        if latest_checkpoint(folder) is None:
            _remove(folder)
        raise
    _remove(folder)


def _check_own(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FolderError(f"{folder}: expected a folder for checkpoints, got a file; choose another --out")
    for path in sorted(folder.iterdir()):
        if not _OF_A_RUN.fullmatch(path.name):
            raise FolderError(f"{path}: is no file of a training; move it elsewhere, or choose another --out")


def _remove(folder: Path) -> None:
    """Remove what a run wrote, and the folder unless something else has come into it."""
    with suppress(OSError):
        for path in folder.iterdir():
            if not _OF_A_RUN.fullmatch(path.name):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        folder.rmdir()
