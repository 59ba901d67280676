"""Curve of a document's probabilities after each word, as a small SVG for the page."""

import numpy as np

from ulmkit.explain import RunningPrediction
from ulmkit.report.html_parts import percent, text

_WIDTH, _HEIGHT = 640, 116
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 632, 8, 92


def running_curve_svg(running: RunningPrediction, predicted: str, label: str) -> str:
    """Draw the probability of the predicted label after each word, and dashed that of the document's own label.

    Args:
        running: The answers while the document was read.
        predicted: The predicted label.
        label: The document's label.

    Returns:
        An SVG element in the page's colours.
    """
    words = max(1, len(running.words))
    shown = {"--classifier": predicted, "--linear": label} if label != predicted else {"--classifier": predicted}
    lines = []
    for share in (0.0, 0.5, 1.0):
        y = _y(share)
        lines.append(f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y:g}" y2="{y:g}" stroke="var(--rule)"/>')
        lines.append(_note(_LEFT - 6, y + 4, "end", percent(share, 0)))
    for colour, name in shown.items():
        probabilities = running.outputs[:, running.labels.index(name)]
        dashes = "" if name == predicted else ' stroke-dasharray="5 4"'
        points = " ".join(f"{x:.1f},{_y(y):.1f}" for x, y in zip(_x(running.read, words), probabilities, strict=True))
        lines.append(f'<polyline points="{points}" fill="none" stroke="var({colour})" stroke-width="2"{dashes}/>')
    lines.append(_note(_LEFT, _HEIGHT - 6, "start", "first word"))
    lines.append(_note(_RIGHT, _HEIGHT - 6, "end", f"word {words:,}"))
    title = f"Probability of {predicted} after each word: {_account(running, running.labels.index(predicted))}"
    return f'<svg role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}"><title>{text(title)}</title>{"".join(lines)}</svg>'


def _account(running: RunningPrediction, column: int) -> str:
    """Describe a curve in words, for those who do not see it."""
    values = running.outputs[:, column]
    return (
        f"{percent(values[0], 0)} at first, between {percent(values.min(), 0)} and {percent(values.max(), 0)}, "
        f"{percent(values[-1], 0)} at the end"
    )


def _x(read: np.ndarray, words: int) -> np.ndarray:
    """Place of each answer: the first word on the left, the last on the right."""
    return np.asarray(_LEFT + (_RIGHT - _LEFT) * np.maximum(read - 1, 0) / max(1, words - 1))


def _y(share: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * share


def _note(x: float, y: float, anchor: str, words: str) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="12" fill="var(--soft)" '
        f'font-family="sans-serif">{text(words)}</text>'
    )
