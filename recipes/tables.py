"""The table of a run: what was published beside what was measured, each measurement with its cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recipe_command import row
from run_evaluation import ORIGINAL
from run_facts import RunFacts

from ulmkit.tables import text_table

NOT_RUN = "not yet run at full length"


@dataclass(frozen=True)
class PublishedRow:
    """A published perplexity and how it was obtained.

    Attributes:
        what: Title of the row.
        recipe: Recipe that reproduces it.
        stage: Stage of that recipe.
        method: Evaluation method.
        valid: Validation perplexity as printed.
        test: Test perplexity as printed.
    """

    what: str
    recipe: str
    stage: str
    method: str
    valid: float
    test: float

    def printed(self) -> str:
        """Validation and test perplexity, with one decimal or two as printed."""
        values = (f"{value:.1f}" if value == round(value, 1) else f"{value:.2f}" for value in (self.valid, self.test))
        return " / ".join(values)


Entries = Sequence[Mapping[str, Any]]
"""Entries of `RunEvaluation.evaluate`."""


def print_table(published: Sequence[PublishedRow], entries: Entries, facts: RunFacts) -> None:
    """Print a row for each published perplexity, then one for each other measurement."""
    rows = []
    shown = set()
    for line in published:
        measured = _by_split(entries, line.stage, line.method) if line.recipe == facts.recipe else {}
        if measured:
            shown.add((line.stage, line.method))
        rows.append((line.what, line.printed(), _measured(measured, facts), _cost(measured, facts)))
    for stage, method in dict.fromkeys((entry["stage"], entry["method"]) for entry in entries):
        if (stage, method) not in shown:
            measured = _by_split(entries, stage, method)
            source = _published_row(published, facts.recipe, stage, method)
            printed = None if source is None else source.printed()
            name = f"{facts.recipe}, {stage} stage: {method}"
            rows.append((name, printed, _measured(measured, facts), _cost(measured, facts)))
    header = ("", "published, validation / test", "measured, validation / test", "minutes: training + evaluation")
    print(f"\n{text_table(header, rows)}")
    print(f"\n{facts.command}\n{'full length' if facts.is_full_length else 'reduced'}: {facts.label()}")
    if facts.differences:
        print(f"not the published corpus {facts.corpus}: {'; '.join(facts.differences)}")


def measured_rows(published: Sequence[PublishedRow], entries: Entries, facts: RunFacts) -> list[dict[str, Any]]:
    """Rows of the benchmarks' JSON, with the published perplexities as peers."""
    rows = []
    for entry in entries:
        stage, method, split = entry["stage"], entry["method"], entry["split"]
        line = _published_row(published, facts.recipe, stage, method)
        peer, source = (getattr(line, split), line.what) if line else (None, "none published")
        case = f"{split}, {facts.recipe}, {stage} stage, {method}"
        rows.append(
            {
                **row(case, "perplexity", entry["perplexity"], peer, source, lower_is_better=True),
                "is_reproduction": facts.is_reproduction,
                "training_minutes": facts.training_minutes(stage),
                "evaluation_minutes": entry["seconds"] / 60,
            }
        )
    return rows


def _by_split(entries: Entries, stage: str, method: str) -> dict[str, Mapping[str, Any]]:
    return {entry["split"]: entry for entry in entries if (entry["stage"], entry["method"]) == (stage, method)}


def _published_row(published: Sequence[PublishedRow], recipe: str, stage: str, method: str) -> PublishedRow | None:
    """The published row that a measurement belongs to, if there is one."""
    method = "plain" if method == ORIGINAL else method
    return next((r for r in published if (r.recipe, r.stage, r.method) == (recipe, stage, method)), None)


def _measured(measured: Mapping[str, Mapping[str, Any]], facts: RunFacts) -> str:
    if not measured:
        return NOT_RUN
    values = [f"{measured[split]['perplexity']:.2f}" if split in measured else "-" for split in ("valid", "test")]
    return " / ".join(values) + facts.caveats()


def _cost(measured: Mapping[str, Mapping[str, Any]], facts: RunFacts) -> str | None:
    """Minutes of training and of evaluation; None for what was not measured."""
    if not measured:
        return None
    stage = next(iter(measured.values()))["stage"]
    seconds = sum(entry["seconds"] for entry in measured.values())
    return f"{facts.training_minutes(stage):.1f} + {seconds / 60:.1f}"
