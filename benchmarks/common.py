"""What every benchmark shares: medians, the printed table, the dated JSON with machine and commit."""

import datetime
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ulmkit.files import write_json
from ulmkit.kernels import cpu_features


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


def row(
    case: str, unit: str, ulmkit: float, peer: float | None, peer_name: str, *, lower_is_better: bool = False
) -> dict[str, Any]:
    """One line of the table.

    Args: case: what was measured. unit: of both figures. ulmkit, peer: the figures; None for a peer that is missing,
        and peer_name says so.
    Returns: the figures with their ratio, above 1 where ulmkit is better.
    """
    ratio = None
    if peer is not None and ulmkit and peer:
        ratio = peer / ulmkit if lower_is_better else ulmkit / peer
    return {"case": case, "unit": unit, "ulmkit": ulmkit, "peer": peer, "peer_name": peer_name, "ratio": ratio}


def report(benchmark: str, rows: list[dict[str, Any]], json_path: str | os.PathLike[str] | None = None) -> None:
    """Print the rows as a table, and write them with date, commit and machine to a JSON file if one is named."""
    columns = ("case", "ulmkit", "peer", "unit", "ratio", "peer_name")
    cells = [columns, *[tuple(_cell(line[column]) for column in columns) for line in rows]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(columns))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if json_path is not None:
        date = datetime.datetime.now(datetime.UTC).date().isoformat()
        content = {"benchmark": benchmark, "date": date, "commit": commit(), "machine": machine(), "rows": rows}
        write_json(json_path, content)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)


def machine() -> dict[str, Any]:
    """Processor and its features, cores this process may use, Python, torch and system."""
    return {
        "processor": _processor(),
        "features": sorted(cpu_features()),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    found = dict(reversed([[part.strip() for part in line.partition(":")[::2]] for line in lines]))  # the first core's
    generation = ", ".join(
        f"{name.removeprefix('cpu ')} {found[name]}" for name in ("cpu family", "model") if name in found
    )
    return found.get("model name", "") + (f" ({generation})" if generation else "")


def commit() -> str | None:
    """The commit that is checked out, with "+" after it if files differ from it; None outside a repository."""
    folder = Path(__file__).parent
    try:
        head, changes = (
            subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changes else "")
