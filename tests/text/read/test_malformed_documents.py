"""Files, rows and options that are refused, and what is said of them."""

import gzip

import pytest
from support.data_files import read, write

from ulmkit.errors import ConfigError, DataError
from ulmkit.text.read.document import Document


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
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", r"a\.txt: .* got a pointer of Git LFS to it"),
    ],
)
@pytest.mark.parametrize("lines", [False, True])
def test_binary_and_wrongly_encoded_files(tmp_path, content, message, lines):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / "a.txt", content), lines=lines)


def test_wrong_encoding_after_a_byte_order_mark(tmp_path):
    with pytest.raises(DataError, match=r"byte 0xff at offset 4 \(line 1\)"):
        read(write(tmp_path / "a.txt", b"\xef\xbb\xbfa\xff"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.xlsx", r"a\.xlsx: expected text or a table, got a spreadsheet; save it as \.csv"),
        ("a.tar.gz", "got an archive; unpack it"),
        ("a.HTML", r"got a document; save it as \.txt"),
        ("a.pkl", r"got a pickle, which may run code when it is read; save the data as \.parquet"),
    ],
)
def test_files_that_are_often_given_say_what_to_do(tmp_path, name, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / name, "x"))


def test_items_of_json_are_objects(tmp_path):
    with pytest.raises(DataError, match=r'item 1: expected a JSON object such as {"text": "..."}, got \'"a"\''):
        read(write(tmp_path / "a.json", '["a", "b"]'))


def test_ndjson_is_jsonl(tmp_path):
    assert read(write(tmp_path / "a.ndjson", '{"text": "a", "label": "x"}\n')) == [Document("a", "x")]


@pytest.mark.parametrize("row", ["'c, d',y", "a\\, b,y", "one"])
def test_rows_of_other_widths_say_how_to_write_them(tmp_path, row):
    with pytest.raises(DataError, match=r"line 3: expected 2 fields, got \d; put a cell that holds ',' or .* twice$"):
        read(write(tmp_path / "a.csv", f"text,label\na,x\n{row}\n"))


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
        ("a.jsonl", '{"text": "a"}\n["b"]\n', r"a\.jsonl, line 2: expected a JSON object such as .*, got '\[\"b\"\]'"),
        ("a.jsonl", '{"text": "a"}\n{"txt": "b"}\n', r"a\.jsonl, line 2: has no column 'text'; did you mean 'txt'"),
        ("a.jsonl", '{"text": 5}\n', r"line 1: column 'text': expected text, got 5"),
        ("a.csv", "| text | label |\n|---|:---|\n| a | x |\n", r"line 2: expected a row, got a line of dashes"),
        ("a.csv", "'text','label'\n'a','x'\n", r"expected cells in double quotes, got 'text'; write '\"' in place"),
        ("a.csv", "“text”,“label”\na,x\n", r"expected cells in double quotes, got “text”"),
        (
            "a.csv",
            '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n',
            r"if it is JSON, say so with format='jsonl'",
        ),
        ("a.csv", "my export\ntext,label\na,x\n", r"line 2: expected 1 fields, got 2; delete lines above the names"),
        ("a.csv", 'text,label\na,x\n"b,y\nc,x\n', r"a double quote in the row that begins in line 3 is never closed"),
        ("a.csv", 'text,label\n"a \\"b\\" c",x\n', r"write a double quote in a cell twice, not with a backslash"),
        ("a.jsonl", "{'text': 'a'}\n{'text': 'b'}\n", r"printed by Python: write it with json.dumps"),
        ("a.csv", "text,body,label\n ,a,x\n,b,y\n", r"2 documents without any in the column 'text'; .* are: 'body'$"),
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
    with pytest.raises(DataError, match=r"has no split trian; did you mean 'train'\? there are: "):
        read(tmp_path, split="trian")


def test_unknown_task():
    with pytest.raises(ConfigError, match=r"task: got 'singel'; did you mean 'single'"):
        read(["a"], task="singel")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text\none\n".encode("utf-32"), r"got UTF-32; convert it: iconv -f UTF-32 -t UTF-8"),
        ("a.csv", "text\none\n".encode("utf-16-le"), r"got UTF-16LE; convert it"),
        ("a.txt", "one\n".encode("utf-16-be"), r"got UTF-16BE; convert it"),
        ("a.csv", gzip.compress(b"text\none\n", mtime=0), r"expected text, got a gzip file; call it a\.csv\.gz"),
        ("a.csv", b"PK\x03\x04\x14\0", r"expected text, got a zip archive or a spreadsheet; unpack it, or save it"),
        ("a.jsonl", b'{"text": "one", "text": "two"}\n', r"line 1: not valid JSON \(key 'text' is there twice\)"),
        ("a.jsonl", b"\n\n", r"a\.jsonl: expected documents, got none"),
        ("a.json", b"[]", r"a\.json: expected documents, got none"),
    ],
)
def test_content_of_another_kind_than_the_name_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "format"),
    [("text,label\none,x\n", "csv"), ('{"text": "one"}\n{"text": "two"}\n', "jsonl"), ("text\none\n", "csv")],
)
def test_text_that_looks_like_rows_is_told(tmp_path, content, format):
    path = write(tmp_path / "a.txt", content)
    with pytest.warns(UserWarning, match=rf"a\.txt: looks like \.{format}, and is read as one document; if it has"):
        assert [document.text for document in read(path)] == [content]


@pytest.mark.parametrize("options", [{"text_column": ["text", "text"]}, {"label_column": ["label", "label"]}])
def test_column_named_twice(tmp_path, options):
    path = write(tmp_path / "a.csv", "text,label\none,1\n")
    role = next(iter(options)).removesuffix("_column")
    with pytest.raises(DataError, match=f"expected each {role} column once, got '{role}' twice; drop one"):
        read(path, task="multi", **options)


def test_text_that_is_to_be_the_label_too(tmp_path):
    path = write(tmp_path / "a.csv", "text,label\none,1\n")
    with pytest.raises(DataError, match="column 'text' is to be both the text and the label; name another"):
        read(path, label_column="text")


def test_data_without_order_or_name():
    with pytest.raises(DataError, match="expected a path, the name of a data set or a list of documents, got set; it"):
        read({"one", "two"})
    with pytest.raises(DataError, match="data: expected a path or the name of a data set, got an empty one"):
        read("")


def test_labels_of_fasttext_are_warned_of(tmp_path):
    with pytest.warns(UserWarning, match=r"a\.txt: the first line begins with __label__, as fastText marks labels"):
        read(write(tmp_path / "a.txt", "__label__pos a great film\n__label__neg a poor one\n"), lines=True)
