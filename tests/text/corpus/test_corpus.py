import errno
import gc
import json
import os
import tracemalloc
import warnings
from collections import Counter

import numpy as np
import pytest
from support.corpora import WORDS, build, labelled

from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.text.corpus.cache import cached_corpus
from ulmkit.text.corpus.encoded_corpus import EncodedCorpus
from ulmkit.text.corpus.facts import CorpusSplit, SharedDocuments
from ulmkit.text.corpus.fingerprints import joined_fingerprint, text_fingerprint
from ulmkit.text.corpus.splits import SplitPolicy
from ulmkit.text.corpus.vocabulary_counts import choose_vocabulary
from ulmkit.text.read.document import Document
from ulmkit.text.read.documents import DocumentSource
from ulmkit.text.tokens.plain_tokenizers import ByteTokenizer
from ulmkit.text.tokens.spacy_tokenizer import SpacyTokenizer
from ulmkit.text.tokens.vocabulary import Vocabulary

# --- what is built


def test_corpus_of_words(tmp_path):
    documents = [
        Document("the cat sat\nthe end\n", split="train"),
        Document("the dog", split="valid"),
        Document("", split="train"),
        Document("cat cat", split="unsupervised"),
    ]
    corpus = build(documents, tmp_path / "c")
    assert corpus.vocabulary.tokens == ("<unk>", "<eos>", "cat", "the", "end", "sat")
    assert [corpus.vocabulary.decode(corpus.document(at)) for at in range(4)] == [
        ["the", "cat", "sat", "<eos>", "the", "end", "<eos>"],
        ["the", "<unk>", "<eos>"],
        [],
        ["cat", "cat", "<eos>"],
    ]
    assert corpus.table["words"].tolist() == [5, 2, 0, 2]
    assert corpus.table["characters"].tolist() == [20, 7, 0, 7]
    assert corpus.table["offset"].tolist() == [0, 7, 10, 10]
    assert corpus.rows("validation").tolist() == [1]
    assert corpus.rows(["train", "valid"]).tolist() == [0, 1, 2]
    assert corpus.rows().tolist() == [0, 1, 2, 3]
    assert corpus.facts.splits["valid"] == CorpusSplit(
        documents=1,
        labelled=0,
        words=2,
        characters=7,
        tokens=3,
        unknown_tokens=1,
        fingerprint=joined_fingerprint([text_fingerprint(Document("the dog"))]),
    )
    assert corpus.facts.splits["valid"].unknown_rate == 1 / 3
    assert corpus.facts.dtypes == {"tokens": "uint8"}
    assert len(corpus) == 4
    assert "4 documents, 13 tokens" in repr(corpus)
    assert corpus.tokenizer.fingerprint == WORDS.fingerprint


def test_word_corpus_has_the_unknown_token_whatever_its_held_out_text_holds(tmp_path):
    documents = [Document("a b a", split="train"), Document("b", split="test")]
    vocabulary = build(documents, tmp_path / "c").vocabulary
    assert vocabulary.tokens == ("a", "<eos>", "b", "<unk>")
    assert vocabulary.encode(["new"]).tolist() == [3]


def test_vocabulary_is_counted_over_training_text_alone(tmp_path):
    documents = [Document("a", split="train")] + [Document("b b b b", split=name) for name in ("valid", "test")]
    corpus = build(documents, tmp_path / "c")
    assert "b" not in corpus.vocabulary
    assert corpus.facts.splits["test"].unknown_tokens == 4


def test_ruled_vocabulary_has_the_special_tokens_and_min_freq():
    class Ruled(ByteTokenizer):
        def closed_vocabulary(self):
            return None

        def build_vocabulary(self, counts, max_vocab=None, min_freq=None):
            return SpacyTokenizer("xx").build_vocabulary(counts, max_vocab, min_freq)

    types = ["xxbos", "a", "b"]
    built = choose_vocabulary(Ruled(), None, types, np.array([9, 3, 2]))
    assert built.tokens[:3] == ("xxunk", "xxpad", "xxbos")
    assert "a" in built
    assert "b" not in built
    assert "b" in choose_vocabulary(Ruled(), None, types, np.array([9, 3, 2]), min_freq=2)
    assert len(choose_vocabulary(Ruled(), None, types, np.array([9, 3, 2]), max_vocab=10, min_freq=1)) == 10


@pytest.mark.parametrize("tokenizer", [WORDS, SpacyTokenizer("xx")], ids=["whitespace", "spacy"])
@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"max_vocab": 0}, r"max_vocab: expected more than the \d special tokens, got 0"),
        ({"min_freq": 0}, "min_freq: expected a whole number of at least 1, got 0"),
    ],
)
def test_limits_of_zero_are_refused(tokenizer, limit, message):
    with pytest.raises(ConfigError, match=message):
        choose_vocabulary(tokenizer, None, ["a", "b"], np.array([9, 3]), **limit)


@pytest.mark.parametrize(
    ("limits", "tokens"),
    [
        ({}, ("a", "b", "<eos>", "c", "<unk>")),
        ({"max_vocab": 4}, ("<unk>", "<eos>", "a", "b")),
        ({"max_vocab": 3}, ("<unk>", "<eos>", "a")),
        ({"min_freq": 2}, ("<unk>", "<eos>", "a", "b")),
    ],
)
def test_limits_of_a_word_corpus(tmp_path, limits, tokens):
    corpus = build([Document("a a a a b b c")], tmp_path / "c", **limits)
    assert corpus.vocabulary.tokens == tokens
    kept = [word if word in tokens else "<unk>" for word in corpus.tokenizer.tokenize("a a a a b b c")[:-1]]
    assert corpus.vocabulary.decode(corpus.document(0)) == [*kept, "<eos>"]


def test_word_corpus_with_its_own_unknown_token_keeps_the_order_of_counts(tmp_path):
    documents = [Document("a a a <unk> <unk> b", split="train"), Document("c", split="test")]
    corpus = build(documents, tmp_path / "c", max_vocab=3)
    assert corpus.vocabulary.tokens == ("a", "<unk>", "<eos>")


def test_closed_vocabulary_is_the_tokenizers(tmp_path):
    corpus = build([Document("aä"), Document("")], tmp_path / "c", tokenizer=ByteTokenizer())
    assert corpus.vocabulary == ByteTokenizer().closed_vocabulary()
    assert corpus.vocabulary.decode(corpus.document(0)) == ["xxbos", "<0x61>", "<0xC3>", "<0xA4>"]
    assert corpus.vocabulary.decode(corpus.document(1)) == ["xxbos"]


def test_single_labels(tmp_path):
    documents = [Document("x", "b"), Document("y", "a"), Document("z", None), Document("w", "a", split="test")]
    corpus = build(documents, tmp_path / "c", task="single")
    assert corpus.label_names == ("a", "b")
    assert corpus.labels(range(4)).tolist() == [1, 0, -1, 0]
    assert corpus.labels([0]).dtype == np.int64
    assert corpus.rows("train", labelled=True).tolist() == [0, 1]
    assert corpus.facts.splits["train"].labels == {"a": 1, "b": 1}


def test_several_labels(tmp_path):
    documents = [Document("x", ("b", "a")), Document("y", ()), Document("z"), Document("w", ("c",))]
    corpus = build(documents, tmp_path / "c", task="multi")
    assert corpus.label_names == ("a", "b", "c")
    assert corpus.labels(range(4)).tolist() == [[True, True, False], [False] * 3, [False] * 3, [False, False, True]]
    assert corpus.rows(labelled=True).tolist() == [0, 1, 3]
    assert corpus.facts.splits["train"].labels == {"a": 1, "b": 1, "c": 1}


def test_numbers(tmp_path):
    documents = [Document("x", 2.5), Document("y"), Document("z", 2.5), Document("w", float("nan"))]
    corpus = build(documents, tmp_path / "c", task="number")
    np.testing.assert_array_equal(corpus.labels(range(4)), np.array([2.5, np.nan, 2.5, np.nan], np.float32))
    assert corpus.rows(labelled=True).tolist() == [0, 2]
    assert corpus.label_names == ()
    assert corpus.rows(labelled=True).tolist() == [0, 2]


def test_pairs_know_where_the_second_text_begins(tmp_path):
    documents = [Document(("ab", "c"), "yes"), Document(("", "c"), "no")]
    corpus = build(documents, tmp_path / "c", task="pair", tokenizer=ByteTokenizer())
    for row in range(2):
        boundary = corpus.table["boundary"][row]
        tokens = corpus.vocabulary.decode(corpus.document(row)[boundary:])
        assert tokens == ["xxfld", "<0x32>", "<0x63>"]


def test_token_labels(tmp_path):
    documents = [
        Document("Anna sings", ("PER", "O"), ("Anna", "sings")),
        Document("no labels"),
        Document("of", ("O",), ("of",), split="test"),
    ]
    corpus = build(documents, tmp_path / "c", task="tokens", tokenizer=ByteTokenizer())
    assert corpus.label_names == ("O", "PER")
    assert corpus.token_labels(0).tolist() == [-1] * 4 + [1] + [-1] * 5 + [0]
    assert corpus.token_labels(1).tolist() == [-1] * len("xno labels")
    assert corpus.token_labels(2).tolist() == [-1, -1, 0]
    assert corpus.rows(labelled=True).tolist() == [0, 2]
    assert corpus.tokenizer.detokenize(corpus.vocabulary.decode(corpus.document(0))) == "Anna sings"


def test_token_labels_of_a_word_corpus(tmp_path):
    documents = [Document("a b", ("X", "O"), ("a", "b")), Document("", (), ())]
    corpus = build(documents, tmp_path / "c", task="tokens")
    assert corpus.vocabulary.decode(corpus.document(0)) == ["a", "b", "<eos>"]
    assert corpus.token_labels(0).tolist() == [1, 0, -1]
    assert corpus.token_labels(1).tolist() == []


def test_every_word_has_a_token():
    tokens, ends = ByteTokenizer().tokenize_words([["", "a"], []])
    assert tokens == [["xxbos", "xxunk", "<0x20>", "<0x61>"], ["xxbos"]]
    assert [end.tolist() for end in ends] == [[1, 3], []]


def test_groups_times_columns_and_policy(tmp_path):
    documents = [
        Document(f"w{at}", group="ab"[at % 2], time=float(at), columns={"lang": "en"} if at else {}) for at in range(6)
    ]
    corpus = build(documents, tmp_path / "c", split_policy=SplitPolicy(kind="group", valid_fraction=0.5))
    assert len(set(corpus.table["group"][corpus.rows("valid")])) == 1
    assert corpus.table["group"].tolist() == [0, 1, 0, 1, 0, 1]
    assert corpus.table["time"].tolist() == [0, 1, 2, 3, 4, 5]
    assert corpus.column("lang", [0, 1]) == ["", "en"]
    assert corpus.facts.split_policy == SplitPolicy(kind="group", valid_fraction=0.5)


def test_random_split_is_stratified(tmp_path):
    corpus = build(labelled(40), tmp_path / "c", task="single", split_policy=SplitPolicy(kind="random"))
    assert Counter(corpus.labels(corpus.rows("valid")).tolist()) == {0: 2, 1: 2}


def test_near_duplicates_are_reported_by_split(tmp_path):
    text = " ".join(f"w{at}" for at in range(60))
    documents = [
        Document(text, split="train"),
        Document("something else", split="unsupervised"),
        Document(text.replace("w30", "changed"), split="valid"),
        Document(text, split="valid"),
        Document("something else", split="test"),
        Document("", split="test"),
    ]
    found = build(documents, tmp_path / "c").facts.near_duplicates
    assert found == {
        "test": {
            "train": SharedDocuments(documents=2, exact=0, near=0),
            "unsupervised": SharedDocuments(documents=2, exact=1, near=1),
        },
        "valid": {
            "train": SharedDocuments(documents=2, exact=1, near=2),
            "unsupervised": SharedDocuments(documents=2, exact=0, near=0),
        },
    }
    assert build(documents, tmp_path / "d", count_near_duplicates=False).facts.near_duplicates is None


def test_a_corpus_in_one_document_is_not_compared(tmp_path, monkeypatch):
    monkeypatch.setattr("ulmkit.text.corpus.builder._MAX_COMPARED_TOKENS", 60)
    long, short = " ".join(f"w{at}" for at in range(60)), " ".join(f"w{at}" for at in range(59))
    parts = (("train", long), ("train", short), ("valid", long), ("valid", short))
    found = build([Document(text, split=split) for split, text in parts], tmp_path / "c").facts.near_duplicates
    assert found == {"valid": {"train": SharedDocuments(documents=1, exact=1, near=1)}}


def test_memory_of_a_document_is_a_small_multiple_of_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr("ulmkit.text.corpus.builder._MAX_COMPARED_TOKENS", 1000)
    monkeypatch.setattr("ulmkit.text.corpus.fingerprints._PIECE_CHARACTERS", 1 << 14)
    monkeypatch.setattr("ulmkit.text.corpus.chunks.PIECE_CHARACTERS", 1 << 14)
    monkeypatch.setattr("ulmkit.text.corpus.spool._BLOCK_TOKENS", 1 << 12)
    documents = [
        Document("\n".join(f"some word{at % 1000}" for at in range(60_000)), split=name) for name in ("train", "valid")
    ]
    tracemalloc.start()
    cached_corpus(documents, tmp_path, tokenizer=WORDS, workers=1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * len(documents[0].text)


def test_sources_and_progress(tmp_path):
    (tmp_path / "train.txt").write_text("a\n")
    done = []
    corpus = build(DocumentSource(tmp_path / "train.txt"), tmp_path / "c", progress=done.append)
    assert corpus.facts.sources == ("train.txt",)
    assert done == [1]


def test_documents_of_nothing_and_of_a_million_tokens(tmp_path):
    documents = [Document(""), Document("a b " * 500_000), Document(" \n ")]
    corpus = build(documents, tmp_path / "c")
    assert corpus.table["length"].tolist() == [0, 1_000_001, 2]
    assert corpus.document(1)[-3:].tolist() == corpus.stream([0, 1]).read(999_998, 1_000_001).tolist()


# --- bad input


def test_no_documents_and_no_text(tmp_path):
    with pytest.raises(DataError, match=r"documents: expected at least one, got none"):
        build([], tmp_path / "c")
    with pytest.raises(DataError, match=r"documents: expected text, got 2 documents without any"):
        build([Document(""), Document(" ")], tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("documents", "task", "message"),
    [
        ([Document("x", "a"), Document("y", "a")], "single", r"at least two classes in the train split, got one: 'a'"),
        ([Document("x")], "single", r"expected labelled documents in the train split, got none"),
        (
            [Document(f"x{at}", "long" * at, split="valid" if at > 18 else "train") for at in range(1, 21)],
            "single",
            r"got '(long){15}\.\.\.', .* all 20 labels differ: if they are not classes, name another column",
        ),
        ([Document("x")], "number", r"expected labelled documents in the train split, got none"),
        ([*labelled(4), Document("x", "c", split="test")], "single", r"got 'c' in test alone"),
        ([Document("x", 1.5)], "single", r"document 0: expected one class name as label \(task=\"single\"\), got 1.5"),
        ([Document("x", "a")], "number", r"document 0: expected a number as label .*got 'a'"),
        ([Document("x", float("inf"))], "number", r"document 0: expected a finite number as label, got inf"),
        ([Document("x", "a")], "multi", r"document 0: expected a tuple of class names .*got 'a'"),
        ([Document("x", "a")], "pair", r"document 0: expected two texts \(task=\"pair\"\), got 'x'"),
        ([Document("x", ("a",))], "tokens", r"document 0: expected a word for each of 1 labels, got no words"),
        ([Document("x", ("a",), ("x", "y"))], "tokens", r"a word for each of 1 labels, got 2 words"),
    ],
)
def test_labels_that_do_not_fit(tmp_path, documents, task, message):
    with pytest.raises(DataError, match=message):
        build(documents, tmp_path / "c", task=task)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("documents", "task"),
    [
        ([Document("x", "a"), Document("y", "a")], "single"),
        ([Document("x y", ("A", "O"), ("x", "y")), Document("x", ("B",), ("x",), split="valid")], "tokens"),
    ],
)
def test_refused_corpus_leaves_no_file_open(tmp_path, documents, task):
    gc.collect()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(DataError):
            build(documents, tmp_path / "c", task=task)
        gc.collect()
    assert [str(each.message) for each in caught if each.category is ResourceWarning] == []


def test_token_label_never_seen_in_train(tmp_path):
    documents = [Document("x y", ("A", "O"), ("x", "y")), Document("x", ("B",), ("x",), split="valid")]
    with pytest.raises(DataError, match=r"got 'B' in valid alone"):
        build(documents, tmp_path / "c", task="tokens")


def test_labels_of_a_model_there_is(tmp_path):
    corpus = build([Document("x", "b")], tmp_path / "c", task="single", label_names=["z", "b"])
    assert corpus.labels([0]).tolist() == [1]
    with pytest.raises(DataError, match=r"got 'c', which the model does not know; there are: z, b"):
        build([Document("x", "c")], tmp_path / "d", task="single", label_names=["z", "b"])
    assert len(build([Document("x")], tmp_path / "e", task="number", label_names=[])) == 1


def test_vocabulary_of_another_tokenizer(tmp_path):
    with pytest.raises(DataError, match=r"expected the bytes tokenizer's own \(265 tokens\), got another \(1 tokens\)"):
        build([Document("x")], tmp_path / "c", tokenizer=ByteTokenizer(), vocabulary=Vocabulary(["a"]))
    with pytest.raises(DataError, match=r"made with the whitespace tokenizer, got one without '<eos>'"):
        build([Document("x")], tmp_path / "c", vocabulary=Vocabulary(["<unk>", "x"]))
    with pytest.raises(DataError, match=r"got one that lacks 100% of its tokens; it belongs to another tokenizer"):
        build([Document("x " * 1000)], tmp_path / "c", vocabulary=Vocabulary(["<unk>", "<eos>", "▁x"]))
    with pytest.raises(DataError, match=r"got 'x', and the vocabulary has no 'xxunk'"):
        build([Document("x")], tmp_path / "c", vocabulary=Vocabulary(["<eos>", "y"]))


def test_vocabulary_given(tmp_path):
    vocabulary = Vocabulary(["<unk>", "<eos>", "y", "x"])
    corpus = build([Document("x z")], tmp_path / "c", vocabulary=vocabulary)
    assert corpus.document(0).tolist() == [3, 0, 1]


def test_options(tmp_path):
    with pytest.raises(ConfigError, match=r"workers: expected a whole number of at least 1, got 0"):
        build(labelled(2), tmp_path / "c", workers=0)
    with pytest.raises(ConfigError, match=r"task: got 'sngle'; did you mean 'single'"):
        build(labelled(2), tmp_path / "c", task="sngle")


def test_folder_that_is_already_there(tmp_path):
    build(labelled(2), tmp_path / "c")
    with pytest.raises(FolderError, match=r"c: already exists"):
        build(labelled(2), tmp_path / "c")
    assert len(build(labelled(3), tmp_path / "c", overwrite=True)) == 3


@pytest.mark.parametrize(
    "place", ["ulmkit.text.corpus.shards.ShardWriter.write", "ulmkit.text.corpus.records._save_column"]
)
def test_full_disk_leaves_nothing(tmp_path, monkeypatch, place):
    def refuse(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(place, refuse)
    with pytest.raises(FolderError, match=r"c: the disk is full; free some space"):
        build(labelled(4), tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_interruption_leaves_nothing(tmp_path):
    def interrupted():
        yield from labelled(4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(interrupted(), tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


# --- opening


def altered(corpus, name, content):
    (corpus.folder / name).write_bytes(content)
    return corpus.folder


def test_open_checks_files(tmp_path):
    corpus = build(labelled(4), tmp_path / "c")
    whole = (corpus.folder / "tokens-00000.bin").read_bytes()
    EncodedCorpus.open(corpus.folder, verify=True)
    altered(corpus, "tokens-00000.bin", whole[:-1])
    with pytest.raises(FolderError, match=r"tokens-00000.bin: expected 12 bytes, got 11; it is truncated"):
        EncodedCorpus.open(corpus.folder)
    altered(corpus, "tokens-00000.bin", bytes(len(whole)))
    assert len(EncodedCorpus.open(corpus.folder)) == 4
    with pytest.raises(FolderError, match=r"tokens-00000.bin: its SHA-256 is not the recorded one"):
        EncodedCorpus.open(corpus.folder, verify=True)
    (corpus.folder / "tokens-00000.bin").unlink()
    with pytest.raises(FolderError, match=r"tokens-00000.bin: no such file, but the folder lists it"):
        EncodedCorpus.open(corpus.folder)


def test_open_checks_the_description(tmp_path):
    corpus = build(labelled(4), tmp_path / "c")
    facts = json.loads((corpus.folder / "corpus.json").read_text())
    altered(corpus, "corpus.json", json.dumps({**facts, "format_version": 99}).encode())
    with pytest.raises(FolderError, match=r"expected a corpus of format version 3, got 99"):
        EncodedCorpus.open(corpus.folder)
    altered(corpus, "corpus.json", json.dumps({**facts, "split_names": 5}).encode())
    with pytest.raises(FolderError, match=r"corpus.json: facts.split_names: expected list, got 5; it was altered"):
        EncodedCorpus.open(corpus.folder)
    del facts["split_names"]
    altered(corpus, "corpus.json", json.dumps(facts).encode())
    with pytest.raises(FolderError, match=r"corpus.json: facts: missing key 'split_names'; it was altered"):
        EncodedCorpus.open(corpus.folder)
    altered(corpus, "corpus.json", b"[]")
    with pytest.raises(FolderError, match=r"expected a corpus of format version 3, got 'list'"):
        EncodedCorpus.open(corpus.folder)
    with pytest.raises(FolderError, match=r"no such file"):
        EncodedCorpus.open(tmp_path / "nowhere")


def test_questions_a_corpus_cannot_answer(tmp_path):
    corpus = build(labelled(4), tmp_path / "c")
    with pytest.raises(DataError, match=r"split: got 'vallid'; there are: train"):
        corpus.rows("vallid")
    with pytest.raises(DataError, match=r"labels: expected a corpus with a label for each document, got task=\"none\""):
        corpus.labels([0])
    with pytest.raises(DataError, match=r"expected a corpus with a label for each word, got task=\"none\""):
        corpus.token_labels(0)
    with pytest.raises(DataError, match=r"column: got 'lang'; there are none"):
        corpus.column("lang", [0])
