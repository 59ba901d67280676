"""Plain-text tables, and numbers as people read them."""

from collections.abc import Sequence


def text_table(header: Sequence[str], rows: Sequence[Sequence[object]], left_columns: int = 1) -> str:
    """Align columns by spaces; None becomes a dash, and a float gets four decimals.

    Args:
        header: Titles of the columns; none for a table without titles.
        rows: A value for each column in each row.
        left_columns: Columns from the first on that are aligned to the left; the others are aligned to the right.

    Returns:
        The table, without a newline at its end.
    """
    lines = [[_cell(value) for value in row] for row in ([header, *rows] if header else rows)]
    columns = []
    for number, column in enumerate(zip(*lines, strict=True)):
        width = max(map(len, column))
        columns.append([cell.ljust(width) if number < left_columns else cell.rjust(width) for cell in column])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def rounded(value: object) -> object:
    """Write a float with four significant digits, and thousands with commas; other values stay as they are."""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
