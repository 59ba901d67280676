import importlib.metadata
import io
import pickle
import random

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from support.special_texts import LIKE_SPECIALS

from ulmkit.errors import DataError, FolderError, MissingPackageError
from ulmkit.text.tokens import chunked_tokenizer
from ulmkit.text.tokens.parts import case_segments
from ulmkit.text.tokens.rules import SPECIALS
from ulmkit.text.tokens.sentencepiece_tokenizer import RESERVED, SentencePieceTokenizer
from ulmkit.text.tokens.sentencepiece_training import train_sentencepiece

ENGLISH_TEXT = (
    "the cat sat on a mat and The Dog said No no no way in 2000 BAD-ASS sci-fi wow!!! “quoted” (so) it's and/or"
)
CHINESE_TEXT = "我们 今天 去了 商店 但是 没有 买 东西 。 ， 天气 很好 ！"
WORDS = ENGLISH_TEXT.split()


def make_texts(words: list[str], count: int = 60, separator: str = " ") -> list[str]:
    chooser = random.Random(0)
    return [separator.join(chooser.choices(words, k=20)) for _ in range(count)]


ENGLISH = train_sentencepiece(make_texts(WORDS), pieces=120)
BPE = train_sentencepiece(make_texts(WORDS), pieces=120, pieces_kind="bpe")
CHINESE = train_sentencepiece(make_texts(CHINESE_TEXT.split(), separator=""), 80)
TOKENIZERS = pytest.mark.parametrize("tokenizer", [ENGLISH, BPE, CHINESE], ids=["unigram", "bpe", "chinese"])


@TOKENIZERS
def test_closed_vocabulary_is_the_model_s_own(tokenizer: SentencePieceTokenizer) -> None:
    vocabulary = tokenizer.closed_vocabulary()
    assert vocabulary.tokens[:9] == SPECIALS
    assert vocabulary.tokens[: len(RESERVED)] == RESERVED
    model = tokenizer._processor
    assert list(vocabulary.tokens) == [model.id_to_piece(number) for number in range(model.get_piece_size())]
    assert (vocabulary.unk_id, vocabulary.pad_id, vocabulary.bos_id, vocabulary.eos_id) == (0, 1, 2, 3)


@TOKENIZERS
def test_tokens_of_known_characters_are_in_the_vocabulary(tokenizer: SentencePieceTokenizer) -> None:
    vocabulary = tokenizer.closed_vocabulary()
    text = "我们没有东西。今天！" if tokenizer is CHINESE else "The Dog said:\n\nno no no sci-fi"
    known = [token for token in tokenizer.tokenize(text) if token in vocabulary]
    assert len(known) >= len(tokenizer.tokenize(text)) - 1  # the colon
    assert 0 in vocabulary.encode(tokenizer.tokenize("☃"))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", "xxbos"),
        ("The the", "xxbos xxmaj ▁the ▁the"),
        ("the\n\nthe", "xxbos ▁the \n\n ▁the"),
        ("no no no no", "xxbos xxwrep ▁ 4 ▁no"),
        ("no!!! no", "xxbos ▁no xxrep ▁3 ▁! ▁no"),
        (("the", "The"), "xxbos xxfld ▁ 1 ▁the xxfld ▁2 xxmaj ▁the"),
    ],
)
def test_tokens(text: str | tuple[str, ...], tokens: str) -> None:
    assert BPE.tokenize(text) == tokens.split(" ")


@pytest.mark.parametrize(
    ("part", "is_glued", "segments"),
    [
        ("the", False, [("", " the")]),
        ("the", True, [("", "the")]),
        ("The", False, [("xxmaj", " the")]),
        ("The", True, [("xxmaj", "the")]),
        ("Sci-Fi", False, [("xxmaj", " sci-"), ("xxmaj", "fi")]),
        ('"Hello', False, [("", ' "'), ("xxmaj", "hello")]),
        ("iPhone", False, [("", " iphone")]),
    ],
)
def test_case_segments(part: str, is_glued: bool, segments: list[tuple[str, str]]) -> None:
    assert case_segments(part, is_glued) == segments


# "and and and/or" is left out: repeated words are folded, and the slash then gets a space before it.
SHOWN = (
    st.lists(st.sampled_from([*WORDS, "NASA's", "DON'T", '"Hello', "Sci-Fi,", "AT&T", "wait…what", "x"]), max_size=10)
    .map(" ".join)
    .filter(lambda text: "and and and/or" not in text)
)


@given(SHOWN)
@settings(max_examples=150, deadline=None)
def test_detokenize_is_the_inverse(text: str) -> None:
    for tokenizer in (ENGLISH, BPE):
        assert tokenizer.detokenize(tokenizer.tokenize(text)) == text.replace("…", "...")  # NFKC


@pytest.mark.parametrize("text", ["我们去了商店。但是没有买东西！", "天气很好，今天"])
def test_language_without_spaces(text: str) -> None:
    tokens = CHINESE.tokenize(text)
    assert len(tokens) <= len(text)
    assert 0 not in CHINESE.closed_vocabulary().encode(tokens)
    assert CHINESE.detokenize(tokens) == text.replace("，", ",").replace("！", "!")  # NFKC


@pytest.mark.parametrize("tokenizer", [ENGLISH, CHINESE], ids=["english", "chinese"])
@given(text=LIKE_SPECIALS)
@settings(max_examples=400, deadline=None)
def test_any_text_can_be_tokenized_and_no_special_token_comes_from_it(
    tokenizer: SentencePieceTokenizer, text: str
) -> None:
    tokens = tokenizer.tokenize(text)
    assert tokens[0] == "xxbos"
    assert not set(tokens[1:]) & {"xxbos", "xxeos", "xxpad", "xxfld"}
    assert tokenizer.tokenize_many([text, "", text]) == [tokens, ["xxbos"], tokens]


def test_unknown_characters_that_normalise_to_a_special_name_are_unknown() -> None:
    assert CHINESE.tokenize("ｘｘｂｏｓ") == ["xxbos", "▁", "xxunk"]
    assert CHINESE.tokenize("我ｘｘｆｌｄ") == ["xxbos", "▁", "我", "xxunk"]


def test_parts_of_long_chunks_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["，".join(f"我们{number}去了{part}" for part in range(60)) for number in range(40)]
    expected = [CHINESE.tokenize(text) for text in texts]
    monkeypatch.setattr(chunked_tokenizer, "MAX_CACHED_CHARACTERS", 1000)
    tokenizer = pickle.loads(pickle.dumps(CHINESE))
    for text, tokens in zip(texts, expected, strict=True):
        assert len(text) > 256
        assert tokenizer.tokenize(text) == tokens
        assert sum(map(len, tokenizer._part_cache)) <= 1000


def test_pickle_and_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    copy = pickle.loads(pickle.dumps(ENGLISH))
    assert copy.tokenize("The cat") == ENGLISH.tokenize("The cat")
    assert copy.fingerprint == ENGLISH.fingerprint
    assert len({ENGLISH.fingerprint, BPE.fingerprint, CHINESE.fingerprint}) == 3
    monkeypatch.setattr(chunked_tokenizer, "RULES_VERSION", 99)
    other_rules = ENGLISH.fingerprint
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0")
    other_version = ENGLISH.fingerprint
    monkeypatch.undo()
    assert len({ENGLISH.fingerprint, other_rules, other_version}) == 3


def test_refuses_what_is_no_model_and_models_with_other_special_tokens() -> None:
    with pytest.raises(DataError, match="expected a model's bytes, got 7 bytes that are not a model"):
        SentencePieceTokenizer(b"nothing")
    with pytest.raises(DataError, match="expected a model's bytes, got 0 bytes that are not a model"):
        SentencePieceTokenizer(b"")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(make_texts(WORDS)), model_writer=model, vocab_size=50, minloglevel=2
    )
    with pytest.raises(DataError, match="expected the special tokens xxunk.*as its first pieces, got <unk>, <s>, </s>"):
        SentencePieceTokenizer(model.getvalue())


def test_sentencepiece_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sentencepiece", None)
    with pytest.raises(MissingPackageError, match="sentencepiece: is not installed; run: pip install sentencepiece"):
        SentencePieceTokenizer(b"")
    with pytest.raises(MissingPackageError, match="sentencepiece: is not installed"):
        train_sentencepiece(["a"])


def test_saved_model_is_checked(tmp_path) -> None:
    ENGLISH.save(tmp_path)
    path = tmp_path / "spm.model"
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    with pytest.raises(FolderError, match="spm.model: expected SHA-256 .*truncated or was altered"):
        SentencePieceTokenizer.from_settings(tmp_path, model_sha256=ENGLISH.settings["model_sha256"])
    path.unlink()
    with pytest.raises(FolderError, match="spm.model: no such file"):
        SentencePieceTokenizer.from_settings(tmp_path, model_sha256=ENGLISH.settings["model_sha256"])
