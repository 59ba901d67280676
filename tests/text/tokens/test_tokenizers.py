import json

import pytest

from ulmkit.errors import FolderError
from ulmkit.text.tokens.tokenizers import (
    ByteTokenizer,
    SpacyTokenizer,
    Tokenizer,
    WhitespaceTokenizer,
    load_tokenizer,
    train_sentencepiece,
)

TEXT = 'The cat said "No no no!"\n\nSooo what? 日本語。'

TOKENIZERS: list[Tokenizer] = [
    SpacyTokenizer("de"),
    train_sentencepiece([TEXT] * 20, 60),
    WhitespaceTokenizer("</s>", "UNK"),
    ByteTokenizer(),
]
EACH = pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda tokenizer: tokenizer.name)


@EACH
def test_every_tokenizer_keeps_the_protocol(tokenizer: Tokenizer) -> None:
    assert isinstance(tokenizer, Tokenizer)


@EACH
def test_save_and_load(tokenizer: Tokenizer, tmp_path) -> None:
    tokenizer.save(tmp_path / "tokenizer")
    loaded = load_tokenizer(tmp_path / "tokenizer")
    assert type(loaded) is type(tokenizer)
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.tokenize(TEXT) == tokenizer.tokenize(TEXT)
    assert loaded.closed_vocabulary() == tokenizer.closed_vocabulary()


def test_fingerprints_differ() -> None:
    assert len({tokenizer.fingerprint for tokenizer in TOKENIZERS}) == len(TOKENIZERS)


@EACH
def test_a_million_tokens(tokenizer: Tokenizer) -> None:
    text = "ab cd ef gh ij " * 20_000
    assert len(tokenizer.tokenize(text)) > 100_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "format version 1, got 'list'"),
        ({"format_version": 7}, "format version 1, got 7"),
        ({"format_version": 1, "name": "spcy", "settings": {}}, "got 'spcy' and {}; did you mean 'spacy'"),
        ({"format_version": 1, "name": "spacy", "settings": None}, "got 'spacy' and None"),
        (
            {"format_version": 1, "name": "spacy", "settings": {"lang": 1}},
            "settings of a spacy tokenizer, got {'lang': 1}",
        ),
        ({"format_version": 1, "name": "bytes", "settings": {"x": 1}}, "settings of a bytes tokenizer, got {'x': 1}"),
    ],
)
def test_load_refuses_altered_files(tmp_path, content: object, message: str) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(FolderError, match=message):
        load_tokenizer(tmp_path)


def test_load_refuses_a_folder_without_tokenizer(tmp_path) -> None:
    with pytest.raises(FolderError, match="tokenizer.json: no such file"):
        load_tokenizer(tmp_path)
