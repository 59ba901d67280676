"""Training curves: points over minutes, taken from the rows of training logs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ulmkit.errors import DataError
from ulmkit.training.log import LogRow

Histories = Mapping[str, Sequence[LogRow]]
Point = tuple[float, float]

_LARGEST_EXPONENT = 700.0  # exp overflows above 709


@dataclass(frozen=True)
class StageCurves:
    """Curves of one stage.

    Attributes:
        name: Name of the stage.
        start: Minute of the whole run at which the stage starts.
        stop: Minute of the whole run at which it stops.
        training: (minute of the whole run, value) of training steps, in order of time.
        validation: (minute of the whole run, value) of validations, in order of time.
    """

    name: str
    start: float
    stop: float
    training: list[Point]
    validation: list[Point]


@dataclass(frozen=True)
class Panel:
    """Stages that share one quantity, and so one pair of axes.

    Attributes:
        axis: Name and unit of the quantity.
        stages: The stages, in order of time.
        logarithmic: Draw on a logarithmic scale.
        is_share: True if the quantity goes from 0 to 1.
    """

    axis: str
    stages: list[StageCurves]
    logarithmic: bool = False
    is_share: bool = False


def panels(histories: Histories) -> list[Panel]:
    """Arrange stages in panels: perplexity of language models; loss and validation accuracy of classifiers.

    Args:
        histories: Rows of the training log (see TrainingLog) of each stage, in the order in which the stages ran. A
            stage whose rows have "nll" or "perplexity" belongs to a language model.

    Returns:
        The panels that have points, each with the stages that have some.

    Raises:
        DataError: If there are no points at all.
    """
    perplexity = Panel("perplexity", [], logarithmic=True)
    loss = Panel("cross-entropy (nats per document)", [])
    accuracy = Panel("validation accuracy", [], is_share=True)
    start = 0.0
    for name, rows in histories.items():
        stop = start + max((row["seconds"] for row in rows), default=0.0) / 60
        if _is_language_model(rows):
            curves = [(perplexity, "perplexity", "valid_perplexity")]
        else:
            curves = [(loss, "loss", "valid_loss"), (accuracy, "", "valid_accuracy")]
        for panel, training, validation in curves:
            points = _points(rows, "train", training, start), _points(rows, "validation", validation, start)
            if any(points):
                panel.stages.append(StageCurves(name, start, stop, *points))
        start = stop
    filled = [panel for panel in (perplexity, loss, accuracy) if panel.stages]
    if not filled:
        raise DataError(f"histories: expected rows with a loss or a perplexity, got none in {len(histories)} stages")
    return filled


def _points(rows: Sequence[LogRow], kind: str, name: str, start: float) -> list[Point]:
    """Points of the rows of a kind that have a value of this name."""
    values = ((start + row["seconds"] / 60, _value(row, name)) for row in rows if row["kind"] == kind)
    return [(minute, value) for minute, value in values if value is not None]


def _value(row: LogRow, name: str) -> float | None:
    """Return a value of a row; a perplexity is computed from the mean negative log-likelihood, if the row has it."""
    nll = row.get(name.replace("perplexity", "nll")) if name.endswith("perplexity") else None
    return row.get(name) if nll is None else math.exp(min(nll, _LARGEST_EXPONENT))


def _is_language_model(rows: Sequence[LogRow]) -> bool:
    keys = {key for row in rows for key in row}
    return not keys.isdisjoint({"nll", "perplexity", "valid_nll", "valid_perplexity"})
