"""Measurements: rows of our figure beside another's, and the dated JSON with machine and commit that they go into."""

import datetime
import functools
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ulmkit.files import write_json
from ulmkit.kernels import cpu_features
from ulmkit.kernels.cuda.compiler import CompilerError, compiler_version

COMMIT_VARIABLE = "ULMKIT_COMMIT"
"""Of the environment: the commit of files that were copied without their repository."""


def row(
    case: str, unit: str, ulmkit: float, peer: float | None, peer_name: str, *, lower_is_better: bool = False
) -> dict[str, Any]:
    """One line of a table of measurements: ours beside another's.

    Args: case: what was measured. unit: of both figures. ulmkit, peer: the figures; None for a peer that is missing,
        and peer_name says so.
    Returns: the figures with their ratio, above 1 where ulmkit is better.
    """
    ratio = None
    if peer is not None and ulmkit and peer:
        ratio = peer / ulmkit if lower_is_better else ulmkit / peer
    return {"case": case, "unit": unit, "ulmkit": ulmkit, "peer": peer, "peer_name": peer_name, "ratio": ratio}


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of `row` as a table."""
    columns = ("case", "ulmkit", "peer", "unit", "ratio", "peer_name")
    cells = [columns, *[tuple(_cell(line[column]) for column in columns) for line in rows]]
    widths = [max(len(line[column]) for line in cells) for column in range(len(columns))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def write_measurements(
    path: str | os.PathLike[str],
    name: str,
    rows: Sequence[Mapping[str, Any]],
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write rows of `row` with date, commit and machine as JSON.

    Args: name: of the benchmark or recipe. details: more keys of the document.
    Raises: FolderError if the file cannot be written.
    """
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    document = {"benchmark": name, "date": date, "commit": commit(), "machine": machine(), "rows": list(rows)}
    write_json(path, {**document, **(details or {})})


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)


def machine() -> dict[str, Any]:
    """Processor and its features, cores this process may use, Python, torch and system; the GPU where one was used."""
    return {
        "processor": _processor(),
        "features": sorted(cpu_features()),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        **(_gpu() if torch.cuda.is_initialized() else {}),
    }


@functools.cache
def _gpu() -> dict[str, Any]:
    """torch's current GPU, its driver, and the versions of what runs on it; None for what is not found."""
    try:
        nvrtc = compiler_version()
    except CompilerError:
        nvrtc = None
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        drivers = subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        drivers = []
    return {
        "gpu": torch.cuda.get_device_name(),
        "driver": drivers[0] if drivers else None,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "nvrtc": nvrtc,
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
    """The commit that the running script belongs to, with "+" after it if files differ from it; where it is in no
    repository what ULMKIT_COMMIT says, and None without that."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    folder = Path(script).parent if script else Path.cwd()
    try:
        head, changes = (
            subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get(COMMIT_VARIABLE)
    return head + ("+" if changes else "")
