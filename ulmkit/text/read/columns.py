"""Columns of a table: which hold the text, the label and the rest, and how a row becomes a document."""

import datetime
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from ulmkit.errors import DataError, did_you_mean
from ulmkit.text.characters import drop_invisible, normalise
from ulmkit.text.read.document import Document, Label, parse_split
from ulmkit.text.read.labels import NO_LABELS, LabelKind
from ulmkit.text.read.layout import Layout
from ulmkit.text.read.table_options import TableOptions


@dataclass(frozen=True, kw_only=True)
class ReadOptions(TableOptions):
    """Options for reading files: columns, format, and how labels are read.

    Attributes:
        label_kind: Kind of the labels; NO_LABELS reads none.
        labels: Whether labels are read. If not, the data is for prediction: a row may hold text in place of its list of
            words, and a blank line of text, or of a table with one column, is a document too.
        needs_labels: Whether a label column that is named must be there.
    """

    label_kind: LabelKind = NO_LABELS
    labels: bool = True
    needs_labels: bool = True

    @property
    def named_columns(self) -> tuple[str, ...]:
        """Named columns that a row may lack: all but the text columns."""
        named = (self.group_column, self.time_column, self.split_column, *self.columns)
        return (*column_names(self.label_column), *(name for name in named if name is not None))


class ReadFields(TypedDict, total=False):
    """Fields of `ReadOptions`, as keywords."""

    text_column: str | Sequence[str] | None
    label_column: str | Sequence[str] | None
    group_column: str | None
    time_column: str | None
    split_column: str | None
    columns: Sequence[str]
    lines: bool
    header: bool
    format: str | None
    workers: int | None
    label_kind: LabelKind
    labels: bool
    needs_labels: bool


class RowReader:
    """Turns the rows of one table into documents.

    Args:
        where: Name of the table, for messages.
        names: Its columns.
        text_names: Columns that hold text.
        options: Which columns to read.
        class_names: Names of integer labels by column, where the table carries them.

    Raises:
        DataError: If a column is there twice, is missing, or cannot be chosen, naming the columns there are.
    """

    def __init__(
        self,
        where: str,
        names: Collection[str],
        text_names: Sequence[str],
        options: ReadOptions,
        class_names: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        if (twice := _repeated(names)) is not None:
            raise DataError(f"{where}: expected each column once, got {twice!r} twice")
        self.where = where
        self.names = names
        self.kind = options.label_kind
        self.labels = options.labels
        named = (options.group_column, options.time_column, options.split_column, *options.columns)
        for name in named:
            self._check(name)
        self.group = options.group_column
        self.time = options.time_column
        self.split = options.split_column
        self.kept = tuple(options.columns)
        label_columns = self._choose_labels(options)
        self.label_columns = label_columns if options.labels else ()
        taken = {*label_columns, *filter(None, named)}
        self.text = self._choose_text(options.text_column, text_names, taken)
        shared = next((name for name in self.label_columns if name in self.text), None)
        if shared is not None:
            raise DataError(
                f"{where}: column {shared!r} is to be both the text and the label; name another with text_column or "
                "label_column"
            )
        self.class_names = (class_names or {}).get(self.label_columns[0], ()) if self.label_columns else ()

    @property
    def needed(self) -> list[str]:
        """The columns that are read, each once."""
        names = (*self.text, *self.label_columns, self.group, self.time, self.split, *self.kept)
        return list(dict.fromkeys(name for name in names if name is not None))

    def layout(self, format: str, **details: Any) -> Layout:
        """Describe the table.

        Args:
            format: Name of its format.
            details: Further fields of `Layout`.
        """
        return Layout(
            format=format,
            text_columns=self.text,
            label_columns=self.label_columns,
            unread_columns=tuple(name for name in self.names if name not in self.needed),
            **details,
        )

    def document(self, row: Mapping[str, Any], place: str, split: str | None = None) -> Document:
        """Turn a row into a document.

        Args:
            row: Values by column.
            place: File and line, for messages.
            split: Split of the document if no column says it.

        Raises:
            DataError: If a value does not fit.
        """
        if self.split is not None and (value := _text_or_none(row.get(self.split))) is not None:
            split = parse_split(value, self.split, place)
        label = None if split == "unsupervised" else self._parse_label(row, place)
        group = _text_or_none(row.get(self.group)) if self.group is not None else None
        time = _parse_time(row.get(self.time), f"{place}: column {self.time!r}") if self.time is not None else None
        kept = {name: _text_or_none(row.get(name)) or "" for name in self.kept}
        if self.kind.per_word and (self.labels or not isinstance(row.get(self.text[0]), str)):
            tokens = _parse_tokens(row.get(self.text[0]), f"{place}: column {self.text[0]!r}")
            return labelled_tokens(tokens, label, place, group=group, time=time, split=split, columns=kept)
        texts = tuple(self._parse_text(row, name, place) for name in self.text)
        text = texts if len(texts) > 1 else texts[0]
        return Document(text, label, None, group, time, split, kept)

    def _check(self, name: str | None) -> str | None:
        if name is not None and name not in self.names:
            raise DataError(f"{self.where}: has no column {name!r}; {did_you_mean(name, self.names)}")
        return name

    def _choose_labels(self, options: ReadOptions) -> tuple[str, ...]:
        if not self.kind.label_columns:
            return ()
        chosen = column_names(options.label_column)
        if not options.needs_labels and not set(chosen) <= set(self.names):
            return ()
        for name in chosen:
            self._check(name)
        _check_distinct(self.where, "label", chosen)
        return chosen or self._default_labels()

    def _default_labels(self) -> tuple[str, ...]:
        for default in self.kind.label_columns:
            if default in self.names:
                return (default,)
        for default in self.kind.label_columns:
            if alike := spellings_of(default, self.names):
                self._check_one(default, alike if self.labels else alike[:1], "label_column")
                return tuple(alike)
        return ()

    def _check_one(self, default: str, alike: Sequence[str], option: str) -> None:
        if len(alike) > 1:
            raise DataError(
                f"{self.where}: expected one column {default!r}, got {' and '.join(map(repr, alike))}; name it with "
                f"{option}"
            )

    def _parse_label(self, row: Mapping[str, Any], place: str) -> Label | None:
        if not self.label_columns:
            return None
        if len(self.label_columns) > 1:
            return self.kind.parse_columns({name: row.get(name) for name in self.label_columns}, place)
        (name,) = self.label_columns
        return self.kind.parse(row.get(name), f"{place}: column {name!r}", self.class_names)

    def _choose_text(
        self, chosen: str | Sequence[str] | None, text_names: Sequence[str], taken: Collection[str]
    ) -> tuple[str, ...]:
        fields = self.kind.text_fields
        if chosen is not None:
            several = column_names(chosen)
            for name in several:
                self._check(name)
            _check_distinct(self.where, "text", several)
            if len(several) != fields and (fields > 1 or self.kind.per_word):
                columns = "one column" if fields == 1 else f"{fields} text columns"
                raise DataError(f'{self.where}: expected {columns} (task="{self.kind.name}"), got {", ".join(several)}')
            return several
        default = default_text_column(self.kind)
        free = [name for name in text_names if name not in taken]
        if fields == 1 and default in self.names:
            return (default,)
        if fields == 1 and (alike := spellings_of(default, [name for name in self.names if name not in taken])):
            self._check_one(default, alike, "text_column")
            return tuple(alike)
        if not self.kind.per_word and len(free) == fields:
            return tuple(free)
        rule = f"{fields} text columns" if fields > 1 else f"a column {default!r}"
        if fields == 1 and not self.kind.per_word:
            rule += " or one text column alone"
        raise DataError(
            f"{self.where}: expected {rule}, got the columns {', '.join(self.names)}; name it with text_column"
        )

    def _parse_text(self, row: Mapping[str, Any], name: str, place: str) -> str:
        if name not in row:
            raise DataError(f"{place}: has no column {name!r}; {did_you_mean(name, row)}")
        value = row[name]
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        if not isinstance(value, str):
            advice = "decode the bytes" if isinstance(value, bytes) else "write it as text, or name another column"
            raise DataError(
                f"{place}: column {name!r}: expected text, got {value!r:.80}; {advice}; columns: "
                f"{', '.join(self.names)}"
            )
        return normalise(value)


def _repeated(names: Iterable[str]) -> str | None:
    """Find a name that occurs more than once; None if there is none."""
    return next((name for name, count in Counter(iter(names)).items() if count > 1), None)


def _check_distinct(where: str, role: str, names: Sequence[str]) -> None:
    if (twice := _repeated(names)) is not None:
        raise DataError(f"{where}: expected each {role} column once, got {twice!r} twice; drop one of them")


def column_names(chosen: str | Sequence[str] | None) -> tuple[str, ...]:
    """List the columns that an option names: none, one or several."""
    return (chosen,) if isinstance(chosen, str) else tuple(chosen or ())


def default_text_column(kind: LabelKind) -> str:
    """Name the column that holds the text if no other is named."""
    return "tokens" if kind.per_word else "text"


def spellings_of(name: str, names: Iterable[str]) -> list[str]:
    """Find the columns of a name, whatever the case and the spaces around it."""
    return [each for each in names if _fold(each) == _fold(name)]


def _fold(name: str) -> str:
    return drop_invisible(name).strip().casefold()


def labelled_tokens(tokens: tuple[str, ...], label: Any, place: str, **known: Any) -> Document:
    """Make a document that is already split into words, with one label per word or no labels.

    Raises:
        DataError: If there are not as many labels as words.
    """
    if label is not None and len(label) != len(tokens):
        raise DataError(f"{place}: expected a label for each of {len(tokens)} tokens, got {len(label)}")
    return Document(" ".join(tokens), label, tokens, **known)


def _parse_tokens(value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{place}: expected a list of words, got {value!r:.80}")
    return tuple(normalise(item) for item in value)


def _text_or_none(value: Any) -> str | None:
    """Return a cell as text; None if nothing is in it: null, blank or NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    text = str(value)
    return normalise(text) if text.strip() else None


def _parse_time(value: Any, place: str) -> float | None:
    """Return the seconds since 1970 of a number, a date or an ISO 8601 string; without a zone it is taken as UTC."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            try:
                value = datetime.datetime.fromisoformat(value.strip())
            except ValueError:
                raise DataError(f"{place}: expected a number or an ISO date like 2024-05-31, got {value!r}") from None
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    if isinstance(value, datetime.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)).timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise DataError(f"{place}: expected a number or a date, got {value!r}")
    return None if math.isnan(value) else float(value)
