"""One long array of ids on disk, in files of equal length, written once and memory-mapped."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

SHARD_TOKENS = 1 << 27


class ShardWriter:
    """Appends ids to STEM-00000.bin, STEM-00001.bin, ... in a folder.

    Args:
        folder: Where the files are written.
        stem: First part of their names.
        dtype: Type that an id is stored as.
        shard_tokens: Ids in each file but the last.
    """

    def __init__(self, folder: Path, stem: str, dtype: np.dtype, shard_tokens: int = SHARD_TOKENS) -> None:
        self.folder = folder
        self.stem = stem
        self.dtype = dtype
        self.shard_tokens = shard_tokens
        self.paths: list[Path] = []
        self._file: IO[bytes] | None = None
        self._room = 0

    def write(self, ids: np.ndarray) -> None:
        """Append `ids`, (n,) of any integer type that fits."""
        while len(ids):
            if not self._room:
                self._next()
            part, ids = ids[: self._room], ids[self._room :]
            self._file.write(part.astype(self.dtype, copy=False).tobytes())  # type: ignore[union-attr]
            self._room -= len(part)

    def _next(self) -> None:
        self.close()
        self.paths.append(self.folder / f"{self.stem}-{len(self.paths):05d}.bin")
        self._file = self.paths[-1].open("wb")
        self._room = self.shard_tokens

    def close(self) -> None:
        """Write out what is buffered."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._room = 0

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class ShardReader:
    """Random access to the files of a ShardWriter.

    Args:
        paths: The files, in order.
        dtype: Type of the stored ids.
        shard_tokens: Ids in each file but the last.
    """

    def __init__(self, paths: Sequence[Path], dtype: np.dtype, shard_tokens: int = SHARD_TOKENS) -> None:
        self.shard_tokens = shard_tokens
        self.dtype = dtype
        self._maps = [np.memmap(path, dtype=dtype, mode="r") for path in paths]

    def __len__(self) -> int:
        return sum(map(len, self._maps))

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read the ids at start, ..., stop - 1, in the stored type; within one file they are a view, not a copy."""
        first, last = start // self.shard_tokens, max(start, stop - 1) // self.shard_tokens
        if start >= stop:
            return np.zeros(0, self.dtype)
        parts = []
        for shard in range(first, last + 1):
            base = shard * self.shard_tokens
            parts.append(self._maps[shard][max(start - base, 0) : stop - base])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
