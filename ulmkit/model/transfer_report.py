"""The report on a transfer of weights to a new vocabulary. Imports without torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TransferReport:
    """Coverage of a new vocabulary by the old one.

    Attributes:
        vocabulary_size: Tokens in the new vocabulary.
        matched: Tokens that both vocabularies have.
        corpus_share: Share of the corpus's tokens that are matched, 0..1; None if not counted.
    """

    vocabulary_size: int
    matched: int
    corpus_share: float | None = None
