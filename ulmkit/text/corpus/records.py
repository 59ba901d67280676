"""Table of documents while a corpus is built: about 40 bytes per document in memory, and its distinct labels."""

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ulmkit.errors import DataError
from ulmkit.text.corpus.chunks import EncodedChunk
from ulmkit.text.corpus.fingerprints import text_fingerprint
from ulmkit.text.corpus.kept_columns import KeptColumns
from ulmkit.text.corpus.split_columns import Codes, Integers, SplitColumns
from ulmkit.text.corpus.splits import Splits
from ulmkit.text.read.document import Document
from ulmkit.text.read.labels import LabelKind

_BLOCK_ROWS = 1 << 16


class Records:
    """The documents' table, a row added for each document in turn.

    Args:
        kind: Kind of the labels.
        label_names: The classes there may be; None for those that occur.
        folder: Where the values of further columns are spooled.
    """

    def __init__(self, kind: LabelKind, label_names: Sequence[str] | None, folder: Path) -> None:
        self.kind = kind
        self.known_names = label_names
        self.numbers = {name: Integers() for name in ("length", "words", "characters", "boundary")}
        self.split_columns = SplitColumns()
        self.label = Codes()
        self.columns = KeptColumns(folder)
        self.fingerprints = array("Q")
        self.token_names: dict[str, int] = {}  # of token labels; code 0 is no label

    def __len__(self) -> int:
        return len(self.label)

    @property
    def has_labels(self) -> bool:
        """True if any document has a label."""
        return bool(self.label.numbers)

    def add(self, documents: Sequence[Document], encoded: EncodedChunk) -> np.ndarray | None:
        """Add a chunk's documents.

        Returns:
            For labels per token, (tokens,) int64, the label code of each token, 0 for none; otherwise None.

        Raises:
            DataError: If a label is not of the kind.
        """
        chunk_columns = (encoded.lengths, encoded.words, encoded.characters, encoded.boundaries)
        for column, values in zip(self.numbers.values(), chunk_columns, strict=True):
            column.extend(values)
        for document in documents:
            label = self.kind.check(document, f"document {len(self)}")
            self.fingerprints.append(text_fingerprint(document))
            self.split_columns.add(document)
            self.label.add(label)
            self.columns.add(document.columns)
        return self._token_codes(documents, encoded) if self.kind.per_word else None

    def _token_codes(self, documents: Sequence[Document], encoded: EncodedChunk) -> np.ndarray:
        codes = np.zeros(int(encoded.lengths.sum()), dtype=np.int64)
        starts = np.cumsum(encoded.lengths) - encoded.lengths
        for index, document in enumerate(documents):
            if isinstance(document.label, tuple) and document.tokens is not None:
                numbers = [self.token_names.setdefault(name, len(self.token_names) + 1) for name in document.label]
                codes[starts[index] + encoded.marks[index]] = numbers
        return codes

    def label_names(self, splits: Splits, token_counts: dict[str, np.ndarray] | None) -> tuple[str, ...]:
        """Choose the classes, and check that training can learn every class of the held-out splits.

        Args:
            splits: Split of each document.
            token_counts: Occurrences of each token label code, by split; None unless labels are per token.

        Raises:
            DataError: If the train split lacks a class, or a class is not among the known names.
        """
        if token_counts is not None:
            names = list(self.token_names)
            by_split = {s: {names[code - 1] for code in np.flatnonzero(c) if code} for s, c in token_counts.items()}
        else:
            by_split = self._occurring(splits)
        try:
            return self.kind.label_names(by_split, self.known_names)
        except DataError as error:
            labelled = int((self.label.array() >= 0).sum())
            is_class = all(isinstance(value, str) for value in self.label.numbers)
            if is_class and self.known_names is None and labelled == len(self.label.numbers) > 2:
                raise DataError(
                    f"{error}; all {labelled:,} labels differ: if they are not classes, name another column with "
                    "label_column"
                ) from None
            raise

    def _occurring(self, splits: Splits) -> dict[str, set[str]]:
        values = self.label.values
        by_split: dict[str, set[str]] = {}
        for name in splits.occurring:
            for code in np.unique(self.label.array()[splits.where((name,))]).tolist():
                if code >= 0:
                    value = values[code]
                    by_split.setdefault(name, set()).update(value if isinstance(value, tuple) else (str(value),))
        return by_split

    def table(self, splits: Splits, split_names: Sequence[str]) -> dict[str, np.ndarray]:
        """Make the columns of the corpus's table, as EncodedCorpus has them, but for the offset and the label.

        Whole numbers are in the smallest type in which they were collected; `save_table` writes them as int64.
        """
        table: dict[str, np.ndarray] = {name: values.array() for name, values in self.numbers.items()}
        table["split"] = splits.ordered(split_names).codes
        table["group"] = self.split_columns.group.array()
        table["time"] = self.split_columns.times()
        table["labelled"] = self.label.array() >= 0
        return table | self.columns.table()

    def label_rows(self, names: Sequence[str]) -> np.ndarray | None:
        """Encode the distinct labels, a row for each code, the last for none; None if documents have no label."""
        return self.kind.encode(self.label.values, names)

    def save_table(self, folder: Path, table: Mapping[str, np.ndarray], label_rows: np.ndarray | None) -> None:
        """Write the columns of `table`, the offset and the label, a file for each, a block at a time."""
        for name, column in table.items():
            stored = np.dtype(np.int64) if name in self.numbers else column.dtype
            _save_column(folder, name, stored, column.shape, (block.astype(stored) for block in _blocks(column)))
        lengths = table["length"]
        offsets = _offsets(_blocks(lengths))
        _save_column(folder, "offset", np.dtype(np.int64), lengths.shape, offsets)
        if label_rows is not None:
            codes = self.label.array()
            shape = (len(codes), *label_rows.shape[1:])
            _save_column(folder, "label", label_rows.dtype, shape, (label_rows[block] for block in _blocks(codes)))


def _blocks(column: np.ndarray) -> Iterator[np.ndarray]:
    return (column[start : start + _BLOCK_ROWS] for start in range(0, len(column), _BLOCK_ROWS))


def _offsets(lengths: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield where each document begins, block by block."""
    start = 0
    for block in lengths:
        ends = start + np.cumsum(block, dtype=np.int64)
        yield ends - block
        start = int(ends[-1])


def _save_column(
    folder: Path, name: str, dtype: np.dtype, shape: tuple[int, ...], blocks: Iterable[np.ndarray]
) -> None:
    """Write blocks, one after the other, as `np.save` writes the whole."""
    with open(folder / f"{name}.npy", "wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block).data)
