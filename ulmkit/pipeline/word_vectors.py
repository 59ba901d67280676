"""Word vectors of the text that a language model is pretrained on."""

from collections.abc import Sequence

import numpy as np

from ulmkit.members.word_vectors import WordVectors, learn_word_vectors
from ulmkit.text import EncodedCorpus
from ulmkit.text.words import WordReader, WordSequence, should_join_tokens

_MOST_TOKENS = 120_000_000
_DOCUMENTS_AT_ONCE = 1000


def corpus_word_vectors(corpus: EncodedCorpus, splits: Sequence[str], seed: int = 0) -> WordVectors | None:
    """Learn word vectors from the documents of some splits; from 120 million tokens of them, if there are more.

    Args:
        corpus: The documents.
        splits: Names of splits.
        seed: Seed of the choice of documents and of the learning.

    Returns:
        The vectors; None if there is too little text.
    """
    rows = np.random.default_rng([seed, 7]).permutation(np.concatenate([corpus.rows(name) for name in splits]))
    joins_tokens = should_join_tokens(
        corpus.tokenizer, corpus.vocabulary, [corpus.document(row) for row in rows[:_DOCUMENTS_AT_ONCE]]
    )
    reader = WordReader(corpus.tokenizer, corpus.vocabulary, joins_tokens=joins_tokens, is_open=True)
    parts: list[WordSequence] = []
    tokens = 0
    for first in range(0, len(rows), _DOCUMENTS_AT_ONCE):
        documents = [corpus.document(row) for row in rows[first : first + _DOCUMENTS_AT_ONCE]]
        read = reader.read_many(documents)
        parts.append(WordSequence(read.ids.astype(np.int32), read.offsets))  # there are fewer than 2^31 words
        tokens += sum(map(len, documents))
        if tokens >= _MOST_TOKENS:
            break
    return learn_word_vectors(parts, reader.words, seed)
