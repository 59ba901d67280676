"""The command that watches whether texts change."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ulmkit.cli.model_commands import ModelArgument, OptionalData, Texts
from ulmkit.cli.option_groups import MACHINE_OF_LOADED, Machine, limit_threads, with_groups
from ulmkit.cli.progress import document_progress
from ulmkit.cli.summary import write_values
from ulmkit.cli.text_rows import TEXTS_WITH_TIME, count_texts, open_texts
from ulmkit.errors import ConfigError

DRIFT_STATUS = 1
"""Exit status of `drift` if it finds some."""

TOO_FEW_STATUS = 2
"""Exit status of `drift` if there were too few texts to compare, as for errors: a job that never compares is broken."""


@with_groups(reading=TEXTS_WITH_TIME, machine=MACHINE_OF_LOADED)
def drift_command(
    model: ModelArgument,
    reading: Mapping[str, Any],
    machine: Machine,
    data: OptionalData = None,
    text: Texts = None,
    period: Annotated[
        str | None, typer.Option(help="Compare each day, week or month (default: week with --time-column).")
    ] = None,
    level: Annotated[float, typer.Option(help="Probability of a false alarm, over all comparisons.")] = 0.01,
    min_effect: Annotated[float, typer.Option(help="Smallest effect that counts, 0 to 1.")] = 0.1,
    documents: Annotated[int, typer.Option(help="Number of texts to list that are least like the training texts.")] = 5,
) -> None:
    """Compare new texts with texts held out in training.

    The exit status is 0 without drift, 1 with drift, and 2 after an error or with too few texts to compare.

    Example: ulmkit drift my-classifier this-month.csv --time-column date
    """
    from ulmkit.api import DriftMonitor, TextClassifier, load_either
    from ulmkit.evaluation.drift import LEAST_TEXTS

    if period is not None and "time_column" not in reading:
        raise ConfigError("period: has no effect without `time_column`; add it or drop this")
    if period is None and "time_column" in reading:
        period = "week"
    loaded = load_either(model, machine.run)
    limit_threads(machine.run)
    monitor = DriftMonitor(loaded, period=period, level=level, min_effect=min_effect, documents=documents)
    task = loaded.task if isinstance(loaded, TextClassifier) else "none"
    chunks, record = open_texts(data, text, reading, task)
    count = 0
    with document_progress(0, lambda: count_texts(data, text, reading, task)) as progress:
        for chunk in chunks:
            monitor.add(
                [row.document.content for row in chunk],
                times=[row.document.time for row in chunk] if period is not None else None,
                names=[row.name(count + number) for number, row in enumerate(chunk, start=1)],
            )
            count += len(chunk)
            progress.finish(len(chunk))
    report = monitor.report()
    print(report.table())
    drifted = [each.name for each in report.periods if each.has_drifted]
    verdict = "no drift"
    if drifted:
        verdict = f"drift: {', '.join(drifted)}" if period else "drift"
    if not report.is_compared:
        verdict = f"not compared: expected at least {LEAST_TEXTS} texts{' in a period' if period else ''}; give more"
    print(f"\n{verdict} ({report.documents:,} texts beside {report.held_out_texts:,} held-out ones of the training)")
    write_values(machine.json_file, {"model": model, "data": data, "reading": record, **report.to_dict()})
    if sys.stdout is not None:  # closed by the caller
        sys.stdout.flush()
    if drifted or not report.is_compared:
        raise typer.Exit(DRIFT_STATUS if drifted else TOO_FEW_STATUS)
