"""Columns that splits are drawn from: a few numbers per document, in memory."""

from array import array
from collections.abc import Hashable, Iterable

import numpy as np

from ulmkit.text.corpus.splits import SplitPolicy, assign_splits, stratum
from ulmkit.text.read.document import Document, normalise_split


class Codes:
    """A column with many equal values: a code for each, numbered as they first occur; -1 for None."""

    def __init__(self) -> None:
        self.numbers: dict[Hashable, int] = {}
        self.codes = array("i")

    def add(self, value: Hashable | None) -> None:
        """Append one value."""
        self.codes.append(-1 if value is None else self.numbers.setdefault(value, len(self.numbers)))

    @property
    def values(self) -> list:
        """Distinct values, in the order of their codes."""
        return list(self.numbers)

    def array(self) -> np.ndarray:
        """Return the codes, (documents,) int32."""
        return np.array(self.codes, dtype=np.int32)

    def listed(self) -> list:
        """Return the column's values."""
        values = self.values
        return [values[code] if code >= 0 else None for code in self.codes]


class SplitColumns:
    """The split, stratum, group and time of documents, added one by one."""

    def __init__(self, documents: Iterable[Document] = ()) -> None:
        self.split = Codes()
        self.group = Codes()
        self.time = array("d")
        self._stratum = Codes()
        for document in documents:
            self.add(document)

    def __len__(self) -> int:
        return len(self.time)

    def add(self, document: Document) -> None:
        """Append what is known of one document."""
        self.split.add(None if document.split is None else normalise_split(document.split))
        self.group.add(document.group)
        self.time.append(float("nan") if document.time is None else document.time)
        self._stratum.add(stratum(document))

    def assign(self, policy: SplitPolicy) -> list[str]:
        """Give each document its split; see `assign_splits` for the errors."""
        return assign_splits(
            policy,
            given=self.split.listed(),
            strata=self._stratum.listed(),
            groups=self.group.listed(),
            times=[None if np.isnan(time) else time for time in self.time],
        )
