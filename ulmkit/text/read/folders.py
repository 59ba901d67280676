"""Folders of data: which files they hold, and the split and label that a file's place gives it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ulmkit.errors import DataError
from ulmkit.text.characters import normalise
from ulmkit.text.read.columns import ReadOptions
from ulmkit.text.read.document import Document, known_split, normalise_split
from ulmkit.text.read.readers import KINDS, READERS, TEXT_KINDS, decode_utf8, read_file
from ulmkit.text.read.wiki_dump import is_dump, is_extracted


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
        yield Document(text, options.label_kind.parse(self.label, str(self.path)), split=self.split)


def find_files(folder: Path) -> list[DataFile]:
    """The data files of a folder, in the first of these layouts that it has, in a fixed order.

    - files with columns, of one kind, here or in folders below (data/train-00000-of-00002.parquet); a split's name
      (train, training, valid, validation, val, dev, test, unsupervised, unsup) in a part of a file's name, or else of
      the nearest folder's below this one, says the split
    - files of WikiExtractor (AA/wiki_00) or dumps of MediaWiki (pages-articles.xml.bz2)
    - SPLIT/LABEL/doc.txt or SPLIT/doc.txt, one document a file; folders beside that are no splits are passed over
    - LABEL/doc.txt, one document a file; a folder named unsup has no labels
    - text files named for their splits (train.txt, wiki.valid.tokens, ptb.test.txt)
    - other text files: one document each

    Loose text files beside folders of documents (lists of addresses, counts) or beside files with columns are passed
    over.

    Raises:
        DataError: If there is no such file, kinds of file are mixed, files with columns stand beside folders with
            texts, texts lie deeper than in the layout, or only some names say a split.
    """
    if tables := _tables(folder):
        return tables
    if divided := [file for path, split in _split_folders(folder) for file in _documents_of_split(path, split)]:
        return divided
    labelled, texts = _labels_below(folder, None), _text_files(folder)
    if labelled and texts and all(known_split(path.name) for path in texts):
        raise DataError(
            f"{folder}: expected texts named for their splits or LABEL/doc.txt folders, got {texts[0].name} and "
            f"{labelled[0].path.parent.name}/{labelled[0].path.name}; move one kind elsewhere"
        )
    if labelled:
        return _all_texts(folder, labelled)
    if not texts:
        raise DataError(f"{folder}: expected data files ({', '.join(KINDS)}) or LABEL/doc.txt folders, got none")
    named = _all_or_none(folder, [DataFile(path, known_split(path.name)) for path in texts])
    return named if named[0].split else _all_texts(folder, [replace(file, is_document=True) for file in named])


def _tables(folder: Path) -> list[DataFile]:
    wiki = _wiki_files(folder)
    paths = wiki or _files_below(folder, set(READERS) - set(TEXT_KINDS))
    kinds = sorted({"wiki" if wiki else path.suffix.lower() for path in paths})
    if len(kinds) > 1:
        raise DataError(f"{folder}: expected one kind of data file, got {', '.join(kinds)}; name one file or folder")
    texts = [path for path in _files_below(folder, TEXT_KINDS) if path.parent != folder] if paths else []
    if texts:
        raise DataError(
            f"{folder}: expected files with columns or folders of texts, got {paths[0].relative_to(folder)} and "
            f"{texts[0].relative_to(folder)}; move one kind elsewhere, or name one file or folder"
        )
    return _all_or_none(folder, [DataFile(path, _split_of_place(path.relative_to(folder))) for path in paths])


def _wiki_files(folder: Path) -> list[Path]:
    """The files of WikiExtractor here and in folders below (AA/wiki_00); without any, the dumps here."""
    extracted = (path for path in folder.rglob("wiki_*") if is_extracted(path) and path.is_file())
    return sorted(extracted) or sorted(path for path in folder.iterdir() if is_dump(path) and path.is_file())


def _files_below(folder: Path, kinds: Collection[str]) -> list[Path]:
    """The files of these kinds here and in folders below, in order, but for hidden ones."""
    paths = (path for path in folder.rglob("*") if path.suffix.lower() in kinds and path.is_file())
    return sorted(path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _all_texts(folder: Path, files: list[DataFile]) -> list[DataFile]:
    """The files, if none of the texts below `folder` lies deeper than they do: it would be left out unsaid."""
    if not files:
        return files
    depth = max(len(file.path.parts) for file in files)
    if deeper := [path for path in _files_below(folder, TEXT_KINDS) if len(path.parts) > depth]:
        raise DataError(
            f"{folder}: expected all texts as deep as {files[0].path.relative_to(folder)}, got "
            f"{deeper[0].relative_to(folder)}; move it up or elsewhere"
        )
    return files


def _split_of_place(place: Path) -> str | None:
    """The split that a file's name says, or else the nearest of its folders; place: below the folder of the data."""
    names = (place.name, *(parent.name for parent in place.parents))
    return next((split for name in names if (split := known_split(name))), None)


def _all_or_none(folder: Path, files: Sequence[DataFile]) -> list[DataFile]:
    """The files, if each says its split or none does: where one is said, a file without might be the test set."""
    named = [file for file in files if file.split]
    unnamed = [file.path.relative_to(folder) for file in files if not file.split]
    if named and unnamed:
        raise DataError(
            f"{folder}: expected every data file to name its split, as {named[0].path.relative_to(folder)} does, "
            f"got {unnamed[0]}; rename or move it"
        )
    return list(files)


def _text_files(folder: Path) -> list[Path]:
    paths = (path for path in folder.iterdir() if path.suffix.lower() in TEXT_KINDS and path.is_file())
    return sorted(path for path in paths if not path.name.startswith("."))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _split_folders(folder: Path) -> list[tuple[Path, str]]:
    """The folders that are splits: all, if each has a split in its name (train_en, test_en), else those so named.

    unsup alone among others is none: it is the part without labels of folders by label.
    """
    below = _folders(folder)
    named = [(path, split) for path in below if (split := known_split(path.name))]
    if len(named) == len(below):
        return named
    named = [(path, split) for path, split in named if split == normalise_split(path.name)]
    return named if any(split != "unsupervised" for _, split in named) else []


def _documents_of_split(folder: Path, split: str) -> list[DataFile]:
    loose = (DataFile(path, split, is_document=True) for path in _text_files(folder))
    return _all_texts(folder, _labels_below(folder, split) or list(loose))


def _labels_below(folder: Path, split: str | None) -> list[DataFile]:
    files: list[DataFile] = []
    for path in _folders(folder):
        is_labelled = normalise_split(path.name) != "unsupervised"
        label = normalise(path.name) if is_labelled else None
        part = split if is_labelled else "unsupervised"
        files.extend(DataFile(text, part, label, is_document=True) for text in _text_files(path))
    return files
