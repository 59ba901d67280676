"""Fingerprints of documents: the same text is known again, whatever file it is in and however it is tokenized."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ulmkit.errors import ConfigError
from ulmkit.files import fingerprint, sha256_file
from ulmkit.text.read.document import Document
from ulmkit.text.read.documents import DocumentSource
from ulmkit.text.read.text_files import COMPRESSIONS
from ulmkit.text.tokens.tokenizer import text_fields

_PIECE_CHARACTERS = 1 << 20  # of a text, which may be a whole corpus, encoded at once


def data_fingerprint(documents: Sequence[Document] | DocumentSource) -> str:
    """Fingerprint all documents, as cheaply as where they come from allows.

    Files are not parsed: theirs is made from their bytes, extensions, splits and labels, in reading order, and from the
    options by which they are read. Documents given in Python and data sets of the hub are read once, for their content.

    Raises:
        ConfigError: If the documents can be read only once.
        DataError: If they cannot be read.
    """
    if isinstance(documents, Iterator):
        raise ConfigError("documents: expected a list or a DocumentSource, which can be read twice, got an iterator")
    files = documents.files() if isinstance(documents, DocumentSource) else None
    if files is None:
        return fingerprint_documents(documents)
    assert isinstance(documents, DocumentSource)
    options = {**vars(documents.options), "label_kind": documents.options.label_kind.name}
    del options["workers"]  # they do not change what is read
    described = [
        [sha256_file(file.path), _extensions(file.path), file.split, file.label, file.is_document] for file in files
    ]
    return fingerprint(described, options, sorted(documents.wanted or ()))


def _extensions(path: Path) -> str:
    return path.suffix.lower() if path.suffix.lower() not in COMPRESSIONS else "".join(path.suffixes[-2:]).lower()


def fingerprint_documents(documents: Iterable[Document]) -> str:
    """Hash everything that documents say: SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    for document in documents:
        known = (document.label, document.tokens, document.group, document.time, document.split)
        digest.update(json.dumps([_lengths(document), *known, dict(document.columns)]).encode())
        _add_text(digest, document)
    return digest.hexdigest()


def text_fingerprint(document: Document) -> int:
    """Hash a document's text alone to a number below 2^64, the first 8 bytes of SHA-256."""
    digest = hashlib.sha256(json.dumps(_lengths(document)).encode())
    _add_text(digest, document)
    return int.from_bytes(digest.digest()[:8])


def joined_fingerprint(fingerprints: Iterable[int]) -> str:
    """Join the fingerprints of documents, in any order, or of their splits.

    Returns:
        Their sum modulo 2^64 as 16 hexadecimal digits.
    """
    return f"{sum(fingerprints) % (1 << 64):016x}"


def _lengths(document: Document) -> int | list[int]:
    """Count the characters of the text, or of each field."""
    return len(document.text) if isinstance(document.text, str) else list(map(len, document.text))


def _add_text(digest: "hashlib._Hash", document: Document) -> None:
    for field in text_fields(document.text):
        for start in range(0, len(field), _PIECE_CHARACTERS):
            digest.update(field[start : start + _PIECE_CHARACTERS].encode("utf-8", "surrogatepass"))
