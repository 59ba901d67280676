import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmkit.text.characters import MAX_MARKS, Composer, InvisibleDropper, drop_invisible, normalise

CHARACTERS = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("ab e\u0301\u0323é\u1112\u1161\u11ab한\u200b\u200c\u200d\u00adกنक👨\ud800\n"),
        st.sampled_from("\u061c\u2adc\u2329\u034f\u0344\u0ccb"),
    )
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("plain", "plain"),
        ("Tie\u0302u cu\u031b\u0323c", "Tiêu cực"),
        ("\u1112\u1161\u11ab", "한"),
        ("half \ud83d", "half \ufffd"),
        ("\ufb01", "\ufb01"),  # a ligature is no other spelling of "fi": NFC, not NFKC
    ],
)
def test_normalise(text: str, normal: str) -> None:
    assert normalise(text) == normal


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("\ufeffone \ufefftwo", "one two"),
        ("soft\u00adhyphen zero\u200bwidth word\u2060joiner", "softhyphen zerowidth wordjoiner"),
        ("\u200eleft \u202bright\u202c", "left right"),
        ("a\u200cb a\u200db \u200d", "ab ab "),  # joiners mean nothing between Latin letters
        ("نمی\u200cخواهم", "نمی\u200cخواهم"),  # Persian: part of the spelling
        ("नमस्\u200dते क्\u200cष", "नमस्\u200dते क्\u200cष"),
        ("👨\u200d👩\u200d👧 ❤\ufe0f\u200d🔥", "👨\u200d👩\u200d👧 ❤\ufe0f\u200d🔥"),
        ("สวัสดี\u200bครับ", "สวัสดี ครับ"),  # the end of a word
        ("e\u200b\u0301", "é"),
    ],
)
def test_invisible_characters_are_dropped_where_they_mean_nothing(text: str, visible: str) -> None:
    assert drop_invisible(text) == visible


@given(CHARACTERS)
def test_each_form_is_stable(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)
    assert drop_invisible(drop_invisible(text)) == drop_invisible(text)
    assert unicodedata.is_normalized("NFC", drop_invisible(text))


def compose_in_pieces(pieces: list[str]) -> str:
    composer = Composer()
    return "".join(composer.feed(piece, False) for piece in pieces) + composer.feed("", True)


def drop_in_pieces(pieces: list[str]) -> str:
    dropper, composer = InvisibleDropper(), Composer(" ")
    dropped = [dropper.feed(piece, False) for piece in pieces] + [dropper.feed("", True)]
    return "".join(composer.feed(piece, False) for piece in dropped) + composer.feed("", True)


@pytest.mark.parametrize(("clean", "in_pieces"), [(normalise, compose_in_pieces), (drop_invisible, drop_in_pieces)])
@given(CHARACTERS, st.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_pieces_are_cleaned_as_the_whole_text(clean, in_pieces, text: str, size: int) -> None:
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert in_pieces(pieces) == clean(text)


@pytest.mark.parametrize("mark", ["\u0301", "\u0344", "\u0ccb", "\u0323", "\u09be"])
@pytest.mark.parametrize("start", ["", "e", "\u1f82", " ", "\u0958"])
def test_many_marks_are_parted(mark: str, start: str) -> None:
    text = start + mark * 400 + "x"
    parted = drop_invisible(text)
    assert " " in parted[2:]
    assert max(len(unicodedata.normalize("NFD", word)) for word in parted.split()) <= MAX_MARKS + 1
    assert drop_invisible(parted) == parted == drop_in_pieces(list(text))
    assert "\u034f" in normalise(text)
    assert normalise(normalise(text)) == normalise(text) == compose_in_pieces(list(text))


def test_few_marks_are_not_parted() -> None:
    for text in ("e" + "\u0323" * MAX_MARKS, "=" * 200 + "é", "–" * 200, "\u0e01" + "\u0e49" * 12):
        assert normalise(text) == unicodedata.normalize("NFC", text) == drop_invisible(text)


def test_little_is_held_of_marks_and_invisible_characters() -> None:
    dropper, composer = InvisibleDropper(), Composer()
    for character in "\u200b" * 500 + "\u200d" * 500 + "\u0301" * 500 + "\u1161" * 500:
        dropper.feed(character, False)
        composer.feed(character, False)
        assert len(dropper.held) <= 1
        assert len(composer.held) <= MAX_MARKS + 1
