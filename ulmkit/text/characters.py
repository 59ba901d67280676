"""One form for each character: NFC, no halves of characters, no invisible ones.

A character may be written in several ways ("é", or "e" and an accent), and text may hold characters that nobody sees.
Words that look alike must be alike, so text, labels and names are normalised wherever they are read.

Source: Unicode Standard Annex 15 (NFC); Unicode Standard, section 23.2 (joiners, direction marks, word joiner).
"""

import re
import unicodedata

# Scripts in which a zero-width joiner or non-joiner changes what is written (Arabic, the Indic scripts and their
# relatives, Mongolian), and the pictographs that joiners put together.
_JOINING = (
    "\u0600-\u08ff\u0900-\u0fff\u1000-\u109f\u1700-\u18af\u1900-\u1cff\ua800-\ua8ff\ua930-\ua9ff\uaa00-\uabff\ufb50-\ufdff"
    "\ufe0f\ufe70-\ufefc\u2190-\u2bff\U0001f000-\U0001faff\U00010a00-\U00010eff\U00011000-\U00011fff"
)
# Scripts without spaces in which a zero-width space marks where a word ends: Thai to Tibetan, Burmese, Khmer.
_UNSPACED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\uaa60-\uaadf"
_JOINERS = "\u200c\u200d"
_LOOKS_AHEAD = "\u200b" + _JOINERS  # dropped or not by the character that follows
_INVISIBLE = "\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"

_UNSEEN = re.compile(f"[{_INVISIBLE}{_JOINERS}]")  # looked for first: most texts have none
_WORD_SPACE = re.compile(f"(?<=[{_UNSPACED}])\u200b(?=[{_UNSPACED}])")
_DROPPED = re.compile(f"[{_INVISIBLE}]|(?<![{_JOINING}])[{_JOINERS}]|[{_JOINERS}](?![{_JOINING}])")
_SURROGATE = re.compile("[\ud800-\udfff]")
# Vowels and final consonants that join the syllable before them.
_HANGUL_ENDS = re.compile("[\u1160-\u11ff\ud7b0-\ud7ff]")
# vowels and final consonants that join a syllable before them


def normalise(text: str) -> str:
    """Write a text in NFC, each lone surrogate (half a character, which no file can hold) replaced by U+FFFD."""
    return text if text.isascii() else unicodedata.normalize("NFC", _SURROGATE.sub("\ufffd", text))


def drop_invisible(text: str) -> str:
    """Drop characters that nobody sees and normalise the rest.

    Byte order marks, soft hyphens, direction marks, word joiners and zero-width spaces are dropped, zero-width joiners
    and non-joiners where the script does not need them. Between words of Thai, Lao, Tibetan, Burmese or Khmer a
    zero-width space becomes a space.
    """
    if not text.isascii() and _UNSEEN.search(text):
        text = _DROPPED.sub("", _WORD_SPACE.sub(" ", text))
    return normalise(text)


def settled_characters(text: str) -> int:
    """Count the leading characters that are normalised alike, and stay or are dropped alike, whatever follows."""
    for end in range(len(text), 0, -1):
        if text[end - 1].isspace() or (
            end < len(text) and _begins_anew(text[end]) and text[end - 1] not in _LOOKS_AHEAD
        ):
            return end
    return 0


def _begins_anew(character: str) -> bool:
    """Tell whether a character neither joins the one before nor depends on it."""
    if character.isascii():
        return True
    return unicodedata.category(character) not in ("Mn", "Mc", "Me", "Cf") and not _HANGUL_ENDS.match(character)
