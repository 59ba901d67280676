"""Chunks to tidied parts, and parts to tokens, as formulas: whatever needs no model and no cache.

The exported text reader takes a copy of this file along (see `ulmkit.portable`), so it imports `rules` alone.
"""

from collections.abc import Mapping, Sequence
from itertools import chain

from ulmkit.text.tokens.rules import (
    FLD,
    LINE,
    PARAGRAPH,
    REP,
    SPECIAL_SET,
    UNK,
    case_marks,
    prepare_text,
    split_run,
    tidy_chunk,
)

KEPT_CHUNKS = SPECIAL_SET | {LINE, PARAGRAPH}
"""Chunks that are tokens themselves."""


def field_chunks(fields: Sequence[str]) -> list[str]:
    """Split the fields of a document into chunks; several fields each follow FLD and their number."""
    if len(fields) == 1:
        return prepare_text(fields[0])
    numbered = ([FLD, str(number), *prepare_text(field)] for number, field in enumerate(fields, start=1))
    return list(chain.from_iterable(numbered))


def chunk_parts(chunk: str, is_glued: bool = False) -> list[tuple[str, bool]]:
    """Split a chunk into tidied parts, each with whether it is glued to the part before.

    A repetition's count and character are not glued, so that they are the same tokens wherever the repetition occurs.
    """
    parts = list(chain.from_iterable(map(tidy_chunk, split_run(chunk))))
    if len(parts) == 1:
        return [(parts[0], is_glued)]
    glued = [is_glued] + [True] * (len(parts) - 1)
    for index, part in enumerate(parts):
        if part == REP:
            glued[index + 1 : index + 3] = (False, False)
    return list(zip(parts, glued, strict=True))


def case_segments(part: str, is_glued: bool) -> list[tuple[str, str]]:
    """Cut a part of a chunk, in lower case, at the marks for capitals.

    Returns:
        (mark or "", text), the first text with a space before it unless it is glued.
    """
    space = "" if is_glued else " "
    lowered = part.lower()
    if lowered == part:
        return [("", space + part)]
    marks = case_marks(part)
    if not marks or marks[0][0]:
        marks = [(0, ""), *marks]
    ends = [offset for offset, _ in marks[1:]] + [len(lowered)]
    segments = [(mark, lowered[start:end]) for (start, mark), end in zip(marks, ends, strict=True)]
    segments[0] = (segments[0][0], space + segments[0][1])
    return segments


def segment_tokens(segments: Sequence[tuple[str, str]], subwords: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """Join the subwords of a part's segments, each after its mark."""
    if len(segments) == 1 and not segments[0][0]:
        return subwords[segments[0][1]]
    tokens: list[str] = []
    for mark, text in segments:
        if mark:
            tokens.append(mark)
        tokens += subwords[text]
    return tokens


def without_specials(subwords: Sequence[str]) -> tuple[str, ...]:
    """Subwords as they are, but for characters unknown to the model that it normalises to a special token's name."""
    return tuple(UNK if subword in SPECIAL_SET else subword for subword in subwords)


def with_marks(words: Sequence[str], marks: Sequence[tuple[int, str]]) -> list[str]:
    """Put each mark before the word that its offset falls into; of several the first."""
    marked: list[str] = []
    end = 0
    index = 0
    for word in words:
        end += len(word)
        if index < len(marks) and marks[index][0] < end:
            marked.append(marks[index][1])
            while index < len(marks) and marks[index][0] < end:
                index += 1
        marked.append(word)
    return marked
