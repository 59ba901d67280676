"""Readers of single files by their format: how a file is understood, and its documents as a stream."""

import contextlib
import functools
import itertools
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ulmkit.errors import DataError, UlmkitError, did_you_mean
from ulmkit.files import parse_json
from ulmkit.text.characters import normalise
from ulmkit.text.read.columns import ReadOptions, RowReader
from ulmkit.text.read.conll import open_conll
from ulmkit.text.read.document import Document
from ulmkit.text.read.json_files import open_json
from ulmkit.text.read.layout import Layout, OpenedFile
from ulmkit.text.read.separated import PEEK_ROWS, is_even_table, open_separated
from ulmkit.text.read.text_files import (
    COMPRESSIONS,
    check_regular,
    data_suffix,
    read_lines,
    read_text,
)
from ulmkit.text.read.wiki_dump import is_dump, is_extracted, open_wiki

_BATCH_ROWS = 1000
_PARQUET = ".parquet"
_SEPARATORS = re.compile("[,;|\t]")
_SPREADSHEET = "a spreadsheet; save it as .csv"
_ARCHIVE = "an archive; unpack it"
CONVERSIONS = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods", ".numbers"), _SPREADSHEET),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar"), _ARCHIVE),
    **dict.fromkeys((".pdf", ".doc", ".docx", ".odt", ".rtf", ".html", ".htm"), "a document; save it as .txt"),
    **dict.fromkeys((".feather", ".orc", ".avro"), "a table of a kind that is not read; save it as .parquet"),
    ".arrow": "a table of a kind that is not read; save it as .parquet, for example with dataset.to_parquet(FILE)",
    **dict.fromkeys((".sqlite", ".sqlite3", ".db"), "a database; write its rows to .csv or .jsonl"),
    **dict.fromkeys((".pkl", ".pickle"), "a pickle, which may run code when it is read; save the data as .parquet"),
}
"""Advice for files that are often given and are not read, by their extension."""

_FASTTEXT_LABEL = "__label__"
_HEADER_NAMES = {"text", "label", "labels", "id", "index", "title", "split", ""}
_JSON_START = re.compile(r'\{\s*("|$)|\[\s*(\{|$)')
_CONLLU_LINE = re.compile(r"1\t([^\t]*\t){8}[^\t]*$")


def open_file(path: Path, options: ReadOptions, split: str | None = None) -> OpenedFile:
    """Open one file, in the format that the options or its name say.

    Args:
        path: The file.
        options: Columns and kind of label.
        split: Split of documents whose row does not say one.

    Raises:
        DataError: If the format is not known, the file is empty or cannot be read.
    """
    check_regular(path)
    suffix = file_format(path, options.format)
    if suffix is None:
        kind = data_suffix(path)
        if kind in CONVERSIONS:
            raise DataError(f"{path}: expected text or a table, got {CONVERSIONS[kind]}")
        raise DataError(
            f"{path}: unknown kind of file {kind!r}; {did_you_mean(kind, KINDS)}; or name the format with "
            "format (--format)"
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    return READERS.get(suffix, open_wiki)(path, options, split)


def file_format(path: Path, format: str | None = None) -> str | None:
    """Return the extension that names a file's format, "wiki" for Wikipedia's; None if the format is not known.

    Args:
        path: The file.
        format: The format, if the name does not say it.

    Raises:
        DataError: If `format` is not known.
    """
    if format is not None:
        suffix = f".{format.lower().lstrip('.')}"
        if suffix not in READERS:
            raise DataError(f"format: got {format!r}; {did_you_mean(suffix.lstrip('.'), _FORMAT_NAMES)}")
        return suffix
    if is_dump(path) or is_extracted(path):
        return "wiki"
    suffix = data_suffix(path)
    is_compressed = path.suffix.lower() in COMPRESSIONS
    return suffix if suffix in READERS and not (is_compressed and suffix == _PARQUET) else None


def _open_text(path: Path, options: ReadOptions, split: str | None) -> OpenedFile:
    return OpenedFile(Layout(format="txt", lines=options.lines), _read_text(path, options, split))


def _read_text(path: Path, options: ReadOptions, split: str | None) -> Iterator[Document]:
    if not options.lines:
        text = normalise(read_text(path))
        looks = guess_text_format(path) if "\n" in text.strip() else ".txt"
        if looks != ".txt":
            warnings.warn(
                f"{path}: looks like {looks}, and is read as one document; if it has rows, name its format with "
                f"--format {looks[1:]} (format), or read a document per line with --lines (lines)",
                stacklevel=2,
            )
        yield Document(text, split=split)
        return
    for number, line in enumerate(read_lines(path)):
        text = normalise(line.strip())
        if number == 0 and _is_header(text):
            warnings.warn(
                f"{path}: the first line, {text!r}, looks like a table's header and is read as a document; "
                "delete it if it is a header, or read the file as a table with --format csv (format)",
                stacklevel=2,
            )
        if number == 0 and text.startswith(_FASTTEXT_LABEL):
            warnings.warn(
                f"{path}: the first line begins with {_FASTTEXT_LABEL}, as fastText marks labels, which are read as "
                "text; write the text and the label as columns of a .csv file",
                stacklevel=2,
            )
        if text or not options.labels:
            yield Document(text, split=split)


def _is_header(line: str) -> bool:
    """Tell whether a line names columns: the text, alone or with others that tables of texts have."""
    names = {name.strip(" \"'").lower() for name in _SEPARATORS.split(line)}
    return "text" in names and names <= _HEADER_NAMES


def guess_text_format(path: Path) -> str:
    """Guess the extension for a file's content: that of JSON, CoNLL-U, a table of even rows, or else of text."""
    lines = list(itertools.islice((line.strip() for line in read_lines(path) if line.strip()), PEEK_ROWS))
    if lines and _JSON_START.match(lines[0]):
        return ".jsonl"
    if any(map(_CONLLU_LINE.match, lines)):
        return ".conllu"
    return ".csv" if is_even_table(path) else ".txt"


def _open_parquet(path: Path, options: ReadOptions, split: str | None) -> OpenedFile:
    import pyarrow.parquet

    with clear_table_errors(path), pyarrow.parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        described = parse_json((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = described.get("info", {}).get("features", {})
        reader = table_reader(str(path), schema, features, options)

    def documents() -> Iterator[Document]:
        columns = [name for name in schema.names if normalise(name) in reader.needed]
        with clear_table_errors(path), pyarrow.parquet.ParquetFile(path) as file:
            yield from table_documents(file.iter_batches(batch_size=_BATCH_ROWS, columns=columns), reader, split)

    return OpenedFile(reader.layout("parquet"), documents())


@contextlib.contextmanager
def clear_table_errors(path: Path) -> Iterator[None]:
    """Turn every error that the content of a table leads pyarrow and its conversion to Python to into a DataError."""
    try:
        yield
    except UlmkitError:
        raise
    except Exception as error:  # pyarrow's exceptions derive from a dozen of Python's, and conversion adds others
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: not a readable parquet file ({reason:.300})") from None


def table_reader(where: str, schema: Any, features: Mapping[str, Any], options: ReadOptions) -> RowReader:
    """Make the reader of an Arrow table's rows.

    Args:
        where: Name of the table, for messages.
        schema: Names and types of its columns; names are compared in one Unicode form.
        features: The hub's description of the columns, with class names.
        options: Which columns to read.

    Raises:
        DataError: See `RowReader`.
    """
    import pyarrow.types as types

    names = list(map(normalise, schema.names))
    is_text = [types.is_string(each) or types.is_large_string(each) for each in map(_value_type, schema.types)]
    text_names = [name for name, holds_text in zip(names, is_text, strict=True) if holds_text]
    known = {normalise(name): classes for name, feature in features.items() if (classes := _class_names(feature))}
    return RowReader(where, names, text_names, options, known)


def _value_type(type: Any) -> Any:
    """The type of a column's values, which a column of categories keeps once each."""
    import pyarrow.types

    return type.value_type if pyarrow.types.is_dictionary(type) else type


def table_documents(batches: Iterable[Any], reader: RowReader, split: str | None) -> Iterator[Document]:
    """Read the documents of Arrow record batches, one batch in memory at a time."""
    row = 0
    for batch in batches:
        places = {normalise(name): place for place, name in enumerate(batch.schema.names)}
        columns = [batch.column(places[name]).to_pylist() for name in reader.needed]
        for values in zip(*columns, strict=True):
            row += 1
            yield reader.document(dict(zip(reader.needed, values, strict=True)), f"{reader.where}, row {row}", split)


def _class_names(feature: Any) -> Sequence[str]:
    """The class names in a hub feature, alone or inside a list; none if it has none."""
    while isinstance(feature, Mapping) and "feature" in feature:
        feature = feature["feature"]
    if isinstance(feature, list) and len(feature) == 1:
        return _class_names(feature[0])
    return feature.get("names") or () if isinstance(feature, Mapping) else ()


READERS: dict[str, Callable[[Path, ReadOptions, str | None], OpenedFile]] = {
    ".txt": _open_text,
    ".csv": functools.partial(open_separated, usual=","),
    ".tsv": functools.partial(open_separated, usual="\t"),
    ".jsonl": open_json,
    ".ndjson": open_json,
    ".json": open_json,
    _PARQUET: _open_parquet,
    ".conll": open_conll,
    ".conllu": open_conll,
    ".tokens": _open_text,
}
TEXT_KINDS = (".txt", ".tokens")  # a document a file, or one a line; WikiText's own files are .tokens
_FORMAT_NAMES = tuple(suffix.lstrip(".") for suffix in READERS)

KINDS = (*READERS, ".xml", ".xml.bz2", "wiki_00")
"""Kinds of file that can be read, for messages; all but parquet also compressed. The last three are Wikipedia's."""
