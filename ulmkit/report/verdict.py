"""The verdict on a classifier: use it, or use a linear model."""

from collections.abc import Sequence
from dataclasses import dataclass

from ulmkit.evaluation import PairedComparison

_WIDE = 0.2  # width of an interval from which on its documents are called too few


@dataclass(frozen=True)
class Verdict:
    """One sentence on which model to use.

    Attributes:
        sentence: The sentence.
        use: Name of the model to use; None if there was nothing to compare the classifier with.
    """

    sentence: str
    use: str | None


def decide(classifier: str, comparisons: Sequence[tuple[str, PairedComparison]], *, is_linear: bool = False) -> Verdict:
    """Choose between a classifier and linear models by their accuracy on the same documents.

    The classifier has to be clearly more accurate than each of them: the 95% interval of the paired difference must be
    above 0. Otherwise the most accurate of the linear models that it is not clearly better than is chosen: they are
    simpler, smaller and faster. A classifier that is linear itself is chosen unless one of them is clearly more
    accurate.

    Args:
        classifier: Name of the classifier.
        comparisons: Name of each linear model, and the comparison from it ("before") to the classifier ("after").
        is_linear: Whether the classifier has no network.
    """
    if not comparisons:
        return Verdict(
            "No verdict: the data has no labelled training documents besides those that are scored, so there is no "
            "linear model to compare with.",
            None,
        )
    rivals = [pair for pair in comparisons if pair[1].interval[0] <= 0.0]
    name, comparison = max(rivals or comparisons, key=lambda pair: pair[1].before)
    points = f"{100 * abs(comparison.difference):.1f} points"
    gain = f"{_signed(comparison.difference)} points"
    if not rivals:
        return Verdict(
            f"Use {classifier}: it is more accurate than the linear model ({name}), by {points} "
            f"{_interval(comparison)}.",
            classifier,
        )
    if is_linear and all(each.interval[1] >= 0.0 for _, each in comparisons):
        return Verdict(
            f"Use {classifier}: it is a linear model itself, and no other one is clearly more accurate ({gain} beside "
            f"{name}, {_interval(comparison).removeprefix('(')}.",
            classifier,
        )
    if comparison.interval[1] < 0.0:
        reason = f"it is more accurate than {classifier}, by {points} {_interval(comparison, -1.0)}"
    else:
        reason = (
            f"it is simpler, and {classifier} is not clearly more accurate ({gain}, "
            f"{_interval(comparison).removeprefix('(')}"
        )
    return Verdict(f"Use the linear model ({name}): {reason}.", name)


def _interval(comparison: PairedComparison, sign: float = 1.0) -> str:
    low, high = sorted(sign * value for value in comparison.interval)
    few = ", too few to tell" if high - low > _WIDE else ""
    return f"(95% interval {_signed(low)} to {_signed(high)}, {comparison.documents:,} documents{few})"


def _signed(share: float) -> str:
    """A share as points with a sign, which zero has too."""
    return f"{round(100 * share, 1) + 0.0:+.1f}".replace("-", "−")
