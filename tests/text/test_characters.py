import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmkit.text.characters import drop_invisible, normalise, settled_characters

CHARACTERS = st.text(
    st.one_of(
        st.characters(), st.sampled_from("ab e\u0301\u0323é\u1112\u1161\u11ab한\u200b\u200c\u200d\u00adกنक👨\ud800\n")
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


@pytest.mark.parametrize("clean", [normalise, drop_invisible])
@given(CHARACTERS, CHARACTERS)
def test_settled_characters_do_not_depend_on_what_follows(clean, text: str, following: str) -> None:
    settled = settled_characters(text)
    assert clean(text + following) == clean(text[:settled]) + clean(text[settled:] + following)
