"""The summary that a command prints last, and the values that `--json` writes."""

from collections.abc import Mapping
from typing import Any

from ulmkit.files import write_json


def summarise(printed: Mapping[str, Any], json_file: str | None, values: Mapping[str, Any]) -> None:
    """Print a summary and write a command's values as JSON.

    Args:
        printed: Figures to print, one per line, by their names for people.
        json_file: File for the values; None writes none.
        values: See `write_values`.
    """
    width = max(map(len, printed))
    for name, value in printed.items():
        print(f"{name:<{width}}  {_text(value)}")
    write_values(json_file, values)


def write_values(json_file: str | None, values: Mapping[str, Any]) -> None:
    """Write a command's values as JSON, without printing anything.

    Args:
        json_file: File to write; None writes none.
        values: Numbers, texts and objects by stable snake_case keys, units in the key; NaN becomes null.
    """
    if json_file is not None:
        from ulmkit.evaluation.metrics import json_safe

        write_json(json_file, json_safe(values))


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
