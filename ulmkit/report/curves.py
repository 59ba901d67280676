"""Training curves: points over minutes, taken from the rows of training logs."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ulmkit.errors import DataError

Row = Mapping[str, Any]
Histories = Mapping[str, Sequence[Row]]
Point = tuple[float, float]

_LARGEST_EXPONENT = 700.0  # exp overflows above 709


@dataclass(frozen=True)
class Stage:
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
    stages: list[Stage]
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
    language_models = {name: rows for name, rows in histories.items() if _is_language_model(rows)}
    others = {name: rows for name, rows in histories.items() if name not in language_models}
    starts: dict[str, float] = {}
    minutes = 0.0
    for name, rows in histories.items():
        starts[name] = minutes
        minutes += max((row["seconds"] for row in rows), default=0.0) / 60
    perplexity = _stages(language_models, starts, _perplexity(""), _perplexity("valid_"))
    loss = _stages(others, starts, _value("loss"), _value("valid_loss"))
    accuracy = _stages(others, starts, _nothing, _value("valid_accuracy"))
    candidates = [
        Panel("perplexity", perplexity, logarithmic=True),
        Panel("cross-entropy (nats per document)", loss),
        Panel("validation accuracy", accuracy, is_share=True),
    ]
    filled = [panel for panel in candidates if panel.stages]
    if not filled:
        raise DataError(f"histories: expected rows with a loss or a perplexity, got none in {len(histories)} stages")
    return filled


def _stages(
    histories: Histories,
    starts: Mapping[str, float],
    training: Callable[[Row], float | None],
    validation: Callable[[Row], float | None],
) -> list[Stage]:
    stages = []
    for name, rows in histories.items():
        start = starts[name]
        stop = start + max((row["seconds"] for row in rows), default=0.0) / 60
        stage = Stage(
            name, start, stop, _points(rows, "train", training, start), _points(rows, "validation", validation, start)
        )
        if stage.training or stage.validation:
            stages.append(stage)
    return stages


def _points(rows: Sequence[Row], kind: str, value: Callable[[Row], float | None], start: float) -> list[Point]:
    pairs = ((start + row["seconds"] / 60, value(row)) for row in rows if row["kind"] == kind)
    return [(minute, number) for minute, number in pairs if number is not None]


def _is_language_model(rows: Sequence[Row]) -> bool:
    keys = {key for row in rows for key in row}
    return not keys.isdisjoint({"nll", "perplexity", "valid_nll", "valid_perplexity"})


def _perplexity(prefix: str) -> Callable[[Row], float | None]:
    def perplexity(row: Row) -> float | None:
        nll = row.get(f"{prefix}nll")
        return row.get(f"{prefix}perplexity") if nll is None else math.exp(min(nll, _LARGEST_EXPONENT))

    return perplexity


def _value(name: str) -> Callable[[Row], float | None]:
    return lambda row: row.get(name)


def _nothing(row: Row) -> None:
    return None
