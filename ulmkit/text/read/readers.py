"""Readers of single files: .txt, .csv, .tsv, .jsonl, .parquet and .conll, each as a stream of documents."""

import codecs
import contextlib
import csv
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ulmkit.errors import DataError, did_you_mean
from ulmkit.text.read.columns import ReadOptions, RowReader, labelled_tokens
from ulmkit.text.read.document import Document
from ulmkit.text.read.wiki_dump import is_dump, is_extracted, read_dump, read_extracted

_PEEK_ROWS = 20
_BATCH_ROWS = 1000
_MAX_FIELD_CHARACTERS = 2**31 - 1
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_QUOTED_CELL = re.compile(r'"([^"]*(?:""[^"]*)*)"')

Reader = Callable[[Path, ReadOptions, str | None], Iterator[Document]]


def read_file(path: Path, options: ReadOptions, split: str | None = None) -> Iterator[Document]:
    """Read the documents of one file, in the way that its name says.

    Args:
        path: The file.
        options: Columns and kind of label.
        split: Split of documents whose row does not say one.

    Raises:
        DataError: If the kind of file is not known, the file is empty or cannot be read.
    """
    reader = _find_reader(path)
    if reader is None:
        raise DataError(f"{path}: unknown kind of file {path.suffix!r}; {did_you_mean(path.suffix, KINDS)}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    return reader(path, options, split)


def _find_reader(path: Path) -> Reader | None:
    if is_dump(path):
        return read_dump
    if is_extracted(path):
        return read_extracted
    return READERS.get(path.suffix.lower())


def decode_utf8(data: bytes, path: Path, offset: int = 0, line: int = 1) -> str:
    """Decode the bytes of a file; a byte order mark at its start is dropped.

    Args:
        data: The bytes.
        path: The file, for messages.
        offset: Place of the first byte in the file.
        line: Line of the first byte.

    Raises:
        DataError: If it is not UTF-8 text; the message says at which offset and line.
    """
    if offset == 0 and data.startswith(_UTF16_MARKS):
        raise DataError(f"{path}: expected UTF-8 text, got UTF-16; convert it: iconv -f UTF-16 -t UTF-8")
    zero = data.find(b"\0")
    if zero >= 0:
        where = f"offset {offset + zero} (line {line + data.count(bytes([10]), 0, zero)})"
        raise DataError(f"{path}: expected text, got a binary file (zero byte at {where}); give a text file")
    if offset == 0 and data.startswith(codecs.BOM_UTF8):
        data, offset = data[len(codecs.BOM_UTF8) :], len(codecs.BOM_UTF8)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"offset {offset + error.start} (line {line + data.count(bytes([10]), 0, error.start)})"
        raise DataError(
            f"{path}: expected UTF-8 text, got byte 0x{data[error.start]:02x} at {where}; convert it, "
            "for example: iconv -f WINDOWS-1252 -t UTF-8"
        ) from None


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a UTF-8 file, line ends kept, never more than one in memory."""
    offset = 0
    with open(path, "rb") as file:
        for line, data in enumerate(file, start=1):
            yield decode_utf8(data, path, offset, line)
            offset += len(data)


def _read_text(path: Path, options: ReadOptions, split: str | None) -> Iterator[Document]:
    if not options.lines:
        yield Document(decode_utf8(path.read_bytes(), path), split=split)
        return
    for line in read_lines(path):
        if text := line.strip():
            yield Document(text, split=split)


def _read_csv(path: Path, options: ReadOptions, split: str | None) -> Iterator[Document]:
    rows = csv.reader(read_lines(path), strict=True)
    try:
        yield from _separated(path, ((rows.line_num, row) for row in rows if row), options, split)
    except csv.Error as error:
        raise DataError(f"{path}, line {rows.line_num}: not valid CSV ({error})") from None


def _read_tsv(path: Path, options: ReadOptions, split: str | None) -> Iterator[Document]:
    lines = ((line, text.rstrip("\r\n")) for line, text in enumerate(read_lines(path), start=1))
    filled = ((line, text) for line, text in lines if text)
    line, header = next(filled, (0, ""))
    columns = header.count("\t") + 1
    rows = ((line, _tsv_cells(text, columns)) for line, text in itertools.chain([(line, header)], filled))
    yield from _separated(path, rows, options, split, "; in .tsv a line is a row: give text with line breaks as .csv")


def _tsv_cells(text: str, columns: int) -> list[str]:
    """The cells of a line. A quote is text, but for two that enclose a cell, where those within are doubled.

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


def _separated(
    path: Path, rows: Iterator[tuple[int, list[str]]], options: ReadOptions, split: str | None, advice: str = ""
) -> Iterator[Document]:
    """The documents of rows, each with its line number, the column names first. advice: for rows of another length."""
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)  # the default refuses texts of more than 131,072 characters
    _, header = next(rows, (0, []))
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise DataError(f"{path}: expected each column once, got {twice!r} twice")
    peeked = list(itertools.islice(rows, _PEEK_ROWS))
    text_names = [name for at, name in enumerate(header) if _looks_like_text(row[at : at + 1] for _, row in peeked)]
    reader = RowReader(str(path), header, text_names, options)
    for line, row in itertools.chain(peeked, rows):
        if len(row) != len(header):
            raise DataError(f"{path}, line {line}: expected {len(header)} fields, got {len(row)}{advice}")
        yield reader.document(dict(zip(header, row, strict=True)), f"{path}, line {line}", split)


def _looks_like_text(cells: Iterable[Sequence[str]]) -> bool:
    """Tell whether one of a column's cells is neither empty nor a number."""
    for cell in itertools.chain.from_iterable(cells):
        try:
            float(cell or "0")
        except ValueError:
            return True
    return False


def _read_jsonl(path: Path, options: ReadOptions, split: str | None) -> Iterator[Document]:
    """The text's columns are chosen by the first rows; the others may begin later, as where unlabelled rows come first.

    A column that is named and not in the first rows is looked for in the whole file before anything is read.
    """
    rows = _json_rows(path)
    peeked = list(itertools.islice(rows, _PEEK_ROWS))
    names = dict.fromkeys(name for _, row in peeked for name in row)
    text_names = [name for name in names if any(isinstance(row.get(name), str) for _, row in peeked)]
    if not set(options.named_columns) <= names.keys():
        later = dict.fromkeys(name for _, row in _json_rows(path) for name in row)
        names |= {name: None for name in options.named_columns if name in later}
    reader = RowReader(str(path), names, text_names, options)
    for line, row in itertools.chain(peeked, rows):
        if reader.label is None and not row.keys() <= names.keys():
            names |= dict.fromkeys(row)
            reader = RowReader(str(path), names, (), replace(options, text_column=reader.text))
        yield reader.document(row, f"{path}, line {line}", split)


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(read_lines(path), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {line}: not valid JSON ({error.msg} at column {error.colno})") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {line}: expected a JSON object, got {text.strip()[:40]!r}")
        yield line, row


def _read_parquet(path: Path, options: ReadOptions, split: str | None) -> Iterator[Document]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
            described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
            features = described.get("info", {}).get("features", {})
            reader = table_reader(str(path), schema, features, options)
            batches = file.iter_batches(batch_size=_BATCH_ROWS, columns=reader.needed)
            yield from table_documents(batches, reader, split)
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: not a readable parquet file ({error})") from None


def table_reader(where: str, schema: Any, features: Mapping[str, Any], options: ReadOptions) -> RowReader:
    """The reader of an Arrow table's rows. `features`: the hub's description of its columns, with class names."""
    import pyarrow.types as types

    text_names = [field.name for field in schema if types.is_string(field.type) or types.is_large_string(field.type)]
    names = {name: class_names for name, feature in features.items() if (class_names := _class_names(feature))}
    return RowReader(where, schema.names, text_names, options, names)


def table_documents(batches: Iterable[Any], reader: RowReader, split: str | None) -> Iterator[Document]:
    """The documents of Arrow record batches, one batch in memory at a time."""
    at = 0
    for batch in batches:
        columns = [batch.column(name).to_pylist() for name in reader.needed]
        for values in zip(*columns, strict=True):
            at += 1
            yield reader.document(dict(zip(reader.needed, values, strict=True)), f"{reader.where}, row {at}", split)


def _class_names(feature: Any) -> Sequence[str]:
    """The class names in a hub feature, alone or inside a list; none if it has none."""
    while isinstance(feature, Mapping) and "feature" in feature:
        feature = feature["feature"]
    if isinstance(feature, list) and len(feature) == 1:
        return _class_names(feature[0])
    return feature.get("names") or () if isinstance(feature, Mapping) else ()


def _read_conll(path: Path, options: ReadOptions, split: str | None) -> Iterator[Document]:
    """A word a line, its label last, an empty line after each document; -DOCSTART- lines are passed over."""
    words: list[str] = []
    labels: list[str] = []
    for line, text in enumerate(itertools.chain(read_lines(path), [""]), start=1):
        fields = text.split()
        if fields and fields[0] != "-DOCSTART-":
            if len(fields) < 2 and options.labels:
                raise DataError(f"{path}, line {line}: expected a word and its label, got {text.strip()!r}")
            words.append(fields[0])
            labels.append(fields[-1])
        elif words:
            label = tuple(labels) if options.label_kind.per_word and options.labels else None
            yield labelled_tokens(tuple(words), label, f"{path}, line {line}", split=split)
            words = []
            labels = []


READERS: dict[str, Reader] = {
    ".txt": _read_text,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    ".conll": _read_conll,
    ".tokens": _read_text,
}
TEXT_KINDS = (".txt", ".tokens")  # a document a file, or one a line; WikiText's own files are .tokens

KINDS = (*READERS, ".xml", ".xml.bz2", "wiki_00", "wiki_00.bz2")
"""Kinds of file that can be read, for messages; the last four are Wikipedia's, see wiki_dump.py."""
