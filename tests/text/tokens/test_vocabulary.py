import json
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.text.tokens.rules import SPECIALS
from ulmkit.text.tokens.vocabulary import Vocabulary

TOKENS = st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=30, unique=True)


def test_build_orders_by_count_then_text_after_the_specials() -> None:
    counts = {"b": 5, "a": 5, "rare": 2, "c": 9, "xxbos": 100, "xxrep": 1}
    assert Vocabulary.build(counts, min_freq=3).tokens == (*SPECIALS, "c", "a", "b")


def test_build_keeps_max_vocab_tokens_specials_included() -> None:
    counts = {"a": 5, "b": 4, "c": 3}
    assert Vocabulary.build(counts, max_vocab=11).tokens == (*SPECIALS, "a", "b")
    assert Vocabulary.build(counts, max_vocab=2, specials=()).tokens == ("a", "b")


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 9)), st.integers(1, 5), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_build_against_counting_by_hand(counts: dict[str, int], min_freq: int, max_vocab: int) -> None:
    expected = [t for t, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n >= min_freq][:max_vocab]
    if expected:
        assert list(Vocabulary.build(counts, max_vocab, min_freq, specials=()).tokens) == expected
    else:
        with pytest.raises(DataError, match=f"occurs at least {min_freq} times"):
            Vocabulary.build(counts, max_vocab, min_freq, specials=())


def test_build_refuses_no_room_and_bad_frequency() -> None:
    with pytest.raises(ConfigError, match="max_vocab: expected more than the 9 special tokens, got 9"):
        Vocabulary.build({"a": 5}, max_vocab=9)
    with pytest.raises(ConfigError, match="min_freq: expected a whole number of at least 1, got 0"):
        Vocabulary.build({"a": 5}, min_freq=0)
    with pytest.raises(DataError, match="at least 3 times .min_freq., got none among 1 distinct ones"):
        Vocabulary.build({"a": 2})


def test_refuses_no_tokens_and_a_token_twice() -> None:
    with pytest.raises(DataError, match="at least one token, got none"):
        Vocabulary([])
    with pytest.raises(DataError, match="distinct tokens, got 'b' more than once"):
        Vocabulary(["a", "b", "b"])


@given(TOKENS)
@settings(max_examples=50, deadline=None)
def test_encode_and_decode_are_inverse(tokens: list[str]) -> None:
    vocabulary = Vocabulary(tokens)
    ids = vocabulary.encode(tokens)
    assert ids.dtype == np.int64
    assert ids.tolist() == list(range(len(tokens)))
    assert vocabulary.decode(ids) == tokens
    assert [vocabulary.id(token) for token in tokens] == ids.tolist()


def test_unknown_tokens_become_the_unknown_token() -> None:
    vocabulary = Vocabulary(["xxunk", "a"])
    assert vocabulary.encode(["a", "zebra"]).tolist() == [1, 0]
    assert "zebra" not in vocabulary
    assert "a" in vocabulary
    assert vocabulary.id("zebra") is None


def test_unknown_token_without_unk_is_an_error_naming_it() -> None:
    with pytest.raises(DataError, match="got 'zebra', and the vocabulary has no 'xxunk'"):
        Vocabulary(["a"]).encode(["a", "zebra"])


def test_encode_nothing() -> None:
    assert Vocabulary(["a"]).encode([]).shape == (0,)


@pytest.mark.parametrize("number", [-1, 2])
def test_decode_refuses_ids_out_of_range(number: int) -> None:
    with pytest.raises(DataError, match=f"0 <= id < 2 .* got {number}"):
        Vocabulary(["a", "b"]).decode([0, number])


def test_special_ids_of_both_kinds_of_corpus() -> None:
    usual = Vocabulary(SPECIALS)
    assert (usual.unk_id, usual.pad_id, usual.bos_id, usual.eos_id) == (0, 1, 2, 3)
    word_level = Vocabulary(["the", "<unk>", "<eos>"])
    assert (word_level.unk_id, word_level.pad_id, word_level.bos_id, word_level.eos_id) == (1, None, None, 2)


def test_equality_and_fingerprint_follow_the_tokens() -> None:
    one, same, other = Vocabulary(["a", "b"]), Vocabulary(["a", "b"]), Vocabulary(["b", "a"])
    assert one == same
    assert hash(one) == hash(same)
    assert one.fingerprint == same.fingerprint
    assert one != other
    assert one.fingerprint != other.fingerprint
    assert one != ("a", "b")
    assert Vocabulary(["ab", "c"]).fingerprint != Vocabulary(["a", "bc"]).fingerprint


def test_pickle_and_repr() -> None:
    vocabulary = Vocabulary(["a", "b"])
    assert pickle.loads(pickle.dumps(vocabulary)) == vocabulary
    assert repr(vocabulary) == "Vocabulary(2 tokens)"


def test_save_and_load(tmp_path) -> None:
    vocabulary = Vocabulary([*SPECIALS, "\n", '"', "日本", "\u2028"])
    vocabulary.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(tmp_path / "vocabulary.json") == vocabulary


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"format_version": 2, "tokens": ["a"]}, "format version 1, got 2"),
        (["a"], "format version 1, got 'list'"),
        ({"format_version": 1, "tokens": ["a", 3]}, "list of strings as 'tokens'"),
        ({"format_version": 1}, "list of strings as 'tokens'"),
        ({"format_version": 1, "tokens": ["a", "a"]}, "got 'a' more than once"),
    ],
)
def test_load_refuses_altered_files(tmp_path, content: object, message: str) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(json.dumps(content))
    with pytest.raises(FolderError, match=message):
        Vocabulary.load(path)


def test_load_refuses_missing_and_truncated_files(tmp_path) -> None:
    path = tmp_path / "vocabulary.json"
    with pytest.raises(FolderError, match="no such file"):
        Vocabulary.load(path)
    Vocabulary(Counter("abc")).save(path)
    path.write_text(path.read_text()[:-10])
    with pytest.raises(FolderError, match="truncated"):
        Vocabulary.load(path)
