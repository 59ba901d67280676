"""Compressed files, JSON arrays, formats that names do not say, and paths that are no files."""

import bz2
import gzip
import lzma
import os

import pyarrow
import pytest
from support.data_files import read, write, write_parquet

from ulmkit.errors import DataError
from ulmkit.text.corpus.fingerprints import data_fingerprint
from ulmkit.text.read.document import Document
from ulmkit.text.read.documents import DocumentSource


def zstd(data: bytes) -> bytes:
    return pyarrow.compress(data, codec="zstd", asbytes=True)


COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}
CONTENT = {
    ".csv": "text,label\none,x\n",
    ".tsv": "text\tlabel\none\tx\n",
    ".jsonl": '{"text": "one", "label": "x"}\n',
    ".json": '[{"text": "one", "label": "x"}]',
}


@pytest.mark.parametrize("suffix", CONTENT)
@pytest.mark.parametrize("compression", COMPRESS)
def test_compressed_tables(tmp_path, suffix, compression):
    write(tmp_path / f"train{suffix}{compression}", COMPRESS[compression](CONTENT[suffix].encode()))
    assert read(tmp_path / f"train{suffix}{compression}") == [Document("one", "x")]
    assert read(tmp_path) == [Document("one", "x", split="train")]


@pytest.mark.parametrize("compression", COMPRESS)
def test_compressed_text_and_words(tmp_path, compression):
    path = write(tmp_path / f"a.txt{compression}", COMPRESS[compression](b"\xef\xbb\xbfone\ntwo\n"))
    assert read(path) == [Document("one\ntwo\n")]
    assert read(path, lines=True) == [Document("one"), Document("two")]
    path = write(tmp_path / f"a.conll{compression}", COMPRESS[compression](b"one O\n"))
    assert read(path, task="tokens") == [Document("one", ("O",), ("one",))]


def test_parts_of_a_compressed_file_are_joined(tmp_path):
    for compression, compress in COMPRESS.items():
        path = write(tmp_path / f"a.txt{compression}", compress(b"one\n") + compress(b"two\n"))
        assert read(path, lines=True) == [Document("one"), Document("two")]


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("lines", [True, False])
def test_damaged_compressed_files_are_named(tmp_path, compression, lines):
    whole = COMPRESS[compression](os.urandom(10_000).hex().encode())
    altered = [] if compression == ".zst" else [whole[:200] + b"damage" + whole[206:]]  # its checksum is optional
    for damaged in (whole[: len(whole) // 2], b"not compressed at all", *altered):
        path = write(tmp_path / f"a.txt{compression}", damaged)
        with pytest.raises(DataError, match=rf"a\.txt\{compression}: (ends too early|not a readable|expected)"):
            read(path, lines=lines)


def test_fingerprints_tell_formats_of_compressed_files_apart(tmp_path):
    one = write(tmp_path / "a.csv.gz", gzip.compress(b"text\nx\n", mtime=0))
    two = write(tmp_path / "a.txt.gz", one.read_bytes())
    assert data_fingerprint(DocumentSource(one)) != data_fingerprint(DocumentSource(two))


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
@pytest.mark.parametrize(
    "content",
    [
        '[{"text": "one", "label": 1}, {"text": "two"}]',
        '\ufeff [\n  {"text": "one",\n   "label": 1},\n  {"text": "two"}\n]\n',
        '{"text": "one", "label": 1}\n\n{"text": "two"}\n',
    ],
)
def test_json_arrays_and_lines(tmp_path, name, content):
    assert read(write(tmp_path / name, content)) == [Document("one", "1"), Document("two")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"text": "one"}, 7]', r"a\.json, item 2: expected a JSON object such as .*, got '7'"),
        ('[{"text": "one"}, {"txt": "two"}]', r"a\.json, item 2: has no column 'text'"),
        ('[{"text": "one"},', r"a\.json: not valid JSON"),
        (
            '{"text": "one"\n}\n{"text": "two"}',
            r"a\.json: expected an array of objects, .* got one over several",
        ),
        ('{"text": "one" "two"}\n{"text": "two"}', r"a\.json, line 1: not valid JSON"),
        ('{"e\u0301": "one", "\u00e9": "two"}\n', r"line 1: expected each key once"),
    ],
)
def test_malformed_json(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / "a.json", content))


def test_keys_are_compared_in_one_unicode_form(tmp_path):
    path = write(
        tmp_path / "a.jsonl", '{"cate\u0301gorie": "x", "text": "one"}\n{"cat\u00e9gorie": "y", "text": "two"}\n'
    )
    for name in ("cat\u00e9gorie", "cate\u0301gorie"):
        assert read(path, label_column=name) == [Document("one", "x"), Document("two", "y")]


def test_parquet_columns_are_compared_in_one_unicode_form(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", {"te\u0301xte": ["one"], "label": [1]})
    assert read(path, text_column="t\u00e9xte") == read(path) == [Document("one", "1")]
    path = write_parquet(tmp_path / "b.parquet", {"e\u0301": ["one"], "\u00e9": ["two"]})
    with pytest.raises(DataError, match=r"b\.parquet: expected each column once, got 'é' twice"):
        read(path)


def test_format_that_the_name_does_not_say(tmp_path):
    path = write(tmp_path / "a.dat", "text;label\none;x\n")
    assert read(path, format="csv") == [Document("one", "x")]
    with pytest.raises(DataError, match=r"unknown kind of file '\.dat'; .*\.csv.*or name the format with format"):
        read(path)
    with pytest.raises(DataError, match=r"format: got 'cvs'; did you mean 'csv'"):
        read(path, format="cvs")


def test_format_chooses_among_the_files_of_a_folder(tmp_path):
    write(tmp_path / "a.csv", "text\none\n")
    write(tmp_path / "b.jsonl", '{"text": "two"}\n')
    assert read(tmp_path, format="jsonl") == [Document("two")]


def test_compressed_parquet_is_no_format(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", {"text": ["x"]})
    with pytest.raises(DataError, match="unknown kind of file"):
        read(path.rename(tmp_path / "a.parquet.gz"))


def test_pipes_and_devices_are_refused_unopened(tmp_path):
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"a\.csv: expected a file, got a pipe; give a regular file, or - for standard"):
        read(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"/dev/null: expected a file, got a device"):
        read("/dev/null")


def test_files_that_cannot_be_opened_are_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.csv", "text\nx\n")

    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match=r"a\.csv: cannot be read \(Permission denied\)"):
        read(path)
