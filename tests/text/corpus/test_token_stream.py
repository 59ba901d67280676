"""Documents read as one stream of tokens, and the shards beneath."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.corpora import build

from ulmkit.errors import DataError
from ulmkit.text.corpus.shards import ShardReader, ShardWriter
from ulmkit.text.corpus.token_stream import reverse_document
from ulmkit.text.read.document import Document
from ulmkit.text.tokens.plain_tokenizers import ByteTokenizer


@pytest.fixture(scope="module")
def byte_corpus(tmp_path_factory):
    documents = [Document(text) for text in ("abc", "", "de", "fghij", "k")]
    return build(documents, tmp_path_factory.mktemp("streams") / "c", tokenizer=ByteTokenizer())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_stream_reads_as_documents_put_together(byte_corpus, data):
    rows = data.draw(st.lists(st.integers(0, 4), max_size=6))
    order = data.draw(st.none() | st.permutations(range(len(rows))))
    reverse = data.draw(st.booleans())
    stream = byte_corpus.stream(rows, order, reverse=reverse)
    placed = rows if order is None else [rows[at] for at in order]
    documents = [byte_corpus.document(row) for row in placed]
    if reverse:
        documents = [np.concatenate((document[:1], document[:0:-1])) for document in documents]
    whole = np.concatenate([np.zeros(0, np.int64), *documents])
    assert len(stream) == len(whole)
    assert stream.documents == len(rows)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    part = stream.read(start, stop)
    assert part.dtype == np.int64
    np.testing.assert_array_equal(part, whole[start:stop])


def test_stream_turned_twice_and_reordered(byte_corpus):
    stream = byte_corpus.stream([0, 2, 3])
    again = stream.reversed().reversed().reordered([0, 1, 2])
    np.testing.assert_array_equal(again.read(0, len(again)), stream.read(0, len(stream)))
    turned = stream.reordered([2, 0, 1]).reversed()
    expected = [reverse_document(byte_corpus.document(row), byte_corpus.vocabulary.bos_id) for row in (3, 0, 2)]
    np.testing.assert_array_equal(turned.read(0, len(turned)), np.concatenate(expected))


def test_word_documents_are_reversed_whole(tmp_path):
    corpus = build([Document("a b\nc\n")], tmp_path / "c")
    stream = corpus.stream([0], reverse=True)
    assert corpus.vocabulary.decode(stream.read(0, 5)) == ["<eos>", "c", "<eos>", "b", "a"]
    assert reverse_document(np.array([], np.int64), None).tolist() == []


def test_empty_documents_within_a_stream(tmp_path):
    corpus = build([Document(text) for text in ("a", "", "", "b c", "")], tmp_path / "c")
    for reverse, expected in ((False, "a <eos> b c <eos>"), (True, "<eos> a <eos> c b")):
        stream = corpus.stream(range(5), reverse=reverse)
        assert " ".join(corpus.vocabulary.decode(stream.read(0, 5))) == expected
    assert len(corpus.stream([1, 2])) == 0
    assert corpus.stream([1, 2]).read(0, 0).tolist() == []


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2), (0, 99)])
def test_stream_range(byte_corpus, start, stop):
    with pytest.raises(DataError, match=rf"stream: expected 0 <= start <= stop <= 4, got {start} and {stop}"):
        byte_corpus.stream([0]).read(start, stop)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 255), max_size=9), max_size=6), st.integers(1, 7), st.data())
def test_shards_hold_one_long_array(tmp_path_factory, parts, shard_tokens, data):
    folder = tmp_path_factory.mktemp("shards")
    with contextlib.closing(ShardWriter(folder, "tokens", np.dtype(np.uint8), shard_tokens)) as writer:
        for part in parts:
            writer.write(np.array(part, dtype=np.int64))
    whole = [value for part in parts for value in part]
    reader = ShardReader(writer.paths, np.dtype(np.uint8), shard_tokens)
    assert len(reader) == len(whole)
    assert len(writer.paths) == -(-len(whole) // shard_tokens)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    assert reader.read(start, stop).tolist() == whole[start:stop]
