"""Files of JSON: an object per line, an array of objects, or one object that holds them."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ulmkit.errors import DataError
from ulmkit.files import parse_json
from ulmkit.text.characters import normalise
from ulmkit.text.read.columns import ReadOptions, RowReader, column_names, default_text_column, spellings_of
from ulmkit.text.read.document import Document, parse_json_value
from ulmkit.text.read.layout import OpenedFile
from ulmkit.text.read.separated import PEEK_ROWS
from ulmkit.text.read.text_files import data_suffix, read_lines, read_text, warn_of_blank_lines


def open_json(path: Path, options: ReadOptions, split: str | None) -> OpenedFile:
    """Open rows of JSON.

    The text's columns are chosen by the first rows; the others may begin later, as where unlabelled rows come first. A
    column that is named and not in the first rows is looked for in the whole file before anything is read.
    """
    rows = _json_rows(path, options, warns=not options.labels)
    peeked = list(itertools.islice(rows, PEEK_ROWS))
    if not peeked:
        raise DataError(f"{path}: expected documents, got none")
    names = dict.fromkeys(name for _, row in peeked for name in row)
    text_names = [name for name in names if any(isinstance(row.get(name), str) for _, row in peeked)]
    if not set(options.named_columns) <= names.keys():
        later = dict.fromkeys(name for _, row in _json_rows(path, options) for name in row)
        names |= {name: None for name in options.named_columns if name in later}
    first_reader = RowReader(str(path), names, text_names, options)

    def documents() -> Iterator[Document]:
        reader = first_reader
        for place, row in itertools.chain(peeked, rows):
            if not reader.label_columns and not row.keys() <= names.keys():
                names.update(dict.fromkeys(row))
                reader = RowReader(str(path), names, (), replace(options, text_column=reader.text))
            yield reader.document(row, f"{path}, {place}", split)

    format = "json" if data_suffix(path) == ".json" else "jsonl"
    return OpenedFile(first_reader.layout(format), documents())


def _json_rows(path: Path, options: ReadOptions, warns: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of a file, one a line or in one array, each with its place."""
    lines = enumerate(read_lines(path), start=1)
    filled = ((line, text) for line, text in lines if text.strip())
    first, second = next(filled, None), next(filled, None)
    if first is None:
        return
    if first[1].lstrip().startswith("["):
        yield from _json_items(path, parse_json_value(read_text(path), str(path)))
        return
    place = f"{path}, line {first[0]}"
    if second is None:
        yield from _rows_of_object(path, _json_object(parse_json_value(first[1], place), place), options)
        return
    if _goes_on(first[1]):
        yield from _rows_of_object(path, _object_over_lines(path), options)
        return
    blank = blank_between = 0
    for line, text in enumerate(read_lines(path), start=1):
        if text.strip():
            place = f"{path}, line {line}"
            blank_between = blank
            yield f"line {line}", _json_object(parse_json_value(text, place), place)
        else:
            blank += 1
    if warns:
        warn_of_blank_lines(path, blank_between)


def _json_items(path: Path, items: Sequence[Any], where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the objects of an array, each with its place."""
    for number, item in enumerate(items, start=1):
        place = f"item {number}{where}"
        yield place, _json_object(item, f"{path}, {place}")


def _goes_on(line: str) -> bool:
    """Tell whether a line begins an object that does not end in it."""
    if not line.lstrip().startswith("{"):
        return False
    try:
        parse_json(line.rstrip())
    except json.JSONDecodeError as error:
        return error.pos >= len(line.rstrip())
    except ValueError:
        pass
    return False


def _object_over_lines(path: Path) -> dict[str, Any]:
    """Parse a file that holds one object over several lines."""
    expected = "expected an array of objects, or an object on each line, got one over several lines"
    return _json_object(parse_json_value(read_text(path), f"{path}: {expected}"), str(path))


def _rows_of_object(path: Path, value: dict[str, Any], options: ReadOptions) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of a file that holds one object: those in its only list of objects, or the object itself.

    Args:
        path: The file.
        value: The object.
        options: Which columns hold the text; an object that has them is a row.

    Raises:
        DataError: If it is neither a row nor has a list of them.
    """
    columns = column_names(options.text_column) or spellings_of(default_text_column(options.label_kind), value)[:1]
    kinds = (str, list) if options.label_kind.per_word else str
    lists = [name for name, items in value.items() if isinstance(items, list) and _are_objects(items)]
    if columns and all(isinstance(value.get(name), kinds) for name in columns):
        yield "line 1", value
    elif len(lists) == 1:
        yield from _json_items(path, value[lists[0]], f" of {lists[0]!r}")
    elif not lists and any(not isinstance(item, (dict, list)) for item in value.values()):
        yield "line 1", value
    else:
        described, advice = _describe_object(value, lists)
        raise DataError(f"{path}: expected an array of objects, or an object on each line, got {described}; {advice}")


def _are_objects(items: Sequence[Any]) -> bool:
    return bool(items) and all(isinstance(item, dict) for item in items)


def _describe_object(value: Mapping[str, Any], lists: Sequence[str]) -> tuple[str, str]:
    """Describe an object that holds no rows, and say what to do."""
    if lists:
        advice = "write each to a file of its own, named for its split if they are splits (train.json, test.json)"
        return f"one object with several lists of them ({', '.join(map(repr, lists)):.100})", advice
    advice = "write an object for each document; from a table of pandas, with table.to_json(FILE, orient='records')"
    return f"one object with the keys {', '.join(map(repr, value)):.100}" if value else "an empty object", advice


def json_rows_begin(path: Path) -> bool:
    """Tell whether a .json file begins with an array of objects, or with an object on a line."""
    try:
        first = next((line.strip() for line in read_lines(path) if line.strip()), "")
        if first.startswith("["):
            return "{" in first or first == "["
        return first.startswith("{") and isinstance(parse_json_value(first, str(path)), dict)
    except DataError:
        return False


def _json_object(value: Any, place: str) -> dict[str, Any]:
    """Return an object with its keys in one Unicode form."""
    if not isinstance(value, dict):
        shown = json.dumps(value, ensure_ascii=False)[:40]
        raise DataError(f'{place}: expected a JSON object such as {{"text": "..."}}, got {shown!r}')
    if all(map(str.isascii, value)):
        return value
    row = {normalise(name): item for name, item in value.items()}
    if len(row) < len(value):
        raise DataError(f"{place}: expected each key once, got keys that differ in their Unicode form alone")
    return row
