"""One form for each character: NFC, no halves of characters, no invisible ones.

A character may be written in several ways ("é", or "e" and an accent), and text may hold characters that nobody sees.
Words that look alike must be alike, so text, labels and names are normalised wherever they are read.

Source: Unicode Standard Annex 15 (NFC); Unicode Standard, section 23.2 (joiners, direction marks, word joiner).
"""

import re
import unicodedata

# Scripts in which a zero-width joiner or non-joiner changes what is written (Arabic, the Indic scripts and their
# relatives, Mongolian), and the pictographs that joiners put together; none that is dropped, or is another in NFC.
_JOINING = (
    "\u0600-\u061b\u061d-\u08ff\u0900-\u0fff\u1000-\u109f\u1700-\u180d\u180f-\u18af\u1900-\u1cff\ua800-\ua8ff"
    "\ua930-\ua9ff\uaa00-\uabff\ufb50-\ufdff\ufe0f\ufe70-\ufefc\u2190-\u2328\u232b-\u2adb\u2add-\u2bff"
    "\U0001f000-\U0001faff\U00010a00-\U00010eff\U00011000-\U00011fff"
)
# Scripts without spaces in which a zero-width space marks where a word ends: Thai to Tibetan, Burmese, Khmer.
_UNSPACED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\uaa60-\uaadf"
_JOINERS = "\u200c\u200d"
_LOOKS_AHEAD = ("\u200b", *_JOINERS)  # dropped or not by the character that follows
_INVISIBLE = "\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb"

_UNSEEN = re.compile(f"[{_INVISIBLE}{_JOINERS}]")  # looked for first: most texts have none
_WORD_SPACE = re.compile(f"(?<=[{_UNSPACED}])\u200b(?=[{_UNSPACED}])")
_DROPPED = re.compile(f"[{_INVISIBLE}]|(?<![{_JOINING}])[{_JOINERS}]|[{_JOINERS}](?![{_JOINING}])")
_SURROGATE = re.compile("[\ud800-\udfff]")
_GRAPHEME_JOINER = "\u034f"
# A first consonant and a vowel of Hangul, or a vowel or syllable and a final consonant.
_SYLLABLE_PARTS = re.compile("[\u1100-\u1112][\u1161-\u1175]|[\u1161-\u1175\uac00-\ud7a3][\u11a8-\u11c2]")

MAX_MARKS = 30
"""Number of combining marks in a row after which a text is parted, as in Unicode's stream-safe text format."""

# Where there may be so many: no mark is a character of a word, and each is three at most in NFD.
_MANY_MARKS = re.compile(rf".?\W{{{MAX_MARKS // 3 - 1},}}", re.DOTALL)


def normalise(text: str) -> str:
    """Write a text in NFC, each lone surrogate (half a character, which no file can hold) replaced by U+FFFD.

    Marks beyond MAX_MARKS in a row are parted by U+034F, so that a text can be normalised while it arrives.

    Source: Unicode Standard Annex 15, section 13 (stream-safe text format).
    """
    return text if text.isascii() else _compose(text, _GRAPHEME_JOINER)


def drop_invisible(text: str) -> str:
    """Drop characters that nobody sees and normalise the rest.

    Byte order marks, soft hyphens, direction marks, word joiners and zero-width spaces are dropped, zero-width joiners
    and non-joiners where the script does not need them. Between words of Thai, Lao, Tibetan, Burmese or Khmer a
    zero-width space becomes a space. A space also parts marks beyond MAX_MARKS in a row.
    """
    return text if text.isascii() else _compose(_drop(text), " ")


def _drop(text: str) -> str:
    return _DROPPED.sub("", _WORD_SPACE.sub(" ", text)) if _UNSEEN.search(text) else text


def _compose(text: str, parting: str) -> str:
    return unicodedata.normalize("NFC", _part_marks(_SURROGATE.sub("\ufffd", text), parting))


def _part_marks(text: str, parting: str) -> str:
    """Put `parting` before each mark that would exceed MAX_MARKS in a row, as counted in NFD."""
    if text.isascii():
        return text

    def parted(match: re.Match[str]) -> str:
        characters: list[str] = []
        marks = 0
        for character in match[0]:
            spelt = unicodedata.normalize("NFD", character)
            if not _is_mark(character):
                marks = sum(map(_is_mark, spelt))
            elif marks + len(spelt) > MAX_MARKS:
                characters.append(parting)
                marks = len(spelt)
            else:
                marks += len(spelt)
            characters.append(character)
        return "".join(characters)

    return _MANY_MARKS.sub(parted, text)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M") and character != _GRAPHEME_JOINER


class InvisibleDropper:
    """Drops invisible characters of a text that comes in pieces, as `drop_invisible` does before it normalises."""

    def __init__(self) -> None:
        self.held = ""
        self._before = ""

    def feed(self, piece: str, is_last: bool) -> str:
        """Take in a piece. Returns: What is settled by now; of what came, one character at most is held."""
        text = self.held + piece
        end = len(text) - (not is_last and text.endswith(_LOOKS_AHEAD))
        self.held = text[end:]
        if not end:
            return ""
        settled = _drop(self._before + text[:end])[len(self._before) :]
        # What is dropped itself stands for any character that joins nothing.
        self._before = "a" if _UNSEEN.match(text, end - 1) else text[end - 1]
        return settled


class Composer:
    """Normalises a text that comes in pieces.

    Args:
        parting: Put between marks beyond MAX_MARKS in a row: None for U+034F, as `normalise` does; " " as
            `drop_invisible` does.
    """

    def __init__(self, parting: str | None = None) -> None:
        self.held = ""
        self._parting = _GRAPHEME_JOINER if parting is None else parting

    def feed(self, piece: str, is_last: bool) -> str:
        """Take in a piece. Returns: What is settled by now; a character with its marks is held, MAX_MARKS at most."""
        text = _part_marks(self.held + piece, self._parting)
        end = len(text) if is_last else _last_beginning(text)
        self.held = text[end:]
        return text[:end] if text.isascii() else _compose(text[:end], self._parting)


def _last_beginning(text: str) -> int:
    """Find the last place where the text can be cut: no later character can join one before it, whatever follows."""
    end = len(text)
    if not end or text[-1].isspace():
        return end
    end -= 1
    while end and (_is_mark(text[end]) or _SYLLABLE_PARTS.match(text, end - 1)) and not text[end - 1].isspace():
        end -= 1
    return end
