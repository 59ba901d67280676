"""One long array of ids on disk, in files of equal length, written once and memory-mapped."""

from collections.abc import Sequence
from pathlib import Path
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
                self.close()
                self.paths.append(self.folder / f"{self.stem}-{len(self.paths):05d}.bin")
                self._file = self.paths[-1].open("wb")
                self._room = self.shard_tokens
            part, ids = ids[: self._room], ids[self._room :]
            self._file.write(part.astype(self.dtype, copy=False).tobytes())  # type: ignore[union-attr]
            self._room -= len(part)

    def close(self) -> None:
        """Write out what is buffered."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._room = 0


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
        if start >= stop:
            return np.zeros(0, self.dtype)
        shards = range(start // self.shard_tokens, (stop - 1) // self.shard_tokens + 1)
        bases = [shard * self.shard_tokens for shard in shards]
        parts = [self._maps[at][max(start - base, 0) : stop - base] for at, base in zip(shards, bases, strict=True)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
