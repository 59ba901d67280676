"""The documents of ULMFiT's ablation: a part of some data that is read again by every run."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ulmkit.errors import ConfigError, DataError
from ulmkit.pipeline import DataOptions
from ulmkit.safe_writes import atomic_write
from ulmkit.text import Document

LARGEST_VALID_SHARE = 0.2
"""Largest share of the labelled documents that is held out for validation."""

SPLIT_SEED = 0


def choose_documents(data: str, documents: int, valid_documents: int, labels: int) -> list[Document]:
    """Choose validation documents and text, at random and each time the same.

    Documents of the test part are left out, and so is text that is also in the validation part.

    Args:
        data: Labelled data, with documents without labels or none.
        documents: Documents of text, with and without labels.
        valid_documents: Validation documents, at most a fifth of the labelled ones if they are held out from these.
        labels: Labels that a draw takes.

    Returns:
        The documents with the splits "valid", "train" (all labelled) and "unsupervised".

    Raises:
        ConfigError: If there are fewer labelled documents in the text than `labels`.
        DataError: If the data has no labelled documents to hold out.
    """
    labelled: list[Document] = []
    unlabelled: list[Document] = []
    held_out: list[Document] = []
    for document in DataOptions().source(data, "single"):
        if document.split == "valid" and document.label is not None:
            held_out.append(document)
        elif document.split in (None, "train") and document.label is not None:
            labelled.append(document)
        elif document.split in (None, "train", "unsupervised"):
            unlabelled.append(document)
    generator = np.random.default_rng(SPLIT_SEED)
    if held_out:
        held_out = _shuffle(held_out, generator)[:valid_documents]
    else:
        labelled = _shuffle(labelled, generator)
        count = min(valid_documents, int(LARGEST_VALID_SHARE * len(labelled)))
        held_out, labelled = labelled[:count], labelled[count:]
    if not held_out:
        raise DataError(f"{data}: expected labelled documents to hold out for validation, got {len(labelled)} in all")
    seen = {document.text for document in held_out}
    text = [
        *(_with_split(document, "train") for document in labelled),
        *(_with_split(document, "unsupervised") for document in unlabelled),
    ]
    text = _shuffle([document for document in text if document.text not in seen], generator)[:documents]
    count = sum(document.label is not None for document in text)
    if count < labels:
        raise ConfigError(
            f"labels: expected at most {count:,}, the labelled documents among {len(text):,}, got {labels:,}; give "
            "fewer labels or more --documents"
        )
    return [*(_with_split(document, "valid") for document in held_out), *text]


def write_documents(folder: Path, documents: Sequence[Document]) -> None:
    """Write documents as a file of JSON lines for each split, unless they are there."""
    for split in dict.fromkeys(document.split for document in documents):
        path = folder / f"{split}.jsonl"
        if path.is_file():
            continue
        folder.mkdir(exist_ok=True)
        with atomic_write(path) as file:
            for document in documents:
                if document.split == split:
                    file.write(json.dumps({"text": document.text, "label": document.label}, ensure_ascii=False) + "\n")


def _shuffle(documents: Sequence[Document], generator: np.random.Generator) -> list[Document]:
    return [documents[index] for index in generator.permutation(len(documents))]


def _with_split(document: Document, split: str) -> Document:
    return Document(document.text, None if split == "unsupervised" else document.label, split=split)
