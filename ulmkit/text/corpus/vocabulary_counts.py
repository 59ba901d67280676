"""Choice of the vocabulary that a corpus is encoded with."""

from collections.abc import Sequence

import numpy as np

from ulmkit.errors import DataError
from ulmkit.text.tokens.tokenizer import Tokenizer
from ulmkit.text.tokens.vocabulary import Vocabulary

_MAX_UNKNOWN_RATE = 0.5
_ENOUGH_TOKENS = 1000


def choose_vocabulary(
    tokenizer: Tokenizer,
    vocabulary: Vocabulary | None,
    types: Sequence[str],
    counts: np.ndarray,
    max_vocab: int | None = None,
    min_freq: int | None = None,
) -> Vocabulary:
    """Choose the vocabulary: the tokenizer's own, else the given one, else one built from counts.

    Args:
        tokenizer: The tokenizer of the corpus.
        vocabulary: A vocabulary to use; None to choose one.
        types: The distinct tokens of all text.
        counts: (types,) occurrences of each in the training text.
        max_vocab: Maximum size of a built vocabulary; None for the tokenizer's default.
        min_freq: Minimum occurrences of a token in a built vocabulary; None for the tokenizer's default.

    Raises:
        DataError: If `vocabulary` is not the tokenizer's.
        ConfigError: As `Tokenizer.build_vocabulary`.
    """
    closed = tokenizer.closed_vocabulary()
    if closed is not None:
        if vocabulary is not None and vocabulary != closed:
            raise DataError(
                f"vocabulary: expected the {tokenizer.name} tokenizer's own ({len(closed)} tokens), got another "
                f"({len(vocabulary)} tokens); leave it out, or use the tokenizer it was made with"
            )
        return closed
    if vocabulary is None:
        return tokenizer.build_vocabulary(dict(zip(types, map(int, counts), strict=True)), max_vocab, min_freq)
    for token in tokenizer.required_tokens:
        if token not in vocabulary:
            raise DataError(
                f"vocabulary: expected one made with the {tokenizer.name} tokenizer, got one without {token!r}; "
                "use the tokenizer it was made with"
            )
    return vocabulary


def check_unknown(tokenizer: Tokenizer, unknown: int, tokens: int) -> None:
    """Check that a given vocabulary knows enough of the text's tokens to be the tokenizer's.

    Args:
        tokenizer: The tokenizer of the corpus.
        unknown: Tokens that are not in the vocabulary.
        tokens: All tokens.

    Raises:
        DataError: If more than half of at least 1,000 tokens are unknown.
    """
    if tokens >= _ENOUGH_TOKENS and unknown > _MAX_UNKNOWN_RATE * tokens:
        raise DataError(
            f"vocabulary: expected one that knows the text, got one that lacks {unknown / tokens:.0%} of its tokens; "
            f"it belongs to another tokenizer than {tokenizer.name!r}, or to another language"
        )
