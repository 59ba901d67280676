"""Clean-up rules over a text that comes in pieces, with what is held back bounded whatever the text.

The rules over the whole text are a chain: each replaces something short. So each stage here takes what the one before
has settled, and holds back the end of it that might be the beginning of what it replaces, 40 characters at most. The
last splits chunks and folds repetitions: it holds a repeated word, and of a chunk one piece of `split_run`.
"""

import re
from collections.abc import Callable

from ulmkit.text.characters import Composer, InvisibleDropper
from ulmkit.text.tokens.rules import (
    CORPUS_MARKS,
    LINE,
    MAX_BLANKS_IN_TAG,
    MAX_REFERENCE_DIGITS,
    MAX_REPETITIONS,
    PARAGRAPH,
    SPECIALS,
    can_be_folded,
    closes_repetition,
    decode_bare_entities,
    decode_references,
    fold_repeated_words,
    part_special_names,
    replace_tags,
    split_chunks,
    split_run,
    undo_escapes,
)

Piece = tuple[str, bool]
"""A chunk, or a piece of one, and whether it is glued to the one before."""


_LONGEST_OPENING = 40
_WORD_END = re.compile(r"\w\Z")


def _beginnings(*texts: str) -> str:
    """Write the pattern of all that is not yet one of the texts but may become one, without the empty beginning."""
    beginnings = {text[:end] for text in texts for end in range(1, len(text))}
    return "|".join(map(re.escape, sorted(beginnings, key=len, reverse=True)))


class _Replacer:
    """One rule as a stage.

    Args:
        replace: The rule.
        opening: Matches what may yet become something that the rule replaces, at the end of a text.
    """

    def __init__(self, replace: Callable[[str], str], opening: str) -> None:
        self.held = ""
        self._replace = replace
        self._opening = re.compile(rf"(?:{opening})\Z", re.IGNORECASE)
        self._before = ""  # stands for a character of a word: an entity without its "&" does not follow one

    def feed(self, piece: str, is_last: bool) -> str:
        known = len(self._before)
        text = self._before + self.held + piece
        match = None if is_last else self._opening.search(text, max(known, len(text) - _LONGEST_OPENING))
        end = len(text) if match is None else match.start()
        self.held = text[end:]
        settled = self._replace(text[:end])[known:]
        self._before = "_" if _WORD_END.match(text, max(0, end - 1), end) else ""
        return settled


class _MarkJoiner:
    """Rule that joins the words around one of CORPUS_MARKS. The space that ends one mark does not begin the next."""

    def __init__(self, mark: str, joined: str) -> None:
        self.held = ""
        self._mark = mark
        self._joined = joined
        self._opening = re.compile(rf"(?:{_beginnings(mark)})\Z")

    def feed(self, piece: str, is_last: bool) -> str:
        *settled, rest = (self.held + piece).split(self._mark)
        match = None if is_last else self._opening.search(rest)
        end = len(rest) if match is None else match.start()
        self.held = rest[end:]
        return self._joined.join([*settled, rest[:end]])


def _markup_stages() -> list[InvisibleDropper | Composer | _Replacer | _MarkJoiner]:
    digits = f"{{0,{MAX_REFERENCE_DIGITS}}}"
    entity_names = rf"(?:\b(?:{_beginnings('amp;', 'quot;', 'nbsp;')})|{_beginnings('#39;', '#146;', '#36;')})"
    return [
        InvisibleDropper(),
        Composer(" "),
        _Replacer(decode_references, rf"&(?:#(?:[0-9]{digits}|x[0-9a-f]{digits})|[^\t\n\f <&#;]{{0,32}})"),
        InvisibleDropper(),  # invisible characters may stand in an entity, or come from one
        Composer(" "),
        _Replacer(decode_bare_entities, rf"&?{entity_names}|&"),
        _Replacer(undo_escapes, r"\\n?"),
        _Replacer(part_special_names, _beginnings(*SPECIALS)),
        _Replacer(replace_tags, rf"<br\s{{0,{MAX_BLANKS_IN_TAG}}}/?|{_beginnings('<br', '<unk>')}"),
        *(_MarkJoiner(mark, joined) for mark, joined in CORPUS_MARKS.items()),
    ]


class _ChunkSplitter:
    """Splits chunks and folds repetitions of a text that comes in pieces, as `prepare_text` does."""

    def __init__(self) -> None:
        self._open = ""  # of the chunk that goes on, what is not settled
        self._is_run = False  # whether that chunk can no longer be, or end, a repetition
        self._is_glued = False  # whether a piece of it is settled
        self._repeated: list[str] = []  # the word before it, as often as it was repeated
        self._line_breaks = ""  # since the last chunk
        self._has_begun = False

    @property
    def held_characters(self) -> int:
        return len(self._open) + sum(map(len, self._repeated[:1]))

    def feed(self, text: str, is_last: bool) -> list[Piece]:
        pieces: list[Piece] = []
        if self._is_run:
            more = text.split(maxsplit=1)[0] if text and not text[0].isspace() else ""
            pieces = self._split_run(more, is_last or len(more) < len(text))
            text = text[len(more) :]
        if self._is_run:
            return pieces
        text = self._line_breaks + self._open + text
        complete, self._open, self._line_breaks = text, "", ""
        if not is_last:
            complete = text.rstrip()
            if complete and len(complete) == len(text):
                self._open = text.rsplit(maxsplit=1)[-1]
                complete = text[: len(text) - len(self._open)]
            else:
                self._line_breaks = "\n" * min(2, text.count("\n", len(complete)))
        chunks = self._chunks(complete)
        pieces += [(chunk, False) for chunk in self._fold(chunks, is_last)]
        return pieces + self._settle_open() if self._open else pieces

    def _chunks(self, complete: str) -> list[str]:
        """Split what is complete, with the line breaks before it, and after it if a chunk follows."""
        chunks = split_chunks(complete, is_last=not self._open)
        if chunks or self._open:
            blank = complete[: len(complete) - len(complete.lstrip())]
            line_breaks = blank.count("\n") if self._has_begun else 0
            self._has_begun = True
            if line_breaks:
                return [LINE if line_breaks == 1 else PARAGRAPH, *chunks]
        return chunks

    def _fold(self, chunks: list[str], is_last: bool) -> list[str]:
        """Fold repetitions but for the last word, which may be repeated on."""
        chunks = self._repeated + chunks
        self._repeated = []
        if chunks and not is_last and can_be_folded(chunks[-1]):
            start = len(chunks) - 1
            while start and chunks[start - 1] == chunks[-1]:
                start -= 1
            settled = len(chunks) - (len(chunks) - start) % MAX_REPETITIONS
            self._repeated = chunks[settled:]
            chunks = chunks[:settled]
        return fold_repeated_words(chunks)

    def _settle_open(self) -> list[Piece]:
        """Settle what the beginning of a chunk tells of the repetition before it, and of itself."""
        pieces: list[Piece] = []
        if self._repeated:
            word = self._repeated[0]
            if word.startswith(self._open):
                return []
            chunks = [*self._repeated, self._open]
            if closes_repetition(word, self._open):
                *chunks, self._open = fold_repeated_words(chunks)
            else:
                chunks = fold_repeated_words(self._repeated)
            pieces = [(chunk, False) for chunk in chunks]
            self._repeated = []
        self._is_run = not can_be_folded(self._open)
        return pieces + self._split_run("", False) if self._is_run else pieces

    def _split_run(self, more: str, is_complete: bool) -> list[Piece]:
        """Settle all pieces of the chunk that goes on, the last one only if the chunk is complete."""
        settled = split_run(self._open + more)
        self._open = "" if is_complete else settled.pop()
        pieces = [(piece, bool(index) or self._is_glued) for index, piece in enumerate(settled)]
        self._is_run = not is_complete
        self._is_glued = self._is_run and (self._is_glued or bool(pieces))
        return pieces


class StreamedRules:
    """Chunks of a text that comes in pieces, each as soon as nothing that may follow can change it.

    All pieces that `feed` returns, those of one chunk put together, are the chunks that `prepare_text` makes of the
    whole text, however it was cut. Of any text at most about 700 characters are held back.
    """

    def __init__(self) -> None:
        self._stages = _markup_stages()
        self._chunks = _ChunkSplitter()

    @property
    def held_characters(self) -> int:
        """Characters that are kept; a word that is being repeated counts once."""
        return sum(len(stage.held) for stage in self._stages) + self._chunks.held_characters

    def feed(self, text: str, is_last: bool) -> list[Piece]:
        """Take in the next piece. Returns: The chunks that are settled by now, long ones in pieces of `split_run`."""
        for stage in self._stages:
            text = stage.feed(text, is_last)
        return self._chunks.feed(text, is_last)
