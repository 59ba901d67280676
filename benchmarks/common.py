"""What every benchmark shares: medians, and rows reported on the screen and as JSON."""

import os
import statistics
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from measurements import print_rows, row, write_measurements

__all__ = ["DifferentError", "median_seconds", "median_seconds_in_turn", "report", "report_as_they_come", "row"]


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


class DifferentError(RuntimeError):
    """What is compared does not compute the same."""


def report_as_they_come(
    benchmark: str, cases: Iterable[Callable[[], list[dict[str, Any]]]], json_path: str | os.PathLike[str] | None
) -> bool:
    """Print and write each case's rows when it is done, so that one that fails or takes too long costs no other.

    Returns: whether all cases ran, and computed the same as what they were compared with.
    """
    rows, right = [], True
    for case in cases:
        try:
            found = case()
        except DifferentError as error:
            print(error)
            right = False
            continue
        except Exception:  # of any peer: the others are still to be measured
            traceback.print_exc()
            right = False
            continue
        rows += found
        print_rows(found)
        if json_path is not None:
            write_measurements(json_path, benchmark, rows)
    return right
