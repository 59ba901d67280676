"""Further columns of documents while a corpus is built: their values on disk, a code per document in memory."""

import json
import shutil
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ulmkit.safe_writes import atomic_write

_REMEMBERED_VALUES = 1 << 14
"""Number of distinct values of a column that are known again.

Later ones, such as titles, are written as often as they occur, so that memory does not grow with their text.
"""

_BUFFERED_VALUES = 1 << 12


class _Column:
    """One column: a code for each document, -1 for no value, and the values by code in a file, as items of JSON."""

    def __init__(self, path: Path, documents: int) -> None:
        self.path = path
        self.codes = array("i", [-1]) * documents
        self._numbers: dict[str, int] = {}
        self._values = 0
        self._buffer: list[str] = []

    def add(self, value: str | None) -> None:
        code = -1 if value is None else self._numbers.get(value, self._values)
        self.codes.append(code)
        if value is None or code < self._values:
            return
        if code < _REMEMBERED_VALUES:
            self._numbers[value] = code
        self._values += 1
        self._buffer.append((", " if code else "") + json.dumps(value, ensure_ascii=False))
        if len(self._buffer) == _BUFFERED_VALUES:
            self.write_out()

    def write_out(self) -> None:
        with open(self.path, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(self._buffer)
        self._buffer = []


class KeptColumns:
    """The further columns of documents, added one by one.

    Args:
        folder: Where the values are spooled, a file for each column.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._columns: dict[str, _Column] = {}
        self._documents = 0

    def add(self, values: Mapping[str, str]) -> None:
        """Append the values of one document, by column."""
        for name in values:
            if name not in self._columns:
                path = self._folder / f"column_{len(self._columns)}.spool"
                self._columns[name] = _Column(path, self._documents)
        for name, column in self._columns.items():
            column.add(values.get(name))
        self._documents += 1

    def table(self) -> dict[str, np.ndarray]:
        """Return the columns of the corpus's table: (documents,) int32 codes, -1 for no value."""
        codes = [np.frombuffer(column.codes, dtype=np.int32) for column in self._columns.values()]
        return {f"column_{number}": column for number, column in enumerate(codes)}

    def write_names(self, path: Path, groups: Sequence[object]) -> None:
        """Write names.json, the names of groups and the values of each column by code, and remove the spooled ones."""
        with atomic_write(path) as file:
            file.write(f'{{"group": {json.dumps(groups, ensure_ascii=False)}, "columns": {{')
            for number, (name, column) in enumerate(self._columns.items()):
                file.write(f"{',' if number else ''}\n{json.dumps(name, ensure_ascii=False)}: [")
                column.write_out()
                with open(column.path, encoding="utf-8") as values:
                    shutil.copyfileobj(values, file)
                column.path.unlink()
                file.write("]")
            file.write("}}\n")
