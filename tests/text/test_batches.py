import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ulmkit.errors import ConfigError, DataError
from ulmkit.tasks import find_label_kind
from ulmkit.text.batches import (
    ClassifierBatches,
    LanguageModelBatches,
    make_classifier_batch,
    variable_bptt,
)
from ulmkit.text.corpus.builder import build_corpus
from ulmkit.text.read.document import Document
from ulmkit.text.tokens.plain_tokenizers import ByteTokenizer, WhitespaceTokenizer


def build(documents, folder, tokenizer=None, **options):
    options = {"label_kind": find_label_kind(options.pop("task", "none")), "workers": 1, **options}
    return build_corpus(documents, folder, tokenizer=tokenizer or WhitespaceTokenizer(), **options)


@pytest.fixture(scope="module")
def counting(tmp_path_factory):
    """A stream in which every token is another, so that it can be told which was read."""
    documents = [Document(" ".join(f"w{at}" for at in range(start, start + 40))) for start in range(0, 400, 40)]
    return build(documents, tmp_path_factory.mktemp("counting") / "c")


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    generator = np.random.RandomState(0)
    documents = [Document("x " * length, "ab"[length % 2]) for length in generator.geometric(0.02, 300)]
    documents += [Document("", "a"), Document("", "b")]
    return build(documents, tmp_path_factory.mktemp("reviews") / "c", task="single")


def same(left, right):
    pairs = [(getattr(left, name), getattr(right, name)) for name in left.__dataclass_fields__]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


# --- language model


@settings(max_examples=40, deadline=None)
@given(
    batch_size=st.integers(1, 30),
    bptt=st.integers(1, 50),
    std=st.sampled_from([0.0, 5.0]),
    shuffle=st.booleans(),
    reverse=st.booleans(),
    epoch=st.integers(0, 2),
)
def test_every_token_is_a_target_once(counting, batch_size, bptt, std, shuffle, reverse, epoch):
    stream = counting.stream(counting.rows())
    batches = LanguageModelBatches(
        stream, batch_size, bptt, bptt_std=std, shuffle_documents=shuffle, reverse=reverse, seed=3
    )
    found = list(batches.epoch(epoch))
    assert len(found) == len(batches)
    inputs = torch.cat([batch.inputs for batch in found])
    targets = torch.cat([batch.targets for batch in found])
    row_tokens = (len(stream) - 1) // batch_size
    assert inputs.shape == targets.shape == (row_tokens, batch_size)
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(inputs[1:], targets[:-1])
    assert batches.tokens == targets.numel() >= len(stream) - batch_size
    whole = stream.reversed() if reverse else stream
    joined = torch.cat([inputs.T.flatten(), targets[-1:, -1]])
    if shuffle:
        plain = whole.read(0, len(whole))
        assert set(joined.tolist()) <= set(plain.tolist())
        counts = np.bincount(plain, minlength=len(counting.vocabulary))
        assert (np.bincount(joined, minlength=len(counting.vocabulary)) <= counts).all()
    else:
        assert joined.tolist() == whole.read(0, len(joined)).tolist()


def test_first_batch_alone_begins(counting):
    batches = LanguageModelBatches(counting.stream(counting.rows()), 4, 20)
    assert [batch.is_first for batch in batches.epoch(1)] == [True] + [False] * (len(batches) - 1)
    assert not next(batches.epoch(1, start=1)).is_first


@pytest.mark.parametrize("std", [0.0, 5.0])
def test_resumed_epoch_is_the_rest_of_it(counting, std):
    stream = counting.stream(counting.rows())
    batches = LanguageModelBatches(stream, 3, 15, bptt_std=std, shuffle_documents=True, seed=5)
    whole = list(batches.epoch(2))
    for start in (0, 1, len(whole) - 1, len(whole)):
        rest = list(batches.epoch(2, start))
        assert len(rest) == len(whole) - start
        assert all(same(a, b) for a, b in zip(whole[start:], rest, strict=True))
    again = LanguageModelBatches(stream, 3, 15, bptt_std=std, shuffle_documents=True, seed=5)
    assert all(same(a, b) for a, b in zip(whole, again.epoch(2), strict=True))


def test_epochs_and_seeds_differ_where_documents_are_shuffled(counting):
    stream = counting.stream(counting.rows())

    def first(seed, epoch, shuffle):
        return next(LanguageModelBatches(stream, 2, 30, seed=seed, shuffle_documents=shuffle).epoch(epoch)).inputs

    assert not torch.equal(first(0, 0, True), first(0, 1, True))
    assert not torch.equal(first(0, 0, True), first(1, 0, True))
    assert torch.equal(first(0, 0, False), first(1, 1, False))


def test_shuffled_documents_stay_whole(counting):
    batches = LanguageModelBatches(counting.stream(counting.rows()), 1, 1000, shuffle_documents=True)
    row = next(batches.epoch(0)).inputs.flatten().tolist()
    ends = counting.vocabulary.id("<eos>")
    first = row[: row.index(ends) + 1]
    assert any(counting.document(at).tolist() == first for at in range(len(counting)))


def test_variable_windows_have_the_papers_distribution():
    generator = np.random.default_rng(0)
    lengths = np.array([variable_bptt(70, 5.0, 0.05, generator) for _ in range(20_000)])
    short = lengths < 52
    assert 0.045 < short.mean() < 0.055
    assert abs(lengths[~short].mean() - 69.5) < 0.15  # int() takes half a step off
    assert abs(lengths[short].mean() - 34.5) < 0.6
    assert abs(lengths[~short].std() - 5.0) < 0.15
    assert min(variable_bptt(6, 5.0, 0.5, generator) for _ in range(200)) == 5


def test_rate_follows_the_windows_length(counting):
    batches = LanguageModelBatches(counting.stream(counting.rows()), 2, 20, bptt_std=5.0)
    found = list(batches.epoch(0))
    assert len({len(batch.inputs) for batch in found}) > 2
    assert all(batch.rate_scale == len(batch.inputs) / 20 for batch in found)
    fixed = LanguageModelBatches(counting.stream(counting.rows()), 2, 20)
    assert all(batch.rate_scale == 1.0 for batch in fixed.epoch(0))


@pytest.mark.parametrize(("batch_size", "ranks"), [(6, 1), (6, 2), (6, 3), (7, 3)])
def test_processes_share_the_rows(counting, batch_size, ranks):
    stream = counting.stream(counting.rows())
    options = {"bptt_std": 5.0, "shuffle_documents": True, "seed": 2}
    whole = LanguageModelBatches(stream, batch_size, 15, **options)
    shares = [LanguageModelBatches(stream, batch_size, 15, rank=rank, ranks=ranks, **options) for rank in range(ranks)]
    assert {(len(share), share.tokens) for share in shares} == {(len(whole), whole.tokens)}
    for batch, *parts in zip(whole.epoch(1, start=1), *(share.epoch(1, start=1) for share in shares), strict=True):
        assert torch.equal(torch.cat([part.inputs for part in parts], dim=1), batch.inputs)
        assert torch.equal(torch.cat([part.targets for part in parts], dim=1), batch.targets)
        assert {part.rate_scale for part in parts} == {batch.rate_scale}


def test_stream_too_short(counting):
    with pytest.raises(DataError, match=r"expected at least 42 tokens for batch_size 41, got 41; take a smaller"):
        LanguageModelBatches(counting.stream([0]), 41, 5)
    assert len(LanguageModelBatches(counting.stream([0]), 40, 5)) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"batch_size: expected a whole number of at least 1, got 0"),
        ({"bptt": 0}, r"bptt: expected a whole number of at least 1, got 0"),
        ({"bptt_std": -1.0}, r"bptt_std: expected a number of at least 0, got -1.0"),
    ],
)
def test_language_model_options(counting, options, message):
    with pytest.raises(ConfigError, match=message):
        LanguageModelBatches(counting.stream([0]), **{"batch_size": 2, "bptt": 5, **options})


# --- classifier


@settings(max_examples=30, deadline=None)
@given(
    size=st.sampled_from([1, 2, 16, 500]),
    epoch=st.integers(0, 3),
    seed=st.integers(0, 2),
)
def test_every_document_is_in_one_batch(reviews, size, epoch, seed):
    batches = ClassifierBatches(reviews, reviews.rows(), size, seed=seed)
    found = list(batches.epoch(epoch))
    assert len(found) == len(batches)
    assert sorted(row for batch in found for row in batch.rows.tolist()) == reviews.rows().tolist()
    for batch in found:
        longest = max(1, int(batch.lengths.max()))
        assert batch.ids.shape == (longest, len(batch.rows))
        assert len(batch.rows) <= size
    rest = list(batches.epoch(epoch, start=len(found) // 2))
    assert all(same(a, b) for a, b in zip(found[len(found) // 2 :], rest, strict=True))


def test_batches_hold_documents_padded_after_the_text(reviews):
    pad_id = reviews.vocabulary.pad_id or 0
    for batch in ClassifierBatches(reviews, reviews.rows(), 32).epoch(0):
        for at, row in enumerate(batch.rows.tolist()):
            length = int(batch.lengths[at])
            assert batch.ids[:length, at].tolist() == reviews.document(row).tolist()
            assert (batch.ids[length:, at] == pad_id).all()
            assert batch.targets[at] == reviews.labels([row])[0]
        assert batch.boundaries is None


def test_padding_is_small(reviews):
    found = list(ClassifierBatches(reviews, reviews.rows(), 8).epoch(0))
    padded = sum(batch.ids.numel() for batch in found)
    assert padded < 1.35 * reviews.table["length"].sum()
    at_random = np.random.default_rng(0).permutation(reviews.table["length"])
    unsorted = sum(part.max() * len(part) for part in np.array_split(at_random, len(found)))
    assert padded < 0.7 * unsorted


@settings(max_examples=60, deadline=None)
@given(documents=st.integers(1, 100), batch_size=st.integers(1, 40))
@example(documents=65, batch_size=64)
@example(documents=3, batch_size=2)
def test_batches_differ_by_one_and_leave_no_document_alone(reviews, documents, batch_size):
    batches = ClassifierBatches(reviews, reviews.rows()[:documents], batch_size)
    sizes = [len(batch.rows) for batch in batches.epoch(0)]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size
    assert min(sizes) > 1 or documents == 1 or batch_size < 3


@pytest.mark.parametrize("ranks", [2, 3])
def test_processes_share_the_documents(reviews, ranks):
    whole = ClassifierBatches(reviews, reviews.rows(), 12, seed=4)
    shares = [ClassifierBatches(reviews, reviews.rows(), 12, seed=4, rank=rank, ranks=ranks) for rank in range(ranks)]
    assert {len(share) for share in shares} == {len(whole)}
    for batch, *parts in zip(whole.epoch(1, start=2), *(share.epoch(1, start=2) for share in shares), strict=True):
        sizes = [len(part.rows) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        assert sorted(torch.cat([part.rows for part in parts]).tolist()) == sorted(batch.rows.tolist())
        assert abs(int(parts[0].lengths.max()) - int(parts[-1].lengths.max())) <= 1.4 * int(batch.lengths.min()) + 1


def test_fewer_documents_than_processes(reviews):
    with pytest.raises(ConfigError, match="documents: expected at least 2 per batch, one per process, got 1 of 3"):
        ClassifierBatches(reviews, reviews.rows()[:3], 2, ranks=2)


def test_make_up_and_order_change_with_the_epoch(reviews):
    batches = ClassifierBatches(reviews, reviews.rows(), 16)
    first, second = ([set(batch.rows.tolist()) for batch in batches.epoch(epoch)] for epoch in (0, 1))
    assert first != second
    assert {frozenset(rows) for rows in first} != {frozenset(rows) for rows in second}
    again = ClassifierBatches(reviews, reviews.rows(), 16)
    assert all(same(a, b) for a, b in zip(batches.epoch(1), again.epoch(1), strict=True))


def test_targets_by_task(tmp_path):
    several = build([Document("x", ("a",)), Document("y z", ("b", "a"))], tmp_path / "m", task="multi")
    batch = make_classifier_batch(several, np.array([1, 0]))
    assert batch.targets.dtype == torch.bool
    assert batch.targets.tolist() == [[True, True], [True, False]]
    numbers = build([Document("x", 1.5), Document("y")], tmp_path / "n", task="number")
    targets = make_classifier_batch(numbers, np.array([0, 1])).targets
    assert targets.dtype == torch.float32
    assert targets[0] == 1.5
    assert targets[1].isnan()
    plain = build([Document("x")], tmp_path / "p")
    assert make_classifier_batch(plain, np.array([0])).targets is None


def test_token_targets_turn_with_their_tokens(tmp_path):
    documents = [Document("ab c", ("X", "O"), ("ab", "c")), Document("d", ("O",), ("d",))]
    corpus = build(documents, tmp_path / "c", ByteTokenizer(), task="tokens")
    rows = np.array([0, 1])
    forward = make_classifier_batch(corpus, rows)
    assert forward.targets.T.tolist() == [[-1, -1, 1, -1, 0], [-1, 0, -1, -1, -1]]
    backward = make_classifier_batch(corpus, rows, reverse=True)
    assert backward.targets.T.tolist() == [[-1, 0, -1, 1, -1], [-1, 0, -1, -1, -1]]
    assert corpus.vocabulary.decode(backward.ids[:5, 0].tolist()) == ["xxbos", "<0x63>", "<0x20>", "<0x62>", "<0x61>"]
    words = build(documents, tmp_path / "w", task="tokens")
    assert make_classifier_batch(words, rows, reverse=True).targets.T.tolist() == [[-1, 0, 1], [-1, 0, -1]]


def test_boundaries_of_pairs_in_both_directions(tmp_path):
    corpus = build(
        [Document(("ab", "c"), "y"), Document(("", "de"), "n")], tmp_path / "c", ByteTokenizer(), task="pair"
    )
    rows = np.array([0, 1])

    def fields(batch, at):
        tokens = batch.ids[: batch.lengths[at], at].tolist()
        cut = int(batch.boundaries[at])
        return [corpus.vocabulary.decode(part) for part in (tokens[:cut], tokens[cut:])]

    forward = make_classifier_batch(corpus, rows)
    assert fields(forward, 0) == [["xxbos", "xxfld", "<0x31>", "<0x61>", "<0x62>"], ["xxfld", "<0x32>", "<0x63>"]]
    backward = make_classifier_batch(corpus, rows, reverse=True)
    assert fields(backward, 0) == [["xxbos", "<0x63>", "<0x32>", "xxfld"], ["<0x62>", "<0x61>", "<0x31>", "xxfld"]]
    assert fields(backward, 1) == [["xxbos", "<0x65>", "<0x64>", "<0x32>", "xxfld"], ["<0x31>", "xxfld"]]


def test_documents_of_no_tokens(tmp_path):
    corpus = build([Document("x", "a"), Document("", "b")], tmp_path / "c", task="single")
    batch = make_classifier_batch(corpus, np.array([1]))
    assert batch.ids.shape == (1, 1)
    assert batch.lengths.tolist() == [0]


def test_classifier_options(reviews):
    with pytest.raises(ConfigError, match=r"batch_size: expected a whole number of at least 1, got 0"):
        ClassifierBatches(reviews, reviews.rows(), 0)
    with pytest.raises(DataError, match=r"documents: expected at least one for a batch, got none"):
        ClassifierBatches(reviews, [], 4)
