"""Checkpoints of long evaluations, which resume where they were stopped."""

import os
import time
from collections.abc import Mapping

from torch import Tensor

from ulmkit.arrays import read_header
from ulmkit.errors import ConfigError, FolderError
from ulmkit.files import expand_user
from ulmkit.tensors import load_tensors, save_tensors

SECONDS_BETWEEN = 300.0
"""Seconds between two checkpoints."""


class EvaluationCheckpoint:
    """File that an evaluation resumes from.

    Args:
        path: The file; None keeps nothing.
        fingerprint: Fingerprint of the model, text and settings.
    """

    def __init__(self, path: str | os.PathLike[str] | None, fingerprint: str) -> None:
        self._path = None if path is None else expand_user(path)
        self._fingerprint = fingerprint
        self._last_written = time.monotonic()

    def load(self) -> dict[str, Tensor] | None:
        """Load the tensors written last; None if there are none.

        Raises:
            ConfigError: If they belong to another evaluation.
            FolderError: If the file is something else.
        """
        if self._path is None or not self._path.exists():
            return None
        try:
            fingerprint = read_header(self._path).get("fingerprint")
            tensors = load_tensors(self._path)
        except OSError as error:
            raise FolderError(f"{self._path}: expected an unfinished evaluation, got {error!r}; remove it") from error
        if fingerprint != self._fingerprint:
            raise ConfigError(
                f"{self._path}: belongs to another model, text or setting; give another file, or remove this one"
            )
        return tensors

    @property
    def is_due(self) -> bool:
        """True if the last checkpoint is a few minutes old."""
        return self._path is not None and time.monotonic() - self._last_written >= SECONDS_BETWEEN

    def write(self, tensors: Mapping[str, Tensor]) -> None:
        """Write the tensors that the evaluation needs to resume.

        Raises:
            FolderError: If the file cannot be written.
        """
        assert self._path is not None, "no checkpoint is due without a path"
        save_tensors(self._path, tensors, {"fingerprint": self._fingerprint})
        self._last_written = time.monotonic()

    def remove(self) -> None:
        """Remove the file, once the evaluation is done."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
