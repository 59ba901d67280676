"""The command that runs all stages in minutes."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ulmkit.cli.option_groups import READ, TRAINING_MACHINE, Machine, with_groups
from ulmkit.cli.reading import ReadingReport
from ulmkit.cli.summary import write_values
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.pipeline.options import DEFAULT_MODEL


@with_groups(data_options=READ, machine=TRAINING_MACHINE)
def quickstart_command(
    data_options: DataOptions,
    machine: Machine,
    out: Annotated[str, typer.Option("--out", "-o", help="Output folder.")] = "ulmkit-quickstart",
    data: Annotated[
        str | None, typer.Option(help="Labelled text of your own (default: docstrings on this machine).")
    ] = None,
    language_model: Annotated[
        str, typer.Option(help="Language model to start from: a folder, a shipped name or a hub name.")
    ] = DEFAULT_MODEL,
    minutes: Annotated[float, typer.Option(help="Minutes to fine-tune the language model.")] = 1.5,
    labels: Annotated[int, typer.Option(help="Labelled documents to train on.")] = 50,
    held_out: Annotated[int, typer.Option(help="Maximum number of validation documents to score.")] = 2000,
) -> None:
    """Run all stages in minutes, without a download.

    A shipped language model is fine-tuned; a classifier is trained from it and compared with linear baselines.

    Example: ulmkit quickstart --minutes 1
    """
    from ulmkit.quickstart import quickstart
    from ulmkit.training import make_progress

    display = make_progress()
    report = ReadingReport(display.message)
    result = quickstart(
        out,
        data,
        language_model=language_model,
        minutes=minutes,
        labels=labels,
        held_out=held_out,
        overwrite=machine.overwrite,
        data_options=data_options,
        run=replace(machine.run, progress=display, on_corpus=None if data is None else report),
    )
    print(f"\n{result.summary()}\n\n{_next_commands(result.folder, data)}")
    write_values(machine.json_file, result.to_dict() | {"reading": report.values})


def _next_commands(folder: Path, data: str | None) -> str:
    example = "Return the shortest path between two nodes of a graph." if data is None else "A text of yours."
    texts = f"{folder}/target.csv --split-column split" if data is None else data
    return f"""Next:
  ulmkit predict {folder}/classifier --text "{example}"
  ulmkit generate {folder}/language-model --prompt "{example.split()[0]}"
  ulmkit train {folder}/language-model {texts} --labels 1000 --minutes 2 --out my-classifier
  ulmkit quickstart --data YOUR_TEXTS --out my-quickstart"""
