"""Word n-grams, counted by id."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmkit.errors import ConfigError, DataError
from ulmkit.members.ngrams import NGrams, find_ngrams, frequent_words
from ulmkit.text.words import WordSequence, join_words

DOCUMENTS = st.lists(st.lists(st.integers(-1, 4), max_size=9), min_size=1, max_size=5)


def _sequence(documents: list[list[int]]) -> WordSequence:
    return join_words([np.array(document, dtype=np.int64) for document in documents])


def _slow(document: list[int], longest: int) -> Counter[tuple[int, ...]]:
    grams = [tuple(document[at : at + n]) for n in range(1, longest + 1) for at in range(len(document) - n + 1)]
    return Counter(gram for gram in grams if min(gram) >= 0)


@given(DOCUMENTS, st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=200, deadline=None)
def test_counts_are_those_of_a_plain_loop(documents: list[list[int]], longest: int, least: int) -> None:
    ngrams = find_ngrams(_sequence(documents), 5, longest, (least, least))
    slow = [_slow(document, longest) for document in documents]
    frequency = Counter(gram for counted in slow for gram in counted)
    expected = [(number,) for number in range(5)]
    for length in range(2, longest + 1):
        expected += sorted(gram for gram in frequency if len(gram) == length and frequency[gram] >= least)
    assert len(ngrams) == len(expected)
    counts = ngrams.counts(_sequence(documents)).toarray()
    assert counts.tolist() == [[counted[gram] for gram in expected] for counted in slow]


@pytest.mark.parametrize("longest", [1, 3])
def test_counts_of_many_documents_are_those_of_each_alone(longest: int) -> None:
    """However many there are, columns rise in each row, and none comes twice."""
    draw = np.random.default_rng(0)
    documents = draw.integers(-1, 5, (200, 9)).tolist()
    ngrams = find_ngrams(_sequence(documents), 5, longest, (1, 1))
    counts = ngrams.counts(_sequence(documents))
    alone = [ngrams.counts(_sequence([document])) for document in documents]
    for name in ("data", "indices"):
        expected = np.concatenate([getattr(each, name) for each in alone])
        assert getattr(counts, name).tolist() == expected.tolist()
        assert getattr(counts, name).dtype == expected.dtype
    assert all((np.diff(each.indices) > 0).all() for each in alone)
    assert counts.has_canonical_format


def test_ngrams_do_not_reach_over_documents() -> None:
    ngrams = find_ngrams(_sequence([[0, 1], [2, 0]]), 3, 3, (1, 1))
    assert [codes.tolist() for codes in ngrams.codes] == [[0 * 3 + 1, 2 * 3 + 0], []]


def test_pairs_that_are_not_known_are_left_out() -> None:
    ngrams = find_ngrams(_sequence([[0, 1, 2]]), 3, 2, (1,))
    other = [2, 1, 0, 1]
    counts = ngrams.counts(_sequence([other])).toarray()[0].tolist()
    assert counts == [1, 2, 1, 1, 0]
    assert list(pairwise(other)) == [(2, 1), (1, 0), (0, 1)]


def test_more_words_leave_the_ngrams_what_they_are() -> None:
    words = join_words([[3, 1, 2, 0], [1, 2, 0, 0, 3]])
    ngrams = find_ngrams(words, 4, 3, (1, 1))
    assert [ids.tolist() for ids in ngrams.word_ids()] == [
        [[0, 0], [0, 3], [1, 2], [2, 0], [3, 1]],
        [[0, 0, 3], [1, 2, 0], [2, 0, 0], [3, 1, 2]],
    ]
    more = ngrams.with_words(9)
    assert more.word_count == 9
    assert (more.counts(words)[:, 9:] != ngrams.counts(words)[:, 4:]).nnz == 0


def test_codes_that_are_not_sorted_are_refused() -> None:
    for codes in (np.array([3, 1]), np.array([1, 1]), np.array([1.0, 2.0]), np.array([[1]])):
        with pytest.raises(ConfigError, match="codes: expected int64 that rise"):
            NGrams(3, (codes,))


def test_frequent_words() -> None:
    words = _sequence([[3, 3, 1], [3, 0], [1, -1]])
    assert frequent_words(words, 1).tolist() == [0, 1, 3]
    assert frequent_words(words, 2).tolist() == [1, 3]
    with pytest.raises(DataError, match="texts: expected words that occur in 3 documents, found none"):
        frequent_words(words, 3)
