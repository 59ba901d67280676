"""Which vocabulary a corpus is encoded with."""

from collections.abc import Sequence

import numpy as np

from ulmkit.errors import DataError
from ulmkit.text.tokens.plain_tokenizers import WhitespaceTokenizer
from ulmkit.text.tokens.rules import SPECIALS
from ulmkit.text.tokens.tokenizer import Tokenizer
from ulmkit.text.tokens.vocabulary import Vocabulary

MAX_VOCAB = 60_000
MIN_FREQ = 3
_MAX_UNKNOWN_RATE = 0.5
_ENOUGH_TOKENS = 1000


def choose_vocabulary(
    tokenizer: Tokenizer,
    given: Vocabulary | None,
    types: Sequence[str],
    counts: np.ndarray,
    max_vocab: int | None = None,
    min_freq: int | None = None,
) -> Vocabulary:
    """The tokenizer's own vocabulary, the one given, or one built from counts.

    Args:
        given: a vocabulary to use, or None.
        types: the distinct tokens of all text. counts: (types,) how often each occurs in the training text.
        max_vocab, min_freq: for one that is built; None: 60,000 and 3, but for word-level corpora (whitespace
            tokenizer) every word of the training text. These get the unknown token, as the first, only if some word
            needs it, and keep their end of line whatever its count.
    Raises: DataError if `given` is not the tokenizer's; ConfigError or DataError as Vocabulary.build.
    """
    own = tokenizer.closed_vocabulary()
    if own is not None:
        if given is not None and given != own:
            raise DataError(
                f"vocabulary: expected the {tokenizer.name} tokenizer's own ({len(own)} tokens), got another "
                f"({len(given)} tokens); leave it out, or use the tokenizer it was made with"
            )
        return own
    if given is not None:
        _check_marks(tokenizer, given)
        return given
    frequency = {token: int(count) for token, count in zip(types, counts, strict=True) if count}
    if not isinstance(tokenizer, WhitespaceTokenizer):
        return Vocabulary.build(
            frequency,
            MAX_VOCAB if max_vocab is None else max_vocab,
            MIN_FREQ if min_freq is None else min_freq,
            SPECIALS,
        )
    size = len(types) + 2 if max_vocab is None else max_vocab
    least = 1 if min_freq is None else min_freq
    marks = (tokenizer.unknown, tokenizer.end_of_line)
    built = Vocabulary.build(frequency, size, least, ())
    if all(mark in built for mark in marks) or all(token in built for token in types):
        return built
    return Vocabulary.build(frequency, size, least, marks)


def _check_marks(tokenizer: Tokenizer, given: Vocabulary) -> None:
    """Every document begins or ends with a token of the tokenizer's own, which its vocabularies have."""
    marks = [tokenizer.end_of_line] if isinstance(tokenizer, WhitespaceTokenizer) else tokenizer.tokenize("")
    for mark in marks:
        if mark not in given:
            raise DataError(
                f"vocabulary: expected one made with the {tokenizer.name} tokenizer, got one without {mark!r}; "
                "use the tokenizer it was made with"
            )


def check_unknown(tokenizer: Tokenizer, given: Vocabulary, unknown: int, tokens: int) -> None:
    """Raise DataError if so many of the text's tokens are unknown that `given` must be of another tokenizer.

    Args: unknown: tokens that are not in the vocabulary, of `tokens`.
    """
    if tokens >= _ENOUGH_TOKENS and unknown > _MAX_UNKNOWN_RATE * tokens:
        raise DataError(
            f"vocabulary: expected one that knows the text, got one that lacks {unknown / tokens:.0%} of its tokens; "
            f"it belongs to another tokenizer than {tokenizer.name!r}, or to another language"
        )
