import math
import os

import pytest

from ulmkit import files
from ulmkit.errors import FolderError
from ulmkit.safe_writes import write_json


def test_json(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"word": "naïve", "n": 1.5})
    assert files.read_json(path) == {"word": "naïve", "n": 1.5}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, math.nan)
    assert files.read_json(path)["n"] == 1.5
    path.write_text('{"word": ')
    with pytest.raises(FolderError, match="not valid JSON.*truncated or was altered"):
        files.read_json(path)
    with pytest.raises(FolderError, match="no such file"):
        files.read_json(tmp_path / "y.json")


def test_checksums(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert files.sha256_file(tmp_path / "x").startswith("ba7816bf8f01cfea")
    assert files.fingerprint({"a": 1, "b": "é"}) == files.fingerprint({"b": "é", "a": 1})
    assert files.fingerprint("a", "b") != files.fingerprint("ab")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 101 + "1" + "}" * 101, "9" * 5000, b"\xff", '{"a": 1', ""])
def test_json_that_is_deep_endless_or_none(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FolderError, match="a.json: not valid JSON"):
        files.read_json(path)
    path.write_text('{"a":' * 99 + "1" + "}" * 99)
    files.read_json(path)


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("pipe", "zero", ".", "loop", "missing"):
        for read in (files.read_json, files.read_bytes, files.sha256_file):
            with pytest.raises(FolderError):
                read(tmp_path / name)
