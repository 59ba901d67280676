"""Standard input as DATA."""

import gzip
import io
from types import SimpleNamespace

import pytest
from support.data_files import read, write_parquet

from ulmkit.errors import DataError
from ulmkit.text.read import standard_input
from ulmkit.text.read.document import Document
from ulmkit.text.read.documents import DocumentSource


@pytest.fixture
def pipe(monkeypatch):
    """Give bytes as standard input."""

    def give(content):
        standard_input.spool_standard_input.cache_clear()
        data = content if isinstance(content, bytes) else content.encode()
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data), closed=False))

    yield give
    standard_input.spool_standard_input.cache_clear()


@pytest.mark.parametrize(
    "content",
    [
        "text,label\none,x\n",
        "text\tlabel\none\tx\n",
        "label;text\nx;one\n",
        '{"text": "one", "label": "x"}\n',
        '[\n{"text": "one", "label": "x"}\n]',
        gzip.compress(b"text,label\none,x\n", mtime=0),
    ],
)
def test_format_by_content(pipe, content):
    pipe(content)
    assert read("-") == [Document("one", "x")]


@pytest.mark.parametrize("content", ["I like it, really\nNo, I do not\n", "[laughs] yes\nNo\n", "one\ntwo\n"])
def test_other_content_is_text(pipe, content):
    pipe(content)
    assert read("-") == [Document(content)]
    assert [document.text for document in read("-", lines=True)] == content.splitlines()


def test_words_and_parquet(pipe, tmp_path):
    pipe("# id\n1\tone\t_\tNUM\t_\t_\t_\t_\t_\t_\n")
    assert read("-", task="tokens") == [Document("one", ("NUM",), ("one",))]
    pipe(write_parquet(tmp_path / "a.parquet", {"text": ["one"]}).read_bytes())
    assert read("-") == [Document("one")]


def test_it_is_read_again_and_has_a_name(pipe):
    pipe("text\none\n")
    source = DocumentSource("-")
    assert list(source) == list(source) == [Document("one")]
    assert source.description == "standard input"
    assert len(source.files()) == 1


def test_format_can_be_said(pipe):
    pipe("one O\ntwo O\n")
    assert read("-", task="tokens", format="conll") == [Document("one two", ("O", "O"), ("one", "two"))]


def test_nothing_on_standard_input(pipe):
    pipe("")
    with pytest.raises(DataError, match="standard input: expected data, got none"):
        read("-")
