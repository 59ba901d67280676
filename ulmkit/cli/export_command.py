"""The command that prepares a model for serving."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ulmkit.cli.model_commands import ClassifierArgument
from ulmkit.cli.option_groups import MACHINE, READ, Machine, with_groups
from ulmkit.cli.progress import status
from ulmkit.cli.summary import summarise
from ulmkit.cli.training_commands import OutOption
from ulmkit.config import check_choice
from ulmkit.errors import ConfigError
from ulmkit.files import expand_user
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.safe_writes import check_writable

if TYPE_CHECKING:
    from ulmkit.api import TextClassifier

FORMATS = ("int8", "onnx", "torch")
NOTED_DROP = 0.01
"""A drop in accuracy that the command points out; for numbers, relative to the mean absolute error."""


@with_groups(data_options=READ, machine=MACHINE)
def export_command(
    classifier: ClassifierArgument,
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="Labelled documents to compare on, for int8 only.")
    ] = None,
    *,
    out: OutOption,
    data_options: DataOptions,
    machine: Machine,
    to: Annotated[
        str,
        typer.Option(
            help="Output format: int8 for ulmkit; onnx (onnxruntime) or torch (torch.export) for other programs."
        ),
    ] = "int8",
    split: Annotated[
        str | None,
        typer.Option(help="Split to compare on, or 'all' (default: valid, else test, else all)."),
    ] = None,
) -> None:
    """Export a classifier to int8, ONNX or torch.

    Nothing is written if accuracy on labelled documents drops significantly (int8), or if the exported model computes
    other probabilities (onnx, torch).

    Example: ulmkit export my-classifier reviews.csv --out my-classifier-int8
    """
    from ulmkit.api import TextClassifier
    from ulmkit.hub import resolve_model

    check_choice("to", to, FORMATS)
    _check_data(to, data, split, data_options)
    check_writable(out, machine.overwrite)
    model = TextClassifier.load(classifier, machine.run)
    if data is None:
        _export_network(model, out, to, machine)
        return
    before = _megabytes(resolve_model(classifier))
    _export_int8(model, data, out, split, data_options, machine, before)


def _check_data(to: str, data: str | None, split: str | None, data_options: DataOptions) -> None:
    """Raise ConfigError unless there is DATA for int8, and none for the other formats."""
    if to == "int8":
        if data is None:
            raise ConfigError("DATA: expected labelled documents to compare on, got none; name a file, or give --to")
    elif data is not None or split is not None or data_options != DataOptions():
        raise ConfigError(f"DATA: expected none with --to {to}, which is compared on tokens of its own; leave it out")


def _export_int8(
    model: "TextClassifier",
    data: str,
    out: str,
    split: str | None,
    data_options: DataOptions,
    machine: Machine,
    before: float,
) -> None:
    from ulmkit.api import export_int8
    from ulmkit.tasks import TASKS

    with status("compare it with int8 weights"):
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


def _export_network(model: "TextClassifier", out: str, to: str, machine: Machine) -> None:
    from ulmkit.api import export_onnx, export_torch

    export = {"onnx": export_onnx, "torch": export_torch}[to]
    with status(f"export to {to} and compare"):
        parity = export(model, out, overwrite=machine.overwrite)
    size = sum(file.stat().st_size for file in expand_user(out).glob("model.*")) / 1e6
    summarise(
        {
            "model": out,
            "megabytes": size,
            "largest difference": f"{parity.difference:.1e} (allowed: {parity.tolerance:.0e})",
            "how to use it": str(Path(out) / "README.md"),
        },
        machine.json_file,
        {"model": out, "megabytes": size, "parity": parity.to_dict()},
    )


def _megabytes(folder: Path) -> float:
    """Return the size of the weights in a model folder, or in those of a pair."""
    return sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e6
