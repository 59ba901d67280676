"""Texts shortened around the words that moved a prediction."""

from collections.abc import Sequence
from dataclasses import dataclass

from ulmkit.explain import Explanation, WordWeight
from ulmkit.text import Text

LONGEST = 600
"""Characters up to which a text is shown whole."""

_AROUND = 80  # characters shown on either side of a word
_MARKED = 12
_LEAST_SHARE = 0.1  # of the largest weight, below which a word is not marked


@dataclass(frozen=True)
class Snippet:
    """Part of a text.

    Attributes:
        text: The part.
        weight: Weight of the word that it is, relative to the largest, -1 to 1; None if it is not marked.
        is_gap: Whether text was left out here.
    """

    text: str
    weight: float | None = None
    is_gap: bool = False


def marked_words(explanation: Explanation) -> list[WordWeight]:
    """The words to point out, the strongest first: at most 12 that weigh at least a tenth of the strongest."""
    strongest = explanation.strongest(_MARKED)
    if not strongest:
        return []
    least = _LEAST_SHARE * abs(strongest[0].weight or 0.0)
    return [word for word in strongest if abs(word.weight or 0.0) >= least]


def shorten(text: Text, explanation: Explanation, longest: int = LONGEST) -> list[Snippet]:
    """Cut a text down to what is around the words that moved its prediction.

    Args:
        text: The text.
        explanation: Its explanation.
        longest: Number of characters that is not exceeded by much.

    Returns:
        Parts of the text in order; the marked words among them, and gaps where text was left out.
    """
    whole = text if isinstance(text, str) else "\n".join(text)
    marked = [word for word in marked_words(explanation) if word.span is not None]
    largest = max((abs(word.weight or 0.0) for word in marked), default=1.0)
    weights = {word.span: (word.weight or 0.0) / largest for word in marked if word.span is not None}
    snippets: list[Snippet] = []
    place = 0
    for begin, end in _windows(whole, list(weights), longest):
        if begin > place:
            snippets.append(Snippet("", is_gap=True))
        place = begin
        for span in sorted(span for span in weights if begin <= span[0] and span[1] <= end):
            if span[0] > place:
                snippets.append(Snippet(whole[place : span[0]]))
            snippets.append(Snippet(whole[span[0] : span[1]], weights[span]))
            place = span[1]
        if end > place:
            snippets.append(Snippet(whole[place:end]))
        place = end
    if place < len(whole):
        snippets.append(Snippet("", is_gap=True))
    return snippets


def _windows(text: str, spans: Sequence[tuple[int, int]], longest: int) -> list[tuple[int, int]]:
    """Parts of a text to show, in order: those around the first spans, as far as they fit."""
    if len(text) <= longest:
        return [(0, len(text))]
    if not spans:
        return [(0, _to_space(text, longest, 1))]
    shown: list[tuple[int, int]] = []
    for begin, end in spans:
        window = (_to_space(text, max(0, begin - _AROUND), -1), _to_space(text, min(len(text), end + _AROUND), 1))
        merged = _merged([*shown, window])
        if shown and sum(stop - start for start, stop in merged) > longest:
            continue
        shown = merged
    return shown


def _merged(windows: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(windows):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _to_space(text: str, place: int, step: int) -> int:
    """Next place from here, to the left or right, at white space or the text's end; not further than 40 characters."""
    for moved in range(place, place + 40 * step, step):
        if moved <= 0:
            return 0
        if moved >= len(text):
            return len(text)
        if text[moved if step > 0 else moved - 1].isspace():
            return moved
    return place
