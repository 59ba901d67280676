"""Documents from files, folders, the hub or plain Python lists."""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from ulmkit.errors import DataError, did_you_mean
from ulmkit.files import expand_user
from ulmkit.text.characters import normalise
from ulmkit.text.read.columns import ReadFields, ReadOptions
from ulmkit.text.read.document import Document, normalise_split
from ulmkit.text.read.folders import DataFile, find_files
from ulmkit.text.read.hub_data import HubSplit, is_hub_name, open_hub
from ulmkit.text.read.labels import clean_label, plain_value
from ulmkit.text.read.layout import NAMED_FILES, Layout, Reading
from ulmkit.text.read.readers import file_format, open_file
from ulmkit.text.read.standard_input import STANDARD_INPUT, spool_standard_input
from ulmkit.text.read.text_files import COMPRESSIONS, check_regular

Data = str | os.PathLike[str] | Iterable[object]

_LONGEST_PLACE = 300  # characters

GIVEN_IN_PYTHON = "documents given in Python"
"""The description of documents that come from no path and no hub."""


class Located(NamedTuple):
    """A document and its place in the data.

    Attributes:
        document: The document.
        number: Its number from 1 among those of its file, or of all splits where the data is not a folder.
        file: Path of its file in the folder that is read; None where the data is not a folder.
    """

    document: Document
    number: int
    file: str | None


class DocumentSource:
    """Documents that can be read again and again, never all in memory.

    Args:
        data: A path, a hub name, or a list of str, (str, label) or Document; see `read_documents`.
        split: Read only the documents of this split or these; None for all.
        options: Fields of `ReadOptions`.

    Raises:
        DataError: If `data` is an iterator, which can be read only once, or a table.
    """

    def __init__(self, data: Data, *, split: str | Sequence[str] | None = None, **options: Unpack[ReadFields]) -> None:
        _check_documents(data)
        self.data = str(expand_user(data)) if isinstance(data, str) and data.startswith("~") else data
        self.options = ReadOptions(**options)
        wanted = (split,) if isinstance(split, str) else split
        self.wanted = None if wanted is None else {normalise_split(name) for name in wanted}

    @property
    def description(self) -> str:
        """Name of the data: the last part of the path, or the hub name."""
        if not isinstance(self.data, (str, os.PathLike)):
            return GIVEN_IN_PYTHON
        if os.fspath(self.data) == STANDARD_INPUT:
            return "standard input"
        return Path(self.data).resolve().name if Path(self.data).exists() else str(self.data)

    def __iter__(self) -> Iterator[Document]:
        count = 0
        has_text = False
        for document, _, _ in self.located():
            count += 1
            has_text = has_text or _has_text(document)
            yield document
        if not has_text:
            advice = ""
            for layout in self.reading().layouts:
                if layout.text_columns and layout.unread_columns:
                    read, others = (
                        ", ".join(map(repr, names)) for names in (layout.text_columns, layout.unread_columns)
                    )
                    advice = f" in the column {read}; name another with text_column, there are: {others}"
            raise DataError(f"{self.description}: expected text, got {count} documents without any{advice}")

    def located(self) -> Iterator[Located]:
        """Read the documents, each with its place; there may be no text in them."""
        count = 0
        seen = set()
        for file, documents in self._read():
            for number, document in enumerate(documents, start=1):
                seen.add(document.split or "none")
                if self.wanted is None or document.split in self.wanted:
                    count += 1
                    yield Located(document, number, file)
        if self.wanted is not None and not count:
            raise DataError(
                f"{self.description}: has no split {', '.join(sorted(self.wanted))}; "
                f"{did_you_mean(min(self.wanted), seen)}"
            )
        if not count:
            raise DataError(f"{self.description}: expected documents, got none")

    def files(self) -> list[DataFile] | None:
        """List the files that are read, in order; None if the data is not files."""
        if not isinstance(self.data, (str, os.PathLike)):
            return None
        parts = self._parts(self.data)
        files = [part for part in parts if isinstance(part, DataFile)]
        return files if len(files) == len(parts) else None

    def reading(self, layouts: Sequence[Layout] | None = None) -> Reading:
        """Find out which files are read and how they are understood.

        Args:
            layouts: How the files are understood, if that is known; None reads the beginning of each.

        Raises:
            DataError: If a file cannot be read or understood.
        """
        if not isinstance(self.data, (str, os.PathLike)):
            return Reading(data=self.description)
        available, reasons = _find_parts(self.data, self.options.format)
        parts = self._wanted_parts(available)
        files = [part.path for part in parts if isinstance(part, DataFile)]
        if layouts is None:
            layouts = list(dict.fromkeys(part.layout(self.options) for part in parts))
        folder = Path(self.data)
        if _is_folder(self.data):
            names = [path.relative_to(folder).as_posix() for path in files[:NAMED_FILES]]
        else:
            names = [self.description] if files else []
        passed_over = {path.relative_to(folder).as_posix(): reason for path, reason in reasons.items()}
        return Reading(
            data=self.description,
            files=len(files),
            file_names=tuple(names),
            passed_over=dict(itertools.islice(passed_over.items(), NAMED_FILES)),
            passed_over_count=len(passed_over),
            layouts=tuple(layouts),
        )

    def check_label_column(self) -> None:
        """Check, for data in which no document has a label, that it has the default label column.

        Raises:
            DataError: If it is a list of texts, a table without that column, which the message then names the columns
                of, or files of text alone, which have labels by their folders.
        """
        if not isinstance(self.data, (str, os.PathLike)):
            raise DataError(f"{self.description}: expected labels, got texts alone; give each as (text, label)")
        layouts = self.reading().layouts
        if layouts and all(layout.format == "txt" for layout in layouts):
            raise DataError(
                f"{self.description}: expected labels, got files of text without any; put the documents of each label "
                "into a folder of its name (LABEL/doc.txt), or write a table with the columns text and label"
            )
        columns = self.options.label_kind.label_columns
        if not columns:
            return
        options = replace(self.options, label_column=self.options.label_column or columns[0])
        for part in self._parts(self.data):
            if isinstance(part, DataFile):
                open_file(part.path, options, part.split)
            else:
                part.layout(options)

    def _read(self) -> Iterator[tuple[str | None, Iterator[Document]]]:
        """Open the documents of each file of a folder, with its path in there; other data is opened as one, without."""
        if not isinstance(self.data, (str, os.PathLike)):
            yield None, _from_python(self.data, self.options)
            return
        parts = self._parts(self.data)
        if not _is_folder(self.data):
            yield None, itertools.chain.from_iterable(part.read(self.options) for part in parts)
            return
        for part in parts:
            assert isinstance(part, DataFile)
            path = os.fsencode(part.path.relative_to(self.data).as_posix())
            yield path.decode("utf-8", "backslashreplace"), part.read(self.options)

    def _parts(self, data: str | os.PathLike[str]) -> Sequence[DataFile | HubSplit]:
        """List the files or splits to read: only the wanted ones, if the places of the files say their splits."""
        return self._wanted_parts(_find_parts(data, self.options.format)[0])

    def _wanted_parts(self, parts: Sequence[DataFile | HubSplit]) -> Sequence[DataFile | HubSplit]:
        splits = {part.split for part in parts}
        if self.wanted is None or self.options.split_column is not None or splits.isdisjoint(self.wanted):
            return parts
        return [part for part in parts if part.split in self.wanted]


def read_documents(
    data: Data, *, split: str | Sequence[str] | None = None, **options: Unpack[ReadFields]
) -> Iterator[Document]:
    """Read the documents of `data`, one at a time.

    Args:
        data: One of
            a .txt or .tokens file (one document, or one per line with lines=True);
            .jsonl or .ndjson, or .json with an array of objects or an object per line;
            .csv or .tsv with a header line, or without one with header=False; other separators than commas or tabs are
            found in the header (in .tsv a line is a row, and a quote is text unless it encloses a cell);
            .parquet;
            .conll (a word per line, its label last on the line, an empty line between documents) or .conllu, whose
            label is upos; label_column names another column, or gives its number;
            a dump of MediaWiki (.xml), an article a document with the columns id and title;
            any of these but .parquet compressed as .gz, .zst, .bz2 or .xz;
            "-" for standard input, whose format is found in its content;
            a folder of such files, their splits by their names (see `find_files`), of LABEL/doc.txt, or of
            WikiExtractor's files (AA/wiki_00);
            the name of a data set on the hub (name, owner/name, owner/name:configuration);
            a list, or anything else that can be read again and again, of str, (str, label) or Document.
        split: Read only the documents of this split or these; validation, val and dev are "valid".
        options: Fields of `ReadOptions`. Several labels in one string have "|" between them; an empty cell is a
            document without a label, "|" alone or an empty list one with none of the labels.

    Raises:
        DataError: If there is nothing to read, no text in it, a column is missing (the message names those there are),
            a row or line is malformed (the message says which), or a file is not UTF-8.
    """
    return iter(DocumentSource(data, split=split, **options))


def _is_folder(data: str | os.PathLike[str]) -> bool:
    """True if data is a folder; "-" is standard input, whatever else has that name."""
    return os.fspath(data) != STANDARD_INPUT and Path(data).is_dir()


def _find_parts(
    data: str | os.PathLike[str], format: str | None
) -> tuple[Sequence[DataFile | HubSplit], Mapping[Path, str]]:
    """Find the files or splits of some data, and the reasons by path for what is not read."""
    if not os.fspath(data):
        raise DataError("data: expected a path or the name of a data set, got an empty one")
    if os.fspath(data) == STANDARD_INPUT:
        return [DataFile(spool_standard_input(format))], {}
    path = Path(data)
    try:
        if path.is_dir():
            return find_files(path, format)
        if path.exists():
            check_regular(path)
            return [DataFile(path)], {}
    except OSError as error:
        name = _place(error.filename or data)
        raise DataError(f"{name!r}: cannot be read ({error.strerror}); give a path or a hub name") from None
    except ValueError as error:  # zero characters in a path
        if isinstance(error, DataError):
            raise
        raise DataError(f"{_place(data)!r}: cannot be read ({error}); give a path or a hub name") from None
    if (
        isinstance(data, str)
        and is_hub_name(data)
        and file_format(path) is None
        and path.suffix.lower() not in COMPRESSIONS
    ):
        return open_hub(data), {}
    advice = "; download it, and give the file" if "://" in os.fspath(data) else ""
    raise DataError(f"{_place(data)}: no such file or folder{advice}")


def _place(data: object) -> str:
    """Name data in an error; something far longer than a path, such as a text, by its two ends."""
    name = str(data)
    return name if len(name) <= _LONGEST_PLACE else f"{name[: _LONGEST_PLACE // 2]}...{name[-_LONGEST_PLACE // 2 :]}"


def _has_text(document: Document) -> bool:
    text = document.text
    return bool(text.strip()) if isinstance(text, str) else any(field.strip() for field in text)


def is_table(value: object) -> bool:
    """Tell whether a value is a table, such as a data frame or a dict, which would be read as its column names."""
    return isinstance(value, Mapping) or hasattr(value, "columns") or hasattr(value, "column_names")


def _check_documents(data: Any) -> None:
    """Raise DataError unless `data` is a path, a name, or holds documents that can be read again and again."""
    kind = type(data).__name__
    advice = ""
    if isinstance(data, Iterator):
        advice = "put it in a list, or write what memory cannot hold to a .jsonl file"
    elif isinstance(data, Mapping) and hasattr(data, "column_names"):  # of `datasets`, as streams without columns are
        advice = "give the rows of one of its splits: list(zip(splits['train']['text'], splits['train']['label']))"
    elif is_table(data) and not hasattr(data, "__getitem__"):
        advice = "give its rows: [(row['text'], row['label']) for row in table]"
    elif is_table(data):
        advice = "give its rows: list(zip(table['text'], table['label']))"
    elif isinstance(data, Set):
        advice = "it has no order; put it in a list"
    elif not isinstance(data, (str, os.PathLike, Iterable)):
        advice = "give one of these"
    if advice:
        raise DataError(f"data: expected a path, the name of a data set or a list of documents, got {kind}; {advice}")


def _from_python(items: Iterable[Any], options: ReadOptions) -> Iterator[Document]:
    for number, item in enumerate(items):
        place = f"document {number}"
        if isinstance(item, Document):
            yield replace(item, label=clean_label(item.label))
            continue
        is_labelled = isinstance(item, tuple) and len(item) == 2
        text = plain_value(item[0] if is_labelled else item)
        if not isinstance(text, str) and not (is_labelled and _is_text(text)):
            advice = "; leave out documents whose text is missing" if text is None else ""
            raise DataError(f"{place}: expected str, (str, label) or Document, got {item!r:.80}{advice}")
        text = normalise(text) if isinstance(text, str) else tuple(map(normalise, text))
        yield Document(text, options.label_kind.parse(item[1], place) if is_labelled else None)


def _is_text(value: Any) -> bool:
    fields = value if isinstance(value, tuple) else (value,)
    return bool(fields) and all(isinstance(field, str) for field in fields)
