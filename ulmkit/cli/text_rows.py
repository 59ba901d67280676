"""Texts that `predict` and `score` read, and rows that they write."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulmkit.cli.option_groups import READ, Option, OptionGroup
from ulmkit.cli.reading import report_source
from ulmkit.cli.summary import write_values
from ulmkit.config import check_choice
from ulmkit.errors import ConfigError
from ulmkit.files import atomic_write, json_safe

if TYPE_CHECKING:
    from ulmkit.text import Document

FORMATS = (".jsonl", ".csv")


def _reading(text_column: list[str] | None, columns: list[str] | None, **values: Any) -> dict[str, Any]:
    """Return the options that were given, by their names on the command line."""
    options = {"text_column": text_column, "columns": columns, **values}
    return {name: value for name, value in options.items() if value}


_TEXTS = {
    name: READ.options[name] for name in ("text_column", "split_column", "columns", "lines", "no_header", "format")
}
_SPLIT = {"split": Option(str | None, "Split to read.")}
_TASK = {"task": Option(str | None, "Data type: tokens for lists of words, pair for two texts per row.")}

TEXTS = OptionGroup("Data", _reading, _TEXTS | _SPLIT)
TEXTS_OF_TASK = OptionGroup("Data", _reading, _TEXTS | _SPLIT | _TASK)


def check_rows(own: Sequence[str], reading: Mapping[str, Any], out: str | None) -> None:
    """Raise ConfigError, before any work, for an unknown kind of file, or a kept column with the name of a result.

    Args:
        own: Names of the results in a row.
        reading: Options given for reading.
        out: File to write.
    """
    if out is not None:
        check_choice("out", Path(out).suffix, FORMATS)
    for name in reading.get("columns", ()):
        if name in own:
            raise ConfigError(f"--column: got {name!r}, which is the name of a result; rename the column of DATA")


def read_texts(
    data: str | None, texts: Sequence[str] | None, reading: Mapping[str, Any], task: str
) -> "Sequence[Document]":
    """Read the documents of `data`, or take the texts given instead, without their labels.

    Args:
        data: Path or hub name.
        texts: Texts instead of `data`.
        reading: Options of DocumentSource for `data`.
        task: Kind of labels in `data`, if `reading` does not say.

    Raises:
        ConfigError: Unless exactly one of `data` and `texts` is given, or if `reading` is given with `texts`.
        DataError: If the data cannot be read.
    """
    from ulmkit.tasks import find_label_kind
    from ulmkit.text import Document, DocumentSource

    if (data is None) == (not texts):
        raise ConfigError("expected either DATA or --text; give one of them")
    if not texts:
        columns = dict(reading)
        task = columns.pop("task", task)
        columns["header"] = not columns.pop("no_header", False)
        source = DocumentSource(data or "", **columns, label_kind=find_label_kind(task), labels=False)
        report_source(source)
        return list(source)
    if reading:
        name = next(iter(reading))
        flag = TEXTS_OF_TASK.options[name].flag or "--" + name.replace("_", "-")
        raise ConfigError(f"{flag}: has no effect with --text; drop it")
    return [Document(text) for text in texts]


def write_rows(
    rows: Sequence[dict[str, Any]], out: str | None, json_file: str | None, figures: Mapping[str, Any] | None = None
) -> None:
    """Write rows as JSON lines, or as a CSV whose nested values are JSON.

    The summary goes to `json_file` alone, since on the screen it would be mixed with the rows.

    Args:
        rows: Rows to write.
        out: File to write, .jsonl or .csv; None prints JSON lines, and adds the rows to the summary.
        json_file: File for the summary; None writes none.
        figures: Further entries of the summary.
    """
    safe_rows = [json_safe(row) for row in rows]
    summary: dict[str, Any] = {"texts": len(rows), "out": out, **(figures or {})}
    if out is None:
        for row in safe_rows:
            print(_to_json(row))
        summary["rows"] = rows
    else:
        with atomic_write(out) as file:
            if Path(out).suffix == ".jsonl":
                file.writelines(_to_json(row) + "\n" for row in safe_rows)
            else:
                writer = csv.DictWriter(file, fieldnames=list(rows[0]))
                writer.writeheader()
                writer.writerows({name: _to_cell(value) for name, value in row.items()} for row in safe_rows)
        print(f"{len(rows):,} rows written to {out}")
    write_values(json_file, summary)


def _to_cell(value: Any) -> str | int | float:
    return value if isinstance(value, str | int | float) else _to_json(value)


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
