"""Text to token ids for an exported model, without ulmkit.

An export takes this file along, as `__init__.py` of a package `text_reader`, with copies of `parts`, `rules` and
`characters` beside it. It needs NumPy, and sentencepiece or spaCy if the tokenizer does.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ulmkit.text.characters import normalise
from ulmkit.text.tokens.parts import (
    KEPT_CHUNKS,
    case_segments,
    chunk_parts,
    field_chunks,
    segment_tokens,
    with_marks,
    without_specials,
)
from ulmkit.text.tokens.rules import BOS, FLD, REP, UNK, case_marks


class TextReader:
    """The tokenizer and the vocabulary of an exported model.

    Args:
        folder: The exported folder; None takes the one that this file was written into.

    Attributes:
        config: Content of config.json.
        labels: Labels in the order of the probabilities; empty for a number.
        vocabulary: Tokens in the order of their ids.
        state_size: Values of the state of a document.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        place = Path(__file__).parents[1] if folder is None else Path(folder)
        self.config: dict[str, Any] = _read_json(place / "config.json")
        self.labels: list[str] = self.config["label_names"]
        self.state_size: int = self.config["state_size"]
        self.vocabulary: list[str] = _read_json(place / "vocabulary.json")["tokens"]
        self._ids = {token: number for number, token in enumerate(self.vocabulary)}
        self._unknown = self._ids.get(UNK, self._ids.get("<unk>"))
        described = _read_json(place / "tokenizer" / "tokenizer.json")
        make = _TOKENIZERS[described["name"]]
        self._tokenize = make(place / "tokenizer", **described["settings"])

    def tokens(self, text: str | Sequence[str]) -> list[str]:
        """Tokenize a text, or the fields of a document, in the order of the text."""
        return self._tokenize((text,) if isinstance(text, str) else tuple(text))

    def ids(self, text: str | Sequence[str]) -> np.ndarray:
        """Look up the ids of a text's tokens, in the order in which the model reads them.

        Returns:
            (T,) int64; a backward model reads the text from its end, xxbos still first.

        Raises:
            ValueError: If the vocabulary lacks a token and has none for unknown ones.
        """
        numbers = [self._ids.get(token, self._unknown) for token in self.tokens(text)]
        if None in numbers:
            raise ValueError("text: has a word that the vocabulary lacks, and there is no token for unknown words")
        ids = np.array(numbers, dtype=np.int64)
        if self.config["direction"] == "backward":
            first = 1 if len(ids) and ids[0] == self._ids.get(BOS) else 0
            ids = np.concatenate([ids[:first], ids[first:][::-1]])
        return ids

    def batch(self, texts: Iterable[str | Sequence[str]]) -> tuple[np.ndarray, np.ndarray]:
        """Look up the ids of several texts.

        Returns:
            Ids (B, T) int64, zeros after the end of a text, and lengths (B,) int64. T is at least 1.
        """
        listed = [self.ids(text) for text in texts]
        lengths = np.array([len(ids) for ids in listed], dtype=np.int64)
        padded = np.zeros((len(listed), max([1, *lengths])), dtype=np.int64)
        for row, ids in zip(padded, listed, strict=True):
            row[: len(ids)] = ids
        return padded, lengths

    def start(self, documents: int) -> np.ndarray:
        """Make the state before the first token of documents: zeros, (documents, state_size) float32."""
        return np.zeros((documents, self.state_size), dtype=np.float32)


_Tokenize = Callable[[Sequence[str]], list[str]]
_Encode = Callable[[list[tuple[str, bool]]], Iterable[Sequence[str]]]


def _sentencepiece(folder: Path, *, model_sha256: str) -> _Tokenize:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spm.model"))

    def encode(parts: list[tuple[str, bool]]) -> Iterator[Sequence[str]]:
        cut = [case_segments(part, is_glued) for part, is_glued in parts]
        texts = list(dict.fromkeys(text for segments in cut for _, text in segments))
        subwords = dict(zip(texts, map(without_specials, processor.encode(texts, out_type=str)), strict=True))
        return (segment_tokens(segments, subwords) for segments in cut)

    return lambda fields: _by_chunks(fields, encode)


def _spacy(folder: Path, *, language: str) -> _Tokenize:
    import spacy

    splitter = spacy.blank(language).tokenizer

    def encode(parts: list[tuple[str, bool]]) -> Iterator[Sequence[str]]:
        for part, _ in parts:
            words = [token.text for token in splitter(part.lower())]
            yield with_marks(words, case_marks(part))

    return lambda fields: _by_chunks(fields, encode)


def _by_chunks(fields: Sequence[str], encode: _Encode) -> list[str]:
    """Tokenize each stretch without white space on its own: its parts by `encode`, marks as they are."""
    cut = [(chunk, [] if chunk in KEPT_CHUNKS else chunk_parts(chunk)) for chunk in field_chunks(fields)]
    encoded = iter(encode([part for _, parts in cut for part in parts if part[0] != REP]))
    tokens = [BOS]
    for chunk, parts in cut:
        if not parts:
            tokens.append(chunk)
        for part, _ in parts:
            tokens += [REP] if part == REP else next(encoded)
    return tokens


def _whitespace(folder: Path, *, end_of_line: str, unknown: str) -> _Tokenize:
    def tokenize(fields: Sequence[str]) -> list[str]:
        (text,) = fields
        lines = normalise(text).split("\n")
        if not lines[-1]:
            lines.pop()
        return [token for line in lines for token in (*line.split(), end_of_line)]

    return tokenize


def _bytes(folder: Path) -> _Tokenize:
    def spell(text: str) -> list[str]:
        return [f"<0x{value:02X}>" for value in normalise(text).encode()]

    def tokenize(fields: Sequence[str]) -> list[str]:
        if len(fields) == 1:
            return [BOS, *spell(fields[0])]
        numbered = enumerate(fields, start=1)
        return [BOS, *(token for number, field in numbered for token in (FLD, *spell(str(number)), *spell(field)))]

    return tokenize


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


_TOKENIZERS: dict[str, Callable[..., _Tokenize]] = {
    "sentencepiece": _sentencepiece,
    "spacy": _spacy,
    "whitespace": _whitespace,
    "bytes": _bytes,
}
