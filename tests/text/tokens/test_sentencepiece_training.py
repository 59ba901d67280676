import random
from collections import Counter

import pytest

from ulmkit.errors import ConfigError, DataError
from ulmkit.text.tokens import sentencepiece_training
from ulmkit.text.tokens.sentencepiece_training import train_sentencepiece

TEXTS = ["The cat sat on the mat. No no no!", "and THE dog, sooo good", ("a pair", "of texts")] * 5


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_training_is_deterministic_and_follows_the_text(kind: str) -> None:
    one, same = train_sentencepiece(TEXTS, 60, kind), train_sentencepiece(iter(TEXTS), 60, kind)
    assert one.fingerprint == same.fingerprint
    assert train_sentencepiece([*TEXTS, "another text"], 60, kind).fingerprint != one.fingerprint


def test_the_kinds_are_different_and_frequent_words_are_pieces() -> None:
    unigram, bpe = train_sentencepiece(TEXTS, 60, "unigram"), train_sentencepiece(TEXTS, 60, "bpe")
    assert unigram.fingerprint != bpe.fingerprint
    assert "▁the" in bpe.closed_vocabulary()


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_size_beyond_what_the_text_gives_is_cut(kind: str) -> None:
    tokenizer = train_sentencepiece(TEXTS, 5000, kind)
    assert len(tokenizer.closed_vocabulary()) < 300


def test_counts_are_those_of_what_the_tokenizer_gives_to_the_model() -> None:
    counts = sentencepiece_training._count_segments(["The cat!!! The\n\ncat xxup Sci-Fi", ("a/b", "中，文")], 1000)
    assert counts == Counter(
        {" the": 2, " cat": 2, " 3": 1, " !": 1, " xx": 1, " up": 1, " sci-": 1, "fi": 1}
        | {" a": 1, "/": 1, "b": 1, " 中，": 1, "文": 1}
    )


def test_memory_is_bounded_and_frequent_stretches_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentencepiece_training, "_CHARACTERS_AT_ONCE", 500)
    chooser = random.Random(0)
    texts = [f"often {chooser.random()} also {chooser.random()}" for _ in range(300)]
    counts = sentencepiece_training._count_segments(texts, 100)
    assert 50 <= len(counts) <= 100
    assert counts[" often"] == counts[" also"] == 300
    assert sentencepiece_training._count_segments(texts, 100) == counts


def test_every_second_rare_stretch_goes_even_if_none_is_rare() -> None:
    segments: Counter[str] = Counter()
    sentencepiece_training._add_segments(segments, Counter({f"w{number}": 9 for number in range(64)}), 16)
    assert len(segments) == 16


def test_unseen_characters_are_unknown_and_coverage_decides_which() -> None:
    texts = ["aaab abab baba"] * 500 + ["x"]
    assert "x" in "".join(train_sentencepiece(texts, 30, character_coverage=1.0).closed_vocabulary().tokens[11:])
    assert "x" not in "".join(train_sentencepiece(texts, 30, character_coverage=0.99).closed_vocabulary().tokens[11:])


def test_unseen_characters_are_spelt_in_bytes() -> None:
    tokenizer = train_sentencepiece(["aaab abab baba"] * 50, 300, byte_fallback=True)
    text = "ab 😀 中a Ünab <0x3C>"
    tokens = tokenizer.tokenize(text)
    start = tokens.index("<0xF0>")
    assert tokens[start - 1 : start + 5] == ["▁", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "▁"]
    assert tokenizer.detokenize(tokens) == "ab 😀 中a Ünab <0x3c>"
    assert 0 not in tokenizer.closed_vocabulary().encode(tokens)
    assert tokenizer.detokenize(["▁", "<0x98>", "a"]) == "\ufffda"


@pytest.mark.parametrize("texts", [[], ["", " \n "], [("", "")]])
def test_no_text_is_an_error(texts: list[str]) -> None:
    with pytest.raises(DataError, match="expected some text to train sentencepiece on, got none"):
        train_sentencepiece(texts)


def test_bad_options() -> None:
    with pytest.raises(ConfigError, match="kind: got 'bp'; did you mean 'bpe'"):
        train_sentencepiece(["a"], pieces_kind="bp")
    with pytest.raises(ConfigError, match="pieces: expected more than the 11 reserved tokens, got 11"):
        train_sentencepiece(["a"], 11)
    for coverage in (0.4, 1.1):
        with pytest.raises(ConfigError, match=f"character_coverage: expected 0.5 <= share <= 1, got {coverage}"):
            train_sentencepiece(["a"], character_coverage=coverage)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_size_too_small_for_the_characters_is_an_error(kind: str) -> None:
    with pytest.raises(
        ConfigError,
        match=r"^pieces: expected at least \d+, for the characters of this text, got 13; give as many; or take",
    ):
        train_sentencepiece(TEXTS, 13, kind)


def test_characters_that_files_use_as_separators() -> None:
    tokenizer = train_sentencepiece(["a\x00b c\u2028d e\x1ff\u200b", "a,b\tc"] * 20, 40)
    shown = {"\x00": "\x00", ",": ",", "\u200b": ""} | dict.fromkeys(
        ["\u2028", "\x1f", "\t", "\x1e", "\x85", "\r"], " "
    )
    for separator, expected in shown.items():
        assert tokenizer.detokenize(tokenizer.tokenize(f"a{separator}b")) == f"a{expected}b"
    kept = ["".join(tokenizer.tokenize(text)[1:]) for text in ("a,b", "c\u2028d", "e\x1ff")]
    assert kept == ["▁a,b", "▁c▁d", "▁e▁f"]
    assert not any(0 in tokenizer.closed_vocabulary().encode(tokenizer.tokenize(text)) for text in ("a,b\tc", "d e f"))
