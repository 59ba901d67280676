"""Boundaries at which a text that is still arriving can be cut without changing a token."""

import re

from ulmkit.text.tokens.rules import closes_repetition, split_run

_CHUNK = re.compile(r"\S+")
_WORD = re.compile(r"\w+")

# What the rules over the whole text replace, join or break up, entities without their "&" excepted.
_MARKUP = re.compile(r"[&\\<@]|xx|nbsp;", re.IGNORECASE)
_LONGEST_BARE_ENTITY = len("nbsp;")


def stable_prefix(text: str) -> int:
    """Count the leading characters that the clean-up rules treat alike, whatever follows.

    A cut is made before a chunk (a stretch without white space) if it and the two before it hold nothing that markup
    rules touch, and no word can be repeated across it; or within a stretch of a script without spaces, where
    `split_run` cuts it.

    Held back of ordinary text: two or three words; of scripts without spaces, what follows the last punctuation, at
    most MAX_RUN_CHARACTERS. Not bounded: a repetition that goes on, and ASCII without any white space.

    Args:
        text: Begins where a stable prefix ended, or at the start of the whole text.
    """
    spans = [match.span() for match in _CHUNK.finditer(text)]
    if not spans:
        return 0
    chunks = [text[start:end] for start, end in spans]
    is_complete = spans[-1][1] < len(text)
    for index in range(len(chunks) - 1, 0, -1):
        if _is_boundary(chunks, index, is_complete or index < len(chunks) - 1):
            return spans[index][0] + (_stable_run(chunks[-1]) if index == len(chunks) - 1 else 0)
    run = _stable_run(chunks[0]) if len(chunks) == 1 else 0
    return spans[0][0] + run if run else 0


def _is_boundary(chunks: list[str], index: int, is_complete: bool) -> bool:
    """Tell whether nothing connects the chunk at `index`, which may go on unless it is complete, to those before it."""
    before, after = chunks[index - 1], chunks[index]
    if not is_complete and len(after) <= max(len(before) + 1, _LONGEST_BARE_ENTITY):
        return False
    if any(_MARKUP.search(chunk) for chunk in chunks[max(0, index - 2) : index + 1]):
        return False
    if not _WORD.fullmatch(before):
        return True
    is_repeated = index > 1 and chunks[index - 2] == before
    return after != before and not (is_repeated and closes_repetition(before, after))


def _stable_run(chunk: str) -> int:
    """Count the leading characters of a chunk, of which more may follow, that are whole pieces of `split_run`."""
    stable = end = 0
    for piece in split_run(chunk)[:-1]:
        end += len(piece)
        if _MARKUP.search(piece):
            break
        if not (piece[-1].isascii() or chunk[end].isascii()):
            stable = end
    return stable
