"""Corpora that somebody altered, with sizes and checksums made right again."""

import json
import os

import numpy as np
import pytest

from ulmkit.errors import FolderError
from ulmkit.files import list_files
from ulmkit.tasks import find_label_kind
from ulmkit.text import Document, EncodedCorpus, WhitespaceTokenizer, build_corpus

TEXTS = ("the film was fine", "the film was poor", "a story")


@pytest.fixture
def folder(tmp_path):
    documents = [Document(text, "ab"[number % 2], columns={"x": "y"}) for number, text in enumerate(TEXTS)]
    kind = find_label_kind("single")
    build_corpus(documents, tmp_path / "corpus", tokenizer=WhitespaceTokenizer(), label_kind=kind, workers=1)
    return tmp_path / "corpus"


def edit(folder, **changes):
    path = folder / "corpus.json"
    content = json.loads(path.read_text())
    files = {name: vars(entry) for name, entry in list_files(folder).items() if name in content["files"]}
    path.write_text(json.dumps({**content, "files": files, **changes}))


def use(folder):
    corpus = EncodedCorpus.open(folder, verify=True)
    rows = corpus.rows()
    corpus.labels(rows)
    corpus.column("x", rows)
    corpus.tokenizer.tokenize("a")
    return corpus.stream(rows).read(0, len(corpus.stream(rows)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtypes": {}}, "dtypes: expected the type of 'tokens'"),
        ({"dtypes": {"tokens": "object"}}, "dtypes: got 'object'; "),
        ({"dtypes": {"tokens": 8}}, "tokens: expected str"),
        ({"tokenizer": {"name": [], "fingerprint": ""}}, "tokenizer.name: expected str"),
        ({"tokenizer": {"name": "spcy", "fingerprint": ""}}, "tokenizer: got 'spcy'; did you mean 'spacy'"),
        ({"tokenizer": {"name": "bytes", "fingerprint": ""}}, "expected 'bytes', got 'whitespace'"),
        ({"shard_tokens": 0}, "shard_tokens: expected a whole number of at least 1, got 0"),
        ({"shard_tokens": 1}, "expected 1 to 1 ids of type uint8, got 13 bytes"),
        ({"split_names": ["train", "test"]}, "splits: expected those in split_names"),
        ({"split_names": []}, "splits: expected those in split_names"),
        ({"label_names": ["a"]}, "label.npy: does not fit the corpus"),
        ({"table": ["offset", "length"]}, "words.npy: does not fit the corpus"),
        ({"table": ["../../secret"]}, "expected it in the list of the folder's files"),
        ({"files": {}}, "expected it in the list of the folder's files, got none"),
    ],
)
def test_altered_facts(folder, changes, message):
    use(folder)
    edit(folder, **changes)
    with pytest.raises(FolderError, match=message):
        use(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("offset", np.array([-1, 5, 10])),
        ("offset", np.array([0, 5, 10**15])),
        ("length", np.array([5, -5, 3])),
        ("length", np.array([5, 5])),
        ("length", np.array([5, 5, 2**62])),
        ("words", np.array([4.0, 4.0, 2.0])),
        ("split", np.array([0, 0, 7], dtype=np.int16)),
        ("split", np.array([0, 0, -1], dtype=np.int16)),
        ("label", np.array([0, 1, 2])),
        ("label", np.array([[0], [1], [0]])),
        ("label", np.array(["a", "b", "a"])),
        ("column_0", np.array([0, 0, 9])),
        ("column_0", np.array([0.0, 0.0, 0.0])),
        ("time", np.array([None, None, None], dtype=object)),
        ("boundary", np.array(3)),
    ],
)
def test_altered_columns_of_the_table(folder, name, value):
    np.save(folder / "table" / f"{name}.npy", value, allow_pickle=True)
    edit(folder)
    with pytest.raises(FolderError, match=f"({name}|length).npy: |column 'x' does not fit its names"):
        use(folder)


@pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\0\x04\0((((" + bytes(99)])
def test_damaged_columns(folder, content):
    (folder / "table" / "group.npy").write_bytes(content)
    edit(folder)
    with pytest.raises(FolderError, match=r"group\.npy: not a readable array"):
        use(folder)


def test_ids_that_the_vocabulary_lacks(folder):
    path = folder / "tokens-00000.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    edit(folder)
    with pytest.raises(FolderError, match=r"tokens-00000\.bin: expected ids below 9, got 255; prepare"):
        use(folder)


@pytest.mark.parametrize("content", ["[]", "{}", '{"group": [], "columns": {"x": "y"}}', "[" * 9999])
def test_altered_names(folder, content):
    (folder / "names.json").write_text(content)
    edit(folder)
    with pytest.raises(FolderError, match=r"names\.json: "):
        use(folder)


def test_a_pipe_in_place_of_a_column_is_not_opened(folder):
    (folder / "table" / "group.npy").unlink()
    os.mkfifo(folder / "table" / "group.npy")
    with pytest.raises(FolderError, match=r"group\.npy: expected a regular file"):
        use(folder)
