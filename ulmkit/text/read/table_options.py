"""Options that say which columns of a table are read, and in which format. Imports without numpy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ulmkit.errors import ConfigError
from ulmkit.text.characters import normalise

_COLUMNS = ("text_column", "label_column", "group_column", "time_column", "split_column", "columns")


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Columns and format of data files.

    Names of columns are compared in one Unicode form, see `normalise`.

    Attributes:
        text_column: Column with the text; several for a text of several fields. Not used for plain text files. By
            default "text" in any case ("Text"), else the only text column; "tokens" for a label per word; the only two
            text columns for pairs.
        label_column: Column with the label; several for one column of 0 and 1 per label (task multi). By default the
            first of the kind's `label_columns` that the table has, in any case ("Label").
        group_column: Column with the group, for a split by group.
        time_column: Column with the time, for a split by time.
        split_column: Column that says train, valid or test.
        columns: Further columns to keep as text.
        lines: Treat every line of a .txt file as a document.
        header: The first line of a .csv or .tsv file names its columns; if not, they are called 1, 2, ...
        format: File format, if the file name does not show it: csv, tsv, jsonl, json, parquet, conll, conllu or txt. In
            a folder, read only the files of this format.
        workers: Processes that tokenize and parse wiki markup (default: one per processor).

    Raises:
        ConfigError: If the name of a column is not text.
    """

    text_column: str | Sequence[str] | None = None
    label_column: str | Sequence[str] | None = None
    group_column: str | None = None
    time_column: str | None = None
    split_column: str | None = None
    columns: Sequence[str] = ()
    lines: bool = False
    header: bool = True
    format: str | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        for option in _COLUMNS:
            names = getattr(self, option)
            if names is not None:
                several = (names,) if isinstance(names, str) or not isinstance(names, Iterable) else tuple(names)
                for name in several:
                    if not isinstance(name, str):
                        raise ConfigError(f"{option}: expected the name of a column as text, got {name!r}")
                normalised = tuple(map(normalise, several))
                is_one = isinstance(names, str) and option != "columns"
                object.__setattr__(self, option, normalised[0] if is_one else normalised)
