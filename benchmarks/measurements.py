"""Measurements: rows that compare ulmkit with a peer, and their JSON with date, commit and machine."""

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

from ulmkit.kernels import cpu_features
from ulmkit.kernels.cuda.compiler import CompilerError, compiler_version
from ulmkit.safe_writes import write_json
from ulmkit.tables import rounded, text_table

COMMIT_VARIABLE = "ULMKIT_COMMIT"
"""Environment variable that names the commit of files that were copied without their repository."""


def row(
    case: str, unit: str, ulmkit: float | None, peer: float | None, peer_name: str, *, lower_is_better: bool = False
) -> dict[str, Any]:
    """Make a row that compares ulmkit with a peer.

    Args:
        case: What was measured.
        unit: Unit of both values.
        ulmkit: ulmkit's value; None if it was not measured.
        peer: The peer's value; None if the peer is missing.
        peer_name: Name of the peer; says so if it is missing.
        lower_is_better: True for times, errors and sizes.

    Returns:
        The arguments with the ratio of the values, above 1 where ulmkit is better.
    """
    ratio = None
    if peer is not None and ulmkit and peer:
        ratio = peer / ulmkit if lower_is_better else ulmkit / peer
    return {"case": case, "unit": unit, "ulmkit": ulmkit, "peer": peer, "peer_name": peer_name, "ratio": ratio}


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of `row` as a table."""
    columns = ("case", "ulmkit", "peer", "unit", "ratio", "peer_name")
    print(text_table(columns, [[rounded(line[column]) for column in columns] for line in rows]))


def write_measurements(
    path: str | os.PathLike[str],
    name: str,
    rows: Sequence[Mapping[str, Any]],
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write rows of `row` with date, commit and machine as JSON.

    Args:
        path: File to write.
        name: Name of the benchmark or recipe.
        rows: The rows.
        details: Further keys of the document.

    Raises:
        FolderError: If the file cannot be written.
    """
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    document = {"benchmark": name, "date": date, "commit": commit(), "machine": machine(), "rows": list(rows)}
    write_json(path, {**document, **(details or {})})


def machine() -> dict[str, Any]:
    """Processor and its features, usable cores, Python, torch and system; the GPU if one was used."""
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
    """Name, driver and library versions of torch's current GPU; None for what cannot be determined."""
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
    pairs = [[part.strip() for part in line.partition(":")[::2]] for line in lines]
    core = dict(reversed(pairs))  # reversed: of equal names the first one counts, which is the first core's
    generation = ", ".join(
        f"{name.removeprefix('cpu ')} {core[name]}" for name in ("cpu family", "model") if name in core
    )
    return core.get("model name", "") + (f" ({generation})" if generation else "")


def commit() -> str | None:
    """Commit of the running script, followed by "+" if files differ from it.

    Outside a repository it is the value of ULMKIT_COMMIT, or None.
    """
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
