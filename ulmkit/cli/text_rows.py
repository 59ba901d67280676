"""Texts that `predict`, `score` and `embed` read, and rows that they write, a chunk at a time."""

import codecs
import csv
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from ulmkit.cli.option_groups import READ, Option, OptionGroup
from ulmkit.cli.reading import report_source
from ulmkit.errors import ConfigError, DataError
from ulmkit.files import json_safe
from ulmkit.safe_writes import atomic_write
from ulmkit.text.read.document import Document

if TYPE_CHECKING:
    import numpy as np

    from ulmkit.text import DocumentSource

FORMATS = (".jsonl", ".csv")
_CHUNK_TEXTS = 1024
_CHUNK_CHARACTERS = 4_000_000


def _reading(text_column: list[str] | None, columns: list[str] | None = None, **values: Any) -> dict[str, Any]:
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
TEXTS_ALONE = replace(
    TEXTS_OF_TASK, options={name: option for name, option in TEXTS_OF_TASK.options.items() if name != "columns"}
)
TEXTS_WITH_TIME = replace(
    TEXTS,
    options={
        **{name: option for name, option in TEXTS.options.items() if name != "columns"},
        "time_column": replace(READ.options["time_column"], help="Column with the time, to compare each period."),
    },
)


class TextRow(NamedTuple):
    """A text and its place in the data.

    Attributes:
        fields: What the row of results begins with: `file`, the path of its file, if the data is a folder; `row`, the
            number of its row or line from 1, if the data has rows or lines; and the columns that are kept, of which one
            of the name `file` takes the place of the path.
        document: The text.
    """

    fields: dict[str, Any]
    document: Document

    def name(self, number: int) -> str:
        """Name the text by its place, or by its number if that says nothing."""
        return " ".join(str(self.fields[field]) for field in ("file", "row") if field in self.fields) or str(number)


def check_extension(out_file: str, extensions: Sequence[str]) -> None:
    """Raise ConfigError unless the name of the file to write ends in one of `extensions`."""
    if Path(out_file).suffix.lower() not in extensions:
        raise ConfigError(f"out_file: expected a file name that ends in {' or '.join(extensions)}, got {out_file!r}")


def check_rows(own: Sequence[str], reading: Mapping[str, Any], out_file: str | None) -> None:
    """Raise ConfigError, before any work, for an unknown kind of file, or a kept column with the name of a result.

    Args:
        own: Names of the results in a row.
        reading: Options given for reading.
        out_file: File to write.
    """
    if out_file is not None:
        check_extension(out_file, FORMATS)
    for name in reading.get("columns", ()):
        if name in own:
            raise ConfigError(f"--column: got {name!r}, which is the name of a result; rename the column of DATA")


def open_texts(
    data: str | None, texts: Sequence[str] | None, reading: Mapping[str, Any], task: str
) -> tuple[Iterator[list[TextRow]], dict[str, Any]]:
    """Open the documents of `data` without their labels, or the texts given instead; a chunk is in memory at once.

    Every row is read, those without text too, so that each has an answer. What is read is reported.

    Args:
        data: Path or hub name.
        texts: Texts instead of `data`.
        reading: Options of DocumentSource for `data`.
        task: Kind of labels in `data`, if `reading` does not say.

    Returns:
        Chunks of texts in order, and the report of what is read, as JSON values; empty for texts.

    Raises:
        ConfigError: Unless exactly one of `data` and `texts` is given, or if `reading` is given with `texts`.
        DataError: If the data cannot be read.
    """
    from ulmkit.text.characters import normalise

    if (data is None) == (not texts):
        raise ConfigError("expected either DATA or --text; give one of them")
    if texts:
        if reading:
            name = next(iter(reading))
            flag = TEXTS_OF_TASK.options[name].flag or "--" + name.replace("_", "-")
            raise ConfigError(f"{flag}: has no effect with --text; drop it")
        rows = (TextRow({}, Document(normalise(text))) for text in texts)
        return _chunks(_telling_blank(rows, has_columns=False)), {}
    source = _open_source(data or "", reading, task)
    return _chunks(_telling_blank(_read_rows(source))), report_source(source)


def count_texts(data: str | None, texts: Sequence[str] | None, reading: Mapping[str, Any], task: str) -> int | None:
    """Count what `open_texts` reads, by reading it once more, which costs little beside a model's reading.

    Returns:
        The number of texts; None of standard input, which can be read once.
    """
    if texts:
        return len(texts)
    return None if data == "-" else sum(1 for _ in _read_rows(_open_source(data or "", reading, task)))


def _open_source(data: str, reading: Mapping[str, Any], task: str) -> "DocumentSource":
    from ulmkit.tasks import find_label_kind
    from ulmkit.text import DocumentSource

    options = dict(reading)
    label_kind = find_label_kind(options.pop("task", task))
    options["header"] = not options.pop("no_header", False)
    return DocumentSource(data, **options, label_kind=label_kind, labels=False)


def _read_rows(source: "DocumentSource") -> Iterator[TextRow]:
    from ulmkit.text.read.readers import TEXT_KINDS, file_format

    files = source.files()
    has_rows = files is None or any(
        not file.is_document
        and (source.options.lines or file_format(file.path, source.options.format) not in TEXT_KINDS)
        for file in files
    )
    try:
        for document, number, file in source.located():
            place = {**({} if file is None else {"file": file}), **({"row": number} if has_rows else {})}
            yield TextRow({**place, **document.columns}, document)
    except OSError as error:  # here, where it is known that it does not come from writing
        raise DataError(f"{error.filename or source.data}: cannot be read ({error.strerror or error})") from error


def _telling_blank(rows: Iterable[TextRow], has_columns: bool = True) -> Iterator[TextRow]:
    """Yield rows, and say at their end how many of them had no text, of which a model can tell nothing."""
    count = blank = 0
    for row in rows:
        count += 1
        text = row.document.text
        blank += not (text if isinstance(text, str) else "".join(text)).strip()
        yield row
    if blank:
        is_elsewhere = has_columns and blank == count
        advice = "; if the text is in another column, name it with --text-column" if is_elsewhere else ""
        print(f"without text: {blank:,} of {count:,} rows, whose results mean nothing{advice}", file=sys.stderr)


def _chunks(rows: Iterable[TextRow]) -> Iterator[list[TextRow]]:
    from ulmkit.text.corpus.chunks import characters
    from ulmkit.text.workers import chunked

    least = math.ceil(_CHUNK_CHARACTERS / _CHUNK_TEXTS)  # so that short texts do not become too many
    return chunked(rows, lambda row: max(least, characters(row.document.text)), _CHUNK_CHARACTERS)


class RowWriter:
    """Writes rows as JSON lines, or as a CSV whose nested values are JSON, and a summary as JSON.

    The summary goes to its file alone, since on the screen it would be mixed with the rows.

    Args:
        out: Open file for the rows; None prints JSON lines, and adds the rows to the summary.
        is_csv: Whether the rows are CSV.
        summary: Open file for the summary; None writes none.
    """

    def __init__(self, out: IO[str] | None, is_csv: bool, summary: IO[str] | None) -> None:
        self.count = 0
        self._out = out
        self._is_csv = is_csv
        self._summary = summary
        self._table = None if out is None else csv.writer(out)
        # JSON has escapes for what the console lacks; they are read alike whatever the encoding is taken for.
        self._is_ascii = not _is_utf8(sys.stdout)

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows at once."""
        for row in map(json_safe, rows):
            if self._out is None:
                print(json.dumps(row, ensure_ascii=self._is_ascii))
                if self._summary is not None:
                    self._summary.write(("," if self.count else '{"rows": [') + "\n" + _to_json(row))
            elif self._is_csv and self._table is not None:
                if self.count == 0:
                    self._table.writerow(row)
                self._table.writerow(map(_to_cell, row.values()))
            else:
                self._out.write(_to_json(row) + "\n")
            self.count += 1
        if self._out is None and sys.stdout is not None:  # closed by the caller
            sys.stdout.flush()

    def finish(self, values: Mapping[str, Any]) -> None:
        """Write the summary after the last row."""
        if self._summary is not None:
            start = "{" if self._out is not None or not self.count else "\n],"
            self._summary.write(f"{start}\n{json.dumps(json_safe(values), indent=2, ensure_ascii=False)[2:]}\n")


@contextmanager
def open_rows(out_file: str | None, json_file: str | None) -> Iterator[RowWriter]:
    """Open the files of a RowWriter; they appear when all rows are written, or not at all.

    Args:
        out_file: File for the rows, .jsonl or .csv; None prints them.
        json_file: File for the summary; None writes none.
    """
    with ExitStack() as stack:
        out, summary = (
            None if path is None else stack.enter_context(atomic_write(path)) for path in (out_file, json_file)
        )
        writer = RowWriter(out, out_file is not None and Path(out_file).suffix.lower() == ".csv", summary)
        yield writer
    if out_file is not None:
        print(f"{writer.count:,} rows written to {out_file}")


class VectorWriter:
    """Writes the rows of a matrix to a .npy file as they come.

    Args:
        file: Open binary file, empty.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.count = 0
        self.size = 0
        self._file = file

    def write(self, rows: "np.ndarray") -> None:
        """Append rows (n, F) float32."""
        if not self.count:
            self.size = rows.shape[1]
            self._write_header()  # numpy leaves room in it for any number of rows
        self.count += len(rows)
        self._file.write(rows.astype("<f4").tobytes())

    def finish(self) -> None:
        """Say in the header how many rows there are."""
        self._file.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        from numpy.lib.format import write_array_header_1_0

        header = {"descr": "<f4", "fortran_order": False, "shape": (self.count, self.size)}
        write_array_header_1_0(self._file, header)


def _is_utf8(stream: IO[str]) -> bool:
    encoding = getattr(stream, "encoding", None)
    return encoding is None or codecs.lookup(encoding).name == "utf-8"


def _to_cell(value: Any) -> str | int | float:
    if value is None:
        return ""  # as other programs write what is missing
    return value if isinstance(value, str | int | float) else _to_json(value)


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
