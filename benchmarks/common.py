"""What every benchmark shares: medians, and rows reported on the screen and as JSON."""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

from ulmkit.report import print_rows, row, write_measurements

__all__ = ["median_seconds", "median_seconds_in_turn", "report", "row"]


def median_seconds(function: Callable[[], Any], repeats: int) -> float:
    """The median wall time of `repeats` calls, in seconds."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def median_seconds_in_turn(functions: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """As `median_seconds` of each function, all taking turns, so that a busy spell of the machine hits none alone."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            seconds[name].append(median_seconds(function, 1))
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(benchmark: str, rows: list[dict[str, Any]], json_path: str | os.PathLike[str] | None = None) -> None:
    """Print the rows as a table, and write them with date, commit and machine to a JSON file if one is named."""
    print_rows(rows)
    if json_path is not None:
        write_measurements(json_path, benchmark, rows)
