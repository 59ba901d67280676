"""Data of `frontier.py`: which documents are given with labels, which without, and which are held out."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ulmkit import DataOptions
from ulmkit.errors import DataError
from ulmkit.text import Document

HELD_OUT_SEED = 12_345
"""Seed of the held-out part of the training documents, which is the same for all draws of labels."""


@dataclass(frozen=True)
class Task:
    """A data set, divided.

    Attributes:
        name: Name of the data.
        texts: Texts of the documents that labels are drawn from.
        labels: Their labels.
        held_out_texts: Texts that all classifiers are scored on.
        held_out_labels: Their labels.
        unlabelled: Texts without labels, none of them held out.
    """

    name: str
    texts: list[str]
    labels: list[str]
    held_out_texts: list[str]
    held_out_labels: list[str]
    unlabelled: list[str]

    def draw(self, count: int, seed: int) -> tuple[list[str], list[str], list[str]]:
        """Draw labelled documents; see `draw_rows`.

        Returns:
            Their texts and labels, and the texts of all others that may be learned from, shuffled: the order of a data
            set's files may tell the labels.
        """
        rows = draw_rows(self.labels, count, seed)
        chosen = set(rows)
        others = [text for row, text in enumerate(self.texts) if row not in chosen] + self.unlabelled
        random.Random(seed).shuffle(others)
        return [self.texts[row] for row in rows], [self.labels[row] for row in rows], others


def read_task(name: str, place: str, held_out: int | None, *, test: bool) -> Task:
    """Read data and hold out the documents that classifiers are scored on.

    Args:
        name: Name of the data.
        place: Where it is: a folder, a file or a hub name.
        held_out: Number of documents to score, in proportion of the classes; None takes the whole split.
        test: Score documents of the test split instead of the training split.

    Raises:
        DataError: If a split is missing, or has fewer labelled documents than are needed.
    """
    splits: dict[str, list[Document]] = defaultdict(list)
    for document in DataOptions().source(place, "single"):
        splits[document.split or "train"].append(document)
    labelled = [document for document in splits["train"] if document.label is not None]
    unlabelled = [document.text for document in splits["train"] + splits["unsupervised"] if document.label is None]
    source = [document for document in splits["test"] if document.label is not None] if test else labelled
    wanted = len(source) if held_out is None else held_out
    least = max(wanted, 1) if test else max(wanted, 1) + 1  # one to learn from
    if wanted < 1 or len(source) < least:
        raise DataError(
            f"{name}: expected at least {least} labelled documents in split {'test' if test else 'train'}, "
            f"got {len(source)}; hold out fewer"
        )
    rows = draw_rows([str(document.label) for document in source], wanted, HELD_OUT_SEED)
    scored = [source[row] for row in rows]
    if not test:
        chosen = set(rows)
        labelled = [document for row, document in enumerate(labelled) if row not in chosen]
    return Task(
        name=name,
        texts=[str(document.text) for document in labelled],
        labels=[str(document.label) for document in labelled],
        held_out_texts=[str(document.text) for document in scored],
        held_out_labels=[str(document.label) for document in scored],
        unlabelled=list(map(str, unlabelled)),
    )


def draw_rows(labels: Sequence[str], count: int, seed: int) -> list[int]:
    """Draw `count` rows with the classes in proportion, in random order.

    With the same seed a larger draw contains a smaller one.
    """
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(labels))
    sizes = Counter(labels)
    seen: Counter[str] = Counter()
    # The k-th of n documents of a class gets position (k + 1/2) / n: a prefix then has all classes in proportion.
    positions = []
    for row in shuffled:
        label = labels[row]
        positions.append((seen[label] + 0.5) / sizes[label])
        seen[label] += 1
    chosen = shuffled[np.argsort(positions, kind="stable")[:count]]
    return [int(row) for row in generator.permutation(chosen)]
