"""The summary that a command prints last, and writes as JSON."""

from collections.abc import Mapping
from typing import Any

from ulmkit.files import write_json


def summarise(figures: Mapping[str, Any], json_file: str | None, details: Mapping[str, Any] | None = None) -> None:
    """Print the figures, one per line, and write them with `details` to `json_file` if that is not None."""
    from ulmkit.evaluation.metrics import json_safe

    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:<{width}}  {_text(value)}")
    if json_file is not None:
        write_json(json_file, json_safe({**figures, **(details or {})}))


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
