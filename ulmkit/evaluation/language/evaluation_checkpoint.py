"""Long evaluations that go on where they were stopped."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from ulmkit.errors import ConfigError, FolderError
from ulmkit.files import atomic_write

SECONDS_BETWEEN = 300.0


class EvaluationCheckpoint:
    """The file that an evaluation goes on from.

    Args: path: None: nothing is kept. origin: a fingerprint of what is evaluated, and how.
    """

    def __init__(self, path: str | os.PathLike[str] | None, origin: str) -> None:
        self._path = None if path is None else Path(path)
        self._origin = origin
        self._last = time.monotonic()

    def load(self) -> dict[str, Tensor] | None:
        """What was kept last; None for nothing.

        Raises: ConfigError if it is of another evaluation, FolderError if the file is something else.
        """
        if self._path is None or not self._path.exists():
            return None
        try:
            with safe_open(self._path, framework="pt") as file:
                origin = (file.metadata() or {}).get("origin")
            found = load_file(self._path)
        except (OSError, SafetensorError) as error:
            raise FolderError(f"{self._path}: expected an unfinished evaluation, got {error!r}; remove it") from error
        if origin != self._origin:
            raise ConfigError(
                f"{self._path}: is of another model, text or way of evaluation; give another file, or remove this one"
            )
        return found

    @property
    def is_due(self) -> bool:
        """Whether it is time to `keep`: a few minutes have gone by."""
        return self._path is not None and time.monotonic() - self._last >= SECONDS_BETWEEN

    def keep(self, tensors: Mapping[str, Tensor]) -> None:
        """Write all that is needed to go on. Raises: FolderError if it cannot be written."""
        assert self._path is not None, "nothing is due"
        found = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
        with atomic_write(self._path, "wb") as file:
            file.write(save(found, {"origin": self._origin}))
        self._last = time.monotonic()

    def remove(self) -> None:
        """The evaluation is done."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
