"""Tokens back to text for display: the clean-up rules undone, spaces put where people would put them."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ulmkit.text.tokens.rules import BOS, EOS, FLD, LINE, MAJ, PAD, PARAGRAPH, REP, SPECIAL_SET, UNIT, UNK, UP, WREP

MAX_REPETITION = 1000
"""A generated count may be any number; so many repetitions are written at most."""

_SILENT = frozenset((BOS, EOS, PAD))
_BREAKS = frozenset((LINE, PARAGRAPH))
_CONTRACTIONS = frozenset(["'s", "’s", "n't", "n’t", "'m", "’m", "'re", "’re", "'ve", "’ve", "'ll", "’ll", "'d", "’d"])
_CLOSING = re.compile(r"[,.;:!?%)\]}»”’…。，、！？；：」』）】》〉]+")
_OPENING = frozenset("([{$£€#«“‘「『（【《〈")
_GLUE = frozenset("-/\\–")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef]")


@dataclass(frozen=True)
class Piece:
    """Text between white space or part of it, or a special token. `glued`: no space before; None: to be guessed."""

    text: str
    glued: bool | None = None


def restore_text(tokens: Sequence[str]) -> str:
    """Write the text that word tokens stand for.

    Capitals, repeated characters and repeated words are written out, fields stand on lines of their own, UNK is shown
    as "<unk>". Where the text had spaces is guessed from punctuation. Marks that stand for nothing, as a model may
    generate them, are left out.

    Args:
        tokens: Tokens from `SpacyTokenizer.tokenize` or from a language model.
    """
    return join_pieces(Piece(token) for token in tokens)


def join_pieces(pieces: Iterable[Piece]) -> str:
    """The text of pieces, special tokens undone; see `restore_text`."""
    written: list[str] = []
    previous = ""
    open_quotes: set[str] = set()
    for piece in _undo_marks(list(pieces)):
        glued = _is_glued(previous, piece.text, open_quotes) if piece.glued is None else piece.glued
        if piece.text in _BREAKS or previous in _BREAKS or not written:
            glued = True
        if piece.text in ('"', "'"):
            open_quotes ^= {piece.text}
        written.append(piece.text if glued else f" {piece.text}")
        previous = piece.text
    return "".join(written).strip()


def _undo_marks(pieces: list[Piece]) -> Iterator[Piece]:
    index = 0
    mark = ""
    while index < len(pieces):
        piece = pieces[index]
        index += 1
        if piece.text in _SILENT:
            continue
        if piece.text in (UP, MAJ):
            mark = piece.text
        elif piece.text == FLD:
            if index < len(pieces) and pieces[index].text.isdecimal():
                index += 1
            yield Piece(LINE)
        elif piece.text in (REP, WREP):
            count = _count(pieces, index)
            if count:
                index += 1
                repeated, index = _repeat(pieces, index, piece.text, count)
                yield repeated
        else:
            yield replace(piece, text="<unk>" if piece.text == UNK else _capitalize(piece.text, mark))
            # "xxup do n't" is DON'T, but "xxup nasa 's" is NASA's.
            is_continued = index < len(pieces) and pieces[index].text in _CONTRACTIONS
            mark = UP if mark == UP and is_continued and pieces[index].text[-2:] not in ("'s", "’s") else ""


def _count(pieces: list[Piece], index: int) -> int:
    """The count at `index`, 0 if there is none or no word follows it."""
    if index + 1 >= len(pieces) or not pieces[index].text.isdecimal():
        return 0
    word = next((piece.text for piece in pieces[index + 1 :] if piece.text not in (UP, MAJ)), BOS)
    if word in SPECIAL_SET or word in _BREAKS:
        return 0
    return min(int(pieces[index].text[:9]), MAX_REPETITION)


def _repeat(pieces: list[Piece], index: int, kind: str, count: int) -> tuple[Piece, int]:
    """Write out the repetition at `index`; returns it and the index after it."""
    mark = ""
    while pieces[index].text in (UP, MAJ):
        mark = pieces[index].text
        index += 1
    text = pieces[index].text
    if kind == REP:
        return Piece(_capitalize(text[0], mark) * count + text[1:]), index + 1
    return Piece(" ".join([_capitalize(text, mark)] * count)), index + 1


def _capitalize(text: str, mark: str) -> str:
    if mark == UP:
        return UNIT.sub(lambda match: _upper_word(match[0]), text, count=1)
    if mark == MAJ:
        first = next((index for index, letter in enumerate(text) if letter != letter.upper()), None)
        return text if first is None else text[:first] + text[first].upper() + text[first + 1 :]
    return text


def _upper_word(word: str) -> str:
    return word[:-2].upper() + word[-2:] if word.endswith(("'s", "’s")) else word.upper()


def _is_glued(previous: str, text: str, open_quotes: set[str]) -> bool:
    if previous in _OPENING or (previous in open_quotes):
        return True
    if text in open_quotes or text.lower() in _CONTRACTIONS or _CLOSING.fullmatch(text):
        return True
    if (previous[-1:] in _GLUE and len(previous) == 1) or (text in _GLUE):
        return True
    if _UNSPACED.match(text) and _UNSPACED.match(previous[-1:]):
        return True
    if len(text) < 3 or text[:3] != text[0] * 3:
        return False
    return (text[0].isalpha() and previous[-1:].isalpha()) or (text[0].isdigit() and previous[-1:].isdigit())
