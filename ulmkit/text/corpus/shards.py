"""One long array of ids on disk, in files of equal length, written once and memory-mapped."""

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from ulmkit.errors import FolderError

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
        limit: All ids are below this.

    Raises:
        FolderError: If a file does not hold the number of ids that its place calls for.
    """

    def __init__(
        self, paths: Sequence[Path], dtype: np.dtype, shard_tokens: int = SHARD_TOKENS, limit: int | None = None
    ) -> None:
        self.shard_tokens = shard_tokens
        self.dtype = dtype
        self._limit = limit
        self._paths = list(paths)
        for path in paths:
            size = path.stat().st_size
            if size % dtype.itemsize or not 0 < size <= shard_tokens * dtype.itemsize:
                raise FolderError(f"{path}: expected 1 to {shard_tokens} ids of type {dtype}, got {size} bytes")
            if path != self._paths[-1] and size != shard_tokens * dtype.itemsize:
                raise FolderError(f"{path}: expected {shard_tokens} ids of type {dtype}, got {size} bytes")
        self._maps = [np.memmap(path, dtype=dtype, mode="r") for path in paths]

    def __len__(self) -> int:
        return sum(map(len, self._maps))

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read the ids at start, ..., stop - 1, in the stored type; within one file they are a view, not a copy.

        Raises:
            FolderError: If an id is not below the limit.
        """
        if start >= stop:
            return np.zeros(0, self.dtype)
        shards = range(start // self.shard_tokens, (stop - 1) // self.shard_tokens + 1)
        bases = [shard * self.shard_tokens for shard in shards]
        parts = [self._maps[at][max(start - base, 0) : stop - base] for at, base in zip(shards, bases, strict=True)]
        ids = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self._limit is not None and ids.max() >= self._limit:
            raise FolderError(
                f"{self._paths[shards[0]]}: expected ids below {self._limit}, got {ids.max()}; prepare the corpus again"
            )
        return ids

    def release(self) -> None:
        """Give up the memory of what was read, which the system counts as this process's; it can be read again."""
        advice = getattr(mmap, "MADV_DONTNEED", None)  # not on every system
        for mapped in self._maps:
            if advice is not None and isinstance(mapped.base, mmap.mmap):
                mapped.base.madvise(advice)
