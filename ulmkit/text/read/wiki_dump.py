"""Wikipedia as documents: dumps of MediaWiki, and files that WikiExtractor wrote from one.

Both give a document an article, with its title and id as columns, in bounded memory.
"""

import contextlib
import html
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, NamedTuple
from xml.etree import ElementTree

from ulmkit.errors import DataError
from ulmkit.text.read.columns import ReadOptions, RowReader
from ulmkit.text.read.document import Document, parse_json_value
from ulmkit.text.read.layout import OpenedFile
from ulmkit.text.read.text_files import open_data, uncompressed_name
from ulmkit.text.read.wiki_markup import MarkupReader, check_installed, is_disambiguation
from ulmkit.text.workers import available_processors, map_chunks

_DUMP_NAME = re.compile(r"\.xml(-p\d+p\d+)?$", re.IGNORECASE)
_EXTRACTED_NAME = re.compile(r"wiki_\d+")
_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_COLUMNS = ("text", "id", "title")
_FILE_NAMESPACE = "6"
_CATEGORY_NAMESPACE = "14"


def is_dump(path: Path) -> bool:
    """Recognize a dump by its name: .xml, also with the pages' numbers behind it, or compressed (.xml.bz2)."""
    return _DUMP_NAME.search(uncompressed_name(path)) is not None


def is_extracted(path: Path) -> bool:
    """Recognize a file of WikiExtractor by its name: wiki_00, wiki_01, ..., also compressed."""
    return _EXTRACTED_NAME.fullmatch(uncompressed_name(path)) is not None


class _Article(NamedTuple):
    id: str
    title: str
    markup: str


def open_wiki(path: Path, options: ReadOptions, split: str | None) -> OpenedFile:
    """Open a dump or a file of WikiExtractor, whose articles are documents of plain text.

    Raises:
        MissingPackageError: If it is a dump and mwparserfromhell is not installed.
        DataError: If it is truncated or something else.
    """
    columns = tuple(dict.fromkeys((*_COLUMNS[1:], *options.columns)))
    reader = RowReader(str(path), _COLUMNS, ("text",), replace(options, columns=columns))
    if is_dump(path):
        documents = _read_dump(path, reader, options.workers or available_processors(), split)
        return OpenedFile(reader.layout("MediaWiki dump"), documents)
    return OpenedFile(reader.layout("WikiExtractor"), _read_extracted(path, reader, split))


def _read_dump(path: Path, reader: RowReader, workers: int, split: str | None) -> Iterator[Document]:
    """Read the articles of a dump (pages-articles.xml, also .bz2).

    Redirects, pages outside the main namespace, disambiguation pages and pages without text are left out. What marks a
    link to a file or a category is taken from the dump itself, so any language will do.
    """
    check_installed()
    with open_data(path) as file:
        events = _events(file, path)
        link_namespaces = _link_namespaces(events, path)
        parsing = map_chunks(
            MarkupReader(link_namespaces),
            _articles(events),
            workers,
            content=lambda article: article.markup,
            characters=lambda article: len(article.markup),
        )
        with contextlib.closing(parsing):
            for articles, texts in parsing:
                for article, text in zip(articles, texts, strict=True):
                    if text:
                        row = {"text": text, "id": article.id, "title": article.title}
                        yield reader.document(row, f"{path}, page {article.id}", split)


def _read_extracted(path: Path, reader: RowReader, split: str | None) -> Iterator[Document]:
    """Read the articles of a file that WikiExtractor wrote, as <doc> blocks or, with its --json, a JSON object a line.

    The title, which its <doc> blocks repeat as the first line, is kept as a column alone.
    """
    with open_data(path) as file:
        for line, row in _extracted_rows(path, file):
            if row["text"].strip():
                yield reader.document(row, f"{path}, line {line}", split)


def _events(file: IO[bytes], path: Path) -> Iterator[tuple[str, ElementTree.Element]]:
    """Yield parsing events; each page is freed once it is read."""
    try:
        root: ElementTree.Element | None = None
        for event, element in ElementTree.iterparse(file, ("start", "end")):
            if root is None:
                root = element
            yield event, element
            if event == "end" and _name(element) == "page":
                root.clear()
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: not a readable dump ({error}); if it is truncated, fetch it again") from None


def _name(element: ElementTree.Element) -> str:
    """Return an element's name without its XML namespace, which changes with the version of the export."""
    return element.tag.rpartition("}")[2]


def _link_namespaces(events: Iterator[tuple[str, ElementTree.Element]], path: Path) -> frozenset[str]:
    """Read the dump's head: the names of the namespaces of files and categories, in English and its own language."""
    names = {"file", "image", "category"}
    for event, element in events:
        if event == "start" and not _name(element).startswith("mediawiki"):
            break
        if event == "start":
            continue
    else:
        raise DataError(f"{path}: expected a dump of MediaWiki, got an empty one")
    if _name(element) != "siteinfo":
        raise DataError(f"{path}: expected a dump of MediaWiki (<mediawiki><siteinfo>), got <{_name(element)}>")
    for event, element in events:
        if event == "end" and _name(element) == "namespace":
            if element.get("key") in (_FILE_NAMESPACE, _CATEGORY_NAMESPACE):
                names.add((element.text or "").strip().lower())
        elif event == "end" and _name(element) == "siteinfo":
            break
    return frozenset(names)


def _articles(events: Iterator[tuple[str, ElementTree.Element]]) -> Iterator[_Article]:
    for event, element in events:
        if event == "end" and _name(element) == "page":
            fields = {_name(child): child for child in element}
            if _text(fields.get("ns")) not in ("", "0") or "redirect" in fields or "revision" not in fields:
                continue
            title = _text(fields.get("title"))
            markup = next((_text(child) for child in fields["revision"] if _name(child) == "text"), "")
            if markup and not is_disambiguation(title, markup):
                yield _Article(_text(fields.get("id")), title, markup)


def _text(element: ElementTree.Element | None) -> str:
    return "" if element is None else element.text or ""


def _extracted_rows(path: Path, file: IO[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line at which each article begins, and its text, id and title."""
    row: dict[str, Any] | None = None
    lines: list[str] = []
    start = 0
    for number, data in enumerate(file, start=1):
        try:
            line = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, line {number}: expected UTF-8 text ({error.reason})") from None
        stripped = line.strip()
        if row is None and stripped.startswith("<doc "):
            row = {name: html.unescape(value) for name, value in _ATTRIBUTE.findall(stripped)}
            start = number
            lines = []
        elif row is not None and stripped == "</doc>":
            yield start, _row(path, start, row, "".join(lines))
            row = None
        elif row is not None:
            lines.append(line)
        elif stripped.startswith("{"):
            values = parse_json_value(stripped, f"{path}, line {number}")
            yield number, _row(path, number, values, str(values.get("text", "")))
        elif stripped:
            raise DataError(f"{path}, line {number}: expected <doc id= title=> or a JSON object, got {stripped[:40]!r}")
    if row is not None:
        raise DataError(f"{path}, line {start}: <doc> is not closed by </doc>; the file is truncated")


def _row(path: Path, line: int, values: dict[str, Any], text: str) -> dict[str, Any]:
    for name in ("id", "title"):
        if name not in values:
            raise DataError(f"{path}, line {line}: has no {name}, as WikiExtractor's articles do")
    title = str(values["title"])
    lines = [line.strip() for line in text.strip().split("\n")]
    if lines and lines[0] == title:
        del lines[0]
    return {"text": "\n".join(line for line in lines if line), "id": str(values["id"]), "title": title}
