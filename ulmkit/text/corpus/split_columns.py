"""Columns that splits are drawn from: a few bytes per document, in memory."""

from array import array
from collections.abc import Hashable, Iterable

import numpy as np

from ulmkit.text.corpus.splits import SplitPolicy, Splits, assign_splits, stratum, word_labels
from ulmkit.text.read.document import Document, normalise_split

_LARGEST_INT32 = np.iinfo(np.int32).max


class Integers:
    """A column of whole numbers: 4 bytes each, 8 as soon as one is too large for that."""

    def __init__(self) -> None:
        self._values = array("i")

    def extend(self, values: np.ndarray) -> None:
        """Append several values, (n,) int64."""
        if self._values.typecode == "i" and len(values) and values.max() > _LARGEST_INT32:
            self._values = array("q", self._values)
        self._values.extend(values.tolist())

    def array(self) -> np.ndarray:
        """Return the column, (documents,) int32 or int64, without a copy: nothing can be appended any more."""
        return np.frombuffer(self._values, dtype=f"i{self._values.itemsize}")


class Codes:
    """A column with many equal values: a code for each, numbered as they first occur; -1 for None.

    A column of None alone takes no memory.
    """

    def __init__(self) -> None:
        self.numbers: dict[Hashable, int] = {}
        self._codes = array("i")
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, value: Hashable | None) -> None:
        """Append one value."""
        if value is not None:
            if not self.numbers:
                self._codes = array("i", [-1]) * self._length
            self._codes.append(self.numbers.setdefault(value, len(self.numbers)))
        elif self.numbers:
            self._codes.append(-1)
        self._length += 1

    @property
    def values(self) -> list:
        """Distinct values, in the order of their codes."""
        return list(self.numbers)

    def array(self) -> np.ndarray:
        """Return the codes, (documents,) int32, without a copy: nothing can be appended any more."""
        if not self.numbers:
            return np.broadcast_to(np.int32(-1), (self._length,))
        return np.frombuffer(self._codes, dtype=np.int32)


class SplitColumns:
    """The split, stratum, labels of words, group and time of documents, added one by one."""

    def __init__(self, documents: Iterable[Document] = ()) -> None:
        self.split = Codes()
        self.group = Codes()
        self._times = array("d")
        self._stratum = Codes()
        self._word_labels = Codes()
        for document in documents:
            self.add(document)

    def __len__(self) -> int:
        return len(self._stratum)

    def add(self, document: Document) -> None:
        """Append what is known of one document."""
        if document.time is not None and not self._times:
            self._times = array("d", [float("nan")]) * len(self)
        if document.time is not None or self._times:
            self._times.append(float("nan") if document.time is None else document.time)
        self.split.add(None if document.split is None else normalise_split(document.split))
        self.group.add(document.group)
        self._stratum.add(stratum(document))
        self._word_labels.add(word_labels(document))

    def times(self) -> np.ndarray:
        """Return the times, (documents,) float64, NaN where there is none."""
        if not self._times:
            return np.broadcast_to(np.float64("nan"), (len(self),))
        return np.frombuffer(self._times, dtype=np.float64)

    def assign(self, policy: SplitPolicy) -> Splits:
        """Give each document its split; see `assign_splits` for the errors."""
        splits = Splits(self.split.values, self.split.array())
        groups = [str(name) for name in self.group.values]
        label_sets = self._word_labels if self._word_labels.numbers else self._stratum
        return assign_splits(
            policy,
            splits,
            self._stratum.array(),
            label_sets.values,
            label_sets.array(),
            groups,
            self.group.array(),
            self.times(),
        )
