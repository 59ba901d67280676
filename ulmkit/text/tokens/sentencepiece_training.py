"""Training a SentencePiece model, in this process and in bounded memory."""

import io
import re
from collections import Counter
from collections.abc import Iterable

from ulmkit.config import check_choice, check_whole
from ulmkit.errors import ConfigError, DataError
from ulmkit.text.tokens.parts import KEPT_CHUNKS, case_segments, chunk_parts
from ulmkit.text.tokens.rules import BOS, EOS, PAD, REP, UNK, prepare_text
from ulmkit.text.tokens.sentencepiece_tokenizer import (
    RESERVED,
    SentencePieceTokenizer,
    import_sentencepiece,
)
from ulmkit.text.tokens.tokenizer import Text, text_fields

MAX_COUNTED = 1_000_000
"""Distinct stretches of text counted, about 150 MB of English; beyond it every second one of the rare is dropped."""

_CHARACTERS_AT_ONCE = 8_000_000
_MAX_COUNT = 2**31 - 1


def train_sentencepiece(
    texts: Iterable[Text],
    pieces: int = 16_000,
    pieces_kind: str = "unigram",
    character_coverage: float = 0.9998,
    max_counted: int = MAX_COUNTED,
    byte_fallback: bool = False,
) -> SentencePieceTokenizer:
    """Train a SentencePiece tokenizer; the same texts in the same order give the same model.

    The model learns from counts of the stretches it will be given, which bounds memory however long the texts are.

    Args:
        texts: Read once.
        pieces: Number of tokens, the 11 reserved ones included; fewer if the text does not have so many.
        pieces_kind: "unigram" or "bpe".
        character_coverage: Share of the text's characters that the model must know; rarer ones are unknown.
        max_counted: Distinct stretches of text counted at once, a bound on memory.
        byte_fallback: Whether characters that the model does not know are spelt in UTF-8 bytes, 256 of its pieces,
            instead of being unknown.

    Raises:
        ConfigError: If an option is out of range, or `pieces` too small for the characters there are.
        DataError: If there is no text.

    Source: unigram: Kudo 2018, arXiv:1804.10959, section 3.2; bpe: Sennrich et al. 2016, arXiv:1508.07909, section 3.2.
    """
    check_choice("pieces_kind", pieces_kind, ("unigram", "bpe"))
    check_whole("pieces", pieces)
    if pieces <= len(RESERVED):
        raise ConfigError(f"pieces: expected more than the {len(RESERVED)} reserved tokens, got {pieces!r}")
    if not 0.5 <= character_coverage <= 1:
        raise ConfigError(f"character_coverage: expected 0.5 <= share <= 1, got {character_coverage!r}")
    counts = _count_segments(texts, max_counted)
    if not counts:
        raise DataError("texts: expected some text to train sentencepiece on, got none; check the text column")
    return SentencePieceTokenizer(_train(counts, pieces, pieces_kind, character_coverage, byte_fallback))


def _count_segments(texts: Iterable[Text], max_counted: int) -> Counter[str]:
    """Occurrences of each stretch that the tokenizer would give to the model, in the order of their first one."""
    segments: Counter[str] = Counter()
    chunks: Counter[str] = Counter()
    characters = 0
    for text in texts:
        for field in text_fields(text):
            chunks.update(prepare_text(field))
            characters += len(field)
        if characters > _CHARACTERS_AT_ONCE:
            _add_segments(segments, chunks, max_counted)
            chunks.clear()
            characters = 0
    _add_segments(segments, chunks, max_counted)
    return segments


def _add_segments(segments: Counter[str], chunks: Counter[str], max_counted: int) -> None:
    for chunk, count in chunks.items():
        if chunk in KEPT_CHUNKS:
            continue
        for part, is_glued in chunk_parts(chunk):
            if part != REP:
                for _, segment in case_segments(part, is_glued):
                    segments[segment] += count
    rare_below = 2
    while len(segments) > max_counted:
        rare = [segment for segment, count in segments.items() if count < rare_below]
        for segment in rare[::2]:
            del segments[segment]
        rare_below *= 2


def _train(
    counts: Counter[str], pieces: int, pieces_kind: str, character_coverage: float, byte_fallback: bool
) -> bytes:
    sentencepiece = import_sentencepiece()
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(f"{segment}\t{min(count, _MAX_COUNT)}" for segment, count in counts.items()),
            input_format="tsv",
            model_writer=model,
            model_type=pieces_kind,
            vocab_size=pieces,
            hard_vocab_limit=False,
            character_coverage=character_coverage,
            byte_fallback=byte_fallback,
            unk_id=0,
            unk_piece=UNK,
            pad_id=1,
            pad_piece=PAD,
            bos_id=2,
            bos_piece=BOS,
            eos_id=3,
            eos_piece=EOS,
            control_symbols=list(RESERVED[4:]),
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            split_by_whitespace=True,
            num_threads=1,  # the order of sums, and so the model, would depend on the number
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ConfigError(f"pieces: {_describe(error, pieces)}; or take tokenizer='bytes', which needs none") from error
    return model.getvalue()


def _describe(error: RuntimeError, pieces: int) -> str:
    """Say in our terms why SentencePiece refuses a number of pieces: no source line, and no option that we lack."""
    if match := re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error)):
        return f"expected at least {match[1]}, for the characters of this text, got {pieces}; give as many"
    reason = str(error).rpartition("] ")[2].strip().rstrip(".") or "no reason given"
    return f"got {pieces}, which SentencePiece cannot train on this text ({reason}); give another number"
