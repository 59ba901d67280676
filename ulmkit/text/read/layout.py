"""Layout of a data file: how its content was understood."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the content of data files was understood.

    Attributes:
        format: Format, such as "csv".
        separator: Character between the columns of a row, where the format leaves it open.
        header: Whether the first line names the columns, where the format leaves it open.
        lines: Whether each line of text is a document; None for other formats.
        text_columns: Columns that hold the text.
        label_column: Column that holds the label; None if no label is read from a column.
        unread_columns: Other columns, which are not read.
        unnamed_columns: Columns without a name, which cannot be read.
    """

    format: str
    separator: str | None = None
    header: bool | None = None
    lines: bool | None = None
    text_columns: tuple[str, ...] = ()
    label_column: str | None = None
    unread_columns: tuple[str, ...] = ()
    unnamed_columns: int = 0
