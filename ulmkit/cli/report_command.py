"""The command that writes a report on a classifier."""

from pathlib import Path
from typing import Annotated

import typer

from ulmkit.cli.model_commands import ClassifierArgument
from ulmkit.cli.option_groups import MACHINE_WITH_SEED, READ, Machine, with_groups
from ulmkit.cli.progress import status
from ulmkit.cli.summary import summarise
from ulmkit.cli.text_rows import check_extension
from ulmkit.cli.training_commands import DataArgument
from ulmkit.pipeline.data_options import DataOptions


@with_groups(data_options=READ, machine=MACHINE_WITH_SEED)
def report_command(
    classifier: ClassifierArgument,
    data: DataArgument,
    data_options: DataOptions,
    machine: Machine,
    out_file: Annotated[str, typer.Option("--out", "-o", help="Output file, .html.")],
    split: Annotated[
        str | None,
        typer.Option(help="Split to score, or 'all' (default: valid, else test, else all)."),
    ] = None,
    draws: Annotated[int, typer.Option(help="Random draws of labels for each point of the label curve.")] = 3,
    documents: Annotated[int, typer.Option(help="Number of uncertain documents to show, and of wrong ones.")] = 5,
    explain: Annotated[
        str, typer.Option(metavar="METHOD", help="How words are weighed: occlusion or integrated-gradients.")
    ] = "occlusion",
) -> None:
    """Write an HTML report on a classifier.

    For classifiers with one label per text. The report shows a verdict, a comparison with linear models (including a
    label curve), the confusion matrix, calibration, speed and size. It lists uncertain and misclassified documents with
    the words that mattered and the probabilities after each word.

    Example: ulmkit report my-classifier reviews.csv --out report.html
    """
    from ulmkit.api import TextClassifier
    from ulmkit.report import report_on, write_report

    check_extension(out_file, (".html",))
    with status("read the data") as say:
        report = report_on(
            TextClassifier.load(classifier, machine.run),
            data,
            name=Path(classifier).name or "the classifier",
            split=split,
            data_options=data_options,
            draws=draws,
            documents=documents,
            seed=machine.run.seed,
            method=explain,
            say=say,
        )
    write_report(report, out_file)
    print(f"\n{report.verdict.sentence}\n")
    models = [report.classifier, *report.linear]
    summarise(
        {f"accuracy of {model.name}": model.report.accuracy for model in models} | {"report": out_file},
        machine.json_file,
        {"out": out_file, **report.to_dict()},
    )
