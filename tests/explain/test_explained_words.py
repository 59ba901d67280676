"""Words of a text: which tokens stand for each, and where it stands."""

from itertools import pairwise

import pytest

from ulmkit.explain import find_words
from ulmkit.text import train_sentencepiece
from ulmkit.text.tokens.plain_tokenizers import ByteTokenizer, WhitespaceTokenizer
from ulmkit.text.tokens.spacy_tokenizer import SpacyTokenizer

TEXT = "Don't miss THIS film!!! It's &quot;great&quot; no no no no, İstanbul<br />iPhone-like naïve café."


@pytest.fixture(scope="module")
def pieces():
    return train_sentencepiece(["don't miss this film: it is a great one", TEXT] * 20, 80)


def tokenizers(pieces):
    return [SpacyTokenizer(), WhitespaceTokenizer(), ByteTokenizer(), pieces]


def test_words_are_in_order_and_share_no_tokens(pieces):
    for tokenizer in tokenizers(pieces):
        tokens = tokenizer.tokenize(TEXT)
        words = find_words(TEXT, tokens, tokenizer)
        assert len(words) > 10
        place = 0
        for word in words:
            assert place <= word.first < word.stop <= len(tokens)
            place = word.stop
        spans = [word.span for word in words if word.span is not None]
        assert len(spans) >= len(words) - 3  # those that the tokenizer wrote differently
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
        assert all(TEXT[slice(*word.span)] == word.text for word in words if word.span is not None)


def test_every_token_of_text_belongs_to_a_word(pieces):
    text = "A fine Film, and GREAT."
    for tokenizer in tokenizers(pieces):
        tokens = tokenizer.tokenize(text)
        covered = {place for word in find_words(text, tokens, tokenizer) for place in range(word.first, word.stop)}
        silent = [place for place, token in enumerate(tokens) if token in tokenizer.required_tokens]
        assert covered == set(range(len(tokens))) - set(silent)


def test_marks_and_repetitions_belong_to_their_word(pieces):
    text = "So GOOD!!! no no no no end"
    for tokenizer in (SpacyTokenizer(), pieces):
        words = find_words(text, tokenizer.tokenize(text), tokenizer)
        assert [word.text for word in words] == ["So", "GOOD", "!!!", "no no no no", "end"]


def test_punctuation_is_a_word_where_tokens_end(pieces):
    words = find_words("great, film", pieces.tokenize("great, film"), pieces)
    assert [word.text for word in words] == ["great", ",", "film"]


def test_a_word_that_the_tokenizer_wrote_differently_has_no_span():
    text = "fine &amp; great"
    words = find_words(text, SpacyTokenizer().tokenize(text), SpacyTokenizer())
    assert [(word.text, word.span) for word in words] == [("fine", (0, 4)), ("&", (5, 6)), ("great", (11, 16))]
    text = "fine<br />great"
    words = find_words(text, SpacyTokenizer().tokenize(text), SpacyTokenizer())
    assert [(word.text, word.span) for word in words] == [("fine", (0, 4)), ("great", (10, 15))]
    text = "fine&hellip; great"
    words = find_words(text, SpacyTokenizer().tokenize(text), SpacyTokenizer())
    assert [(word.text, word.span) for word in words] == [("fine", (0, 4)), ("…", None), ("great", (13, 18))]


def test_a_stretch_without_spaces_is_cut_at_its_tokens():
    text = "映画" * 20
    words = find_words(text, ByteTokenizer().tokenize(text), ByteTokenizer())
    assert [word.text for word in words] == list(text)
    assert all(word.stop - word.first == 3 for word in words)


def test_marks_of_fields_are_no_words():
    fields = ("A title", "the body")
    for tokenizer in (SpacyTokenizer(), ByteTokenizer()):
        words = find_words(fields, tokenizer.tokenize(fields), tokenizer)
        assert [word.text for word in words] == ["A", "title", "the", "body"]
        assert words[2].span == (8, 11)


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_no_text_has_no_words(text):
    for tokenizer in (SpacyTokenizer(), WhitespaceTokenizer(), ByteTokenizer()):
        assert find_words(text, tokenizer.tokenize(text), tokenizer) == [] or tokenizer.name == "bytes"


class _Counting(ByteTokenizer):
    """Counts the tokens that are spelled."""

    spelled = 0

    def spell(self, tokens):
        self.spelled += len(tokens)
        return super().spell(tokens)


@pytest.mark.parametrize("text", ["x7k" * 2000, "日本語" * 700, "a.b" * 2000, "abc" * 2000 + "." + "d-e" * 2000])
def test_a_long_word_is_spelled_a_few_times_only(text):
    tokenizer = _Counting()
    tokens = tokenizer.tokenize(text)
    words = find_words(text, tokens, tokenizer)
    assert "".join(word.text for word in words) == text
    assert tokenizer.spelled < 10 * len(tokens)
