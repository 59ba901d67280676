from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmkit.errors import ConfigError, DataError
from ulmkit.text.corpus.split_columns import SplitColumns
from ulmkit.text.corpus.splits import SplitPolicy
from ulmkit.text.read.document import Document
from ulmkit.text.read.documents import read_documents


def chosen(documents, **policy):
    return list(SplitColumns(documents).assign(SplitPolicy(**policy)))


def test_given_keeps_what_is_said_and_trains_on_the_rest():
    documents = [Document("a", split="test"), Document("b"), Document("c", split="valid")]
    assert chosen(documents) == ["test", "train", "valid"]


def test_random_keeps_classes_in_proportion():
    documents = [Document("x", label) for label in ["a"] * 60 + ["b"] * 30 + ["c"] * 10]
    splits = chosen(documents, kind="random", valid_fraction=0.2)
    counts = Counter((document.label, split) for document, split in zip(documents, splits, strict=True))
    assert counts == {
        ("a", "valid"): 12,
        ("a", "train"): 48,
        ("b", "valid"): 6,
        ("b", "train"): 24,
        ("c", "valid"): 2,
        ("c", "train"): 8,
    }


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("aaabbc"), min_size=2, max_size=60), st.floats(0.01, 0.99), st.integers(0, 3))
def test_random_has_the_right_size_and_leaves_each_class_to_train(labels, fraction, seed):
    documents = [Document("x", label) for label in labels]
    splits = chosen(documents, kind="random", valid_fraction=fraction, seed=seed)
    assert splits.count("valid") == min(len(labels) - 1, max(1, round(fraction * len(labels))))
    assert splits == chosen(documents, kind="random", valid_fraction=fraction, seed=seed)
    classes = Counter(labels)
    left = Counter(label for label, split in zip(labels, splits, strict=True) if split == "train")
    if splits.count("valid") <= len(labels) - len(classes):
        assert set(left) == set(classes)


def test_random_leaves_a_label_of_one_document_to_train():
    """Among several labels a document may have one that no other has."""
    documents = [Document("x", tuple({f"t{at}", f"u{at // 2}"})) for at in range(40)]
    documents += [Document("x", ("t0", "u1"))] * 5
    for seed in range(5):
        splits = chosen(documents, kind="random", valid_fraction=0.3, seed=seed)
        learned = {
            label
            for document, split in zip(documents, splits, strict=True)
            if split == "train"
            for label in document.label
        }
        assert learned.issuperset(label for document in documents for label in document.label)
        assert 4 <= splits.count("valid") <= 13
    alone = [Document("x", (f"t{at}",)) for at in range(4)]
    assert chosen(alone, kind="random", valid_fraction=0.5).count("valid") == 2


def test_random_leaves_a_tag_of_one_document_to_train():
    """The tags of words are left to training, too; otherwise the split is that of documents without them."""
    documents = [Document("x y", ("O", "P" if at % 3 else f"t{at}"), ("x", "y")) for at in range(30)]
    for seed in range(5):
        splits = chosen(documents, kind="random", valid_fraction=0.3, seed=seed)
        held_out = [document for document, split in zip(documents, splits, strict=True) if split == "valid"]
        assert {document.label[1] for document in held_out} == {"P"}
    common = [Document("x y", ("O", "P"), ("x", "y"))] * 30
    plain = [Document("x y", ("O", "O"), ("x", "y"))] * 30
    assert chosen(common, kind="random") == chosen(plain, kind="random")


def test_random_depends_on_the_seed():
    documents = [Document("x")] * 100
    assert chosen(documents, kind="random", seed=1) != chosen(documents, kind="random", seed=2)


def test_random_leaves_other_splits_alone():
    documents = [Document("x", split=split) for split in ["test"] * 5 + ["unsupervised"] * 5 + ["train", "valid"] * 10]
    splits = chosen(documents, kind="random", valid_fraction=0.5)
    assert splits[:10] == ["test"] * 5 + ["unsupervised"] * 5
    assert Counter(splits[10:]) == {"train": 10, "valid": 10}


def test_time_takes_the_latest_and_keeps_one_moment_together():
    times = [5.0, 1.0, 3.0, 3.0, 3.0, 2.0, 4.0, 0.0]
    documents = [Document("x", time=time) for time in times]
    assert chosen(documents, kind="time", valid_fraction=0.25) == ["valid", *["train"] * 5, "valid", "train"]
    halves = chosen(documents, kind="time", valid_fraction=0.5)
    assert [time for time, split in zip(times, halves, strict=True) if split == "valid"] == [5.0, 3.0, 3.0, 3.0, 4.0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=40), st.floats(0.05, 0.95))
def test_groups_are_never_divided(groups, fraction):
    documents = [Document("x", group=str(group)) for group in groups]
    if len(set(groups)) < 2:
        with pytest.raises(DataError, match=f"split by group: expected at least 2 groups, got 1: '{groups[0]}'"):
            chosen(documents, kind="group", valid_fraction=fraction)
        return
    splits = chosen(documents, kind="group", valid_fraction=fraction)
    assert {"train", "valid"} == set(splits)
    assert len(set(zip(groups, splits, strict=True))) == len(set(groups))


@pytest.mark.parametrize(
    ("documents", "kind", "message"),
    [
        ([Document("x")], "random", r"split by random: expected at least 2 documents to divide, got 1"),
        (
            [Document("x", time=1.0)] * 3,
            "time",
            r"time: expected documents of different times, got 1.0 for all",
        ),
        ([Document("x", time=1.0), Document("y")], "time", r"expected a time for every document, got 1 of 2 without"),
        (
            [Document("x", group="a"), Document("y")],
            "group",
            r"a group for every document, got 1 of 2 without",
        ),
    ],
)
def test_policies_that_cannot_be_followed(documents, kind, message):
    with pytest.raises(DataError, match=message):
        chosen(documents, kind=kind)


def test_documents_with_a_blank_group_are_without_one(tmp_path):
    (tmp_path / "a.csv").write_text('text,who\na,ann\nb,\nc," "\nd,ben\n')
    documents = list(read_documents(tmp_path / "a.csv", group_column="who"))
    with pytest.raises(DataError, match=r"a group for every document, got 2 of 4 without"):
        chosen(documents, kind="group")


def test_policy_options():
    with pytest.raises(ConfigError, match=r"split kind: got 'randm'; did you mean 'random'"):
        SplitPolicy(kind="randm")
    with pytest.raises(ConfigError, match=r"valid_fraction: expected 0 < fraction < 1, got 1.0"):
        SplitPolicy(kind="random", valid_fraction=1.0)
