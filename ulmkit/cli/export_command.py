"""The command that prepares a model for serving."""

from pathlib import Path
from typing import Annotated

import typer

from ulmkit.cli.model_commands import ClassifierArgument
from ulmkit.cli.option_groups import MACHINE, READ, Machine, with_groups
from ulmkit.cli.summary import summarise
from ulmkit.cli.training_commands import DataArgument, OutOption
from ulmkit.config import check_choice
from ulmkit.files import expand_user
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.safe_writes import check_writable

FORMATS = ("int8",)
NOTED_DROP = 0.01
"""A drop in accuracy that the command points out; for numbers, relative to the mean absolute error."""


@with_groups(data_options=READ, machine=MACHINE)
def export_command(
    classifier: ClassifierArgument,
    data: DataArgument,
    out: OutOption,
    data_options: DataOptions,
    machine: Machine,
    to: Annotated[str, typer.Option(help="Output format: int8.")] = "int8",
    split: Annotated[
        str | None,
        typer.Option(help="Split to compare on, or 'all' (default: valid, else test, else all)."),
    ] = None,
) -> None:
    """Shrink a classifier to int8 weights.

    Nothing is written if the accuracy on labelled documents drops significantly.

    Example: ulmkit export my-classifier reviews.csv --out my-classifier-int8
    """
    from ulmkit.api import TextClassifier, export_int8
    from ulmkit.hub import resolve_model
    from ulmkit.tasks import TASKS

    check_choice("to", to, FORMATS)
    check_writable(out, machine.overwrite)
    model = TextClassifier.load(classifier, machine.run)
    before = _megabytes(resolve_model(classifier))
    comparison = export_int8(model, out, data, split=split, data_options=data_options, overwrite=machine.overwrite)
    print(comparison.table() + "\n")
    drop = -comparison.interval[0]
    if drop > NOTED_DROP * (1 if TASKS[model.task].has_bounded_scores else abs(comparison.before)):
        print(f"so few documents do not rule out a drop of {drop:.3g}; compare on more if that matters\n")
    after = _megabytes(expand_user(out))
    summarise(
        {"model": out, "megabytes before": before, "megabytes after": after},
        machine.json_file,
        {"model": out, "megabytes_before": before, "megabytes_after": after, "comparison": comparison.to_dict()},
    )


def _megabytes(folder: Path) -> float:
    """Return the size of the weights in a model folder, or in those of a pair."""
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e6
