"""From text to tokens by way of chunks, what each chunk became being remembered: few chunks make up most of a text."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from ulmkit.text.tokens.rules import (
    BOS,
    FLD,
    LINE,
    MAX_RUN_CHARACTERS,
    PARAGRAPH,
    REP,
    SPECIAL_SET,
    prepare_text,
    split_run,
    tidy_chunk,
)
from ulmkit.text.tokens.tokenizer import Text

EncodeParts = Callable[[Sequence[tuple[str, bool]]], Sequence[Sequence[str]]]
"""(part without white space, whether it is glued to what is before it) of several parts -> the tokens of each."""

MAX_LEARNT_CHARACTERS = 3_000_000
"""Of chunks that were encoded, about 300,000 chunks and 100 MB of English; then all chunks and parts are forgotten."""

TEXTS_AT_ONCE = 128

KEPT_CHUNKS = SPECIAL_SET | {LINE, PARAGRAPH}
"""Chunks that are tokens as they are."""


def chunk_parts(chunk: str, is_glued: bool = False) -> list[tuple[str, bool]]:
    """The tidied parts of a chunk, and whether each is glued to what is before it.

    A repetition's count and character stand alone, so that they are the same tokens wherever it occurs.
    """
    parts = list(chain.from_iterable(map(tidy_chunk, split_run(chunk))))
    if len(parts) == 1:
        return [(parts[0], is_glued)]
    glued = [is_glued] + [True] * (len(parts) - 1)
    for index, part in enumerate(parts):
        if part == REP:
            glued[index + 1 : index + 3] = (False, False)
    return list(zip(parts, glued, strict=True))


class ChunkTokens:
    """Tokens of texts, given how the parts of chunks become tokens.

    Args: encode_parts: the tokens of each part, a pure function of the part and whether it is glued to what is before.
        forget: called when the memory of chunks is emptied, to empty what memory of parts there is.
    """

    def __init__(self, encode_parts: EncodeParts, forget: Callable[[], None]) -> None:
        self._encode_parts = encode_parts
        self._forget = forget
        self._begin()

    def _begin(self) -> None:
        self._known: dict[str, tuple[str, ...]] = {chunk: (chunk,) for chunk in KEPT_CHUNKS}
        self._learnt_characters = 0

    def tokenize_many(self, texts: Sequence[Text]) -> list[list[str]]:
        """Of each text BOS and its tokens; several fields each after FLD and their number."""
        tokenized: list[list[str]] = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            prepared = [_prepare(text) for text in texts[start : start + TEXTS_AT_ONCE]]
            passing = self._learn(chain.from_iterable(prepared))
            look_up = self._known.__getitem__
            tokenized += [[BOS, *chain.from_iterable(map(look_up, chunks))] for chunks in prepared]
            self._tidy_up(passing)
        return tokenized

    def tokenize_part(self, part: str, before: str, is_last: bool) -> list[str]:
        """The tokens of one part of a text that was cut at stable prefixes; see `Tokenizer.tokenize_part`."""
        is_glued = bool(before) and not before.isspace()
        chunks = prepare_text(part, is_glued=is_glued, is_last=is_last)
        tokens = [] if before else [BOS]
        if is_glued and chunks:
            tokens += self._encode([chunks.pop(0)], is_glued=True)[0]
        passing = self._learn(chunks)
        tokens += chain.from_iterable(map(self._known.__getitem__, chunks))
        self._tidy_up(passing)
        return tokens

    def _learn(self, chunks: Iterable[str]) -> list[str]:
        """Make all of `chunks` known; returns those that are too long to stay so, which seldom occur again."""
        unknown = list(set(chunks).difference(self._known))
        self._known.update(zip(unknown, self._encode(unknown), strict=True))
        return [chunk for chunk in unknown if len(chunk) > MAX_RUN_CHARACTERS]

    def _tidy_up(self, passing: list[str]) -> None:
        if self._learnt_characters > MAX_LEARNT_CHARACTERS:
            self._begin()
            self._forget()
            return
        for chunk in passing:
            del self._known[chunk]

    def _encode(self, chunks: list[str], is_glued: bool = False) -> list[tuple[str, ...]]:
        """The tokens of each chunk; `is_glued` if no white space is before them.

        Their characters are counted: the parts of a chunk that is not kept itself may be.
        """
        self._learnt_characters += sum(map(len, chunks))
        parts = [chunk_parts(chunk, is_glued) for chunk in chunks]
        encoded = iter(self._encode_parts([part for chunk in parts for part in chunk if part[0] != REP]))
        return [
            tuple(next(encoded))
            if len(chunk) == 1
            else tuple(chain.from_iterable((REP,) if part == REP else next(encoded) for part, _ in chunk))
            for chunk in parts
        ]


def _prepare(text: Text) -> list[str]:
    if isinstance(text, str):
        return prepare_text(text)
    if len(text) == 1:
        return prepare_text(text[0])
    fields = ([FLD, str(number), *prepare_text(field)] for number, field in enumerate(text, start=1))
    return list(chain.from_iterable(fields))
