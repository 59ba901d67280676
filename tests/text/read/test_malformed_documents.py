"""Files, rows and options that are refused, and what is said of them."""

import pytest
from support.data_files import read, write

from ulmkit.errors import ConfigError, DataError


def test_empty_file(tmp_path):
    with pytest.raises(DataError, match=r"a\.txt: the file is empty"):
        read(write(tmp_path / "a.txt", ""))


@pytest.mark.parametrize(("name", "content"), [("a.txt", " \n "), ("a.csv", "text\n''\n".replace("''", '" "'))])
def test_no_text_at_all(tmp_path, name, content):
    with pytest.raises(DataError, match=r"expected text, got 1 documents without any"):
        read(write(tmp_path / name, content))


def test_header_alone(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv: expected documents, got none"):
        read(write(tmp_path / "a.csv", "text,label\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"abc\nca\xe9f\n", r"expected UTF-8 text, got byte 0xe9 at offset 6 \(line 2\); .*iconv"),
        (b"abc\nPK\0\1", r"got a binary file \(zero byte at offset 6 \(line 2\)\)"),
        ("abc".encode("utf-16"), r"expected UTF-8 text, got UTF-16"),
    ],
)
@pytest.mark.parametrize("lines", [False, True])
def test_binary_and_wrongly_encoded_files(tmp_path, content, message, lines):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / "a.txt", content), lines=lines)


def test_wrong_encoding_after_a_byte_order_mark(tmp_path):
    with pytest.raises(DataError, match=r"byte 0xff at offset 4 \(line 1\)"):
        read(write(tmp_path / "a.txt", b"\xef\xbb\xbfa\xff"))


def test_unknown_extension(tmp_path):
    with pytest.raises(
        DataError, match=r"unknown kind of file '\.jsn'; did you mean '\.json'\? there are: \.txt, \.csv"
    ):
        read(write(tmp_path / "a.jsn", "{}"))


def test_damaged_parquet(tmp_path):
    with pytest.raises(DataError, match=r"a\.parquet: not a readable parquet file"):
        read(write(tmp_path / "a.parquet", "not parquet at all"))


@pytest.mark.parametrize("option", ["text_column", "label_column", "group_column", "time_column", "split_column"])
def test_misnamed_column(tmp_path, option):
    path = write(tmp_path / "a.csv", "text,label\nx,y\n")
    with pytest.raises(DataError, match=r"has no column 'labell'; did you mean 'label'\? there are: text, label"):
        read(path, **{option: "labell"})


def test_misnamed_kept_column(tmp_path):
    with pytest.raises(DataError, match=r"has no column 'lang'; there are: text"):
        read(write(tmp_path / "a.csv", "text\nx\n"), columns=["lang"])


def test_no_text_column_to_choose(tmp_path):
    path = write(tmp_path / "a.csv", "title,body\nx,y\n")
    with pytest.raises(DataError, match=r"a column 'text' or one text column alone, got the columns title, body"):
        read(path)
    with pytest.raises(DataError, match=r"expected 2 text columns, got the columns text; name it"):
        read(write(tmp_path / "b.csv", "text\nx\n"), task="pair")
    with pytest.raises(DataError, match=r"expected a column 'tokens', got the columns text"):
        read(write(tmp_path / "b.csv", "text\nx\n"), task="tokens")


def test_wrong_number_of_text_columns(tmp_path):
    path = write(tmp_path / "a.csv", "a,b\nx,y\n")
    with pytest.raises(DataError, match=r"expected 2 text columns \(task=\"pair\"\), got a"):
        read(path, task="pair", text_column="a")
    with pytest.raises(DataError, match=r"expected one column \(task=\"tokens\"\), got a, b"):
        read(path, task="tokens", text_column=["a", "b"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\nx,y\nz\n", r"a\.csv, line 3: expected 2 fields, got 1"),
        ("a.csv", 'text\nx\n"open', r"a\.csv, line 3: not valid CSV"),
        ("a.tsv", 'text\tlabel\n"x\ny"\tz\n', r"a\.tsv, line 2: expected 2 fields, got 1; in \.tsv a line is a row"),
        ("a.csv", "text,text\nx,y\n", r"expected each column once, got 'text' twice"),
        ("a.jsonl", '{"text": "a"}\n{"text": \n', r"a\.jsonl, line 2: not valid JSON"),
        ("a.jsonl", '{"text": "a"}\n["b"]\n', r"a\.jsonl, line 2: expected a JSON object, got '\[\"b\"\]'"),
        ("a.jsonl", '{"text": "a"}\n{"txt": "b"}\n', r"a\.jsonl, line 2: has no column 'text'; did you mean 'txt'"),
        ("a.jsonl", '{"text": 5}\n', r"line 1: column 'text': expected text, got 5"),
    ],
)
def test_malformed_rows(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / name, content))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.conll", "word\n", r"line 1: expected a word and its label, got 'word'"),
        ("a.jsonl", '{"tokens": ["a"], "labels": ["O", "O"]}', r"line 1: expected a label for each of 1 tokens, got 2"),
        ("a.jsonl", '{"tokens": "a b", "labels": ["O"]}', r"column 'tokens': expected a list of words, got 'a b'"),
        ("a.jsonl", '{"tokens": ["a"], "labels": "O"}', r"expected a list of labels, got 'O'"),
        (
            "a.jsonl",
            '{"tokens": ["a"], "labels": [null]}',
            r"a label at each position of the list, got \[None\]",
        ),
    ],
)
def test_malformed_token_labels(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / name, content), task="tokens")


@pytest.mark.parametrize(("time", "shown"), [("soon", "'soon'"), ("20x", "'20x'")])
def test_malformed_time(tmp_path, time, shown):
    path = write(tmp_path / "a.csv", f"text,when\nx,{time}\n")
    with pytest.raises(DataError, match=rf"line 2: column 'when': expected a number or an ISO date .*, got {shown}"):
        read(path, time_column="when")


def test_time_of_another_type(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"text": "x", "when": [1]}')
    with pytest.raises(DataError, match=r"expected a number or a date, got \[1\]"):
        read(path, time_column="when")


def test_unknown_split(tmp_path):
    write(tmp_path / "train.txt", "x")
    write(tmp_path / "test.txt", "x")
    with pytest.raises(DataError, match=r"split: got trian; did you mean 'train'\? there are: "):
        read(tmp_path, split="trian")


def test_unknown_task():
    with pytest.raises(ConfigError, match=r"task: got 'singel'; did you mean 'single'"):
        read(["a"], task="singel")
