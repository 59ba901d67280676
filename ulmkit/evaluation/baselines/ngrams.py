"""Words and word n-grams as sparse features."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

Text: TypeAlias = str | tuple[str, ...]
Tokenize: TypeAlias = Callable[[str], Sequence[str]]

_WORD = re.compile(r"\w+")
_MANY_DOCUMENTS = 5000  # from here on n-grams that only one document has are left out: a quarter remains


class NGrams:
    """Words and word n-grams of a text, of each field on its own where there are several.

    Args:
        tokenize: Splits a text into words; None takes runs of word characters in lower case.
        longest: Maximum number of words in an n-gram.
    """

    def __init__(self, tokenize: Tokenize | None = None, longest: int = 2) -> None:
        self.tokenize = tokenize
        self.longest = longest

    def __call__(self, text: Text) -> list[str]:
        """n-grams, words joined by a space; those of the second and later fields begin with the field's number."""
        if isinstance(text, str):
            return self._of(text)
        return [f"{number}:{gram}" if number else gram for number, field in enumerate(text) for gram in self._of(field)]

    def _of(self, text: str) -> list[str]:
        words = _WORD.findall(text.lower()) if self.tokenize is None else list(self.tokenize(text))
        pairs = [f"{a} {b}" for a, b in pairwise(words)]
        if self.longest < 3:
            return words + pairs
        return words + pairs + [f"{pair} {c}" for pair, c in zip(pairs, words[2:], strict=False)]


def tfidf_features(documents: int, tokenize: Tokenize | None) -> Any:
    """An unfitted TF-IDF vectorizer (1 + log tf, unit length) for so many training documents."""
    min_documents = 2 if documents >= _MANY_DOCUMENTS else 1
    return TfidfVectorizer(analyzer=NGrams(tokenize), sublinear_tf=True, min_df=min_documents)


def binary_features(documents: int, tokenize: Tokenize | None) -> Any:
    """An unfitted vectorizer to 0 and 1 for so many training documents; many are enough for n-grams of three words."""
    longest, min_documents = (3, 2) if documents >= _MANY_DOCUMENTS else (2, 1)
    return CountVectorizer(analyzer=NGrams(tokenize, longest), binary=True, min_df=min_documents, dtype=np.float64)
