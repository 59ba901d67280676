import html
import importlib.metadata
import pickle
import re

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from support.special_texts import LIKE_SPECIALS

from ulmkit.errors import ConfigError, MissingPackageError
from ulmkit.text.tokens import chunked_tokenizer, spacy_tokenizer
from ulmkit.text.tokens.parts import KEPT_CHUNKS, with_marks
from ulmkit.text.tokens.spacy_tokenizer import SpacyTokenizer
from ulmkit.text.tokens.streaming import StreamingTokens

ENGLISH = SpacyTokenizer("en")
SPACY = spacy.blank("en").tokenizer

# Words on which the rules as fastai has them lose nothing: no capital after a quote or within a word.
WORDS = (
    "the The THE I I'm don't Don't DON'T U.S. mr. Mr. well-known e.g. it's 3.50 $5 2000 no no. No sooo! Wow!!! and/or "
    "#1 what... ..... (yes) [so] :-) A+ 10% C'est naïve — … 5km a.m. cannot gonna 's \" ' , . the. then; x_y 1,000 "
    "日本 http://a.org/b?c=d ))) ©2001 -ish km/h"
)
PART = st.text(min_size=1, max_size=8).filter(lambda text: not re.search("[\\s\ud800-\udfff]", text))


def follow_the_rules(text: str) -> list[str]:
    """The rules one after the other over the whole text, and spaCy over what comes out: slow and plain."""

    def count_words(match: re.Match[str]) -> str:
        has_run = re.search(r"(.)\1\1", match[1])
        return match[0] if has_run else f"xxwrep {len(match[0].split())} {match[1]} "

    text = re.sub(r"(?<!\S)(\w+)(?: \1){2,}(?!\w)", count_words, text)
    text = text.replace("...", " …")
    text = " ".join(
        word if "://" in word else re.sub(r"(\S)\1\1+", lambda m: f" xxrep {len(m[0])} {m[1]} ", word)
        for word in text.split()
    )
    cased = []
    for word in re.sub(r"([/#])", r" \1 ", text).split():
        if re.fullmatch(r"[A-Z][^a-z]+", word):
            cased.append("xxup")
        elif re.fullmatch(r"[A-Z][^A-Z]+", word):
            cased.append("xxmaj")
        cased.append(word.lower())
    return ["xxbos", *[token.text for token in SPACY(" ".join(cased))]]


@given(st.lists(st.sampled_from(WORDS.split()), max_size=12).map(" ".join))
@settings(max_examples=200, deadline=None)
def test_same_tokens_as_the_rules_and_spacy_over_the_whole_text(text: str) -> None:
    assert ENGLISH.tokenize(text) == follow_the_rules(text)


@given(st.lists(PART, min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_splitting_many_parts_at_once_equals_splitting_each(parts: list[str]) -> None:
    splitter = ENGLISH._splitter
    assert spacy_tokenizer._split_words(splitter, parts) == [
        tuple(token.text for token in SPACY(part)) for part in parts
    ]


def test_exceptions_of_spacy_that_hold_white_space_do_not_join_parts() -> None:
    alone = spacy.blank("es").tokenizer
    parts = ["EE.", "UU.", "hola."]
    assert "EE. UU." in [token.text for token in alone(" ".join(parts))]
    expected = [tuple(token.text for token in alone(part)) for part in parts]
    assert spacy_tokenizer._split_words(SpacyTokenizer("es")._splitter, parts) == expected


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", "xxbos"),
        ('He said "Hello Sci-Fi".', 'xxbos xxmaj he said " xxmaj hello xxmaj sci - xxmaj fi " .'),
        ("the end.Then NASA's", "xxbos the end . xxmaj then xxup nasa 's"),
        ("VERY VERY VERY good<br /><br />Next", "xxbos xxwrep 3 xxup very good \n\n xxmaj next"),
        ("xxfld 1", "xxbos xx fld 1"),
        ("a\x00b \ud800", "xxbos a\x00b \ufffd"),
        (("a b", "The c"), "xxbos xxfld 1 a b xxfld 2 xxmaj the c"),
        (("a b",), "xxbos a b"),
        (("no no", "no"), "xxbos xxfld 1 no no xxfld 2 no"),
        (("", ""), "xxbos xxfld 1 xxfld 2"),
    ],
)
def test_tokens(text: str | tuple[str, ...], tokens: str) -> None:
    assert ENGLISH.tokenize(text) == tokens.split(" ")


def test_tokenize_many_equals_tokenize_of_each() -> None:
    texts = ["The end.", "", ("a", "b"), "The end.", "x" * 1000 + " y"] * 60
    assert ENGLISH.tokenize_many(texts) == [SpacyTokenizer("en").tokenize(text) for text in texts[:5]] * 60


@pytest.mark.parametrize(
    ("language", "text", "tokens"),
    [
        ("de", "Das Haus, z.B.", ["xxbos", "xxmaj", "das", "xxmaj", "haus", ",", "z.b."]),
        ("zh", "我们去了。Abc", ["xxbos", "我", "们", "去", "了", "。", "xxmaj", "a", "b", "c"]),
        ("xx", "Ünï cödé.", ["xxbos", "xxmaj", "ünï", "cödé", "."]),
        ("ar", "مرحبا بالعالم.", ["xxbos", "مرحبا", "بالعالم", "."]),
    ],
)
def test_other_languages(language: str, text: str, tokens: list[str]) -> None:
    assert SpacyTokenizer(language).tokenize(text) == tokens


def test_only_the_first_mark_within_a_word_is_kept() -> None:
    assert with_marks(["a.b", "c"], [(0, "xxmaj"), (2, "xxup"), (3, "xxmaj")]) == [
        "xxmaj",
        "a.b",
        "xxmaj",
        "c",
    ]


@given(LIKE_SPECIALS)
@settings(max_examples=400, deadline=None)
def test_any_text_can_be_tokenized_and_no_special_token_comes_from_it(text: str) -> None:
    tokens = ENGLISH.tokenize(text)
    assert tokens[0] == "xxbos"
    assert not set(tokens[1:]) & {"xxbos", "xxeos", "xxpad", "xxfld"}
    assert "xxunk" not in tokens or "<unk>" in html.unescape(text)
    assert all(token == "\n" or token == "\n\n" or token.split() == [token] for token in tokens)


def test_detokenize_is_for_people() -> None:
    text = 'He said "No!" to NASA\'s well-known AT&T.\n\nSo sooo, in 2000!!!'
    assert ENGLISH.detokenize(ENGLISH.tokenize(text)) == text


def test_unknown_language_names_the_valid_ones() -> None:
    with pytest.raises(ConfigError, match="language: expected a code that spaCy has, got 'dee'; did you mean 'de'"):
        SpacyTokenizer("dee")


def test_language_that_needs_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(language: str) -> None:
        raise ImportError("Japanese support requires SudachiPy\nand more")

    monkeypatch.setattr(spacy, "blank", fail)
    with pytest.raises(MissingPackageError, match="language 'ja': .*requires SudachiPy.; .*sentencepiece"):
        SpacyTokenizer("ja")


def test_spacy_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "spacy", None)
    with pytest.raises(MissingPackageError, match="spacy: is not installed; run: pip install spacy"):
        SpacyTokenizer("en")


def test_fingerprint_follows_language_rules_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprints = [ENGLISH.fingerprint, SpacyTokenizer("de").fingerprint]
    monkeypatch.setattr(chunked_tokenizer, "RULES_VERSION", 99)
    fingerprints.append(ENGLISH.fingerprint)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0")
    fingerprints.append(ENGLISH.fingerprint)
    assert len(set(fingerprints)) == 4
    monkeypatch.undo()
    assert SpacyTokenizer("en").fingerprint == fingerprints[0]


def test_pickle_keeps_the_language_and_leaves_the_memory() -> None:
    tokenizer = SpacyTokenizer("de")
    tokenizer.tokenize("Ein Haus " * 3)
    data = pickle.dumps(tokenizer)
    assert len(data) < 200
    assert pickle.loads(data).tokenize("Das Haus") == tokenizer.tokenize("Das Haus")


def test_memory_is_emptied_when_full_and_tokens_stay_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = SpacyTokenizer("xx")
    texts = [f"Word{number} {'y' * 300}" for number in range(40)]
    expected = tokenizer.tokenize_many(texts)
    assert not any(len(chunk) > 256 for chunk in tokenizer._cache)
    assert len(tokenizer._cache) > 40
    monkeypatch.setattr(chunked_tokenizer, "MAX_CACHED_CHARACTERS", 2000)
    tokenizer = SpacyTokenizer("xx")
    assert [tokenizer.tokenize(text) for text in texts] == expected
    assert len(tokenizer._cache) <= 7 + len(KEPT_CHUNKS)


def test_parts_of_long_chunks_are_forgotten_too(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["，".join(f"第{number}句{part}" for part in range(60)) for number in range(40)]
    expected = SpacyTokenizer("zh").tokenize_many(texts)
    monkeypatch.setattr(chunked_tokenizer, "MAX_CACHED_CHARACTERS", 1000)
    tokenizer = SpacyTokenizer("zh")
    for text, tokens in zip(texts, expected, strict=True):
        assert len(text) > 256
        assert tokenizer.tokenize(text) == tokens
        assert sum(map(len, tokenizer._part_cache)) <= 1000
    streaming = StreamingTokens(tokenizer)
    for character in "".join(texts):
        streaming.feed(character)
        assert sum(map(len, tokenizer._part_cache)) <= 1000
