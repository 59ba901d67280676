"""The table of a run: what was published, and what was measured, each figure with its cost."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from figures import ORIGINAL
from recipe_command import row

NOT_RUN = "not yet run at full length"


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """A published figure: the recipe, stage and way of evaluation that give it, and perplexities as printed."""

    what: str
    recipe: str
    stage: str
    way: str
    valid: float
    test: float

    def printed(self) -> str:
        """Both, with as many digits as were printed."""
        digits = (1 if value == round(value, 1) else 2 for value in (self.valid, self.test))
        return " / ".join(f"{value:.{count}f}" for value, count in zip((self.valid, self.test), digits, strict=True))


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """How the figures of a run came about.

    is_full_length: whether the recipe ran for all its epochs. is_published: whether it is somebody's, not ours.
    minutes, epochs: of training, by stage.
    averaged_steps: that a stage's weights are the mean of, for those with NT-ASGD or ASGD.
    differences: from the published corpus. command: that gave them.
    """

    corpus: str
    recipe: str
    is_full_length: bool
    is_published: bool
    budget: str
    seed: int
    machine: str
    device: str
    precision: str
    minutes: Mapping[str, float]
    epochs: Mapping[str, float]
    averaged_steps: Mapping[str, int]
    differences: tuple[str, ...]
    command: str

    @property
    def is_reproduction(self) -> bool:
        """Whether the figures may stand beside the published ones."""
        return self.is_published and self.is_full_length and not self.differences

    def training_minutes(self, stage: str) -> float:
        """Until the end of a stage."""
        names = list(self.minutes)
        return sum(self.minutes[name] for name in names[: names.index(stage) + 1])

    def label(self) -> str:
        """In a line: budget, seed, machine and time."""
        minutes, epochs = sum(self.minutes.values()), " + ".join(f"{count:g}" for count in self.epochs.values())
        where = self.machine if self.device == "cpu" else f"{self.device}; {self.machine}"
        never = "".join(f", {name} stage never averaged" for name, steps in self.averaged_steps.items() if not steps)
        return (
            f"{self.budget} ({epochs} epochs read), seed {self.seed}, {where}, {self.precision}, "
            f"{minutes:.1f} minutes of training{never}"
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it as a JSON object."""
        return {**asdict(self), "is_reproduction": self.is_reproduction}


Entries = Sequence[Mapping[str, Any]]


def print_table(published: Sequence[PublishedRow], figures: Entries, facts: RunFacts) -> None:
    """A row for each published figure, then one for each other that was measured."""
    cells = [("", "published, validation / test", "measured, validation / test", "minutes: training + evaluation")]
    seen = set()
    for line in published:
        key = (line.stage, line.way)
        mine = _of(figures, *key) if line.recipe == facts.recipe else {}
        seen |= {key} if mine else set()
        cells.append((line.what, line.printed(), _measured(mine, facts), _cost(mine, facts)))
    for stage, way in dict.fromkeys((entry["stage"], entry["way"]) for entry in figures):
        if (stage, way) not in seen:
            mine = _of(figures, stage, way)
            name = f"{facts.recipe}, {stage} stage: {way}"
            cells.append(
                (name, _printed(published, facts.recipe, stage, way), _measured(mine, facts), _cost(mine, facts))
            )
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    print()
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print(f"\n{facts.command}\n{'full length' if facts.is_full_length else 'reduced'}: {facts.label()}")
    if facts.differences:
        print(f"not the published corpus {facts.corpus}: {'; '.join(facts.differences)}")


def measured_rows(published: Sequence[PublishedRow], figures: Entries, facts: RunFacts) -> list[dict[str, Any]]:
    """The figures in the form of the benchmarks' JSON, the published ones as peers of what they are figures of."""
    rows = []
    for entry in figures:
        stage, way, split = entry["stage"], entry["way"], entry["split"]
        line = _line(published, facts.recipe, stage, way)
        peer, source = (getattr(line, split), line.what) if line else (None, "none published")
        case = f"{split}, {facts.recipe}, {stage} stage, {way}"
        found = row(case, "perplexity", entry["perplexity"], peer, source, lower_is_better=True)
        costs = {"training_minutes": facts.training_minutes(stage), "evaluation_minutes": entry["seconds"] / 60}
        rows.append({**found, "is_reproduction": facts.is_reproduction, **costs})
    return rows


def _of(figures: Entries, stage: str, way: str) -> dict[str, Mapping[str, Any]]:
    """By split."""
    return {entry["split"]: entry for entry in figures if (entry["stage"], entry["way"]) == (stage, way)}


def _line(published: Sequence[PublishedRow], recipe: str, stage: str, way: str) -> PublishedRow | None:
    way = "plain" if way == ORIGINAL else way
    return next((r for r in published if (r.recipe, r.stage, r.way) == (recipe, stage, way)), None)


def _printed(published: Sequence[PublishedRow], recipe: str, stage: str, way: str) -> str:
    line = _line(published, recipe, stage, way)
    return "-" if line is None else line.printed()


def _measured(mine: Mapping[str, Mapping[str, Any]], facts: RunFacts) -> str:
    if not mine:
        return NOT_RUN
    shown = [f"{mine[split]['perplexity']:.2f}" if split in mine else "-" for split in ("valid", "test")]
    marks = [
        name for name, is_so in (("reduced", not facts.is_full_length), ("other text", facts.differences)) if is_so
    ]
    return " / ".join(shown) + (f" ({', '.join(marks)})" if marks else "")


def _cost(mine: Mapping[str, Mapping[str, Any]], facts: RunFacts) -> str:
    if not mine:
        return "-"
    stage, seconds = next(iter(mine.values()))["stage"], sum(entry["seconds"] for entry in mine.values())
    return f"{facts.training_minutes(stage):.1f} + {seconds / 60:.1f}"
