"""Options that tokenizers are made from. Imports without numpy."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TokenizerOptions:
    """Options of the kinds of tokenizer; each kind reads its own.

    Attributes:
        language: Language code for spacy.
        pieces: Number of SentencePiece pieces.
        pieces_kind: SentencePiece algorithm: unigram or bpe.
        byte_fallback: Let SentencePiece spell characters that it does not know in bytes (256 of its pieces).
    """

    language: str = "en"
    pieces: int = 16_000
    pieces_kind: str = "unigram"
    byte_fallback: bool = False
