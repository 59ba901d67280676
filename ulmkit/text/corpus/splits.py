"""Splits of documents into training, validation and test."""

import heapq
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ulmkit.config import LARGEST_SEED, check_choice, check_fraction, check_whole
from ulmkit.errors import DataError
from ulmkit.text.read.document import Document

Value = TypeVar("Value")

SPLIT_KINDS = ("given", "random", "time", "group")

TRAINING_SPLITS = ("train", "unsupervised")
"""Splits whose text is for training; vocabularies are counted over these alone."""

DROPPED_SPLIT = "dropped"
"""Split of documents that were removed from training because they also occur in a held-out split."""


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


def assign_splits(
    policy: SplitPolicy,
    *,
    given: Sequence[str | None],
    strata: Sequence[Hashable],
    groups: Sequence[Hashable | None],
    times: Sequence[float | None],
) -> list[str]:
    """Assign a split to each document, from what is known of each (four sequences of one length).

    Raises:
        DataError: If fewer than two documents (or groups, or times) can be divided, or a document lacks the group or
            time that the policy goes by.
    """
    splits = ["train" if name is None else name for name in given]
    policy = policy.resolved(given)
    if policy.kind == "given":
        return splits
    candidates = [row for row, name in enumerate(splits) if name in ("train", "valid")]
    if len(candidates) < 2:
        others = ", ".join(sorted({name for name in splits if name not in ("train", "valid")}))
        raise DataError(
            f"split by {policy.kind}: expected at least 2 documents to divide, got {len(candidates)}"
            + (f" beside those of {others}" if others else "")
            + "; give more, or a validation part (a text file holds one document, or one per line with lines=True)"
        )
    if policy.kind == "random":
        chosen = _random_part([strata[row] for row in candidates], policy)
    elif policy.kind == "time":
        chosen = _latest_part(_require_all([times[row] for row in candidates], "time"), policy)
    else:
        chosen = _unseen_groups(_require_all([groups[row] for row in candidates], "group"), policy)
    for row in candidates:
        splits[row] = "train"
    for index in chosen:
        splits[candidates[index]] = "valid"
    return splits


def _require_all(values: Sequence[Value | None], name: str) -> list[Value]:
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        raise DataError(
            f"split by {name}: expected a {name} for every document, got {len(values) - len(known)} of {len(values)} "
            f"without; name the column with {name}_column"
        )
    return known


def _validation_size(documents: int, policy: SplitPolicy) -> int:
    return min(documents - 1, max(1, round(documents * policy.valid_fraction)))


def _random_part(strata: Sequence[Hashable], policy: SplitPolicy) -> list[int]:
    """Choose a random part that has each stratum in proportion, as far as whole documents allow."""
    members: dict[Hashable, list[int]] = {}
    for row, name in enumerate(strata):
        members.setdefault(name, []).append(row)
    ties = np.random.default_rng([policy.seed, len(strata), 1]).permutation(len(members)).tolist()
    counts = _proportional([len(group) for group in members.values()], _validation_size(len(strata), policy), ties)
    generator = np.random.default_rng([policy.seed, len(strata)])
    chosen: list[int] = []
    for count, group in zip(counts, members.values(), strict=True):
        chosen.extend(group[index] for index in generator.permutation(len(group))[:count])
    return sorted(chosen)


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


def _latest_part(times: Sequence[float], policy: SplitPolicy) -> list[int]:
    """Choose the latest documents; those of one moment stay together, so the size is the nearest possible."""
    moments, counts = np.unique(np.asarray(times, dtype=np.float64), return_counts=True)
    if len(moments) < 2:
        raise DataError(f"split by time: expected documents of different times, got {times[0]!r} for all")
    sizes = np.cumsum(counts[::-1])[::-1][1:]  # documents from moments[1:] on
    first = moments[1:][np.argmin(np.abs(sizes - _validation_size(len(times), policy)))]
    return [row for row, time in enumerate(times) if time >= first]


def _unseen_groups(groups: Sequence[Hashable], policy: SplitPolicy) -> list[int]:
    """Choose the documents of randomly drawn groups, until there are enough; one group stays in training."""
    sizes: dict[Hashable, int] = {}
    for name in groups:
        sizes[name] = sizes.get(name, 0) + 1
    if len(sizes) < 2:
        raise DataError(f"split by group: expected at least 2 groups, got {len(sizes)}: {groups[0]!r}")
    names = sorted(sizes, key=str)
    wanted = _validation_size(len(groups), policy)
    drawn = 0
    chosen: set[Hashable] = set()
    for index in np.random.default_rng([policy.seed, len(groups)]).permutation(len(names)):
        name = names[index]
        nearer = abs(drawn + sizes[name] - wanted) < abs(drawn - wanted)
        if (nearer or not chosen) and len(chosen) < len(names) - 1:
            chosen.add(name)
            drawn += sizes[name]
    return [row for row, name in enumerate(groups) if name in chosen]
