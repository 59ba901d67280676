"""From documents to a corpus: splits, and what stages have in common."""

import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import tiny

from ulmkit.cache_folder import default_cache
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.hub import TrainingFacts
from ulmkit.pipeline import (
    DataOptions,
    prepare,
    training_rows,
    validation_rows,
)
from ulmkit.pipeline.held_out import data_facts, foreign_text_warning, shared_documents_warning
from ulmkit.tasks import TASKS
from ulmkit.text import (
    TOKENIZERS,
    Document,
    EncodedCorpus,
    ReadOptions,
    SpacyTokenizer,
    SplitPolicy,
    Text,
    TokenizerKind,
    WhitespaceTokenizer,
    build_corpus,
    load_tokenizer,
)
from ulmkit.text.corpus.facts import SharedDocuments
from ulmkit.text.read.layout import OpenedFile
from ulmkit.text.read.readers import READERS
from ulmkit.text.tokens.tokenizer import save_settings


def _texts(corpus: EncodedCorpus, split: str) -> list[str]:
    decode, detokenize = corpus.vocabulary.decode, corpus.tokenizer.detokenize
    return [detokenize(decode(corpus.document(row))) for row in corpus.rows(split)]


def _data(task: str) -> list:
    """Sixty distinct documents with labels of the task."""
    draw = random.Random(task)
    data = []
    for number in range(60):
        text = f"document {number}"
        if task == "multi":
            data.append((text, tuple(name for name in "cba" if draw.random() < 0.5)))
        elif task == "number":
            data.append((text, draw.choice([0.5, 1.5, 2.5])))
        elif task == "tokens":
            words = tuple(text.split())
            labels = None if draw.random() < 0.3 else tuple(draw.choice("xy") for _ in words)
            data.append(Document(text, labels, tokens=words))
        elif task == "pair":
            data.append(((text, "other"), draw.choice(["yes", "no", "no"])))
        else:
            data.append((text, draw.choice(["yes", "no", "no"])))
    return data


@pytest.mark.parametrize("task", ["single", "multi", "number", "tokens", "pair"])
def test_documents_that_evaluate_a_classifier_were_held_out_from_the_language_model(task: str) -> None:
    options = DataOptions(tokenizer="bytes", workers=1, valid_fraction=0.3, label_task=task)
    data = _data(task)
    for_language_model, for_classifier = prepare(data, options), prepare(data, options, task=task)
    assert for_language_model.task == "none"
    assert for_classifier.task == task
    np.testing.assert_array_equal(for_language_model.rows("valid"), for_classifier.rows("valid"))
    assert len(for_language_model.rows("train")) == 42


def test_the_same_from_a_file_with_columns(tmp_path: Path) -> None:
    rows = [(f"document {number}", draw) for number, draw in enumerate(random.Random(0).choices("aab", k=60))]
    path = tiny.write_csv(tmp_path / "reviews.csv", rows, header=("review", "stars"))
    options = DataOptions(tokenizer="bytes", workers=1, valid_fraction=0.3, label_column="stars")
    held_out = prepare(path, options).rows("valid")
    np.testing.assert_array_equal(held_out, prepare(path, options, task="single").rows("valid"))
    unread = DataOptions(tokenizer="bytes", workers=1, valid_fraction=0.3, text_column="review", label_task="none")
    assert held_out.tolist() != prepare(path, unread).rows("valid").tolist()


def test_random_split_keeps_classes_in_proportion_and_is_recorded() -> None:
    data = [(f"text {number}", "rare" if number % 5 == 0 else "common") for number in range(100)]
    corpus = prepare(data, DataOptions(tokenizer="whitespace", workers=1, valid_fraction=0.2), task="single")
    assert corpus.facts.split_policy == SplitPolicy(kind="random", valid_fraction=0.2)
    assert corpus.facts.splits["valid"].labels == {"common": 16, "rare": 4}
    other = prepare(data, DataOptions(tokenizer="whitespace", workers=1, valid_fraction=0.2, seed=1), task="single")
    assert other.rows("valid").tolist() != corpus.rows("valid").tolist()


def test_numbers_of_which_no_two_are_alike_still_split_at_random(tmp_path: Path) -> None:
    path = tiny.write_csv(tmp_path / "a.csv", [(f"text {number}", number / 7) for number in range(100)])
    corpus = prepare(path, DataOptions(tokenizer="whitespace", workers=1, valid_fraction=0.2))
    held_out = corpus.rows("valid")
    assert len(held_out) == 20
    assert held_out.max() > 60
    assert not np.array_equal(held_out, np.arange(20))


def test_split_by_time_holds_out_the_latest(tmp_path: Path) -> None:
    days = [f"2024-01-{day:02d}" for day in range(1, 21)]
    random.Random(0).shuffle(days)
    path = tiny.write_csv(tmp_path / "a.csv", [(day, day) for day in days], header=("text", "day"))
    options = DataOptions(tokenizer="bytes", workers=1, split_by="time", time_column="day", valid_fraction=0.2)
    corpus = prepare(path, options)
    assert sorted(_texts(corpus, "valid")) == [f"2024-01-{day}" for day in (17, 18, 19, 20)]
    assert corpus.facts.split_policy.kind == "time"
    with pytest.raises(DataError, match="split by time: expected a time for every document.* time_column"):
        prepare(path, DataOptions(tokenizer="whitespace", workers=1, split_by="time"))


def test_split_by_group_holds_out_whole_groups(tmp_path: Path) -> None:
    rows = [(f"by {author}", author) for author in "abcdefghij" for _ in range(4)]
    path = tiny.write_csv(tmp_path / "a.csv", rows, header=("text", "author"))
    options = DataOptions(tokenizer="bytes", workers=1, split_by="group", group_column="author", valid_fraction=0.3)
    corpus = prepare(path, options)
    assert not set(_texts(corpus, "valid")) & set(_texts(corpus, "train"))
    assert len(corpus.rows("valid")) == 12


def test_a_validation_part_of_the_data_is_taken_as_it_is(tmp_path: Path) -> None:
    for name, count in (("train", 6), ("validation", 3), ("test", 2)):
        tiny.write_csv(tmp_path / f"{name}.csv", [(f"{name} {number}", number % 2) for number in range(count)])
    corpus = prepare(tmp_path, DataOptions(tokenizer="whitespace", workers=1), task="single")
    assert corpus.facts.split_policy.kind == "given"
    assert {name: len(corpus.rows(name)) for name in corpus.split_names} == {"train": 6, "test": 2, "valid": 3}
    drawn = prepare(tmp_path, DataOptions(tokenizer="whitespace", workers=1, split_by="random"), task="single")
    assert drawn.facts.split_policy.kind == "random"
    assert len(drawn.rows("test")) == 2


def test_a_split_column_says_the_split(tmp_path: Path) -> None:
    rows = [("one a", "train"), ("two a", "train"), ("three a", "dev")]
    path = tiny.write_csv(tmp_path / "a.csv", rows, header=("text", "part"))
    corpus = prepare(path, DataOptions(tokenizer="bytes", workers=1, split_column="part"))
    assert _texts(corpus, "valid") == ["three a"]


def test_near_duplicates_across_the_split_are_counted() -> None:
    long = "a long enough text of many words that nobody would write twice by chance in one lifetime or two "
    documents = [Document(f"{long * 3} {number}", split="train") for number in range(3)]
    documents += [Document(f"{long * 3} 0", split="valid"), Document("quite another matter altogether", split="valid")]
    corpus = prepare(documents, tiny.WORDS)
    found = corpus.facts.near_duplicates["valid"]["train"]
    assert found.exact == 1
    assert found.near + found.exact >= 1
    assert found.documents == 2


def test_labels_drawn_in_proportion_and_always_the_same() -> None:
    data = [(f"text {number}", "abbbcccccc"[number % 10]) for number in range(300)]
    corpus = prepare(data, tiny.WORDS, task="single")
    for count in (10, 33, 100):
        rows = training_rows(corpus, count, seed=0)
        assert len(rows) == count
        assert len(set(rows.tolist()) - set(corpus.rows("train").tolist())) == 0
        counts = np.bincount(corpus.labels(rows), minlength=3)
        np.testing.assert_allclose(counts, np.array([0.1, 0.3, 0.6]) * count, atol=1.0)
        np.testing.assert_array_equal(rows, training_rows(corpus, count, seed=0))
        assert rows.tolist() != training_rows(corpus, count, seed=1).tolist()
    fewer, more = set(training_rows(corpus, 10, 0).tolist()), set(training_rows(corpus, 50, 0).tolist())
    assert fewer < more
    np.testing.assert_array_equal(training_rows(corpus, None, 0), corpus.rows("train", labelled=True))
    for wrong in (0, 271):
        with pytest.raises(ConfigError, match=f"labels: expected 1 to 270, the .*, got {wrong}"):
            training_rows(corpus, wrong, 0)
    with pytest.warns(
        UserWarning, match="labels: too few to have a document of each class; never predicted are: 'a'; give"
    ):
        training_rows(corpus, 2, 0)


def test_validation_rows_are_all_or_a_part_always_the_same() -> None:
    corpus = prepare(tiny.reviews(), tiny.WORDS, task="single")
    rows = validation_rows(corpus)
    assert len(rows) == 12
    part = validation_rows(corpus, 5, seed=0)
    assert len(part) == 5
    assert set(part.tolist()) < set(rows.tolist())
    np.testing.assert_array_equal(part, validation_rows(corpus, 5, seed=0))
    np.testing.assert_array_equal(validation_rows(corpus, 50), rows)
    unlabelled = prepare(
        [*tiny.reviews(20), *(Document(f"x {n}", split="valid") for n in range(3))], tiny.WORDS, task="single"
    )
    with pytest.raises(
        DataError, match="validation: expected labelled documents in a split 'valid', got 3 without a label; let"
    ):
        validation_rows(unlabelled)
    few = [("one", "x"), ("two", "y"), *((f"text {number}", None) for number in range(20))]
    with pytest.raises(DataError, match="got 2 without a label; hold out more with valid_fraction, or mark"):
        validation_rows(prepare(few, tiny.WORDS, task="single"))


def test_an_equal_corpus_is_found_again_and_any_change_makes_another() -> None:
    first = prepare(tiny.reviews(20), tiny.WORDS)
    assert first.folder.parent == default_cache()
    assert prepare(list(tiny.reviews(20)), tiny.WORDS).folder == first.folder
    assert prepare(tiny.reviews(22), tiny.WORDS).folder != first.folder
    assert prepare(tiny.reviews(20), DataOptions(tokenizer="whitespace", workers=1, seed=3)).folder != first.folder
    assert prepare(tiny.reviews(20), tiny.WORDS, task="single").folder != first.folder


def test_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ULMKIT_CACHE", str(tmp_path / "own"))
    assert default_cache() == tmp_path / "own"
    monkeypatch.delenv("ULMKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "ulmkit"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "ulmkit"


def test_word_vocabulary_of_a_model_is_kept(tmp_path: Path) -> None:
    model = tiny.language_model().parts
    corpus = prepare(
        [("the film was sad", "a"), ("the story", "b")] * 5,
        tiny.WORDS,
        task="single",
        tokenizer=model.tokenizer,
        vocabulary=model.vocabulary,
        folder=tmp_path / "corpus",
    )
    assert corpus.vocabulary == model.vocabulary
    assert corpus.folder == tmp_path / "corpus"
    assert EncodedCorpus.open(corpus.folder, verify=True).task == "single"


def test_folder_that_is_there_is_refused_before_the_data_is_read(tmp_path: Path) -> None:
    class Unread:
        def __iter__(self):
            raise AssertionError("read")

    before = tiny.contents(tmp_path)
    with pytest.raises(FolderError, match="already exists; choose another name, or replace it with overwrite=True"):
        prepare(Unread(), tiny.WORDS, folder=tmp_path)
    assert tiny.contents(tmp_path) == before
    prepare(tiny.reviews(10), tiny.WORDS, folder=tmp_path / "c")
    again = prepare(tiny.reviews(12), tiny.WORDS, folder=tmp_path / "c", overwrite=True)
    assert len(again) == 12
    with pytest.raises(DataError, match="expected text to prepare, got a prepared corpus"):
        prepare(tmp_path / "c", tiny.WORDS, folder=tmp_path / "d")


def test_a_corpus_must_fit_task_vocabulary_and_labels(tmp_path: Path) -> None:
    corpus = build_corpus(
        [Document(text, label) for text, label in tiny.reviews(20)],
        tmp_path / "c",
        tokenizer=WhitespaceTokenizer(),
        label_kind=TASKS["single"],
    )
    assert prepare(corpus) is corpus
    assert prepare(tmp_path / "c", task="single").folder == corpus.folder
    with pytest.raises(DataError, match="expected a corpus prepared with task 'multi', got 'single'"):
        prepare(corpus, task="multi")
    with pytest.raises(DataError, match=r"its vocabulary \(\d+ tokens\) is not the model's \(\d+\); give the text"):
        prepare(corpus, vocabulary=tiny.language_model().parts.vocabulary)
    with pytest.raises(DataError, match=r"its labels \(neg, pos\) are not the model's \(no, yes\)"):
        prepare(corpus, task="single", label_names=["no", "yes"])


def test_vocabulary_of_another_tokenizer_is_refused() -> None:
    words = tiny.language_model().parts.vocabulary
    with pytest.raises(DataError, match="vocabulary: expected one made with the spacy .* got one without 'xxbos'"):
        prepare(tiny.reviews(20), tiny.WORDS, tokenizer=SpacyTokenizer(), vocabulary=words)
    own = prepare(tiny.reviews(20), DataOptions(tokenizer="bytes", workers=1))
    with pytest.raises(DataError, match="vocabulary: expected the bytes tokenizer's own"):
        prepare(tiny.reviews(20), tiny.WORDS, tokenizer=own.tokenizer, vocabulary=words)


def test_a_prepared_folder_that_was_overwritten_is_refused(tmp_path: Path) -> None:
    folder = prepare(tiny.reviews(10), tiny.WORDS, folder=tmp_path / "c").folder
    tokens = folder / "tokens-00000.bin"
    tokens.write_bytes(b"\xff" * tokens.stat().st_size)
    with pytest.raises(FolderError, match="tokens-00000.bin: its SHA-256 .* it was altered: prepare the corpus again"):
        prepare(folder)


@pytest.mark.parametrize(
    ("tokenizer", "limits", "kept"),
    [
        ("spacy", {}, "often thrice"),
        ("spacy", {"min_freq": 1}, "often thrice twice once"),
        ("spacy", {"max_vocab": 10, "min_freq": 1}, "often"),
        ("whitespace", {}, "often thrice twice once"),
        ("whitespace", {"min_freq": 3}, "often thrice"),
        ("whitespace", {"max_vocab": 3}, "often"),
    ],
)
def test_limits_of_the_vocabulary_hold_for_both_tokenizers_of_words(
    tokenizer: str, limits: dict[str, int], kept: str
) -> None:
    texts = ["often thrice twice", "often thrice once", "often thrice twice", "often"]
    data = [*(Document(text, split="train") for text in texts), Document("often", split="valid")]
    tokens = prepare(data, DataOptions(tokenizer=tokenizer, workers=1, **limits)).vocabulary.tokens
    assert set(tokens) & {"often", "thrice", "twice", "once"} == set(kept.split())
    if tokenizer == "whitespace":
        assert "<unk>" in tokens


def test_a_missing_label_column_is_reported_with_the_existing_columns(tmp_path: Path) -> None:
    path = tiny.write_csv(tmp_path / "a.csv", [("one", "x"), ("two", "y")], header=("text", "stars"))
    with pytest.raises(DataError, match="has no column 'label'; there are: text, stars"):
        prepare(path, tiny.WORDS, task="single")
    with pytest.raises(DataError, match="has no column 'labels'; there are: text, stars"):
        prepare(path, tiny.WORDS, task="multi")
    with pytest.raises(DataError, match=r"expected labels, got texts alone; give each as \(text, label\)"):
        prepare(["one", "two"], tiny.WORDS, task="single")


def test_files_of_text_without_labels_say_how_to_give_them(tmp_path: Path) -> None:
    for name in ("pos_1.txt", "neg_1.txt"):
        (tmp_path / name).write_text("some text")
    with pytest.raises(DataError, match=r"files of text without any; put the .* folder of its name \(LABEL/doc.txt\)"):
        prepare(tmp_path, tiny.WORDS, task="single")


def test_language_models_leave_labels_that_do_not_fit_unread_only_if_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one", "label": ["a", "b"]}\n{"text": "two", "label": []}\n')
    with pytest.raises(DataError, match='for several labels say task="multi"'):
        prepare(path, tiny.WORDS)
    for label_task in ("multi", "none"):
        assert len(prepare(path, DataOptions(tokenizer="whitespace", workers=1, label_task=label_task))) == 2


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (
            "split_by",
            "author",
            "split_by: got 'author'; did you mean 'auto'? there are: auto, given, random",
        ),
        ("tokenizer", "spacey", "tokenizer: got 'spacey'; did you mean 'spacy'?"),
        ("label_task", "singel", "label_task: got 'singel'; did you mean 'single'?"),
        ("pieces_kind", "bqe", "kind: got 'bqe'; did you mean 'bpe'?"),
        ("max_vocab", 0, "max_vocab: expected a whole number of at least 1, got 0"),
        ("min_freq", 0, "min_freq: expected a whole number of at least 1, got 0"),
        ("valid_fraction", 1.5, "valid_fraction: expected 0 < fraction < 1, got 1.5"),
        ("language", "english", "language: expected a code that spaCy has, got 'english'"),
    ],
)
def test_options_outside_their_range(option: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        tokenizer = {"pieces_kind": "sentencepiece", "language": "spacy"}.get(option, "whitespace")
        options = DataOptions(**{"tokenizer": tokenizer, "workers": 1, option: value})
        prepare(tiny.reviews(10), options)


def test_a_column_to_split_by_without_the_choice() -> None:
    with pytest.raises(ConfigError, match="split_by: expected a choice beside group_column; say 'group'"):
        DataOptions(group_column="author")


class _Counted(list):
    """Documents that count how often they are gone through."""

    passes = 0

    def __iter__(self):
        self.passes += 1
        return super().__iter__()


@pytest.mark.parametrize("tokenizer", ["sentencepiece", "spacy", "whitespace", "bytes"])
def test_documents_in_memory_are_read_twice_cold_and_once_warm(
    tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ULMKIT_CACHE", str(tmp_path))  # other tests prepare the same reviews
    documents = _Counted(tiny.reviews(30))
    options = tiny.data_options(tokenizer)
    first = prepare(documents, options, task="single")
    assert documents.passes == 2
    monkeypatch.setattr("ulmkit.text.tokens.tokenizers.train_sentencepiece", None)
    assert prepare(documents, options, task="single").folder == first.folder
    assert documents.passes == 3


@pytest.mark.parametrize("tokenizer", ["sentencepiece", "whitespace"])
def test_files_are_parsed_once_cold_and_not_at_all_warm(
    tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = []

    original = READERS[".tsv"]

    def documents(path: Path, opened: OpenedFile) -> Iterator[Document]:
        parsed.append(path.name)
        yield from opened.documents

    def open_tsv(path: Path, options: ReadOptions, split: str | None) -> OpenedFile:
        opened = original(path, options, split)
        return opened._replace(documents=documents(path, opened))

    monkeypatch.setitem(READERS, ".tsv", open_tsv)
    path = tmp_path / "reviews.tsv"
    path.write_text("text\tlabel\n" + "".join(f"document {at}\t{'ab'[at % 2]}\n" for at in range(40)))
    options = tiny.data_options(tokenizer)
    first = prepare(path, options, task="single")
    assert parsed == ["reviews.tsv"]
    monkeypatch.setattr("ulmkit.text.tokens.tokenizers.train_sentencepiece", None)
    assert prepare(path, options, task="single").folder == first.folder
    written = prepare(path, options, task="single", folder=tmp_path / "corpus")
    assert written.facts == first.facts
    kept = prepare(path, options, task="single", folder=tmp_path / "corpus", overwrite=True)
    assert kept.facts == first.facts
    assert parsed == ["reviews.tsv"]
    path.write_text("text\tlabel\n" + "".join(f"document {at}\t{'ab'[at % 2]}\n" for at in range(42)))
    monkeypatch.undo()
    changed = prepare(path, options, task="single", folder=tmp_path / "corpus", overwrite=True)
    assert len(changed) == 42


def test_the_key_of_a_corpus_is_made_from_settings_and_not_from_a_trained_tokenizer() -> None:
    documents = tiny.reviews(30)
    first = prepare(documents, DataOptions(tokenizer="sentencepiece", workers=1, pieces=60))
    for changed in ({"pieces": 61}, {"pieces_kind": "bpe"}, {"seed": 1}):
        options = DataOptions(**{"tokenizer": "sentencepiece", "workers": 1, "pieces": 60, **changed})
        assert prepare(documents, options).folder != first.folder


class _LetterTokenizer(WhitespaceTokenizer):
    """Letters of the text after its most frequent one in the training text."""

    name = "letters"

    def __init__(self, first: str) -> None:
        super().__init__()
        self.first = first

    @property
    def fingerprint(self) -> str:
        return f"letters-{self.first}"

    def tokenize(self, text: Text) -> list[str]:
        return [self.first, *"".join(str(text).split()), self.end_of_line]

    def save(self, folder: str | os.PathLike[str]) -> None:
        save_settings(folder, self.name, {"first": self.first})


def test_a_new_kind_of_tokenizer_needs_no_change_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = TokenizerKind(
        name="letters",
        make=lambda settings, texts: _LetterTokenizer(Counter("".join(map(str, texts))).most_common(1)[0][0]),
        load=lambda folder, first: _LetterTokenizer(first),
        is_trained=True,
    )
    monkeypatch.setitem(TOKENIZERS, "letters", kind)
    documents = [Document("eel", split="train"), Document("tree", split="train"), Document("zzzzzzzz", split="valid")]
    corpus = prepare(documents, DataOptions(tokenizer="letters", workers=1), folder=tmp_path / "corpus")
    assert corpus.vocabulary.decode(corpus.document(0)) == ["e", "e", "e", "l", "<eos>"]
    assert "z" not in corpus.vocabulary
    assert load_tokenizer(tmp_path / "corpus" / "tokenizer").tokenize("a b") == ["e", "a", "b", "<eos>"]
    assert prepare(tmp_path / "corpus", DataOptions(tokenizer="letters")).facts.tokenizer.name == "letters"
    with pytest.raises(ConfigError, match="tokenizer: got 'bytes', but .* was prepared with 'letters'"):
        prepare(tmp_path / "corpus", DataOptions(tokenizer="bytes"))
    with pytest.raises(ConfigError, match="tokenizer: got 'leters'; did you mean 'letters'"):
        DataOptions(tokenizer="leters")


def test_options_at_their_defaults_count_when_they_are_given(tmp_path: Path) -> None:
    prepare(tiny.reviews(20), DataOptions(tokenizer="bytes", workers=1, valid_fraction=0.3), folder=tmp_path / "c")
    assert prepare(tmp_path / "c").facts.split_policy.valid_fraction == 0.3
    with pytest.raises(ConfigError, match="tokenizer: got 'spacy', but .* was prepared with 'bytes'"):
        prepare(tmp_path / "c", DataOptions(tokenizer="spacy"))
    with pytest.raises(ConfigError, match=r"valid_fraction: got 0.1, but .* was prepared with 0.3"):
        prepare(tmp_path / "c", DataOptions(valid_fraction=0.1))


_LONG = " ".join(f"word{at}" for at in range(60))


def _leaking() -> list[Document]:
    """Documents with an exact and a near copy across the given split."""
    texts = [_LONG, _LONG.replace("word30", "changed"), *(f"a text of its own, number {at}" for at in range(8))]
    held_out = [_LONG, "nobody else wrote this"]
    return [*(Document(text, split="train") for text in texts), *(Document(text, split="valid") for text in held_out)]


def test_shared_documents_are_warned_of_and_can_be_dropped_from_training() -> None:
    leaking = prepare(_leaking(), tiny.WORDS)
    assert shared_documents_warning(leaking) == (
        "shared documents: 1 of 2 in valid are also in train (1 exactly), so figures measured on them flatter the "
        "model; drop them from training with --drop-shared-documents (DataOptions(drop_shared=True)), or correct the "
        "split"
    )
    clean = prepare(_leaking(), replace(tiny.WORDS, drop_shared=True))
    assert shared_documents_warning(clean) is None
    assert clean.rows("dropped").tolist() == [0, 1]
    assert clean.facts.splits["dropped"].documents == 2
    assert list(clean.facts.training_splits) == ["train"]
    assert "word30" not in clean.vocabulary
    assert clean.facts.near_duplicates == {"valid": {"train": SharedDocuments(documents=2, exact=0, near=0)}}
    assert "dropped" not in leaking.facts.splits


def test_text_in_another_language_than_the_language_models_is_warned_of() -> None:
    english = ["the model reads the words of the text", "the text of the model has the words"] * 40
    german = ["Aufmerksamkeitsverteilung beeinflusst Klassifikationsgenauigkeit"] * 40
    own = prepare(english, DataOptions(tokenizer="sentencepiece", pieces=40, byte_fallback=False, workers=1))
    base = TrainingFacts(stage="pretraining", data=data_facts(own, ["train"], None))
    model = {"tokenizer": own.tokenizer, "vocabulary": own.vocabulary}
    assert foreign_text_warning(prepare(english[:20], **model), ["train"], base) is None
    warning = foreign_text_warning(prepare(german, **model), ["train"], base)
    assert warning is not None
    assert warning.startswith("another language? the tokenizer makes ")
    assert foreign_text_warning(prepare(german, **model), ["train"], TrainingFacts()) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pieces": 100}, "pieces: has no effect on the spacy tokenizer; drop it, or take tokenizer='sentencepiece'"),
        ({"tokenizer": "spacy", "byte_fallback": True}, "byte_fallback: has no effect on the spacy tokenizer"),
        ({"tokenizer": "bytes", "language": "de"}, "language: has no effect on the bytes tokenizer"),
        ({"tokenizer": "sentencepiece", "min_freq": 2}, "min_freq: has no effect on the sentencepiece tokenizer"),
    ],
)
def test_options_of_another_tokenizer_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DataOptions(**options)


def test_the_report_counts_the_labels_of_words() -> None:
    documents = [Document("x y", ("A" if at else "B", "O"), ("x", "y")) for at in range(8)]
    corpus = prepare(documents, DataOptions(tokenizer="whitespace", workers=1, valid_fraction=0.25), task="tokens")
    assert {name: split.labels for name, split in corpus.facts.splits.items()} == {
        "train": {"A": 5, "B": 1, "O": 6},
        "valid": {"A": 2, "B": 0, "O": 2},
    }
