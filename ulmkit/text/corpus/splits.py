"""Splits of documents into training, validation and test."""

import heapq
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ulmkit.config import LARGEST_SEED, check_choice, check_fraction, check_whole
from ulmkit.errors import DataError
from ulmkit.text.read.document import Document

SPLIT_KINDS = ("given", "random", "time", "group")

TRAINING_SPLITS = ("train", "unsupervised")
"""Splits whose text is for training; vocabularies are counted over these alone."""

DROPPED_SPLIT = "dropped"
"""Split of documents that were removed from training because they also occur in a held-out split."""


_FEW_CODES = 16  # are looked for one by one, in a third of the memory that sorting takes


@dataclass(frozen=True, kw_only=True)
class SplitPolicy:
    """Rule by which validation documents are chosen.

    Attributes:
        kind: "auto": "given" if the data has a validation part, else "random".
            "given": as the data says; documents that do not say are for training.
            "random": a random part of each class, which flatters where documents are related (by author, page, day).
            "time": the latest documents.
            "group": whole groups that training never sees.
        valid_fraction: Fraction held out, 0 < fraction < 1, of the documents whose split is train, valid or not said.
            Other splits (test, unsupervised) stay as they are. Not used by "given".
        seed: Seed of the random choice.
        column: Name of the column with the splits, groups or times, for the record.

    Raises:
        ConfigError: If the kind is unknown or the fraction outside its range.
    """

    kind: str = "given"
    valid_fraction: float = 0.1
    seed: int = 0
    column: str | None = None

    def __post_init__(self) -> None:
        check_choice("split kind", self.kind, ("auto", *SPLIT_KINDS))
        check_fraction("valid_fraction", self.valid_fraction)
        check_whole("seed", self.seed, at_least=0, at_most=LARGEST_SEED)

    def resolved(self, given: Iterable[str | None]) -> "SplitPolicy":
        """Return the policy with "auto" decided by the splits that the documents say."""
        if self.kind != "auto":
            return self
        if "valid" in given:
            return replace(self, kind="given")
        return replace(self, kind="random", column=None)


def stratum(document: Document) -> Hashable:
    """Name the stratum of a document, which a random split keeps in proportion.

    It is the class or the set of classes. All numbers are one stratum; documents with token labels have two, labelled
    and not. It depends on the document alone, so that all stages split the same data alike.
    """
    label = document.label
    if document.tokens is not None:
        return label is not None
    if isinstance(label, tuple):
        return tuple(sorted(set(label)))
    return label if isinstance(label, str) else None


def word_labels(document: Document) -> tuple[str, ...] | None:
    """List the distinct labels of a document's words; None unless words have labels."""
    if document.tokens is None or not isinstance(document.label, tuple):
        return None
    return tuple(sorted(set(document.label)))


@dataclass(frozen=True)
class Splits:
    """The split of each document.

    Attributes:
        names: Distinct splits.
        codes: (documents,) int, the place of each document's split among the names, -1 for none.
    """

    names: Sequence[str]
    codes: np.ndarray

    def where(self, names: Collection[str]) -> np.ndarray:
        """Tell which documents are in one of the splits `names`, (documents,) bool."""
        return np.isin(self.codes, [code for code, name in enumerate(self.names) if name in names])

    def ordered(self, names: Sequence[str]) -> "Splits":
        """Number the splits by other names, which hold all that occur."""
        places = [names.index(name) if name in names else -1 for name in self.names]
        return Splits(names, np.array([*places, -1], dtype=np.int16)[self.codes])

    @property
    def occurring(self) -> set[str]:
        """The names of splits that have a document."""
        return {self.names[code] for code in np.unique(self.codes).tolist() if code >= 0}

    def __iter__(self) -> Iterator[str]:
        """Yield the split of each document; every document must have one."""
        return (self.names[code] for code in self.codes)


def assign_splits(
    policy: SplitPolicy,
    given: Splits,
    strata: np.ndarray,
    label_sets: Sequence[Hashable],
    label_codes: np.ndarray,
    group_names: Sequence[str],
    groups: np.ndarray,
    times: np.ndarray,
) -> Splits:
    """Assign a split to each document.

    Args:
        policy: Says how.
        given: The splits that the documents say.
        strata: (documents,) int, the code of each document's stratum, -1 for None; see `stratum`.
        label_sets: Distinct labels of documents, or of their words, by code; those that are tuples are several.
        label_codes: (documents,) int, the code of each document's labels, -1 for None.
        group_names: Names of the groups, distinct values by code.
        groups: (documents,) int, the code of each document's group, -1 for none.
        times: (documents,) float64, NaN for none.

    Raises:
        DataError: If fewer than two documents (or groups, or times) can be divided, or a document lacks the group or
            time that the policy goes by.
    """
    names = list(dict.fromkeys([*given.names, "train", "valid"]))
    train, valid = names.index("train"), names.index("valid")
    codes = np.where(given.codes < 0, train, given.codes).astype(np.int16)
    splits = Splits(names, codes)
    policy = policy.resolved(given.names)
    if policy.kind == "given":
        return splits
    candidates = np.flatnonzero(splits.where(("train", "valid")))
    if len(candidates) < 2:
        others = ", ".join(sorted(splits.occurring - {"train", "valid"}))
        raise DataError(
            f"split by {policy.kind}: expected at least 2 documents to divide, got {len(candidates)}"
            + (f" beside those of {others}" if others else "")
            + "; give more, or a validation part (a text file holds one document, or one per line with lines=True)"
        )
    if policy.kind == "random":
        chosen = _random_part(strata[candidates], policy)
        chosen = _without_labels_alone(chosen, label_codes[candidates], label_sets)
    elif policy.kind == "time":
        _require_all(np.isnan(times[candidates]), "time")
        chosen = _latest_part(times[candidates], policy)
    else:
        _require_all(groups[candidates] < 0, "group")
        chosen = _unseen_groups(groups[candidates], group_names, policy)
    codes[candidates] = train
    codes[candidates[chosen]] = valid
    return splits


def _require_all(is_missing: np.ndarray, name: str) -> None:
    if is_missing.any():
        raise DataError(
            f"split by {name}: expected a {name} for every document, got {is_missing.sum()} of {len(is_missing)} "
            f"without; name the column with {name}_column"
        )


def _validation_size(documents: int, policy: SplitPolicy) -> int:
    return min(documents - 1, max(1, round(documents * policy.valid_fraction)))


def _random_part(strata: np.ndarray, policy: SplitPolicy) -> np.ndarray:
    """Choose a random part that has each stratum in proportion, as far as whole documents allow."""
    members = _rows_by_code(strata)
    ties = np.random.default_rng([policy.seed, len(strata), 1]).permutation(len(members)).tolist()
    counts = _proportional([len(rows) for rows in members], _validation_size(len(strata), policy), ties)
    generator = np.random.default_rng([policy.seed, len(strata)])
    return np.concatenate(
        [rows[generator.permutation(len(rows))[:count]] for count, rows in zip(counts, members, strict=True)]
    )


def _without_labels_alone(chosen: np.ndarray, codes: np.ndarray, label_sets: Sequence[Hashable]) -> np.ndarray:
    """Leave to training documents with a label, of several, that would be in the chosen part alone.

    Args:
        chosen: The part to hold out.
        codes: (documents,) int, the code of each document's labels.
        label_sets: The labels by code.

    Returns:
        The part without them; all of it, if nothing would be left.
    """
    is_chosen = np.zeros(len(codes), dtype=bool)
    is_chosen[chosen] = True
    learned = {label for code in np.unique(codes[~is_chosen]) for label in _labels(label_sets, code)}
    kept = []
    for row in chosen:
        labels = _labels(label_sets, codes[row])
        if learned.issuperset(labels):
            kept.append(row)
        learned.update(labels)
    return np.array(kept, dtype=chosen.dtype) if kept else chosen


def _labels(label_sets: Sequence[Hashable], code: int) -> tuple[Hashable, ...]:
    """List the labels of a code that may stand for several."""
    labels = label_sets[code] if code >= 0 else None
    return labels if isinstance(labels, tuple) else ()


def _rows_by_code(codes: np.ndarray) -> list[np.ndarray]:
    """List the rows of each code, in order; the codes in the order in which they first occur."""
    distinct = np.unique(codes)
    if len(distinct) <= _FEW_CODES:
        parts = [np.flatnonzero(codes == code) for code in distinct]
    else:
        order = np.argsort(codes, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    return sorted(parts, key=lambda rows: int(rows[0]))


def _proportional(sizes: Sequence[int], wanted: int, ties: Sequence[int]) -> list[int]:
    """Divide `wanted` among strata by largest remainder, leaving one document of each in training where possible.

    Args:
        sizes: Documents in each stratum.
        wanted: Documents to choose in all.
        ties: Distinct numbers, the least of which goes first among strata with equal remainders.

    Returns:
        Documents to choose from each stratum.
    """
    shares = [size * wanted / sum(sizes) for size in sizes]
    counts = [min(int(share), size - 1) for share, size in zip(shares, sizes, strict=True)]
    missing = wanted - sum(counts)
    for kept_in_training in (1, 0):
        eligible = [index for index in range(len(sizes)) if counts[index] + kept_in_training < sizes[index]]
        heap = [(counts[index] - shares[index], ties[index], index) for index in eligible]
        heapq.heapify(heap)
        while heap and missing:
            _, _, index = heapq.heappop(heap)
            counts[index] += 1
            missing -= 1
            if counts[index] + kept_in_training < sizes[index]:
                heapq.heappush(heap, (counts[index] - shares[index], ties[index], index))
    return counts


def _latest_part(times: np.ndarray, policy: SplitPolicy) -> np.ndarray:
    """Choose the latest documents; those of one moment stay together, so the size is the nearest possible."""
    moments, counts = np.unique(times, return_counts=True)
    if len(moments) < 2:
        raise DataError(f"split by time: expected documents of different times, got {float(times[0])!r} for all")
    sizes = np.cumsum(counts[::-1])[::-1][1:]  # documents from moments[1:] on
    first = moments[1:][np.argmin(np.abs(sizes - _validation_size(len(times), policy)))]
    return np.flatnonzero(times >= first)


def _unseen_groups(groups: np.ndarray, names: Sequence[str], policy: SplitPolicy) -> np.ndarray:
    """Choose the documents of randomly drawn groups, until there are enough; one group stays in training."""
    sizes = np.bincount(groups)
    occurring = sorted(np.flatnonzero(sizes).tolist(), key=names.__getitem__)
    if len(occurring) < 2:
        raise DataError(f"split by group: expected at least 2 groups, got {len(occurring)}: {names[occurring[0]]!r}")
    wanted = _validation_size(len(groups), policy)
    drawn = 0
    chosen: list[int] = []
    for index in np.random.default_rng([policy.seed, len(groups)]).permutation(len(occurring)):
        code = occurring[index]
        nearer = abs(drawn + sizes[code] - wanted) < abs(drawn - wanted)
        if (nearer or not chosen) and len(chosen) < len(occurring) - 1:
            chosen.append(code)
            drawn += int(sizes[code])
    return np.flatnonzero(np.isin(groups, chosen))
