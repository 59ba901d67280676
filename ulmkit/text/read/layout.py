"""Record of what was read from DATA: which files, and how their content was understood."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ulmkit.text.read.document import Document

NAMED_FILES = 10
"""Files that a record names, of those that are read and of those that are passed over; all are counted."""


def has_places(columns: Sequence[str]) -> bool:
    """True if a table's first columns are those of the rows that ulmkit writes."""
    return list(columns[:1]) == ["row"] or list(columns[:2]) == ["file", "row"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Format and columns of data files, as they were understood.

    Attributes:
        format: Format, such as "csv".
        separator: Character between the columns of a row, where the format leaves it open.
        header: Whether the first line names the columns, where the format leaves it open.
        lines: Whether each line of text is a document; None for other formats.
        text_columns: Columns that hold the text.
        label_columns: Column that holds the label, or one column per label; () if no label is read from a column.
        unread_columns: Other columns, which are not read.
        unnamed_columns: Columns without a name, which cannot be read.
    """

    format: str
    separator: str | None = None
    header: bool | None = None
    lines: bool | None = None
    text_columns: tuple[str, ...] = ()
    label_columns: tuple[str, ...] = ()
    unread_columns: tuple[str, ...] = ()
    unnamed_columns: int = 0

    @property
    def has_predictions(self) -> bool:
        """True if the columns are those of predictions that ulmkit wrote, whose label is read."""
        if self.label_columns != ("label",):
            return False
        is_placed = has_places(self.unread_columns) and self.text_columns == ("text",)
        return is_placed or "probabilities" in self.unread_columns


class OpenedFile(NamedTuple):
    """A data file whose beginning has been read.

    Attributes:
        layout: How its content is understood.
        documents: Its documents, in order, one in memory at a time.
    """

    layout: Layout
    documents: Iterator[Document]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Record of what was read from DATA.

    Attributes:
        data: Name of the data.
        files: Number of files; 0 for data that is not files.
        file_names: Names of the first files, relative to the folder.
        passed_over: Reasons by name for the first files and folders that were passed over.
        passed_over_count: Number of files and folders that were passed over, hidden ones aside.
        layouts: How the content was understood; several if files differ.
    """

    data: str
    files: int = 0
    file_names: tuple[str, ...] = ()
    passed_over: Mapping[str, str] = field(default_factory=dict)
    passed_over_count: int = 0
    layouts: tuple[Layout, ...] = ()
