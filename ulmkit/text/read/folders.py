"""Folders of data: which files they hold, and the split and label that a file's place gives it."""

from collections.abc import Collection, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from ulmkit.errors import DataError
from ulmkit.text.characters import normalise
from ulmkit.text.read.columns import ReadOptions
from ulmkit.text.read.document import Document, known_split, normalise_split
from ulmkit.text.read.json_files import json_rows_begin
from ulmkit.text.read.layout import Layout
from ulmkit.text.read.own_files import TRAINING_LOGS, own_file, own_folder
from ulmkit.text.read.readers import CONVERSIONS, KINDS, READERS, TEXT_KINDS, file_format, open_file
from ulmkit.text.read.text_files import data_suffix, describe_special, read_text
from ulmkit.text.read.wiki_dump import is_dump, is_extracted

_HIDDEN = (".", "~$")  # the second marks tables that a spreadsheet program has open


@dataclass(frozen=True)
class DataFile:
    """A file of a data set, with the split and the label that its name or folder says.

    A file of test or unsupervised documents may lack the label column.
    """

    path: Path
    split: str | None = None
    label: str | None = None
    is_document: bool = False  # one of label/doc.txt: a document whole, whatever it holds

    def read(self, options: ReadOptions) -> Iterator[Document]:
        """Read its documents, in order."""
        if not self.is_document:
            yield from open_file(self.path, self._options(options), self.split).documents
            return
        text = normalise(read_text(self.path))
        yield Document(text, options.label_kind.parse(self.label, str(self.path)), split=self.split)

    def layout(self, options: ReadOptions) -> Layout:
        """Find out how its content is understood."""
        if self.is_document:
            return Layout(format="txt", lines=False)
        return open_file(self.path, self._options(options)).layout

    def _options(self, options: ReadOptions) -> ReadOptions:
        """Options for this file: its split says whether the label column may be missing."""
        return replace(options, needs_labels=self.split not in ("test", "unsupervised"))


class Listing:
    """Files and folders below a folder, without hidden ones and those that ulmkit wrote; links are followed.

    Attributes:
        folder: The folder.
        files: The regular files, in order.
        folders: The folders, in order.
        passed_over: Reasons by path of what is not listed.

    Raises:
        DataError: If a link leads back to a folder that holds it, or a data file is a link to nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[Path] = []
        self.folders: list[Path] = []
        self.passed_over: dict[Path, str] = {}
        self.has_links = False
        self._walk(folder, ())
        self.files.sort()
        self.folders.sort()
        self.formats = {path: file_format(path) for path in self.files}
        self._below: dict[Path, list[Path]] = {}
        for path in self.files:
            self._below.setdefault(path.parent, []).append(path)

    def _walk(self, folder: Path, above: tuple[tuple[int, int], ...]) -> None:
        status = folder.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            raise DataError(f"{folder}: expected a folder, got a link to a folder that holds it; remove the link")
        for path in sorted(folder.iterdir()):
            if path.name.startswith(_HIDDEN):
                continue
            self.has_links = self.has_links or path.is_symlink()
            if path.is_dir():
                if (description := own_folder(path)) is not None:
                    self.passed_over[path] = description
                else:
                    self.folders.append(path)
                    self._walk(path, (*above, identity))
            elif path.is_file():
                self.files.append(path)
            elif path.is_symlink() and file_format(path) is not None and not path.exists():
                raise DataError(
                    f"{path}: expected a data file, got a link to nothing; fetch the file or remove the link"
                )
            else:
                self.passed_over[path] = describe_special(path)

    def of_kinds(self, kinds: Collection[str]) -> list[Path]:
        """Return the files of these extensions."""
        return [path for path, kind in self.formats.items() if kind in kinds]

    def files_in(self, folder: Path, kinds: Collection[str]) -> list[Path]:
        """Return the files of these extensions that lie in a folder itself."""
        return [path for path in self._below.get(folder, ()) if self.formats[path] in kinds]

    def folders_in(self, folder: Path) -> list[Path]:
        """Return the folders in a folder."""
        return [path for path in self.folders if path.parent == folder]


def find_files(folder: Path, format: str | None = None) -> tuple[list[DataFile], dict[Path, str]]:
    """Find the data files of a folder, in the first of these layouts that it has, in a fixed order.

    - files with columns, of one kind, here or in folders below (data/train-00000-of-00002.parquet); a split's name
      (train, training, valid, validation, val, dev, test, unsupervised, unsup) in a part of a file's name, or else of
      the nearest folder's below this one, says the split
    - files of WikiExtractor (AA/wiki_00) or dumps of MediaWiki (pages-articles.xml.bz2)
    - SPLIT/LABEL/doc.txt or SPLIT/doc.txt, one document a file; folders beside that are no splits are passed over
    - LABEL/doc.txt, one document a file; a folder named unsup has no labels
    - text files named for their splits (train.txt, wiki.valid.tokens, ptb.test.txt)
    - other text files: one document each
    - .json files that hold rows

    Links are followed. Loose text files beside folders of documents (lists of addresses, counts) or beside files with
    columns are passed over, and so is what ulmkit wrote: models, corpora, logs, and predictions beside other tables.

    Args:
        folder: The folder.
        format: Read only files of this format; if no file name shows it, those whose names show no format.

    Returns:
        The files that are read, in order, and the reasons by path for what is not, hidden files aside.

    Raises:
        DataError: If there is no such file, kinds of file are mixed, files with columns stand beside folders with
            texts, texts lie deeper than in the layout, or only some names say a split.
    """
    if (description := own_folder(folder)) is not None:
        raise DataError(f"{folder}: expected data, got {description}; name the file or folder that holds the data")
    listing = Listing(folder)
    for path in listing.files:
        if path.name in TRAINING_LOGS:
            listing.passed_over[path] = own_file(path) or ""
    kinds = {str(file_format(folder, format))} if format is not None else None
    if kinds is not None and not listing.of_kinds(kinds):  # 20 Newsgroups has no extensions
        chosen = str(file_format(folder, format))
        listing.formats |= {path: chosen for path, kind in listing.formats.items() if kind is None}
    files = _find(listing, kinds)
    if listing.has_links:
        files = _without_repeats(listing, files)
    known = {file.path for file in files}
    for path in listing.files:
        if path not in known and path not in listing.passed_over:
            is_data = listing.formats[path] is not None
            reason = own_file(path) or ("of another kind or place than the data" if is_data else "not a data file")
            listing.passed_over[path] = reason
    return files, dict(sorted(listing.passed_over.items()))


def _without_repeats(listing: Listing, files: Sequence[DataFile]) -> list[DataFile]:
    """Leave out files that links name a second time, with the same split and label."""
    kept: dict[tuple[Path, str | None, str | None], DataFile] = {}
    for file in files:
        first = kept.setdefault((file.path.resolve(), file.split, file.label), file)
        if first is not file:
            listing.passed_over[file.path] = f"the same file as {first.path.relative_to(listing.folder)}"
    return list(kept.values())


def _find(listing: Listing, kinds: Set[str] | None) -> list[DataFile]:
    """Find the files to read; see `find_files`. kinds: extensions to choose from, None for all."""
    folder = listing.folder
    if tables := _tables(listing, kinds):
        return tables
    if kinds is None or not kinds.isdisjoint(TEXT_KINDS):
        if divided := [file for path, split in _split_folders(listing) for file in _documents(listing, path, split)]:
            return divided
        labelled, texts = _labels_below(listing, folder, None), listing.files_in(folder, TEXT_KINDS)
        if labelled and texts and all(known_split(path.name) for path in texts):
            raise DataError(
                f"{folder}: expected texts named for their splits or LABEL/doc.txt folders, got {texts[0].name} and "
                f"{labelled[0].path.parent.name}/{labelled[0].path.name}; move one kind elsewhere"
            )
        if labelled:
            return _all_texts(listing, labelled)
        if texts:
            named = _all_or_none(folder, [DataFile(path, known_split(path.name)) for path in texts])
            return named if named[0].split else _all_texts(listing, [replace(file, is_document=True) for file in named])
    to_convert = [path for path in listing.files if data_suffix(path) in CONVERSIONS]
    is_stored = any(data_suffix(path) == ".arrow" for path in to_convert)  # by `datasets`, beside .json of its own
    rows = [path for path in listing.of_kinds({".json"}) if kinds is not None or json_rows_begin(path)]
    if rows and (kinds is not None or not is_stored):
        return _placed(folder, rows)
    others = [f"{path.relative_to(folder)} is {why}" for path, why in listing.passed_over.items()]
    for path in (to_convert or listing.files)[:1]:
        deep = "too deep: name the folder that holds those of the labels"
        unknown = "of no known kind: name the kind with format (--format), such as txt"
        reason = CONVERSIONS.get(data_suffix(path), unknown) if listing.formats[path] is None else deep
        others.append(f"{path.relative_to(folder)} is {reason}")
    raise DataError(
        f"{folder}: expected data files ({', '.join(KINDS)}) or LABEL/doc.txt folders, got none"
        + (f" ({'; '.join(others):.300})" if others else "")
    )


def _tables(listing: Listing, chosen: Collection[str] | None) -> list[DataFile]:
    folder = listing.folder
    wiki = _wiki_files(listing) if chosen is None else []
    kinds = set(READERS) - {*TEXT_KINDS, ".json"}
    listed = wiki or listing.of_kinds(kinds if chosen is None else kinds & set(chosen))
    paths = [path for path in listed if path not in listing.passed_over]
    written = {path: description for path in paths if (description := own_file(path)) is not None}
    if len(written) < len(paths):  # otherwise the predictions are the data
        listing.passed_over.update(written)
        paths = [path for path in paths if path not in written]
    formats = sorted({str(listing.formats[path]) for path in paths})
    if len(formats) > 1:
        raise DataError(
            f"{folder}: expected one kind of data file, got {', '.join(formats)}; name one file or folder, or choose a "
            "kind with format (--format)"
        )
    texts = [path for path in listing.of_kinds(TEXT_KINDS) if path.parent != folder] if paths else []
    if texts and chosen is None:
        raise DataError(
            f"{folder}: expected files with columns or folders of texts, got {paths[0].relative_to(folder)} and "
            f"{texts[0].relative_to(folder)}; move one kind elsewhere, or name one file or folder"
        )
    return _placed(folder, paths)


def _placed(folder: Path, paths: Sequence[Path]) -> list[DataFile]:
    return _all_or_none(folder, [DataFile(path, _split_of_place(path.relative_to(folder))) for path in paths])


def _wiki_files(listing: Listing) -> list[Path]:
    """Return the files of WikiExtractor here and in folders below (AA/wiki_00); without any, the dumps here."""
    extracted = [path for path in listing.files if is_extracted(path)]
    return extracted or [path for path in listing.files if path.parent == listing.folder and is_dump(path)]


def _all_texts(listing: Listing, files: list[DataFile], below: Path | None = None) -> list[DataFile]:
    """Return the files, unless a text below the folder lies deeper than they do: it would be left out silently."""
    if not files:
        return files
    folder = below or listing.folder
    depth = max(len(file.path.parts) for file in files)
    texts = [path for path in listing.of_kinds(TEXT_KINDS) if path.is_relative_to(folder)]
    if deeper := [path for path in texts if len(path.parts) > depth]:
        raise DataError(
            f"{folder}: expected all texts as deep as {files[0].path.relative_to(folder)}, got "
            f"{deeper[0].relative_to(folder)}; move it up or elsewhere"
        )
    return files


def _split_of_place(place: Path) -> str | None:
    """Read the split from a file's name, or else from the nearest of its folders below that of the data."""
    names = (place.name, *(parent.name for parent in place.parents))
    return next((split for name in names if (split := known_split(name))), None)


def _all_or_none(folder: Path, files: Sequence[DataFile]) -> list[DataFile]:
    """Return the files if all or none of them name a split: beside named ones, another might be the test set."""
    named = [file for file in files if file.split]
    unnamed = [file.path.relative_to(folder) for file in files if not file.split]
    if named and unnamed:
        raise DataError(
            f"{folder}: expected every data file to name its split, as {named[0].path.relative_to(folder)} does, "
            f"got {unnamed[0]}; rename or move it"
        )
    return list(files)


def _split_folders(listing: Listing) -> list[tuple[Path, str]]:
    """Find the folders that are splits: all, if each has a split in its name (train_en, test_en), else those so named.

    A lone unsup among other folders is no split: it holds the unlabelled documents beside folders by label.
    """
    below = listing.folders_in(listing.folder)
    named = [(path, split) for path in below if (split := known_split(path.name))]
    if len(named) == len(below):
        return named
    named = [(path, split) for path, split in named if split == normalise_split(path.name)]
    return named if any(split != "unsupervised" for _, split in named) else []


def _documents(listing: Listing, folder: Path, split: str) -> list[DataFile]:
    """Find the documents of a split's folder."""
    loose = [DataFile(path, split, is_document=True) for path in listing.files_in(folder, TEXT_KINDS)]
    return _all_texts(listing, _labels_below(listing, folder, split) or loose, folder)


def _labels_below(listing: Listing, folder: Path, split: str | None) -> list[DataFile]:
    """Find the documents of the folders that are named for labels."""
    files: list[DataFile] = []
    for path in listing.folders_in(folder):
        is_labelled = normalise_split(path.name) != "unsupervised"
        label = normalise(path.name) if is_labelled else None
        part = split if is_labelled else "unsupervised"
        texts = listing.files_in(path, TEXT_KINDS)
        files.extend(DataFile(text, part, label, is_document=True) for text in texts)
    return files
