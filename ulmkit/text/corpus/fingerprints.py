"""Digests of documents: the same text is known again, whatever file it is in and however it is tokenized."""

import hashlib
import json
from collections.abc import Iterable

from ulmkit.text.read.document import Document

_PIECE_CHARACTERS = 1 << 20  # of a text, which may be a whole corpus, encoded at once


def fingerprint_documents(documents: Iterable[Document]) -> str:
    """SHA-256 of all that documents say, in hexadecimal."""
    digest = hashlib.sha256()
    for document in documents:
        known = (document.label, document.tokens, document.group, document.time, document.split)
        digest.update(json.dumps([_lengths(document), *known, dict(document.columns)]).encode())
        _add_text(digest, document)
    return digest.hexdigest()


def text_fingerprint(document: Document) -> int:
    """A number below 2^64 that stands for a document's text alone: the first 8 bytes of SHA-256."""
    digest = hashlib.sha256(json.dumps(_lengths(document)).encode())
    _add_text(digest, document)
    return int.from_bytes(digest.digest()[:8])


def joined_fingerprint(fingerprints: Iterable[int]) -> str:
    """Of several documents in any order, or of their splits: the sum modulo 2^64, as 16 hexadecimal digits."""
    return f"{sum(fingerprints) % (1 << 64):016x}"


def _lengths(document: Document) -> int | list[int]:
    """Of the text, or of its fields, in characters."""
    return len(document.text) if isinstance(document.text, str) else list(map(len, document.text))


def _add_text(digest: "hashlib._Hash", document: Document) -> None:
    for field in (document.text,) if isinstance(document.text, str) else document.text:
        for start in range(0, len(field), _PIECE_CHARACTERS):
            digest.update(field[start : start + _PIECE_CHARACTERS].encode("utf-8", "surrogatepass"))
