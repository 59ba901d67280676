"""The summary that a command prints last, and the values that `--json` writes."""

from collections.abc import Mapping
from typing import Any

from ulmkit.files import json_safe
from ulmkit.safe_writes import write_json
from ulmkit.tables import rounded, text_table


def summarise(printed: Mapping[str, Any], json_file: str | None, values: Mapping[str, Any]) -> None:
    """Print a summary and write a command's values as JSON.

    Args:
        printed: Figures to print, one per line, by their names for people.
        json_file: File for the values; None writes none.
        values: See `write_values`.
    """
    print(text_table((), [(name, rounded(value)) for name, value in printed.items()], left_columns=2))
    write_values(json_file, values)


def write_values(json_file: str | None, values: Mapping[str, Any]) -> None:
    """Write a command's values as JSON, without printing anything.

    Args:
        json_file: File to write; None writes none.
        values: Numbers, texts and objects by stable snake_case keys, units in the key; NaN becomes null.
    """
    if json_file is not None:
        write_json(json_file, json_safe(values))
