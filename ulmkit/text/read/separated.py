"""Tables of separated values, .csv and .tsv: the separator, the header and the rows."""

import contextlib
import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ulmkit.errors import DataError
from ulmkit.text.characters import drop_invisible
from ulmkit.text.read.columns import ReadOptions, RowReader, default_text_column, spellings_of
from ulmkit.text.read.layout import OpenedFile
from ulmkit.text.read.text_files import read_lines, warn_of_blank_lines

PEEK_ROWS = 20

_SEPARATORS = (",", ";", "\t", "|", "^", "~", "\x1f", "\x01")
_SEPARATOR_NAMES = {"\t": "tab"}
_MAX_FIELD_CHARACTERS = 2**31 - 1
_QUOTED_CELL = re.compile(r'"([^"]*(?:""[^"]*)*)"')
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)

# A name of so many words is taken for a text; in a table of one column, where any first line fits, of fewer.
_TEXT_WORDS = 5
_ONLY_TEXT_WORDS = 3
_TEXT_CHARACTERS = 60
_LONGEST_HEADER = 10_000
_SENTENCE_END = re.compile("[.!?…][\"')\\]]*$")
_JSON_OBJECT = re.compile(r'\[?\{\s*"')
_DASHES = re.compile(r"\s*:?-{3,}:?\s*")
_OTHER_QUOTES = re.compile("'.*'|[“”„].*[“”]|[‘’‚].*[‘’]")
_MARKS_WITHOUT_SPACES = re.compile("[。！？，、।]")

Rows = Iterator[tuple[int, list[str]]]
"""Line number and cells of each row; a blank line has no cells."""


def open_separated(path: Path, options: ReadOptions, split: str | None, usual: str) -> OpenedFile:
    """Open a table of separated values.

    In .tsv a line is a row, and a quote is text unless it encloses a cell.

    Args:
        path: The file.
        options: Columns and kind of label.
        split: Split of documents whose row does not say one.
        usual: The usual separator, a comma for .csv and a tab for .tsv; header and rows may show another.
    """
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)  # the default refuses texts of more than 131,072 characters
    separator, has_separator_line = _choose_separator(path, usual)
    is_tsv = usual == separator == "\t"
    rows = _tsv_rows(path) if is_tsv else _csv_rows(path, separator)
    if has_separator_line:
        next(rows)
    first = next(((line, row) for line, row in rows if row), None)
    if first is None:
        raise DataError(f"{path}: expected a line with the names of the columns, got none")
    if not options.header:
        rows = itertools.chain([first], rows)
    names = _column_names(first[1], options)
    if not names:
        raise DataError(f"{path}: expected a line with the names of the columns, got a blank one")
    header = names if options.header and len(names) > 1 else None
    fitted = _fitted(path, rows, len(names), header, _advice_on_fields(separator, len(names), is_tsv))
    keeps_blank = not options.labels and len(names) == 1
    fitted = _with_blank_rows(fitted) if keeps_blank else _without_blank_rows(path, fitted, warns=not options.labels)
    peeked = list(itertools.islice(fitted, PEEK_ROWS))
    if options.header:
        _check_header(path, names, [row for _, row in peeked], options)
    named = [position for position, name in enumerate(names) if name]
    text_names = [names[position] for position in named if looks_like_text(row[position] for _, row in peeked)]
    try:
        reader = RowReader(str(path), [names[position] for position in named], text_names, options)
    except DataError as error:
        if options.header and any(_is_text_as_name(name, _ONLY_TEXT_WORDS) for name in names):
            raise DataError(f"{error}; if the first line is data, say so with header=False (--no-header)") from None
        raise
    unnamed = len(first[1]) - len(named)
    layout = reader.layout(
        "tsv" if is_tsv else "csv", separator=separator, header=options.header, unnamed_columns=unnamed
    )
    documents = (
        reader.document({names[position]: row[position] for position in named}, f"{path}, line {line}", split)
        for line, row in itertools.chain(peeked, fitted)
    )
    return OpenedFile(layout, documents)


def _column_names(cells: Sequence[str], options: ReadOptions) -> list[str]:
    """Return the names of the columns, "" for those without a name; those at the end of the row are left out."""
    names = [drop_invisible(cell).strip() for cell in cells]
    if not options.header:
        names = [str(number) for number in range(1, len(cells) + 1)]
    while names and not names[-1]:
        names.pop()
    return names


def _advice_on_fields(separator: str, columns: int, is_tsv: bool) -> str:
    """Say what to do about a row with another number of fields than columns."""
    if is_tsv:
        return "; in .tsv a line is a row: give text with line breaks as .csv"
    if columns == 1:
        return (
            f"; delete lines above the names of the columns; put a text that holds {separator!r} in quotes, or give a "
            "text a line as .txt with lines=True"
        )
    return (
        f"; put a cell that holds {separator!r} or a line break in double quotes, and write each double quote in it "
        "twice"
    )


def _fitted(path: Path, rows: Rows, columns: int, header: Sequence[str] | None, advice: str) -> Rows:
    """Yield rows without the cells beyond the columns, which must be empty, as spreadsheets add them.

    Raises:
        DataError: If a row has too few or too many cells, is a line of dashes below a header, or repeats the header, as
            in files that were joined.
    """
    for line, row in rows:
        if row and (len(row) < columns or any(cell.strip() for cell in row[columns:])):
            raise DataError(f"{path}, line {line}: expected {columns} fields, got {len(row)}{advice}")
        if header is not None and row and _is_ruled(row[:columns], header):
            raise DataError(
                f"{path}, line {line}: expected a row, got a line of dashes, as in Markdown; remove the line"
            )
        if header is not None and row and _repeats(row[:columns], header):
            raise DataError(f"{path}, line {line}: expected a row, got the names of the columns again; remove the line")
        yield line, row[:columns]


def _repeats(row: Sequence[str], header: Sequence[str]) -> bool:
    """Tell whether a row is the header once more, whatever the case, and a byte order mark before it."""
    last = len(header) - 1
    return row[last].strip().casefold() == header[last].casefold() and all(
        drop_invisible(cell).strip().casefold() == name.casefold() for cell, name in zip(row, header, strict=True)
    )


def _is_ruled(row: Sequence[str], header: Sequence[str]) -> bool:
    """Tell whether a row has dashes below each name of the header and nothing else."""
    return all(
        bool(_DASHES.fullmatch(cell) if name else not cell.strip()) for cell, name in zip(row, header, strict=True)
    )


def _with_blank_rows(rows: Rows) -> Rows:
    """Turn blank lines into rows of one empty cell."""
    return ((line, row or [""]) for line, row in rows)


def _without_blank_rows(path: Path, rows: Rows, warns: bool) -> Rows:
    """Leave out blank lines; warn of those between rows, if that is asked for."""
    blank = blank_between = 0
    for line, row in rows:
        if row:
            blank_between = blank
            yield line, row
        else:
            blank += 1
    if warns:
        warn_of_blank_lines(path, blank_between)


def _csv_rows(path: Path, separator: str) -> Rows:
    reader = csv.reader(read_lines(path), delimiter=separator, strict=True)
    first = 1  # line of the row that is being read
    try:
        for row in reader:
            yield reader.line_num, row
            first = reader.line_num + 1
    except csv.Error as error:
        reason = str(error)
        if "new-line character" in reason:
            reason = "a carriage return inside a cell without quotes"
        elif "unexpected end" in reason:
            reason = f"a double quote in the row that begins in line {first} is never closed"
        elif "expected after" in reason:
            reason += "; write a double quote in a cell twice, not with a backslash"
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV ({reason})") from None


def _tsv_rows(path: Path) -> Rows:
    columns = 0
    for line, text in enumerate(read_lines(path), start=1):
        stripped = text.rstrip("\r\n")
        columns = columns or (stripped.count("\t") + 1 if stripped else 0)
        yield line, _tsv_cells(stripped, columns) if stripped else []


def _tsv_cells(text: str, columns: int) -> list[str]:
    """Split a line into cells. Quotes are text, except two that enclose a cell; those inside it are doubled.

    A tab in an enclosed cell is the cell's own only where that alone makes as many cells as there are columns.
    """
    cells = text.split("\t")
    if len(cells) > columns:
        with contextlib.suppress(csv.Error):
            enclosed = next(csv.reader([text], delimiter="\t", strict=True))
            if len(enclosed) == columns:
                return enclosed
    quoted = map(_QUOTED_CELL.fullmatch, cells)
    return [match[1].replace('""', '"') if match else cell for cell, match in zip(cells, quoted, strict=True)]


def _choose_separator(path: Path, usual: str) -> tuple[str, bool]:
    """Choose the separator of a table.

    One other than the usual is taken only if the first row has it, and all rows that are looked at have it as often.

    Returns:
        The separator, and whether a line of its own names it ("sep=;", as spreadsheets write it).

    Raises:
        DataError: If the first row has only another separator, and other rows do not have it as often.
    """
    first_line = next(read_lines(path), "")
    if match := _SEPARATOR_LINE.fullmatch(first_line):
        return match[1], True
    if not first_line.strip():
        first_line = next((line for line in read_lines(path) if line.strip()), "")
    candidates = (usual, *(separator for separator in _SEPARATORS if separator != usual))
    uneven: dict[str, tuple[int, int, int]] = {}
    for separator in candidates:
        if separator != usual and separator not in first_line:
            continue
        with contextlib.suppress(DataError):
            rows = _tsv_rows(path) if separator == usual == "\t" else _csv_rows(path, separator)
            columns, line, fields = _first_uneven_row(rows)
            if columns > 1 and not line:
                return separator, False
            uneven[separator] = columns, line, fields
    if uneven.get(usual, (2,))[0] == 1:
        for separator, (columns, line, fields) in uneven.items():
            if separator != usual and columns > 1:
                shown = _SEPARATOR_NAMES.get(separator, separator)
                raise DataError(
                    f"{path}: expected columns separated by {_SEPARATOR_NAMES.get(usual, usual)!r}, got {shown!r} in "
                    f"the first line, which makes {columns} columns there and {fields} in line {line}; correct the "
                    "lines, put texts that hold it in quotes, or give lines of plain text as .txt"
                )
    return usual, False


def is_even_table(path: Path) -> bool:
    """Tell whether a text looks like a table: a first line of short names, and rows with as many columns, at least two.

    A first line that is "text" alone, in any case, is a table of one column.
    """
    first = next((line for line in read_lines(path) if line.strip()), "")
    if spellings_of("text", [first.strip().strip('"')]):
        return True
    for separator in _SEPARATORS if len(first) <= _LONGEST_HEADER else ():
        if separator not in first:
            continue
        with contextlib.suppress(DataError):
            rows = list(itertools.islice((row for _, row in _csv_rows(path, separator) if row), PEEK_ROWS))
            is_even = len(rows) > 1 and len(rows[0]) > 1 and all(len(row) == len(rows[0]) for row in rows)
            if is_even and not any(_is_text_as_name(cell.strip(), _ONLY_TEXT_WORDS) for cell in rows[0]):
                return True
    return False


def _first_uneven_row(rows: Rows) -> tuple[int, int, int]:
    """Return the columns of the first row, and line and fields of the first later one that does not fit, or zeros."""
    columns = 0
    for line, row in itertools.islice((item for item in rows if item[1]), PEEK_ROWS + 1):
        if not columns:
            while row and not row[-1].strip():
                row.pop()
            columns = len(row)
        elif len(row) < columns or any(cell.strip() for cell in row[columns:]):
            return columns, line, len(row)
    return columns, 0, 0


def looks_like_text(cells: Iterable[str]) -> bool:
    """Tell whether one of a column's cells is neither empty nor a number."""
    for cell in cells:
        try:
            float(cell or "0")
        except ValueError:
            return True
    return False


def _check_header(path: Path, names: Sequence[str], rows: Sequence[Sequence[str]], options: ReadOptions) -> None:
    """Raise DataError if the first line looks like a row of data, unless columns of that name are asked for."""
    if options.text_column is not None or spellings_of(default_text_column(options.label_kind), names):
        return
    if all(map(_OTHER_QUOTES.fullmatch, names)):
        raise DataError(f"{path}: expected cells in double quotes, got {names[0]}; write '\"' in place of other quotes")
    if _JSON_OBJECT.match(names[0]):
        raise DataError(
            f"{path}: expected the names of the columns in the first line, got {names[0]!r:.80}; if it is JSON, say so "
            "with format='jsonl'"
        )
    least_words = _ONLY_TEXT_WORDS if len(names) == 1 else _TEXT_WORDS
    suspicious = next((name for name in names if _is_text_as_name(name, least_words)), None)
    if suspicious is None:
        suspicious = _number_as_name(names, rows)
    if suspicious is not None:
        raise DataError(
            f"{path}: expected the names of the columns in the first line, got {suspicious!r:.80}, which looks like "
            "data; if the file has no header, say so with header=False (--no-header), else name the column with "
            "text_column"
        )


def _is_text_as_name(name: str, least_words: int) -> bool:
    words = len(name.split()) + (_SENTENCE_END.search(name) is not None and " " in name)
    return words >= least_words or len(name) > _TEXT_CHARACTERS or _MARKS_WITHOUT_SPACES.search(name) is not None


def _number_as_name(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str | None:
    """Return a name that is a number like all cells below it; names that count up are those of data frames."""
    filled = [name for name in names if name]
    if filled in (
        [str(position) for position in range(len(filled))],
        [str(position) for position in range(1, len(filled) + 1)],
    ):
        return None
    for position, name in enumerate(names):
        if name and not looks_like_text([name]) and not looks_like_text(row[position] for row in rows):
            return name
    return None
