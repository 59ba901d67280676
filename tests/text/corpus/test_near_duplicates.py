import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmkit.text.corpus.near_duplicates import (
    SHINGLE_TOKENS,
    THRESHOLD,
    DuplicateIndex,
    blocks,
    resemblance,
)


def find_near_duplicates(texts, others):
    known = {}

    def ids(side):
        for text in side:
            yield np.array([known.setdefault(word, len(known)) for word in text.lower().split()], dtype=np.int64)

    index = DuplicateIndex(blocks(ids(texts)))
    return index.find(blocks(ids(others)))


def naive_shingles(words):
    if not words:
        return set()
    return {tuple(words[at : at + SHINGLE_TOKENS]) for at in range(max(1, len(words) - SHINGLE_TOKENS + 1))}


def naive(texts, others):
    found = []
    for text in texts:
        mine = naive_shingles(text.lower().split())
        best = 0.0
        for other in others:
            theirs = naive_shingles(other.lower().split())
            if mine and theirs:
                best = max(best, len(mine & theirs) / len(mine | theirs))
        found.append(best >= THRESHOLD)
    return found


def made_up_text(generator, words):
    return " ".join(f"w{generator.randrange(500)}" for _ in range(words))


def with_changes(generator, text, changes):
    words = text.split()
    for _ in range(changes):
        words[generator.randrange(len(words))] = "changed"
    return " ".join(words)


def test_agrees_with_all_pairs_compared():
    generator = random.Random(0)
    others = [made_up_text(generator, generator.randrange(1, 120)) for _ in range(60)]
    texts = [with_changes(generator, text, at % 5) for at, text in enumerate(others)]
    texts += [made_up_text(generator, 50) for _ in range(20)]
    found = find_near_duplicates(texts, others)
    expected = naive(texts, others)
    assert 10 < sum(expected) < 60
    assert found.near.tolist() == expected
    assert found.exact.tolist() == [text in others for text in texts]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text("abc ", max_size=14), max_size=6), st.lists(st.text("abc ", max_size=14), max_size=6))
def test_short_and_empty_documents(texts, others):
    found = find_near_duplicates(texts, others)
    assert found.near.tolist() == naive(texts, others)
    plain = {tuple(other.lower().split()) for other in others} - {()}
    assert found.exact.tolist() == [tuple(text.lower().split()) in plain for text in texts]


def test_case_and_counts():
    found = find_near_duplicates(["A b", "c"], ["a B", "d"])
    assert found.counts() == {"documents": 2, "exact": 1, "near": 1}


def test_order_of_tokens_matters_to_exactness():
    index = DuplicateIndex(blocks([np.array([1, 2, 3])]))
    assert not index.find(blocks([np.array([3, 2, 1])])).exact[0]
    assert index.find(blocks([np.array([3, 2, 1]), np.array([1, 2, 3])])).exact[0]


def test_blocks_do_not_change_what_is_found(monkeypatch):
    generator = random.Random(1)
    others = [made_up_text(generator, 40) for _ in range(30)]
    texts = [with_changes(generator, text, at % 3) for at, text in enumerate(others)]
    whole = find_near_duplicates(texts, others)
    monkeypatch.setattr("ulmkit.text.corpus.near_duplicates.BLOCK_TOKENS", 100)
    cut = find_near_duplicates(texts, others)
    assert whole.near.tolist() == cut.near.tolist()
    assert 0 < whole.near.sum() < 30


def with_one_change_each(text, count):
    words = text.split()
    return [" ".join([*words[:at], "changed", *words[at + 1 :]]) for at in range(count)]


def test_many_documents_like_a_single_one_are_all_found():
    other = made_up_text(random.Random(2), 300)
    found = find_near_duplicates(with_one_change_each(other, 300), [other])
    assert found.near.all()
    assert not found.exact.any()


def test_more_documents_than_a_window_holds(monkeypatch):
    other = made_up_text(random.Random(3), 100)
    monkeypatch.setattr("ulmkit.text.corpus.near_duplicates._WINDOW", 7)
    monkeypatch.setattr("ulmkit.text.corpus.near_duplicates._MAX_REJECTED", 3)
    assert find_near_duplicates(with_one_change_each(other, 100), [other]).near.all()


def template(generator, count):
    """Documents of one beginning, no two of them near-duplicates."""
    shared = made_up_text(generator, 80)
    return [f"{shared} {made_up_text(generator, 20)}" for _ in range(count)]


def test_near_duplicates_are_found_among_many_of_one_template():
    generator = random.Random(4)
    others = template(generator, 120)
    texts = [with_changes(generator, text, 1) for text in others]
    found = find_near_duplicates(texts, others)
    assert found.near.tolist() == naive(texts, others) == [True] * 120


def test_comparisons_are_bounded_by_the_number_of_documents(monkeypatch):
    generator, compared = random.Random(5), []

    def counted(left, right):
        compared.append(1)
        return resemblance(left, right)

    monkeypatch.setattr("ulmkit.text.corpus.near_duplicates.resemblance", counted)
    texts = template(generator, 400)
    others = [texts[0].rsplit(maxsplit=20)[0] + " " + made_up_text(generator, 20) for _ in range(20)]
    found = find_near_duplicates(texts, others)
    assert not found.near.any()
    assert 20 * 40 < len(compared) <= 20 * 64


def test_resemblance():
    assert resemblance(np.array([1, 2, 3]), np.array([2, 3, 4])) == 0.5
    assert resemblance(np.array([]), np.array([])) == 0.0
