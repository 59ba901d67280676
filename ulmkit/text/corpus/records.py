"""Table of documents while a corpus is built: a few numbers per document, in memory."""

from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ulmkit.text.corpus.chunks import EncodedChunk
from ulmkit.text.corpus.fingerprints import text_fingerprint
from ulmkit.text.corpus.kept_columns import KeptColumns
from ulmkit.text.corpus.split_columns import Codes, SplitColumns
from ulmkit.text.read.document import Document
from ulmkit.text.read.labels import LabelKind


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
        self.numbers = {name: array("q") for name in ("length", "words", "characters", "boundary")}
        self.split_columns = SplitColumns()
        self.label = Codes()
        self.columns = KeptColumns(folder)
        self.fingerprints = array("Q")
        self.token_names: dict[str, int] = {}  # of token labels; code 0 is no label

    def __len__(self) -> int:
        return len(self.label.codes)

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
            column.extend(values.tolist())
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

    def label_names(self, splits: Sequence[str], token_counts: dict[str, np.ndarray] | None) -> tuple[str, ...]:
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
        return self.kind.label_names(by_split, self.known_names)

    def _occurring(self, splits: Sequence[str]) -> dict[str, set[str]]:
        values = self.label.values
        by_split: dict[str, set[str]] = {}
        for split, code in set(zip(splits, self.label.codes, strict=True)):
            if code >= 0:
                value = values[code]
                by_split.setdefault(split, set()).update(value if isinstance(value, tuple) else (str(value),))
        return by_split

    def table(self, splits: Sequence[str], split_names: Sequence[str], names: Sequence[str]) -> dict[str, np.ndarray]:
        """The columns of the corpus's table, as EncodedCorpus has them."""
        codes = {name: code for code, name in enumerate(split_names)}
        columns = {name: np.array(values, dtype=np.int64) for name, values in self.numbers.items()}
        table: dict[str, np.ndarray] = {"offset": np.cumsum(columns["length"]) - columns["length"], **columns}
        table["split"] = np.array([codes[name] for name in splits], dtype=np.int16)
        table["group"] = self.split_columns.group.array()
        table["time"] = np.array(self.split_columns.time, dtype=np.float64)
        table["labelled"] = self.label.array() >= 0
        rows = self.kind.encode(self.label.values, names)
        if rows is not None:
            table["label"] = rows[self.label.array()]  # the last row stands for no label, which has code -1
        return table | self.columns.table()
