"""Words with labels, a word a line: CoNLL-2003 and its relatives, and CoNLL-U with its index, comments and ranges."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ulmkit.errors import DataError, did_you_mean
from ulmkit.text.characters import normalise
from ulmkit.text.read.columns import ReadOptions, column_names, labelled_tokens
from ulmkit.text.read.document import Document
from ulmkit.text.read.layout import Layout, OpenedFile
from ulmkit.text.read.text_files import data_suffix, read_lines

_CONLLU_COLUMNS = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
_CONLLU_LABEL = "upos"
_NO_VALUE = "_"
_INDEX = re.compile(r"\d+")
_RANGE_OR_EMPTY_NODE = re.compile(r"\d+[-.]\d+")
_BLANKS = re.compile("[ \t]+")  # a no-break space belongs to its word
_PEEK_LINES = 1000


@dataclass(frozen=True)
class _Columns:
    """Columns of a file by position from 0.

    Attributes:
        count: Columns of each line; None if there are no words, or lines need not have a label.
        word: Position of the words.
        label: Position of the labels.
        has_index: Whether the first column counts the words of each document.
        names: Names of the columns; "1", "2", ... where the format gives none.
    """

    count: int | None
    word: int
    label: int
    has_index: bool
    names: tuple[str, ...]


def open_conll(path: Path, options: ReadOptions, split: str | None) -> OpenedFile:
    """Open words with labels, a word a line, an empty line after each document; -DOCSTART- lines are passed over.

    The label is the last column, the word the first one. Where the first column counts the words of each document, the
    word is the second one, lines of ranges (1-2) and empty nodes (1.1) are passed over, and with ten columns the format
    is CoNLL-U, whose label is upos. Lines that begin with # and have another number of columns are comments.
    """
    columns = _find_columns(path, options)
    is_labelled = options.label_kind.per_word and options.labels
    used = {columns.word, columns.label}
    layout = Layout(
        format="conllu" if columns.names == _CONLLU_COLUMNS else "conll",
        text_columns=(columns.names[columns.word],),
        label_columns=(columns.names[columns.label],) if is_labelled else (),
        unread_columns=tuple(name for position, name in enumerate(columns.names) if position not in used),
    )
    return OpenedFile(layout, _documents(path, options, split, columns, is_labelled))


def _documents(
    path: Path, options: ReadOptions, split: str | None, columns: _Columns, is_labelled: bool
) -> Iterator[Document]:
    words: list[str] = []
    labels: list[str] = []
    for line, text in enumerate(itertools.chain(read_lines(path), [""]), start=1):
        place = f"{path}, line {line}"
        fields = _fields(text)
        if fields and fields[0] == "-DOCSTART-":
            fields = []
        if fields and _is_comment(fields, columns):
            continue
        if fields and columns.has_index and _RANGE_OR_EMPTY_NODE.fullmatch(fields[0]):
            continue
        if fields:
            if len(fields) < 2 and options.labels:
                raise DataError(f"{place}: expected a word and its label, got {text.strip()!r:.80}")
            if is_labelled and columns.count is not None and len(fields) != columns.count:
                raise DataError(
                    f"{place}: expected {columns.count} columns as in the lines before, got {len(fields)}: "
                    f"{text.strip()!r:.80}; correct the line"
                )
            if columns.word >= len(fields):
                raise DataError(f"{place}: expected a word in column {columns.word + 1}, got {text.strip()!r:.80}")
            words.append(normalise(fields[columns.word]))
            labels.append(fields[columns.label] if is_labelled else "")
        elif words:
            label = None
            if is_labelled and any(name != _NO_VALUE for name in labels):
                label = options.label_kind.parse(labels, place)
            yield labelled_tokens(tuple(words), label, place, split=split)
            words = []
            labels = []


def _find_columns(path: Path, options: ReadOptions) -> _Columns:
    """Find the columns of a file in its first document with words."""
    first: list[list[str]] = []
    for text in itertools.islice(read_lines(path), _PEEK_LINES):
        fields = _fields(text)
        if fields and not fields[0].startswith("#") and fields[0] != "-DOCSTART-":
            first.append(fields)
        elif not fields and first:
            break
    counted = [fields[0] for fields in first if not _RANGE_OR_EMPTY_NODE.fullmatch(fields[0])]
    count = len(first[0]) if first else 1
    is_counted = counted == [str(position) for position in range(1, len(counted) + 1)]
    is_conllu = bool(counted) and is_counted and count == len(_CONLLU_COLUMNS)
    has_index = is_conllu or (len(counted) > 1 and count > 2 and is_counted)
    if data_suffix(path) == ".conllu" and first and not is_conllu:
        raise DataError(
            f"{path}: expected the {len(_CONLLU_COLUMNS)} columns of CoNLL-U and words numbered from 1, got "
            f"{' '.join(first[0])!r:.80}; call files of other columns .conll"
        )
    names = _CONLLU_COLUMNS if is_conllu else tuple(str(position) for position in range(1, count + 1))
    word = 1 if has_index else 0
    label = names.index(_CONLLU_LABEL) if is_conllu else count - 1
    if options.text_column is not None:
        word = _position(path, " ".join(column_names(options.text_column)), names)
    if options.label_column is not None and options.labels:
        label = _position(path, " ".join(column_names(options.label_column)), names)
    return _Columns(count if first else None, word, label, has_index, names)


def _position(path: Path, name: str, names: tuple[str, ...]) -> int:
    """Find a column by its name or by its number from 1."""
    if name in names:
        return names.index(name)
    if _INDEX.fullmatch(name) and 1 <= int(name[:9]) <= len(names):
        return int(name) - 1
    raise DataError(f"{path}: has no column {name!r}; {did_you_mean(name, names)}; or give its number, from 1")


def _fields(text: str) -> list[str]:
    """Split a line into its columns: at tabs if it has any and begins with a number, as CoNLL-U, else at blanks too."""
    stripped = text.strip(" \t\r\n")
    if not stripped:
        return []
    if "\t" in stripped and _INDEX.match(stripped):
        return stripped.split("\t")
    return _BLANKS.split(stripped)


def _is_comment(fields: list[str], columns: _Columns) -> bool:
    is_id = fields[:2] == ["#", "id"]  # of MultiCoNER, with as many fields as a word's line
    return fields[0].startswith("#") and (columns.has_index or is_id or len(fields) != columns.count)
