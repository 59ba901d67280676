r"""Special tokens and the clean-up rules of ULMFiT as fastai 2 defines them, in a form to be cached and streamed.

Three steps. `prepare_text` works on the whole text and leaves chunks: stretches without white space, and line breaks.
`tidy_chunk` and `case_marks` depend on one chunk alone, so that a tokenizer can remember what it made of a chunk.

The tokens are fastai's except where fastai's rules lose or garble something:

- Entities are decoded first: "&amp;" is "&" (fastai: "&&"), "&quot;" a double quote (fastai: "&'"), "&lt;br&gt;" a
  line break; "camp;" stays as it is (fastai: "c&"), and so does "\nabla" (fastai: a line break and "abla").
- Any spelling of the tag (<br>, <br/>, <BR />) is a line break, and several line breaks with blanks between are one
  paragraph break (fastai has a token for every mixture). Other white space separates and is no token.
- "the end.Then" is two sentences (fastai: one unknown word "end.then"); "www.x.org" keeps its w's.
- Capitals are marked also after an opening quote or bracket, in "Sci-Fi" and outside ASCII (fastai: lost).
- " @,@ " is undone as " @-@ " and " @.@ " are. Words repeated over a line break are kept. A word repeated more than
  512 times is folded once for every 512. References of more than 32 digits and tags with more than 32 blanks stay as
  they are, and a space parts more than 30 combining marks in a row: so a text can be cleaned up while it arrives.
- Text is in NFC and has no invisible characters (fastai: "é" may be two words; a soft hyphen makes an unknown word).
- A special token's name in the text ("xxfld") is broken up ("xx fld"), so that no text can pass for markup.

Source: Howard & Ruder 2018, arXiv:1801.06146, section 4.1 (special tokens for capitals, elongation and repetition);
fastai 2.8.12, fastai.text.core.
"""

import html
import re
from itertools import islice
from operator import eq

from ulmkit.text.characters import drop_invisible

RULES_VERSION = 3
"""Changed whenever the tokens of text that people write can change."""

UNK = "xxunk"
PAD = "xxpad"
BOS = "xxbos"
EOS = "xxeos"
FLD = "xxfld"
REP = "xxrep"
WREP = "xxwrep"
UP = "xxup"
MAJ = "xxmaj"

SPECIALS = (UNK, PAD, BOS, EOS, FLD, REP, WREP, UP, MAJ)
SPECIAL_SET = frozenset(SPECIALS)

LINE = "\n"
PARAGRAPH = "\n\n"

MAX_RUN_CHARACTERS = 256
"""Number of characters after which a stretch without white space is cut.

This is the longest stretch that a tokenizer splits and caches as one, and that streaming holds back.
"""

MAX_REPETITIONS = 512
"""Number of times a word occurs in one folded repetition; a longer one is several, so that streaming can cut it."""

MAX_REFERENCE_DIGITS = 32
"""Number of digits of a character reference; with more it is none, so that streaming need not hold them back."""

MAX_BLANKS_IN_TAG = 32
"""Number of blanks in the tag of a line break; with more it is none, so that streaming need not hold them back."""

CORPUS_MARKS = {" @-@ ": "-", " @.@ ": ".", " @,@ ": ","}
"""Marks of words that word-level corpora take apart, replaced one after the other."""

RUN_MARKS = "。｡！？，、；：．"
RUN_CLOSERS = "」』）】》〉”’"

_REFERENCE = re.compile(
    rf"&(?:#[0-9]{{1,{MAX_REFERENCE_DIGITS}}}(?![0-9]);?"
    rf"|#[xX][0-9a-fA-F]{{1,{MAX_REFERENCE_DIGITS}}}(?![0-9a-fA-F]);?"
    r"|[^\t\n\f <&#;]{1,32};?)"
)
_LINE_BREAK = re.compile(rf"<br\s{{0,{MAX_BLANKS_IN_TAG}}}/?>", re.IGNORECASE)
_BARE_ENTITY = re.compile(r"&?(?:\b(amp|quot|nbsp)|#(39|146|36));")
_BARE_ENTITIES = {"amp": "&", "quot": '"', "nbsp": " ", "39": "'", "146": "'", "36": "$"}
_ESCAPED_LINE = re.compile(r"\\n(?![a-z])")
_SPECIAL_NAME = re.compile("(xx)(" + "|".join(name[2:] for name in SPECIALS) + ")", re.IGNORECASE)

_RUN_PIECE = re.compile(
    f"[^{RUN_MARKS}]{{0,{MAX_RUN_CHARACTERS}}}[{RUN_MARKS}]{{1,8}}[{RUN_CLOSERS}]{{0,8}}|[^{RUN_MARKS}]{{1,{MAX_RUN_CHARACTERS}}}"
)
_RUN_MARK = re.compile(f"[{RUN_MARKS}]")
_WORD = re.compile(r"\w+")

_UNTIDY = re.compile(r"(\S)\1\1|[/#\\]|[.!?][^\W\d_]")
_REPEATED = re.compile(r"(\S)\1{2,}")
_SET_APART = re.compile(r"([/#\\])")
_RUN_ON = re.compile(r"(?<=[^\W\d_]{2})([.!?]+)(?=[^\W\d_])")
_ADDRESS = re.compile(r"www\.|://|\w@\w", re.IGNORECASE)

UNIT = re.compile(r"\w(?:[\w.&'’]*\w)?")
"""A word that a capital's mark applies to, with inner full stops, ampersands and apostrophes (U.S, AT&T, don't)."""
_POSSESSIVE = ("'s", "’s")


def prepare_text(text: str) -> list[str]:
    """Split a text into chunks, with repetitions of words folded.

    Returns:
        Stretches without white space; LINE and PARAGRAPH for line breaks between them; WREP, count and word for a word
        that occurs three times or more in a row, anew after MAX_REPETITIONS.
    """
    return fold_repeated_words(split_chunks(_replace_markup(text)))


def _replace_markup(text: str) -> str:
    """Drop invisible characters; replace entities, tags, escapes and marks of corpora by what they stand for."""
    text = drop_invisible(text)
    if "&" in text:  # invisible characters may stand in an entity, or come from one
        text = drop_invisible(decode_references(text))
    text = replace_tags(part_special_names(undo_escapes(decode_bare_entities(text))))
    if "@" in text:
        for mark, joined in CORPUS_MARKS.items():
            text = text.replace(mark, joined)
    return text


def decode_references(text: str) -> str:
    """Replace "&amp;", "&#38;" and "&#x26;" by what they stand for, as HTML does."""
    return _REFERENCE.sub(lambda match: html.unescape(match[0]), text) if "&" in text else text


def decode_bare_entities(text: str) -> str:
    """Replace entities that lost their "&", or came to be when a reference was decoded."""
    return _BARE_ENTITY.sub(lambda match: _BARE_ENTITIES[match[1] or match[2]], text) if ";" in text else text


def undo_escapes(text: str) -> str:
    r"""Replace "\n" by a line break, and a quote after a backslash by the quote."""
    return _ESCAPED_LINE.sub("\n", text).replace('\\"', '"') if "\\" in text else text


def part_special_names(text: str) -> str:
    """Break up the names of special tokens."""
    is_there = "xx" in text or "XX" in text or "Xx" in text or "xX" in text
    return _SPECIAL_NAME.sub(r"\1 \2", text) if is_there else text


def replace_tags(text: str) -> str:
    """Replace the tag of a line break by one, and the unknown word of corpora by its token."""
    return _LINE_BREAK.sub("\n", text).replace("<unk>", f" {UNK} ") if "<" in text else text


def split_chunks(text: str, is_last: bool = True) -> list[str]:
    """Split a text at white space.

    Args:
        text: Text whose markup is replaced.
        is_last: Whether line breaks at the end are dropped, as those at the start are.
    """
    if "\n" not in text:
        return text.split()
    chunks: list[str] = []
    breaks = 0
    for line in text.split("\n"):
        words = line.split()
        if words:
            if breaks and chunks:
                chunks.append(LINE if breaks == 1 else PARAGRAPH)
            chunks += words
            breaks = 0
        breaks += 1
    if chunks and not is_last and breaks > 1:
        chunks.append(LINE if breaks == 2 else PARAGRAPH)
    return chunks


def fold_repeated_words(chunks: list[str]) -> list[str]:
    """Write WREP, count and word for each word that occurs three times or more in a row."""
    if not any(map(eq, chunks, islice(chunks, 1, None))):
        return chunks
    folded: list[str] = []
    start = 0
    while start < len(chunks):
        word, end, rest = chunks[start], start + 1, ""
        if can_be_folded(word):
            last = min(len(chunks), start + MAX_REPETITIONS)
            while end < last and chunks[end] == word:
                end += 1
            count = end - start
            if count < MAX_REPETITIONS and end < len(chunks) and closes_repetition(word, chunks[end]):
                count, rest, end = count + 1, chunks[end][len(word) :], end + 1
            if count >= 3:
                folded += [WREP, str(count), word]
                if rest:
                    folded.append(rest)
                start = end
                continue
        folded.append(word)
        start += 1
    return folded


def can_be_folded(word: str) -> bool:
    """Tell whether repetitions of a chunk are folded: it is a word, and shorter than the pieces of `split_run`."""
    return len(word) < MAX_RUN_CHARACTERS and bool(_WORD.fullmatch(word)) and not _REPEATED.search(word)


def closes_repetition(word: str, chunk: str) -> bool:
    """Tell whether a chunk is `word` followed by something that is no part of a word: "no" and "no!"."""
    return len(chunk) > len(word) and chunk.startswith(word) and not _WORD.match(chunk, len(word))


def split_run(chunk: str) -> list[str]:
    """Cut a chunk after the punctuation of scripts without spaces, and after MAX_RUN_CHARACTERS characters.

    Returns:
        Pieces whose concatenation is `chunk`. Text that follows the chunk can change the last piece alone.
    """
    if len(chunk) <= MAX_RUN_CHARACTERS and (chunk.isascii() or not _RUN_MARK.search(chunk)):
        return [chunk]
    return _RUN_PIECE.findall(chunk)


def tidy_chunk(chunk: str) -> list[str]:
    r"""Tidy a chunk and split it into parts.

    Repeated characters are folded into REP, count, character; "..." becomes "…"; "/", "#" and "\\" stand alone; run-on
    sentences are parted.

    Returns:
        Parts without white space, in order; REP is always followed by a count and a character.
    """
    if not _UNTIDY.search(chunk):
        return [chunk]
    text = chunk.replace("...", " …")
    if not _ADDRESS.search(chunk):
        text = _REPEATED.sub(lambda match: f" {REP} {len(match[0])} {match[1]} ", text)
        text = _RUN_ON.sub(_part_sentences, text)
    return _SET_APART.sub(r" \1 ", text).split()


def _part_sentences(match: re.Match[str]) -> str:
    before, after = match.string[match.start() - 2 : match.start()], match.string[match.end()]
    return f"{match[1]} " if before.islower() and after.isupper() else match[1]


def case_marks(part: str) -> list[tuple[int, str]]:
    """Find the places at which the lower-case form of a part needs UP or MAJ for its capitals to be known.

    A part that starts with a capital is marked as a whole, as fastai does: MAJ if no other capital follows, UP if there
    is no small letter. Otherwise, and for further words in it, each word of two characters or more is judged on its
    own. A capital that stands alone ("I", "A") has no mark.

    Args:
        part: Text without white space.

    Returns:
        (offset in part.lower(), mark), in order.
    """
    if part == part.lower() or len(part) == 1:
        return []
    marks: dict[int, str] = {}
    if part[0].isupper():
        if part.isupper():
            marks[0] = UP
        elif not any(map(str.isupper, part[1:])):
            return [(0, MAJ)]
    for match in UNIT.finditer(part):
        mark = _unit_mark(match[0])
        if mark:
            marks.setdefault(len(part[: match.start()].lower()), mark)
    return sorted(marks.items())


def _unit_mark(unit: str) -> str | None:
    word = unit[:-2] if unit.endswith(_POSSESSIVE) else unit
    if len(word) == 1:
        return None
    if word.isupper():
        return UP
    first_cased = next((letter for letter in word if letter.isupper() or letter.islower()), "")
    return MAJ if first_cased.isupper() else None
