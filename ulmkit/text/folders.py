"""Folders of data: which files they hold, and the split and label that a file's place gives it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ulmkit.errors import DataError
from ulmkit.text.columns import ReadOptions
from ulmkit.text.document import Document, known_split, normalise_split
from ulmkit.text.readers import READERS, decode_utf8, read_file


@dataclass(frozen=True)
class DataFile:
    """A file of a data set, with the split and the label that its name or folder says."""

    path: Path
    split: str | None = None
    label: str | None = None
    is_document: bool = False  # one of label/doc.txt: a document whole, whatever it holds

    def read(self, options: ReadOptions) -> Iterator[Document]:
        """Its documents, in order."""
        if not self.is_document:
            yield from read_file(self.path, options, self.split)
            return
        text = decode_utf8(self.path.read_bytes(), self.path)
        yield Document(text, self.label if options.task != "none" else None, split=self.split)


def find_files(folder: Path) -> list[DataFile]:
    """The data files of a folder, in one of these layouts, in a fixed order.

    - files with columns, of one kind, here or in folders below (data/train-00000-of-00002.parquet);
      a name that begins with a split's name (train, valid, validation, val, dev, test, unsupervised) says the split
    - text files named for their splits (train.txt, valid.txt, test.txt), one document each
    - other text files: one document each
    - LABEL/doc.txt, or SPLIT/LABEL/doc.txt, or SPLIT/doc.txt: one document a file; a folder named unsup has no labels

    Raises: DataError if there is no such file, or kinds of file are mixed.
    """
    tables = _tables(folder)
    if tables:
        return tables
    texts = _text_files(folder)
    if texts:
        splits = [known_split(path.stem) for path in texts]
        if all(splits):
            return [DataFile(path, split) for path, split in zip(texts, splits, strict=True)]
        return [DataFile(path, is_document=True) for path in texts]
    labelled = list(_labelled_files(folder))
    if not labelled:
        raise DataError(f"{folder}: expected data files ({', '.join(READERS)}) or LABEL/doc.txt folders, got none")
    return labelled


def _tables(folder: Path) -> list[DataFile]:
    kinds = set(READERS) - {".txt"}
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in kinds and path.is_file()]
    paths = [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    found = sorted({path.suffix.lower() for path in paths})
    if len(found) > 1:
        raise DataError(f"{folder}: expected one kind of data file, got {', '.join(found)}; name one file or folder")
    return [DataFile(path, known_split(path.stem) or known_split(path.parent.name)) for path in paths]


def _text_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.txt") if path.is_file() and not path.name.startswith("."))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _labelled_files(folder: Path) -> Iterator[DataFile]:
    below = _folders(folder)
    if not below or not all(known_split(path.name) for path in below):
        yield from _labels_below(folder, None)
        return
    for path in below:
        split = normalise_split(path.name)
        if _folders(path):  # loose files beside label folders (lists of addresses, counts) are not documents
            yield from _labels_below(path, split)
        else:
            yield from (DataFile(text, split, is_document=True) for text in _text_files(path))


def _labels_below(folder: Path, split: str | None) -> Iterator[DataFile]:
    for path in _folders(folder):
        files = [DataFile(text, split, path.name, is_document=True) for text in _text_files(path)]
        if normalise_split(path.name) == "unsupervised":
            files = [replace(file, split="unsupervised", label=None) for file in files]
        yield from files
