"""Tokens of texts that are cut into words beforehand."""

from collections.abc import Sequence

import numpy as np

from ulmkit.text.tokens.rules import UNK
from ulmkit.text.tokens.tokenizer import Tokenizer, WordTokens


def tokenize_each_word(tokenizer: Tokenizer, documents: Sequence[Sequence[str]], gap: str = "") -> WordTokens:
    """Tokenize each word alone, so that no rule and no subword reaches over a word's end.

    Each word has at least one token (xxunk for a word of white space).

    Args:
        tokenizer: Tokenizes the words.
        documents: The words of each document.
        gap: Put before each word but the first, for a tokenizer that does not mark where words begin itself.

    Returns:
        The tokens and the last token of each word; see `Tokenizer.tokenize_words`.
    """
    lead = tokenizer.tokenize("")
    spaced = [[gap * (place > 0) + word for place, word in enumerate(words)] for words in documents]
    distinct = list(dict.fromkeys(word for words in spaced for word in words))
    encoded = tokenizer.tokenize_many(distinct)
    pieces = {word: tokens[len(lead) :] or [UNK] for word, tokens in zip(distinct, encoded, strict=True)}
    tokenized: list[list[str]] = []
    ends: list[np.ndarray] = []
    for words in spaced:
        parts = [pieces[word] for word in words]
        tokenized.append([*lead, *(token for part in parts for token in part)])
        ends.append(len(lead) - 1 + np.cumsum([len(part) for part in parts], dtype=np.int64))
    return tokenized, ends
