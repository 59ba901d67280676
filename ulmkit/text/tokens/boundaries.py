"""Boundaries at which a text that is still arriving can be cut without changing a token."""

import re

from ulmkit.text.tokens.rules import MAX_REPETITIONS, can_be_folded, closes_repetition, split_run, split_text

_CHUNK = re.compile(r"\S+")

# What the rules over the whole text replace, join or break up, entities without their "&" excepted. A "&" before white
# space is no entity, and of escapes only line breaks and quotes are undone: LaTeX has few of either.
_MARKUP = re.compile(r"""&(?!$)|\\(?:n(?![a-z])|")|[<@]|(?i:xx|nbsp;)""")
_MARKUP_STARTS = ("&", "\\", "<")
_LONGEST_BARE_ENTITY = len("nbsp;")
_LOOK_BACK_CHUNKS = 8
_JOINTS = re.compile("[-.,]")
"""Marks that stand for " @-@ ", " @.@ " and " @,@ " in what the rules leave."""

# Within a stretch without white space whatever is replaced moves the places where `split_run` cuts.
_RUN_MARKUP = re.compile(r"[&\\<@]|(?:amp|quot|nbsp|#39|#146|#36);|xx", re.IGNORECASE)


def stable_prefix(text: str, is_glued: bool = False) -> int:
    """Count the leading characters that the clean-up rules treat alike, whatever follows.

    A cut is made before a chunk (a stretch without white space) if it holds nothing that markup rules touch, markup
    before it cannot reach it, and no word can be repeated across it; within a repetition after every MAX_REPETITIONS
    words; or within a chunk, where `split_run` cuts it.

    Held back of ordinary text: two or three words; of text without white space, what follows the last punctuation of
    scripts without spaces, at most about MAX_RUN_CHARACTERS; of a repetition, at most MAX_REPETITIONS words. Not
    bounded: text with markup in every word, and markup in a stretch without white space.

    Args:
        text: Begins where a stable prefix ended, or at the start of the whole text.
        is_glued: Whether the text continues a chunk, whose end is then never part of a repetition.
    """
    spans = [match.span() for match in _CHUNK.finditer(text)]
    if not spans:
        return 0
    chunks = [text[start:end] for start, end in spans]
    is_complete = spans[-1][1] < len(text)
    for index in range(len(chunks) - 1, 0, -1):
        gap = text[spans[index - 1][1] : spans[index][0]]
        before = text[spans[max(0, index - _LOOK_BACK_CHUNKS)][0] : spans[index - 1][1]]
        if _is_boundary(chunks, index, is_complete or index < len(chunks) - 1, "\n" in gap, before):
            return spans[index][0] + (_stable_run(chunks[-1]) if index == len(chunks) - 1 else 0)
    run = _stable_run(chunks[0]) if len(chunks) == 1 else 0
    if run:
        return spans[0][0] + run
    repeated = _full_repetitions(text, spans if is_complete else spans[:-1], int(is_glued))
    return spans[repeated][0] if repeated else 0


def _is_boundary(chunks: list[str], index: int, is_complete: bool, after_line_break: bool, text_before: str) -> bool:
    """Tell whether nothing connects the chunk at `index` to those before it.

    Args:
        chunks: All chunks.
        index: Number of the chunk, at least 1.
        is_complete: Whether the chunk cannot go on.
        after_line_break: Whether there is a line break between it and the chunk before it.
        text_before: The last _LOOK_BACK_CHUNKS chunks before it, with what stands between them.
    """
    before, after = chunks[index - 1], chunks[index]
    if not is_complete and len(after) <= max(len(before) + 1, _LONGEST_BARE_ENTITY):
        return False
    if _MARKUP.search(after):
        return False
    if any(_MARKUP.search(chunk) for chunk in chunks[max(0, index - 2) : index]):
        return _is_boundary_after_markup(text_before, index <= _LOOK_BACK_CHUNKS, after, is_complete)
    if after_line_break or not can_be_folded(before):
        return True
    is_repeated = index > 1 and chunks[index - 2].endswith(before)  # of "<br >no" the rules leave "no"
    return after != before and not (is_repeated and closes_repetition(before, after))


def _is_boundary_after_markup(text_before: str, is_whole: bool, after: str, is_complete: bool) -> bool:
    """Tell whether nothing connects a chunk without markup to the markup before it.

    What the rules leave of the text before decides, for a chunk that is no end of a tag. Of what is left the last chunk
    must not depend on text further back: there are two at least, or there is no such text. A mark of joined words can
    depend on it all the same, so that their parts are looked at, too.
    """
    left = split_text(text_before)
    if not left or (len(left) < 2 and not is_whole):
        return False
    last = left[-1]
    if "@" in last or last.lower().endswith("<br") or after.startswith((">", "/>")):
        return False
    if not is_complete and len(after) <= len(last) + 1:
        return False
    return not any(
        can_be_folded(word) and (after == word or closes_repetition(word, after))
        for word in (last, _JOINTS.split(last)[-1])
    )


def _full_repetitions(text: str, spans: list[tuple[int, int]], first: int) -> int:
    """Find the chunk after the last whole MAX_REPETITIONS of a repetition that begins at chunk `first` and goes on.

    Returns:
        The number of that chunk; 0 if the repetition is shorter, or something before it may belong to it.
    """
    if len(spans) <= first + MAX_REPETITIONS or any(_MARKUP.search(text[slice(*span)]) for span in spans[: first + 1]):
        return 0
    word = text[slice(*spans[first])]
    if not can_be_folded(word):
        return 0
    end = first + 1
    while end < len(spans) and text[slice(*spans[end])] == word and "\n" not in text[spans[end - 1][1] : spans[end][0]]:
        end += 1
    repetitions = (end - 1 - first) // MAX_REPETITIONS * MAX_REPETITIONS
    return first + repetitions if repetitions else 0


def _stable_run(chunk: str) -> int:
    """Count the leading characters of a chunk, of which more may follow, that are whole pieces of `split_run`."""
    stable = end = 0
    for piece in split_run(chunk)[:-1]:
        end += len(piece)
        if _RUN_MARKUP.search(piece):
            break
        if not (piece[-1].isascii() or chunk[end].isascii()) or _is_plain(chunk, end):
            stable = end
    return stable


def _is_plain(chunk: str, end: int) -> bool:
    """Tell whether no markup of ASCII lies across a place in a chunk, or begins there: it may stand for white space."""
    after = chunk[end : end + _LONGEST_BARE_ENTITY]
    is_markup = after[:1] in _MARKUP_STARTS or ";" in after or chunk[end - 1 : end + 1].lower() == "xx"
    return len(after) == _LONGEST_BARE_ENTITY and not is_markup
