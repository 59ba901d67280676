"""Plot of the training of a model, from what its parts keep of it."""

import os
from collections.abc import Mapping, Sequence

from ulmkit.errors import DataError
from ulmkit.hub import ClassifierParts, EnsembleParts, LadderRow, LanguageModelParts, member_name
from ulmkit.report.plots import Interval, plot_comparison, plot_quickstart, plot_training

_NORMAL_95 = 1.96
_RUNGS = "rungs of the ladder"


def plot_parts(*members: LanguageModelParts | ClassifierParts | EnsembleParts, path: str | os.PathLike[str]) -> None:
    """Plot how a model was trained: curves of its networks, and the accuracy of the rungs of a ladder.

    Args:
        *members: A model, or the two members of a pair in the order in which they were trained.
        path: File to write, whole or not at all; its suffix names the format (.png, .svg or .pdf).

    Raises:
        DataError: If there is nothing to show.
        ConfigError: If the format is unknown.
        FolderError: If the file cannot be written.
    """
    first = members[0]
    if not isinstance(first, EnsembleParts):
        histories = {_name(parts): parts.history for parts in members if not isinstance(parts, EnsembleParts)}
        plot_training(histories, path)
        return
    networks = [member for member in first.members if isinstance(member, ClassifierParts) and member.history]
    if first.facts.ladder is None:
        raise DataError("plot: the classifier's card has no ladder to show")
    scores, intervals = _rungs(first.facts.ladder.rows)
    if networks:
        histories = {member_name(member): member.history for member in networks}
        plot_quickstart(histories, {_RUNGS: scores}, path, intervals={_RUNGS: intervals})
    else:
        plot_comparison(scores, path, intervals=intervals, title=_RUNGS)


def _name(parts: LanguageModelParts | ClassifierParts) -> str:
    return f"{parts.facts.stage}, {parts.direction}"


def _rungs(ladder: Sequence[LadderRow]) -> tuple[Mapping[str, float], Mapping[str, Interval]]:
    """Accuracy and 95% interval of each rung by name, the one that was kept first."""
    rows = sorted(ladder, key=lambda row: not row.is_kept)
    scores = {row.name: row.accuracy for row in rows}
    margins = {row.name: _NORMAL_95 * row.standard_error for row in rows}
    return scores, {
        name: (max(0.0, score - margins[name]), min(1.0, score + margins[name])) for name, score in scores.items()
    }
