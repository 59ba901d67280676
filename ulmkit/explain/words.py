"""Words of a text: the tokens that stand for each, and where it stands in the text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ulmkit.text import Text, Tokenizer
from ulmkit.text.tokens.rules import FLD, LINE, MAJ, PARAGRAPH, REP, SPECIAL_SET, UNK, UP, WREP

_PART = re.compile(r"\w+(?:['’\u0300-\u036f-]\w+)*|[^\w\s]+")
_MARKUP = re.compile(r"&?#?\w{1,10};|<[^<>]{1,10}>")  # entities and tags, which the tokenizer decodes
_LONGEST_WORD = 30  # characters; longer ones are stretches of a language without spaces, and cut at their tokens
_MARKS = (UP, MAJ)
_NO_TEXT = SPECIAL_SET | {LINE, PARAGRAPH}
_SILENT = _NO_TEXT - {UNK, UP, MAJ, REP, WREP}
_REACH = 40  # characters in which a word is searched after some that the tokenizer wrote differently


@dataclass(frozen=True)
class Word:
    """A word of a text.

    Attributes:
        text: The word as the text has it or, where it was not found there, as its tokens spell it.
        first: Position of its first token; marks of capitals and of repetition belong to the word after them.
        stop: Position after its last token.
        span: Characters of the text, from the first to after the last; None where the tokenizer wrote it differently
            (a decoded entity, say). The fields of a text of several are joined by line breaks.
    """

    text: str
    first: int
    stop: int
    span: tuple[int, int] | None


def find_words(text: Text, tokens: Sequence[str], tokenizer: Tokenizer) -> list[Word]:
    """Find the words that the tokens of a text stand for.

    A word is a run of letters, digits and what joins them, or a run of punctuation, as far as tokens end where it ends;
    in languages without spaces a token.

    Args:
        text: The text.
        tokens: Its tokens.
        tokenizer: The tokenizer that they are from.

    Returns:
        The words in the order of the text. Tokens that stand for no text, such as xxbos, belong to none.
    """
    stretches = [part for stretch in _stretches(tokens, tokenizer) for part in _split(tokens, *stretch, tokenizer)]
    return _placed(text if isinstance(text, str) else "\n".join(text), tokens, stretches, tokenizer)


def tokens_in_words(words: Sequence[Word], tokens: int) -> np.ndarray:
    """Tell which of a text's tokens belong to one of its words. Returns: (tokens,) bool."""
    inside = np.zeros(tokens, dtype=bool)
    for word in words:
        inside[word.first : word.stop] = True
    return inside


def _stretches(tokens: Sequence[str], tokenizer: Tokenizer) -> list[tuple[int, int]]:
    """Ranges of tokens without white space in them, each with the marks before it."""
    silent = _SILENT | set(tokenizer.required_tokens)
    stretches: list[tuple[int, int]] = []
    marks: int | None = None  # where marks begin that no word has followed yet
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token in silent:
            index += 2 if token == FLD else 1  # a field's number follows its mark
            marks = None
            continue
        begin = index if marks is None else marks
        if token in _MARKS:
            marks = begin
            index += 1
            continue
        repeats = token in (REP, WREP)
        stop = _repetition(tokens, index, tokenizer)[1] if repeats else index + 1
        starts = repeats or token == UNK or tokenizer.starts_word(token)
        if stretches and stretches[-1][1] == begin and not starts:
            stretches[-1] = (stretches[-1][0], stop)
        else:
            stretches.append((begin, stop))
        marks = None
        index = stop
    return stretches


def _repetition(tokens: Sequence[str], index: int, tokenizer: Tokenizer) -> tuple[int, int]:
    """Range of what is repeated, after the mark of repetition at `index` and the count."""
    first = _stretch_end(tokens, index + 1, tokenizer)
    stop = first
    while stop < len(tokens) and tokens[stop] in _MARKS:
        stop += 1
    return first, _stretch_end(tokens, stop, tokenizer)


def _stretch_end(tokens: Sequence[str], index: int, tokenizer: Tokenizer) -> int:
    """Position after the token at `index` and those that continue its word."""
    stop = index + 1
    while stop < len(tokens) and tokens[stop] not in _NO_TEXT and not tokenizer.starts_word(tokens[stop]):
        stop += 1
    return min(stop, len(tokens))


def _split(tokens: Sequence[str], first: int, stop: int, tokenizer: Tokenizer) -> list[tuple[int, int]]:
    """Split a stretch of tokens into words where a word ends and a token, too."""
    if stop - first == 1 or tokens[first] in (REP, WREP):
        return [(first, stop)]
    spelled = _spell(tokens[first:stop], tokenizer)
    may_end = bytearray(len(spelled) + 1)  # whether a word may end before each character
    for part in _PART.finditer(spelled):
        places = slice(max(1, part.start()), part.end() if len(part[0]) > _LONGEST_WORD else part.start() + 1)
        may_end[places] = b"\1" * len(may_end[places])
    cuts = [first]
    begin, written = first, 0  # the tokens before `begin` spell so many characters
    for place in range(first + 1, stop):
        piece = _spell(tokens[begin:place], tokenizer)
        if not spelled.startswith(piece, written):  # bytes of part of a character, which must not be cut
            continue
        begin, written = place, written + len(piece)
        if may_end[written] and tokens[place - 1] not in _MARKS:
            cuts.append(place)
    return list(pairwise([*cuts, stop]))


def _spell(tokens: Sequence[str], tokenizer: Tokenizer) -> str:
    """Text of the tokens of a word, without marks; of a repetition what is repeated."""
    if tokens[0] in (REP, WREP):
        tokens = tokens[_repetition(tokens, 0, tokenizer)[0] :]
    return tokenizer.spell([token for token in tokens if token not in _MARKS])


def _placed(text: str, tokens: Sequence[str], ranges: Sequence[tuple[int, int]], tokenizer: Tokenizer) -> list[Word]:
    """Find words in a text from its start to its end, whatever their case.

    Between two words that follow each other there is no letter or digit. Where the tokenizer wrote something
    differently, the next word is searched a little further on.
    """
    lowered, origins = _lower(text)
    words: list[Word] = []
    place = 0
    reach = 0  # characters that may be passed over
    for first, stop in ranges:
        part = tokens[first:stop]
        spelled = _spell(part, tokenizer)
        sought = spelled.lower()
        begin = lowered.find(sought, place) if sought else -1
        if begin < 0 or (begin - place > reach and any(map(str.isalnum, _MARKUP.sub("", lowered[place:begin])))):
            reach = _REACH if not reach else reach + 2 * len(spelled)
            words.append(Word(spelled, first, stop, None))
            continue
        end = begin + len(sought)
        if part[0] in (REP, WREP):
            end = _end_of_repetition(lowered, sought, end)
        span = (origins[begin], origins[end - 1] + 1)
        words.append(Word(text[span[0] : span[1]], first, stop, span))
        place, reach = end, 0
    return words


def _end_of_repetition(lowered: str, sought: str, end: int) -> int:
    """End of a repetition in the text."""
    repeated = re.compile(rf"(?:\s*{re.escape(sought)})*")
    match = repeated.match(lowered, end)
    return end if match is None else match.end()


def _lower(text: str) -> tuple[str, Sequence[int]]:
    """The text in lower case, and for each of its characters the position of the character it comes from."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered, range(len(text))
    parts = [character.lower() for character in text]
    return "".join(parts), [place for place, part in enumerate(parts) for _ in part]
