"""The texts that `predict` and `score` read, and the rows that they write."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ulmkit.cli.option_groups import READ, Option, OptionGroup
from ulmkit.config import check_choice
from ulmkit.errors import ConfigError
from ulmkit.evaluation import json_safe
from ulmkit.files import atomic_write, write_json
from ulmkit.tasks import find_label_kind
from ulmkit.text import Document, DocumentSource

FORMATS = (".jsonl", ".csv")


def _reading(text_column: list[str] | None, columns: list[str] | None, **values: Any) -> dict[str, Any]:
    """As DocumentSource takes them; columns without which the text is found are not there."""
    options = {"text_column": text_column, "columns": columns, **values}
    return {name: value for name, value in options.items() if value}


_TEXTS = {name: READ.options[name] for name in ("text_column", "split_column", "columns", "lines")}
_SPLIT = {"split": Option(str | None, "Which part of the data.")}
_TASK = {
    "task": Option(
        str | None, "What the data was labelled for: tokens if it has words in lists, pair if it has two texts a row."
    )
}

TEXTS = OptionGroup("Data", _reading, _TEXTS | _SPLIT)
TEXTS_OF_TASK = OptionGroup("Data", _reading, _TEXTS | _SPLIT | _TASK)


def check_rows(own: Sequence[str], reading: Mapping[str, Any], out: str | None) -> None:
    """Raise ConfigError, before any work, for a kind of file that is not written, and for a kept column that has the
    name of one of a row's `own`."""
    if out is not None:
        check_choice("out", Path(out).suffix, FORMATS)
    for name in reading.get("columns", ()):
        if name in own:
            raise ConfigError(f"--column: got {name!r}, which each row has already; rename the data's column")


def read_texts(
    data: str | None, texts: Sequence[str] | None, reading: Mapping[str, Any], task: str
) -> Sequence[Document]:
    """The documents of `data`, or the texts given in its place, without their labels.

    Args: reading: of `data`, options of DocumentSource. task: what `data` was labelled for, if `reading` does not say.
    Raises: ConfigError unless one of them is given, and for `reading` beside texts; DataError as `read_documents`.
    """
    if (data is None) == (not texts):
        raise ConfigError("texts: expected DATA or --text, one of them; give a file or a text")
    if not texts:
        columns = dict(reading)
        task = columns.pop("task", task)
        return list(DocumentSource(data or "", **columns, label_kind=find_label_kind(task), labels=False))
    if reading:
        name = next(iter(reading))
        flag = TEXTS_OF_TASK.options[name].flag or "--" + name.replace("_", "-")
        raise ConfigError(f"{flag}: says how DATA is read, got --text; leave it out")
    return [Document(text) for text in texts]


def text_row(document: Document, figures: Mapping[str, Any]) -> dict[str, Any]:
    """A row: the columns kept, what was found, the text."""
    return {**document.columns, **figures, "text": document.text}


def write_rows(
    rows: Sequence[dict[str, Any]], out: str | None, json_file: str | None, figures: Mapping[str, Any] | None = None
) -> None:
    """One JSON object a line, or a CSV whose nested values are JSON. The summary, with the rows if there is no `out`,
    goes to `json_file` alone: on the screen it would be no row."""
    summary: dict[str, Any] = {"texts": len(rows), "out": out, **(figures or {})}
    if out is None:
        for row in rows:
            print(_to_json(json_safe(row)))
        summary["rows"] = rows
    else:
        with atomic_write(out) as file:
            if Path(out).suffix == ".jsonl":
                file.writelines(_to_json(json_safe(row)) + "\n" for row in rows)
            else:
                _write_csv(rows, file)
        print(f"{len(rows):,} rows written to {out}")
    if json_file is not None:
        write_json(json_file, json_safe(summary))


def _write_csv(rows: Sequence[dict[str, Any]], file: IO[str]) -> None:
    writer = csv.DictWriter(file, fieldnames=list(rows[0]))
    writer.writeheader()
    for row in rows:
        safe = json_safe(row)
        writer.writerow(
            {name: value if isinstance(value, str | int | float) else _to_json(value) for name, value in safe.items()}
        )


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
