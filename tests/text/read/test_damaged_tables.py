"""Parquet and JSON that lead their parsers to unusual exceptions: all are a DataError that names the file."""

import contextlib

import pyarrow
import pyarrow.parquet
import pytest
from support.data_files import read, write

from ulmkit.errors import DataError

TEXTS = ["the film", "was fine"]


def table(**columns):
    return pyarrow.table({"text": TEXTS, "label": ["a", "b"], **columns})


def with_metadata(content):
    return table().replace_schema_metadata({b"huggingface": content})


@pytest.mark.parametrize(
    "content",
    [
        with_metadata(b"[]"),
        with_metadata(b"null"),
        with_metadata(b"\xff"),
        with_metadata(b"[" * 100_000),
        with_metadata(b'{"info": {"features": []}}'),
        with_metadata(b'{"info": ' + b"9" * 5000 + b"}"),
        table().set_column(0, "text", pyarrow.array([b"\xff", b"\xfe"]).view(pyarrow.string())),
    ],
)
def test_tables_of_unusual_content(tmp_path, content):
    pyarrow.parquet.write_table(content, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: not a readable parquet file \("):
        read(tmp_path / "a.parquet")


def test_a_column_that_is_there_twice(tmp_path):
    pyarrow.parquet.write_table(table().append_column("text", pyarrow.array(TEXTS)), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: expected each column once, got 'text' twice"):
        read(tmp_path / "a.parquet")


def test_times_beyond_pythons(tmp_path):
    times = pyarrow.array([2**62, 0], pyarrow.timestamp("us"))
    pyarrow.parquet.write_table(table(time=times), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: not a readable parquet file \("):
        read(tmp_path / "a.parquet", time_column="time")


@pytest.mark.parametrize("place", [0, 4, 30, 120, 200, -1, -5, -9, -40, -120])
@pytest.mark.parametrize("damage", ["flip", "cut", "insert"])
def test_damaged_bytes(tmp_path, place, damage):
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(table(), path)
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[place] ^= 0x5A
    elif damage == "cut":
        del data[place:]
    else:
        data[place:place] = b"\xff" * 7
    path.write_bytes(data)
    with contextlib.suppress(DataError):  # some bytes do not matter
        read(path)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"text": ' * 300 + "1" + "}" * 300, '{"text": ' + "9" * 5000 + "}"]
)
def test_json_lines_that_are_deep_or_endless(tmp_path, content):
    path = write(tmp_path / "a.jsonl", '{"text": "a"}\n' + content + "\n")
    with pytest.raises(DataError, match=r"a\.jsonl, line 2: not valid JSON \("):
        read(path)
    path = write(tmp_path / "wiki_00", '{"text": "a", "id": 1, "title": "b"}\n{"a": ' + content + "}\n")
    with pytest.raises(DataError, match=r"wiki_00, line 2: not valid JSON \("):
        read(path)
