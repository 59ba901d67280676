"""The exported text reader finds the ids that the tokenizer and the vocabulary give."""

import importlib.util
import json
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.special_texts import LIKE_SPECIALS

from ulmkit.portable.folder import write_reader
from ulmkit.portable.text_reader import TextReader
from ulmkit.text.corpus.token_stream import reverse_document
from ulmkit.text.tokens.plain_tokenizers import ByteTokenizer, WhitespaceTokenizer
from ulmkit.text.tokens.sentencepiece_training import train_sentencepiece
from ulmkit.text.tokens.spacy_tokenizer import SpacyTokenizer
from ulmkit.text.tokens.tokenizer import Tokenizer
from ulmkit.text.tokens.vocabulary import Vocabulary

TEXTS = (
    *("", " ", "The printer is JAMMED again.", "Sci-Fi/Fantasy #1 ...", "no no no no! Nooooo!!!", "a\nb\n\nc\n"),
    *(
        "He said “Yes” & left<br />www.example.org/a#b",
        "日本語の文。Café naïve 😀 xxbos\u200b",
        "the end.Then O'Neil's",
    ),
    "x" * 700,
)
TRAINING = [*TEXTS, *("the printer on the second floor is jammed " + word for word in ("again", "today", "and late"))]
TOKENIZERS: tuple[Tokenizer, ...] = (
    SpacyTokenizer("en"),
    train_sentencepiece(TRAINING, 60),
    WhitespaceTokenizer(),
    ByteTokenizer(),
)
ANY_TEXT = LIKE_SPECIALS | st.text(st.sampled_from("aAbB .!#/\n-xX'1é中"), max_size=30)


def write_folder(folder, tokenizer: Tokenizer, direction: str = "forward") -> Vocabulary:
    """Write what a text reader needs."""
    vocabulary = tokenizer.closed_vocabulary() or tokenizer.build_vocabulary(
        dict.fromkeys((token for text in TRAINING for token in tokenizer.tokenize(text)), 3), 40
    )
    vocabulary.save(folder / "vocabulary.json")
    (folder / "tokenizer").mkdir()
    tokenizer.save(folder / "tokenizer")
    config = {"label_names": ["a", "b"], "state_size": 5, "direction": direction}
    (folder / "config.json").write_text(json.dumps(config))
    return vocabulary


@pytest.fixture(scope="module", params=TOKENIZERS, ids=lambda tokenizer: tokenizer.name)
def reading(request, tmp_path_factory):
    """A tokenizer, a vocabulary and the text reader for them."""
    folder = tmp_path_factory.mktemp("reader")
    vocabulary = write_folder(folder, request.param)
    return request.param, vocabulary, TextReader(folder)


def test_texts(reading) -> None:
    tokenizer, vocabulary, reader = reading
    for text in TEXTS:
        assert reader.tokens(text) == tokenizer.tokenize(text)
        assert reader.ids(text).tolist() == vocabulary.encode(tokenizer.tokenize(text)).tolist()
    if tokenizer.name != "whitespace":
        assert reader.tokens(("A title", "and a text")) == tokenizer.tokenize(("A title", "and a text"))


@settings(max_examples=20, deadline=None)
@given(text=ANY_TEXT)
def test_any_text(reading, text: str) -> None:
    tokenizer, _, reader = reading
    assert reader.tokens(text) == tokenizer.tokenize(text)


def test_batches_are_padded(tmp_path) -> None:
    vocabulary = write_folder(tmp_path, ByteTokenizer())
    reader = TextReader(tmp_path)
    ids, lengths = reader.batch(["ab", ""])
    assert lengths.tolist() == [3, 1]
    assert ids.tolist() == [vocabulary.encode(["xxbos", "<0x61>", "<0x62>"]).tolist(), [vocabulary.bos_id, 0, 0]]
    assert reader.start(2).shape == (2, 5)
    assert reader.batch([])[0].shape == (0, 1)


def test_a_backward_model_reads_from_the_end(tmp_path) -> None:
    vocabulary = write_folder(tmp_path, ByteTokenizer(), "backward")
    forward = vocabulary.encode(ByteTokenizer().tokenize("abc"))
    assert TextReader(tmp_path).ids("abc").tolist() == reverse_document(forward, vocabulary.bos_id).tolist()


def test_unknown_words_without_a_token_for_them(tmp_path) -> None:
    write_folder(tmp_path, WhitespaceTokenizer())
    Vocabulary(["a", "<eos>"]).save(tmp_path / "vocabulary.json")
    reader = TextReader(tmp_path)
    assert reader.ids("a a").tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="text: has a word that the vocabulary lacks"):
        reader.ids("a b")


def test_the_copies_import_each_other_alone(tmp_path, monkeypatch) -> None:
    write_folder(tmp_path, TOKENIZERS[1])
    write_reader(tmp_path / "text_reader")
    allowed = {*sys.stdlib_module_names, "numpy", "sentencepiece", "spacy", ""}  # "" before the dot of a copy's name
    for path in (tmp_path / "text_reader").iterdir():
        imported = re.findall(r"^ *(?:from|import) (\w*)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert imported
        assert allowed.issuperset(imported)
    place = tmp_path / "text_reader" / "__init__.py"
    spec = importlib.util.spec_from_file_location("copied_reader", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "copied_reader", module)
    spec.loader.exec_module(module)
    assert module.field_chunks.__module__ == "copied_reader.parts"
    reader = module.TextReader()  # finds the folder that it was written into
    for text in TEXTS:
        assert reader.tokens(text) == TOKENIZERS[1].tokenize(text)
