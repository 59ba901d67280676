"""Ids on disk, memory-mapped."""

import sys
from pathlib import Path

import numpy as np
import pytest

from ulmkit.text.corpus.shards import ShardReader, ShardWriter


def mapped_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile"))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_release_gives_up_what_was_read(tmp_path):
    ids = np.arange(1 << 23, dtype=np.uint32)
    writer = ShardWriter(tmp_path, "ids", ids.dtype, shard_tokens=1 << 22)
    writer.write(ids)
    writer.close()
    reader = ShardReader(writer.paths, ids.dtype, shard_tokens=1 << 22)
    part = reader.read(5, 1 << 21)
    before = mapped_bytes()
    assert np.array_equal(reader.read(0, len(ids)), ids)
    for shard in (0, 1):
        reader.read(shard << 22, (shard + 1) << 22).sum()
    assert mapped_bytes() - before > ids.nbytes // 2
    reader.release()
    assert mapped_bytes() - before < ids.nbytes // 8
    assert np.array_equal(part, ids[5 : 1 << 21])
    assert np.array_equal(reader.read(0, len(ids)), ids)
