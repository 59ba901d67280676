"""The command that makes a model ready for serving."""

from pathlib import Path
from typing import Annotated

import typer

from ulmkit.api import TextClassifier, export_int8
from ulmkit.cli.model_commands import ClassifierArgument
from ulmkit.cli.option_groups import MACHINE, READ, Machine, with_groups
from ulmkit.cli.summary import summarise
from ulmkit.cli.training_commands import DataArgument, OutOption, Overwrite
from ulmkit.config import check_choice
from ulmkit.evaluation import PairedComparison
from ulmkit.files import check_writable
from ulmkit.hub import resolve_model
from ulmkit.pipeline import DataOptions
from ulmkit.tasks import Task

FORMATS = ("int8",)
NOTED_DROP = 0.01
"""Of an accuracy; for numbers, of the mean absolute error before."""


@with_groups(data_options=READ, machine=MACHINE)
def export_command(
    classifier: ClassifierArgument,
    data: DataArgument,
    out: OutOption,
    data_options: DataOptions,
    machine: Machine,
    to: Annotated[str, typer.Option(help="int8: weights in a byte each.")] = "int8",
    split: Annotated[
        str | None,
        typer.Option(help="Documents to compare on, 'all' for all; if not given: valid, else test, else all."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Make a classifier smaller and faster for serving; refused where documents show that it costs accuracy."""
    check_choice("to", to, FORMATS)
    check_writable(out, overwrite)
    model = TextClassifier.load(classifier, machine.run())
    before = _megabytes(resolve_model(classifier))
    found = export_int8(model, out, data, split=split, data_options=data_options, overwrite=overwrite)
    print(found.table() + "\n")
    drop = -found.interval[0]
    if drop > _noted_drop(found, model.parts.task):
        print(f"so few documents do not exclude a drop of {drop:.3g}: compare on more where it matters\n")
    sizes = {"megabytes before": before, "megabytes after": _megabytes(Path(out))}
    summarise({"model": out, **sizes}, machine.json_file, {"comparison": found.to_dict()})


def _noted_drop(found: PairedComparison, task: Task) -> float:
    """The drop that is worth a word, in the unit of the comparison's measure."""
    return NOTED_DROP if task.has_bounded_scores else NOTED_DROP * abs(found.before)


def _megabytes(folder: Path) -> float:
    """Of the weights in a model folder, or in those of a pair."""
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e6
