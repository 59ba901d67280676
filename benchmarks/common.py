"""Medians and reports that all benchmarks share."""

import os
import statistics
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from measurements import print_rows, row, write_measurements

__all__ = ["DifferentError", "median_seconds", "median_seconds_in_turn", "report", "report_as_they_come", "row"]


def median_seconds(function: Callable[[], Any], repeats: int) -> float:
    """Median wall time of `repeats` calls, in seconds."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def median_seconds_in_turn(functions: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median wall time of each function in seconds; they take turns, so that a busy spell hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            seconds[name].append(median_seconds(function, 1))
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(
    benchmark: str,
    rows: list[dict[str, Any]],
    json_path: str | os.PathLike[str] | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Print rows as a table, and write them with date, commit and machine to a JSON file if one is given.

    Args:
        benchmark: Name of the benchmark.
        rows: Results of `row`.
        json_path: File to write.
        details: Further keys of the JSON.
    """
    print_rows(rows)
    if json_path is not None:
        write_measurements(json_path, benchmark, rows, details)


class DifferentError(RuntimeError):
    """Two implementations under comparison compute different results."""


def report_as_they_come(
    benchmark: str, cases: Iterable[Callable[[], list[dict[str, Any]]]], json_path: str | os.PathLike[str] | None
) -> bool:
    """Print and write the rows of each case as soon as it is done, so that a failing or slow case costs no other.

    Returns:
        True if all cases ran and computed the same results as their peers.
    """
    rows: list[dict[str, Any]] = []
    all_right = True
    for case in cases:
        try:
            case_rows = case()
        except DifferentError as error:
            print(error)
            all_right = False
            continue
        except Exception:  # a peer may raise anything; the other cases still have to run
            traceback.print_exc()
            all_right = False
            continue
        rows += case_rows
        print_rows(case_rows)
        if json_path is not None:
            write_measurements(json_path, benchmark, rows)
    return all_right
