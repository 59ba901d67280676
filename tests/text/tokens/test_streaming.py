import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmkit.text.tokens.streaming import StreamingTokens
from ulmkit.text.tokens.tokenizers import (
    ByteTokenizer,
    SpacyTokenizer,
    Tokenizer,
    WhitespaceTokenizer,
    train_sentencepiece,
)

TRICKY = [
    "",
    " \n\n ",
    "The end. No no no! And then no no nono no no no.",
    "a a a b b. b b b\n b a-a a a a",
    "sooo gooood!!!! ...... wait... what....",
    "one<br /><br />two <br/> three< br />four<BR\n/>five &lt;br /&gt; six",
    "AT&amp;T R&D &quot;Hello&quot; &nbsp; x&nbsp;y &#39;s #39; quot;a quot; no no nbsp;no no&nbsp;no no",
    r"He said \"Hi\" and\nThen \ n \nabla",
    "ten @-@ ten ten ten 3 @.@ 5 x @-@",
    "xxbos xxfld 1 XXUP xx up xx xxx xxxx xxmaj",
    '"Hello," she said: BAD-ASS Sci-Fi. I I, U.S. U.S',
    "end.Then\n\nNext\n \n\nlast\n",
    "\n\n first\r\nsecond \t third\u3000fourth",
    "我们去了。我们去了，我们 我们 我们。去了！abc。amp;def。<br/>好 x xx up。。。。。。。。。。好",
    r"。&nbsp;no。\nNo。<br>no。&#32;no。<unk> no",
    "中" * 300 + " " + "文" * 520 + "。ab " + "中文" * 300 + "amp;" + "x" * 300 + " end",
    "w" * 300 + " " + "w" * 300 + " " + "w" * 300 + " w",
    "<unk> the <unk> <unk> <unk>. a\ud800 a\ud800 a",
    "a&am p;b &lt &lt; &copy2 &unknown; 1&#50;3 &#120;xup",
    "&#\u200b50 no50 &am\u200bp; &\u00adlt;br> no no",
    "no <br >no no no <br &shy; />no no a @-@ no no no @-@ @-@ no no no &nbsp; no no&#32; no",
    "<unk> <unk>@-@ no no -@-@ no no <br> no no > no. <br\t>no no no.no end <br />no no no, end",
    "Cafe\u0301 no\u200b no no e&#769; so\u00adft \ufeffx xx\u200bup \u0301 a\u0301\u0323\u0301\u0323",
    "\u1112\u1161\u11ab\u1100\u1173\u11af \ud55c \u0e01\u200b\u0e01 ",
    "\u0646\u0645\u06cc\u200c\u062e\u0648 a\u200cb 👨\u200d👩\u200d👧",
]

# Snippets whose neighbours matter: put together at random, they make what the rules look across white space for.
WORDS = (
    'no no No a . ! ... <br /> /> <br &amp; & amp; nbsp; &nbsp; quot; #39; &lt; \\n \\ " @-@ @ xx up xxup oo o XX '
    "br - / U.S. end.Then 中 中文 。 ， ” é &# 50 ; unk> <"
)
BETWEEN = [
    " ",
    " ",
    " ",
    " ",
    "\n",
    "\n\n",
    "\t",
    " @-@ ",
    "<br />",
    "\ud800",
    "\u0301",
    "\u200b",
    "\u200d",
    "\u0e01",
    "\u11ab",
    "\uac00",
]
SNIPPETS = st.lists(st.sampled_from([*WORDS.split(), *BETWEEN]), max_size=24).map("".join)

SPACY = SpacyTokenizer("en")
UNIGRAM = train_sentencepiece([*TRICKY, "the cat sat on a mat"] * 5, 350)
TOKENIZERS: dict[str, Tokenizer] = {
    "spacy": SPACY,
    "chinese": SpacyTokenizer("zh"),
    "unigram": UNIGRAM,
    "bpe": train_sentencepiece([*TRICKY, "the cat sat on a mat"] * 5, 350, "bpe"),
    "whitespace": WhitespaceTokenizer(),
    "bytes": ByteTokenizer(),
}
EACH = pytest.mark.parametrize("tokenizer", TOKENIZERS.values(), ids=TOKENIZERS)


def stream(tokenizer: Tokenizer, pieces: list[str]) -> list[str]:
    streaming = StreamingTokens(tokenizer)
    tokens = [token for piece in pieces for token in streaming.feed(piece)]
    return tokens + streaming.finish()


@EACH
@pytest.mark.parametrize("text", TRICKY)
def test_cut_in_two_at_every_character(tokenizer: Tokenizer, text: str) -> None:
    whole = tokenizer.tokenize(text)
    step = 1 if len(text) < 200 else 37
    for cut in range(0, len(text) + 1, step):
        assert stream(tokenizer, [text[:cut], text[cut:]]) == whole


@EACH
@pytest.mark.parametrize("text", TRICKY)
def test_fed_character_by_character(tokenizer: Tokenizer, text: str) -> None:
    assert stream(tokenizer, list(text)) == tokenizer.tokenize(text)


@pytest.mark.parametrize("tokenizer", [SPACY, UNIGRAM], ids=["spacy", "unigram"])
@given(text=SNIPPETS)
@settings(max_examples=400, deadline=None)
def test_snippets_fed_character_by_character(tokenizer: Tokenizer, text: str) -> None:
    assert stream(tokenizer, list(text)) == tokenizer.tokenize(text)


@pytest.mark.parametrize("tokenizer", [SPACY, UNIGRAM], ids=["spacy", "unigram"])
@given(text=SNIPPETS, more=SNIPPETS, cuts=st.lists(st.integers(0, 60), max_size=4))
@settings(max_examples=200, deadline=None)
def test_snippets_cut_anywhere(tokenizer: Tokenizer, text: str, more: str, cuts: list[int]) -> None:
    text += " " + more
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    assert stream(tokenizer, pieces) == tokenizer.tokenize(text)


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_text_fed_character_by_character(text: str) -> None:
    assert stream(UNIGRAM, list(text)) == UNIGRAM.tokenize(text)


def test_little_of_ordinary_text_is_held_back() -> None:
    chooser = random.Random(0)
    words = [f"Word{number}" + chooser.choice(["", ",", ".", "!\n\n", "'s"]) for number in range(2000)]
    streaming = StreamingTokens(SPACY)
    for character in " ".join(words):
        streaming.feed(character)
        assert streaming.held_characters <= 3 * 11


def test_little_of_text_without_spaces_is_held_back() -> None:
    chooser = random.Random(0)
    text = "".join(chooser.choices("我们今天去了商店，。", k=3000))
    for tokenizer in (TOKENIZERS["chinese"], UNIGRAM):
        streaming = StreamingTokens(tokenizer)
        held = 0
        for character in text:
            streaming.feed(character)
            held = max(held, streaming.held_characters)
        assert held <= 60  # the longest stretch without punctuation
    streaming = StreamingTokens(UNIGRAM)
    for character in "中" * 2000:
        streaming.feed(character)
        assert streaming.held_characters <= 260


def test_a_repetition_is_held_back_whole() -> None:
    streaming = StreamingTokens(SPACY)
    assert streaming.feed("no " * 500) == []
    assert streaming.feed("yes ") == ["xxbos", "xxwrep", "500", "no"]
    assert streaming.feed("yes, x") == ["yes"]
    assert streaming.finish() == ["yes", ",", "x"]


def test_finish_begins_the_next_text() -> None:
    streaming = StreamingTokens(SPACY)
    for _ in range(2):
        assert streaming.feed("The end is here ") + streaming.finish() == SPACY.tokenize("The end is here ")
    assert streaming.finish() == ["xxbos"]
    assert streaming.held_characters == 0


LATEX = (
    r"\section{Limits} Let $f \colon \mathbb{R} \to X$ be $a & b \\ c$ with \"quotes\" of \nabla f and \cite[3]{x}. "
)
HTML = "one <br> two &amp; three <br /> x @-@ y <unk> four xxup five &nbsp; six &lt;b&gt; "
LINES = "word\nword\nword\nword\nother\n"
LONG_RUN = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwz0123456789+/", k=700))


@pytest.mark.parametrize("repetitions", [511, 512, 513, 1024])
@pytest.mark.parametrize("start", ["", "yes ", "& ", "&nbsp;no ", LONG_RUN + "no "])
def test_a_long_repetition_is_cut_as_the_whole_is(repetitions: int, start: str) -> None:
    for end in ("", "!", " no! yes", "\nno no no", r"\n no", " &nbsp;no no", " no, no no no"):
        text = start + " ".join(["no"] * repetitions) + end
        whole = UNIGRAM.tokenize(text)
        for size in (89, 1009):
            assert stream(UNIGRAM, [text[place : place + size] for place in range(0, len(text), size)]) == whole


def test_a_repetition_is_longer_than_the_limit_is_several() -> None:
    assert SPACY.tokenize("no " * 512) == ["xxbos", "xxwrep", "512", "no"]
    assert SPACY.tokenize("no " * 1028) == ["xxbos", *["xxwrep", "512", "no"] * 2, "xxwrep", "4", "no"]
    assert SPACY.tokenize("no " * 513) == ["xxbos", "xxwrep", "512", "no", "no"]


@EACH
@pytest.mark.parametrize(
    "text", [LONG_RUN, f"a {LONG_RUN}amp;{LONG_RUN} b", f"{LONG_RUN}&lt;{LONG_RUN}", f"，amp;{'中文' * 300}"]
)
def test_long_runs_are_cut_as_the_whole_is(tokenizer: Tokenizer, text: str) -> None:
    whole = tokenizer.tokenize(text)
    for size in (1, 257):
        assert stream(tokenizer, [text[place : place + size] for place in range(0, len(text), size)]) == whole


@pytest.mark.parametrize("word", ["wy" * 127 + "w", "abcdefgh" * 32, LONG_RUN[:257].replace("/", "a")])
def test_words_as_long_as_a_piece_are_cut_as_the_whole_is(word: str) -> None:
    for text in (f"{word} {word} {word}x y z", f"{word} {word} {word} {word} {word}"):
        assert stream(UNIGRAM, list(text)) == UNIGRAM.tokenize(text)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("no " * 9000, 20),
        (LATEX * 200, 30),
        (LINES * 1000, 20),
        (LONG_RUN * 40, 300),
        ("sooo " * 2000, 20),
        (HTML * 300, 30),
        ("&amp;no<br>" * 2000, 30),
        ("no&nbsp; " * 3000, 30),
        ("no <br >no @-@ " * 2000, 30),
        ("x&#50;" * 3000, 300),
        ("&" * 5000, 300),
        ("&#" + "0" * 5000, 300),
        ("<br" + " " * 5000 + ">", 50),
        ("e" + "\u0301" * 5000, 100),
        ("e" + "\u200b" * 5000 + "\u200d" * 5000, 10),
        ("\u0646" + "\u200c\u0646" * 3000, 300),
        ("word " + "\n " * 5000, 10),
        (("wxyz" * 62 + " ") * 60, 520),
        ("xx" * 3000, 300),
        ("xxup" * 2000, 20),
        ("amp;amp;quot;" * 1000, 300),
        (" @-@" * 2000, 300),
        (r"\n" * 3000, 10),
    ],
    ids=lambda value: repr(value[:20]) if isinstance(value, str) else None,
)
def test_little_is_held_back_of_any_text(text: str, most: int) -> None:
    streaming = StreamingTokens(UNIGRAM)
    tokens: list[str] = []
    for place in range(0, len(text), 50):
        tokens += streaming.feed(text[place : place + 50])
        assert streaming.held_characters <= most
    assert tokens + streaming.finish() == UNIGRAM.tokenize(text)
