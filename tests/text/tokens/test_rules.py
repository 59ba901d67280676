import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmkit.text.tokens.rules import (
    MAX_RUN_CHARACTERS,
    SPECIALS,
    case_marks,
    closes_repetition,
    prepare_text,
    split_chunks,
    split_run,
    tidy_chunk,
)


def test_special_tokens_and_their_order() -> None:
    assert SPECIALS == ("xxunk", "xxpad", "xxbos", "xxeos", "xxfld", "xxrep", "xxwrep", "xxup", "xxmaj")


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("", []),
        (" \t\n ", []),
        ("a  b\tc\u3000d\x85e", ["a", "b", "c", "d", "e"]),
        # line breaks: one is a line, more a paragraph, none at the ends
        ("\n\na\nb\n \n\nc\r\nd\n", ["a", "\n", "b", "\n\n", "c", "\n", "d"]),
        ("a<br />b<br/><BR >c", ["a", "\n", "b", "\n\n", "c"]),
        ("a&lt;br /&gt;b", ["a", "\n", "b"]),
        # entities, with and without what belongs before and after them
        ("R&amp;B &quot;x&quot; &#39;tis", ["R&B", '"x"', "'tis"]),
        ("Tom amp; Jerry quot;hi quot;", ["Tom", "&", "Jerry", '"hi', '"']),
        ("it#39;s #146;s #36;5 anbsp; nbsp;b", ["it's", "'s", "$5", "anbsp;", "b"]),
        ("a camp; AT&T &eacute;t&eacute; a&nbsp;b", ["a", "camp;", "AT&T", "été", "a", "b"]),
        # escapes
        (r"one\nTwo \"x\" $\nabla$", ["one", "\n", "Two", '"x"', r"$\nabla$"]),
        # word-level corpora
        ("ten @-@ year 3 @.@ 5 1 @,@ 000 the <unk>", ["ten-year", "3.5", "1,000", "the", "xxunk"]),
        # a special token's name is no special token
        ("xxfld XXBOS axxmaj xx", ["xx", "fld", "XX", "BOS", "axx", "maj", "xx"]),
        ("&#120;xup", ["xx", "up"]),
        ("a\ud800b", ["a\ufffdb"]),
    ],
)
def test_prepare_text(text: str, chunks: list[str]) -> None:
    assert prepare_text(text) == chunks


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("ah ah", ["ah", "ah"]),
        ("ah ah ah", ["xxwrep", "3", "ah"]),
        ("so ah ah   ah  ah ok", ["so", "xxwrep", "4", "ah", "ok"]),
        ("ah ah ah!", ["xxwrep", "3", "ah", "!"]),
        ("ah ah ah's", ["xxwrep", "3", "ah", "'s"]),
        ("ah ah ahi", ["ah", "ah", "ahi"]),
        ("ah ah ah ahi", ["xxwrep", "3", "ah", "ahi"]),
        ("no No no", ["no", "No", "no"]),
        ("- - - -", ["-", "-", "-", "-"]),
        ("2000 2000 2000", ["2000", "2000", "2000"]),
        ("a\na\na", ["a", "\n", "a", "\n", "a"]),
        ("a a a b b b b.", ["xxwrep", "3", "a", "xxwrep", "4", "b", "."]),
    ],
)
def test_repeated_words_are_folded(text: str, chunks: list[str]) -> None:
    assert prepare_text(text) == chunks


def test_parts_of_a_text() -> None:
    assert split_chunks("a b\n", is_last=False) == ["a", "b", "\n"]
    assert split_chunks("a b\n\n \n", is_last=False) == ["a", "b", "\n\n"]
    assert split_chunks("a b ", is_last=False) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "chunks"),
    [
        ("&#" + "1" * 5000 + ";", ["&#" + "1" * 5000 + ";"]),
        ("&#x" + "0" * 31 + "41; &#" + "0" * 30 + "65", ["&#x" + "0" * 31 + "41;", "A"]),
        ("a<br" + " " * 32 + "/>b<br" + " " * 33 + ">", ["a", "\n", "b<br", ">"]),
    ],
)
def test_what_is_too_long_is_no_markup(text: str, chunks: list[str]) -> None:
    assert prepare_text(text) == chunks


@pytest.mark.parametrize(
    ("word", "chunk", "closes"), [("no", "no!", True), ("no", "no", False), ("no", "not", False), ("no", "yes!", False)]
)
def test_closes_repetition(word: str, chunk: str, closes: bool) -> None:
    assert closes_repetition(word, chunk) is closes


@pytest.mark.parametrize(
    ("chunk", "parts"),
    [
        ("word", ["word"]),
        ("aa", ["aa"]),
        ("aaa", ["xxrep", "3", "a"]),
        ("sooo!!!!", ["s", "xxrep", "3", "o", "xxrep", "4", "!"]),
        ("2000", ["2", "xxrep", "3", "0"]),
        ("wait...what", ["wait", "…what"]),
        ("....", ["…."]),
        ("and/or", ["and", "/", "or"]),
        ("#1\\", ["#", "1", "\\"]),
        ("///", ["xxrep", "3", "/"]),
        ("end.Then", ["end.", "Then"]),
        ("really?!Yes", ["really?!", "Yes"]),
        ("end.then", ["end.then"]),
        ("U.S.A.", ["U.S.A."]),
        ("Ph.D", ["Ph.D"]),
        ("3.5", ["3.5"]),
        ("www.Foo.com", ["www.Foo.com"]),
        ("me@foo.Com", ["me@foo.Com"]),
        ("été.Été", ["été.", "Été"]),
    ],
)
def test_tidy_chunk(chunk: str, parts: list[str]) -> None:
    assert tidy_chunk(chunk) == parts


@pytest.mark.parametrize(
    ("part", "marks"),
    [
        ("hello", []),
        ("I", []),
        ("A", []),
        ("2", []),
        ("日本", []),
        ("Hello", [(0, "xxmaj")]),
        ("Hello,", [(0, "xxmaj")]),
        ("I'm", [(0, "xxmaj")]),
        ("A-list", [(0, "xxmaj")]),
        ("I,", [(0, "xxup")]),
        ("HELLO!", [(0, "xxup")]),
        ("DON'T", [(0, "xxup")]),
        ("U.S.", [(0, "xxup")]),
        ("AT&T", [(0, "xxup")]),
        ("BAD-ASS", [(0, "xxup"), (4, "xxup")]),
        ('"Hello', [(1, "xxmaj")]),
        ("(I", []),
        ("Sci-Fi", [(0, "xxmaj"), (4, "xxmaj")]),
        ("pre-WAR", [(4, "xxup")]),
        ("McDonald", [(0, "xxmaj")]),
        ("iPhone", []),
        ("3D", [(0, "xxup")]),
        ("NASA's", [(0, "xxup")]),
        ("Émile", [(0, "xxmaj")]),
        ("ÉTÉ", [(0, "xxup")]),
        ("-İSTANBUL-Ev", [(1, "xxup"), (11, "xxmaj")]),  # "İ".lower() has two characters
    ],
)
def test_case_marks(part: str, marks: list[tuple[int, str]]) -> None:
    assert case_marks(part) == marks


@given(st.text(max_size=12).filter(lambda text: not re.search(r"\s", text)))
@settings(max_examples=300, deadline=None)
def test_case_marks_are_in_order_and_within_the_part(part: str) -> None:
    offsets = [offset for offset, _ in case_marks(part)]
    assert offsets == sorted(set(offsets))
    assert all(0 <= offset < len(part.lower()) for offset in offsets)
    assert case_marks(part.lower().lower()) == [] or part.lower() != part.lower().lower()


def test_split_run_cuts_after_punctuation_and_at_the_limit() -> None:
    assert split_run("plain") == ["plain"]
    assert split_run("去了，吗？！」好") == ["去了，", "吗？！」", "好"]
    assert split_run("，。") == ["，。"]
    assert [len(piece) for piece in split_run("中" * 600)] == [256, 256, 88]
    assert [len(piece) for piece in split_run("a" * 257)] == [256, 1]


@given(
    st.text(alphabet="中a。，」！", min_size=1, max_size=20),
    st.text(alphabet="中a。，」！", max_size=5),
    st.integers(1, 300),
)
@settings(max_examples=200, deadline=None)
def test_later_text_changes_only_the_last_piece_of_a_run(run: str, more: str, times: int) -> None:
    run = run * times
    pieces = split_run(run)
    assert "".join(pieces) == run
    assert all(pieces)
    assert split_run(run + more)[: len(pieces) - 1] == pieces[:-1]
    assert max(map(len, pieces)) <= MAX_RUN_CHARACTERS + 16
