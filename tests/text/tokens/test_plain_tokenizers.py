import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmkit.errors import ConfigError, DataError
from ulmkit.text.characters import normalise
from ulmkit.text.tokens.plain_tokenizers import ByteTokenizer, WhitespaceTokenizer
from ulmkit.text.tokens.rules import SPECIALS


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("a b", ["a", "b", "<eos>"]),
        ("a b \n <unk> N \n", ["a", "b", "<eos>", "<unk>", "N", "<eos>"]),
        ("\n \n= X =\r\n", ["<eos>", "<eos>", "=", "X", "=", "<eos>"]),
        ("\n", ["<eos>"]),
        (("a",), ["a", "<eos>"]),
    ],
)
def test_whitespace_tokens(text: str, tokens: list[str]) -> None:
    assert WhitespaceTokenizer().tokenize(text) == tokens
    assert WhitespaceTokenizer().tokenize_many([text, text]) == [tokens, tokens]


def test_whitespace_detokenizes_line_by_line() -> None:
    tokenizer = WhitespaceTokenizer()
    assert tokenizer.detokenize(tokenizer.tokenize("a b\n\nc\n")) == "a b\n\nc"
    assert tokenizer.detokenize(["a", "<eos>", "b"]) == "a\nb"
    assert tokenizer.detokenize([]) == ""


def test_whitespace_refuses_several_fields() -> None:
    with pytest.raises(DataError, match="expected one field for the whitespace tokenizer, got 2"):
        WhitespaceTokenizer().tokenize(("a", "b"))


@pytest.mark.parametrize("token", ["", "a b", " "])
def test_whitespace_refuses_tokens_that_are_not_one_word(token: str) -> None:
    with pytest.raises(ConfigError, match=f"end_of_line: expected a token without white space, got '{token}'"):
        WhitespaceTokenizer(end_of_line=token)
    with pytest.raises(ConfigError, match="unknown: expected a token without white space"):
        WhitespaceTokenizer(unknown=token)


def test_whitespace_has_no_vocabulary_and_a_fingerprint_of_its_tokens() -> None:
    assert WhitespaceTokenizer().closed_vocabulary() is None
    fingerprints = {
        WhitespaceTokenizer(*options).fingerprint for options in [(), ("</s>",), ("<eos>", "UNK"), ("<eos>", "<unk>")]
    }
    assert len(fingerprints) == 3


@given(st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_bytes_are_put_back_exactly(text: str) -> None:
    tokenizer = ByteTokenizer()
    tokens = tokenizer.tokenize(text)
    vocabulary = tokenizer.closed_vocabulary()
    assert tokenizer.detokenize(tokens) == normalise(text)
    assert tokenizer.detokenize(vocabulary.decode(vocabulary.encode(tokens))) == normalise(text)
    assert all(token in vocabulary for token in tokens)


def test_byte_tokens() -> None:
    tokenizer = ByteTokenizer()
    assert tokenizer.tokenize("aé") == ["xxbos", "<0x61>", "<0xC3>", "<0xA9>"]
    assert tokenizer.tokenize(("a", "")) == ["xxbos", "xxfld", "<0x31>", "<0x61>", "xxfld", "<0x32>"]
    assert tokenizer.tokenize(("a",)) == tokenizer.tokenize("a")
    assert tokenizer.tokenize_many(["a", ""]) == [["xxbos", "<0x61>"], ["xxbos"]]
    assert tokenizer.detokenize(["<0xC3>", "xxeos", "<0x28>"]) == "\ufffd("
    assert tokenizer.tokenize("\ud800") == tokenizer.tokenize("\ufffd")
    assert tokenizer.tokenize("e\u0301") == tokenizer.tokenize("é")


def test_byte_vocabulary_is_closed() -> None:
    vocabulary = ByteTokenizer().closed_vocabulary()
    assert vocabulary.tokens[:9] == SPECIALS
    assert len(vocabulary) == 265


def test_pickle() -> None:
    for tokenizer in (WhitespaceTokenizer("</s>"), ByteTokenizer()):
        copy = pickle.loads(pickle.dumps(tokenizer))
        assert copy.tokenize("a é") == tokenizer.tokenize("a é")
        assert copy.fingerprint == tokenizer.fingerprint
