"""Subwords of a SentencePiece model trained here or by fastai, after the clean-up rules."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ulmkit.errors import DataError, FolderError, MissingPackageError
from ulmkit.files import read_bytes
from ulmkit.safe_writes import atomic_write
from ulmkit.text.tokens.chunked_tokenizer import ChunkedTokenizer, encode_missing
from ulmkit.text.tokens.parts import KEPT_CHUNKS, case_segments, segment_tokens, without_specials
from ulmkit.text.tokens.restore import Piece, join_pieces
from ulmkit.text.tokens.rules import (
    BOS,
    EOS,
    FLD,
    LINE,
    MAJ,
    PAD,
    PARAGRAPH,
    REP,
    SPECIALS,
    UNK,
    UP,
    WREP,
    case_marks,
)
from ulmkit.text.tokens.vocabulary import Vocabulary

MODEL_FILE = "spm.model"
SPACE = "▁"

# Pieces of a character that the model spells in bytes; other pieces have no capitals.
_BYTES = re.compile(r"(?:<0x[0-9A-F]{2}>)+")

RESERVED = (*SPECIALS, LINE, PARAGRAPH)
"""Ids 0 to 10 of every model: tokens that no text is ever split into by the model itself."""

_FASTAI_SPECIALS = {SPACE + token for token in (UNK, PAD, BOS, FLD, REP, WREP, UP, MAJ)}
"""Pieces among the first of a model that fastai 1 or 2 trained."""


class SentencePieceTokenizer(ChunkedTokenizer):
    """Lower-case subwords with marks for capitals; "▁" at the start of a subword stands for white space.

    Each stretch without white space is split on its own, so that its subwords depend on nothing around it.

    fastai's models have no pieces for line breaks, put a space before every text, and know the special tokens as words:
    line breaks are left out, and capitals within a word have no mark, as in fastai. Their vocabulary is open: fastai
    keeps the pieces that are frequent in its text.

    Args:
        model: Bytes of a model that `train_sentencepiece` or fastai's SentencePieceTokenizer made.

    Raises:
        DataError: If they are not such a model.
        MissingPackageError: If sentencepiece is not installed.
    """

    name = "sentencepiece"
    units = "SentencePiece subwords"
    package = "sentencepiece"

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._processor = load_model(model)
        first = min(len(RESERVED), self._processor.get_piece_size())
        pieces = [self._processor.id_to_piece(number) for number in range(first)]
        self._is_fastai = set(pieces) >= _FASTAI_SPECIALS
        if pieces != list(RESERVED) and not self._is_fastai:
            raise DataError(
                f"sentencepiece model: expected the special tokens {', '.join(SPECIALS)} as its first pieces, "
                f"got {', '.join(pieces)}; train it with train_sentencepiece"
            )
        super().__init__()

    def __reduce__(self) -> tuple[type["SentencePieceTokenizer"], tuple[bytes]]:
        return type(self), (self._model,)

    @property
    def settings(self) -> dict[str, str]:
        """The SHA-256 of the model."""
        return {"model_sha256": hashlib.sha256(self._model).hexdigest()}

    def _empty_caches(self) -> None:
        super()._empty_caches()
        if self._is_fastai:
            self._cache.update(dict.fromkeys((LINE, PARAGRAPH), ()))

    def _encode_parts(self, parts: Sequence[tuple[str, bool]]) -> list[Sequence[str]]:
        if self._is_fastai:
            cut = [_whole_segment(part) for part, _ in parts]
        else:
            cut = [case_segments(part, is_glued) for part, is_glued in parts]
        subwords = self._part_cache  # emptying replaces it; this call goes on with the one it started with
        encode_missing(subwords, (text for segments in cut for _, text in segments), self._encode_texts)
        return [segment_tokens(segments, subwords) for segments in cut]

    def _encode_texts(self, texts: list[str]) -> Iterator[tuple[str, ...]]:
        return map(without_specials, self._processor.encode(texts, out_type=str, num_threads=1))

    def detokenize(self, tokens: Sequence[str]) -> str:
        """Write the text as people would: capitals and repetitions written out, spaces where the subwords have them."""
        return join_pieces(_joined_subwords(tokens))

    def starts_word(self, token: str) -> bool:
        """Tell whether a subword follows white space."""
        return token.startswith(SPACE)

    def spell(self, tokens: Sequence[str]) -> str:
        """Write the text of subwords, characters that are spelt in bytes included."""
        return _BYTES.sub(_decode_bytes, "".join(tokens)).removeprefix(SPACE)

    def closed_vocabulary(self) -> Vocabulary | None:
        """Return the model's own pieces, in the order of its ids: the special tokens, line breaks, subwords.

        None for a model of fastai's.
        """
        if self._is_fastai:
            return None
        return Vocabulary(self._processor.id_to_piece(number) for number in range(self._processor.get_piece_size()))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write tokenizer.json and spm.model."""
        with atomic_write(Path(folder) / MODEL_FILE, "wb") as file:
            file.write(self._model)
        super().save(folder)

    @classmethod
    def from_settings(cls, folder: Path, *, model_sha256: str) -> "SentencePieceTokenizer":
        """Load the tokenizer that `save` wrote.

        Raises:
            FolderError: If the model is missing or not the one that was saved.
        """
        path = folder / MODEL_FILE
        model = read_bytes(path)
        digest = hashlib.sha256(model).hexdigest()
        if digest != model_sha256:
            raise FolderError(f"{path}: expected SHA-256 {model_sha256}, got {digest}; it is truncated or was altered")
        return cls(model)


def _whole_segment(part: str) -> list[tuple[str, str]]:
    """Lower-case text of a part as one segment after a space, with the mark at its start if there is one."""
    marks = case_marks(part)
    return [(marks[0][1] if marks and marks[0][0] == 0 else "", " " + part.lower())]


def _joined_subwords(tokens: Sequence[str]) -> Iterator[Piece]:
    """Subwords put together up to the next white space or special token."""
    subwords: list[str] = []
    for token in (*tokens, EOS):
        is_kept = token in KEPT_CHUNKS
        if subwords and (is_kept or token.startswith(SPACE)):
            text = _BYTES.sub(_decode_bytes, "".join(subwords))
            yield Piece(text.removeprefix(SPACE), glued=not text.startswith(SPACE))
            subwords = []
        if is_kept:
            yield Piece(token)
        else:
            subwords.append(token)


def _decode_bytes(spelt: re.Match[str]) -> str:
    return bytes.fromhex(re.sub(r"<0x|>", "", spelt[0])).decode(errors="replace")


def import_sentencepiece() -> Any:
    """Import the package.

    Raises:
        MissingPackageError: If it is not installed.
    """
    try:
        import sentencepiece
    except ImportError as error:
        raise MissingPackageError("sentencepiece: is not installed; run: pip install sentencepiece") from error
    return sentencepiece


def load_model(model: bytes) -> Any:
    """Load a SentencePiece processor from a model's bytes.

    Raises:
        DataError: If they are no model.
        MissingPackageError: If sentencepiece is not installed.
    """
    processor = import_sentencepiece().SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model)
    except (RuntimeError, TypeError) as error:
        raise DataError(
            f"sentencepiece model: expected a model's bytes, got {len(model)} bytes that are not a model; "
            "train it again"
        ) from error
    return processor
