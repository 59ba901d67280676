"""Results of `frontier.py`: kept in its JSON as they come, then as rows, tables and points of the plot."""

import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from measurements import row, write_measurements

from ulmkit.files import read_json
from ulmkit.tables import rounded, text_table

NAME = "frontier"
OURS = "ulmkit"
"""Beginning of the names of ulmkit's own models."""

Key = tuple[str, int, int, str]
"""Data, number of labels, number of the draw, and model."""

MEASURES = {
    "accuracy": ("accuracy", "% accuracy", False),
    "minutes": ("training", "minutes", True),
    "documents_per_second": ("speed", "documents/s", False),
    "startup_seconds": ("start-up", "s", True),
    "megabytes": ("size", "MB", True),
}
"""Title and unit of each measure, and whether less is better."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Measurements of one model, trained on one draw of labels.

    Attributes:
        data: Name of the data.
        labels: Number of labelled documents.
        draw: Number of the draw, which is its seed.
        model: Name of the model.
        settings: Options that matter to this model alone.
        commit: Commit that it was measured at.
        date: Day on which it was measured.
    """

    data: str
    labels: int
    draw: int
    model: str
    accuracy: float
    minutes: float
    documents_per_second: float
    startup_seconds: float
    megabytes: float
    settings: Mapping[str, Any] = field(default_factory=dict)
    commit: str | None = None
    date: str = ""

    def __str__(self) -> str:
        return (
            f"{self.accuracy:.1f} %, {self.minutes:.2f} minutes, {self.documents_per_second:,.0f} documents/s, "
            f"start-up {self.startup_seconds:.1f} s, {self.megabytes:,.1f} MB"
        )

    @property
    def key(self) -> Key:
        return self.data, self.labels, self.draw, self.model


@dataclass(frozen=True)
class Models:
    """Names of the models that a run measures, and why it cannot measure others."""

    names: Sequence[str]
    missing: Mapping[str, str]


class Results:
    """Results by data, labels, draw and model, kept in a JSON file if there is one.

    Args:
        path: The file; results that it holds already are read.
        settings: Options that matter to all models.

    Raises:
        SystemExit: If the file holds something else, or was measured with other settings.
    """

    def __init__(self, path: str | None, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = dict(settings)
        self.by_key: dict[Key, Result] = {}
        if path is None or not Path(path).exists():
            return
        document = read_json(path)
        if not isinstance(document, dict) or document.get("benchmark") != NAME or "results" not in document:
            sys.exit(f"--json: expected a new file or results of this benchmark, got {path}; name another file")
        if document["settings"] != self.settings:
            sys.exit(
                f"--json: expected results with {self.settings}, got {document['settings']} in {path}; "
                "name another file, or give the same options"
            )
        for values in document["results"]:
            result = Result(**values)
            self.by_key[result.key] = result

    def has(self, key: Key, settings: Mapping[str, Any]) -> bool:
        """Tell whether a model was measured with these settings of its own."""
        return key in self.by_key and self.by_key[key].settings == settings

    def replace(self, keys: Iterable[Key], results: Iterable[Result], models: "Models") -> None:
        """Keep the results of one training in place of earlier ones, and write all there are with their rows."""
        for key in keys:
            self.by_key.pop(key, None)
        self.by_key.update((result.key, result) for result in results)
        if self.path is not None:
            write_measurements(self.path, NAME, rows_of(self.by_key.values(), models), self.details())

    def details(self) -> dict[str, Any]:
        """Keys of the JSON beside its rows."""
        return {"settings": self.settings, "results": [asdict(result) for result in self.by_key.values()]}


def rows_of(results: Iterable[Result], models: Models) -> list[dict[str, Any]]:
    """Rows of ulmkit's first model beside every other model, for each measure of each number of labels."""
    rows = []
    for (data, labels), by_model in by_setting(results).items():
        names = [*models.names, *models.missing, *by_model]
        ours = next((name for name in names if name.startswith(OURS) and name in by_model), None)
        for measure, (title, unit, lower_is_better) in MEASURES.items():
            our_value = None if ours is None else middle(by_model[ours], measure)
            for name in dict.fromkeys(names):
                if name == ours:
                    continue
                peer = middle(by_model[name], measure) if name in by_model else None
                peer_name = name if name in by_model else f"{name} (not measured)"
                case = f"{data}, {labels:,} labels: {title}"
                rows.append(row(case, unit, our_value, peer, peer_name, lower_is_better=lower_is_better))
    return rows


def by_setting(results: Iterable[Result]) -> dict[tuple[str, int], dict[str, list[Result]]]:
    """Results of each model, by data and number of labels."""
    grouped: dict[tuple[str, int], dict[str, list[Result]]] = {}
    for result in results:
        grouped.setdefault((result.data, result.labels), {}).setdefault(result.model, []).append(result)
    return {setting: grouped[setting] for setting in sorted(grouped)}


def middle(results: Sequence[Result], measure: str) -> float:
    """Mean accuracy over the draws, and the median of everything else."""
    values = [getattr(result, measure) for result in results]
    return statistics.fmean(values) if measure == "accuracy" else float(statistics.median(values))


def print_summaries(results: Iterable[Result]) -> None:
    """Print a table for each number of labels, the most accurate model first."""
    header = ("model", "% accuracy", "±", "draws", "minutes", "documents/s", "start-up, s", "MB")
    for (data, labels), models in by_setting(results).items():
        lines = []
        for name in sorted(models, key=lambda name: -middle(models[name], "accuracy")):
            accuracies = [result.accuracy for result in models[name]]
            deviation = f"{statistics.stdev(accuracies):.1f}" if len(accuracies) > 1 else None
            rest = [rounded(middle(models[name], measure)) for measure in list(MEASURES)[1:]]
            lines.append([name, f"{statistics.fmean(accuracies):.1f}", deviation, str(len(accuracies)), *rest])
        print(f"\n{data}, {labels:,} labels\n{text_table(header, lines)}")


def panels(results: Iterable[Result]) -> dict[str, dict[str, tuple[float, float]]]:
    """Points of the plot: documents per second and accuracy of each model, by the title of its panel."""
    return {
        f"{data}, {labels:,} labels": {
            name: (middle(draws, "documents_per_second"), middle(draws, "accuracy")) for name, draws in models.items()
        }
        for (data, labels), models in by_setting(results).items()
    }
