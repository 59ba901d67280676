"""Which documents judge a model."""

from dataclasses import replace
from pathlib import Path

import pytest
from support import tiny

from ulmkit import LanguageModel, TextClassifier
from ulmkit.errors import ConfigError, DataError
from ulmkit.hub import DataFacts, SplitFacts, TrainingFacts, save_pair
from ulmkit.pipeline import DataOptions, evaluation_options, prepare, select_evaluation_data
from ulmkit.text import Document, SplitPolicy
from ulmkit.text.read.documents import GIVEN_IN_PYTHON


def _pretrain(data: list | Path, options: DataOptions = tiny.WORDS) -> LanguageModel:
    given = {"sizes": tiny.SIZES, "recipe": tiny.LEARN, "data_options": options, "run": tiny.RUN}
    return LanguageModel.pretrain(data, steps=1, **given)


def test_a_model_without_fingerprints_is_evaluated_on_the_split_of_data_of_the_same_name(tmp_path: Path) -> None:
    path = tiny.write_csv(tmp_path / "a.csv", [("a b c", "x", "m")] * 4, header=("text", "label", "author"))
    policy = SplitPolicy(kind="group", valid_fraction=0.25, seed=3, column="author")
    splits = (SplitFacts(name="train", use="training", documents=4),)
    facts = TrainingFacts(data=DataFacts(name="a.csv", splits=splits, split_policy=policy))
    learnt_by = DataOptions(split_by="group", valid_fraction=0.25, seed=3, group_column="author")
    assert evaluation_options(None, path, facts) == learnt_by
    labelled = DataOptions(label_column="label")
    assert evaluation_options(labelled, path, facts) == replace(learnt_by, label_column="label")
    chosen = DataOptions(split_by="random")
    assert evaluation_options(chosen, path, facts) == chosen
    given = DataOptions(split_by="given")
    assert evaluation_options(None, tmp_path / "b.csv", facts) == given
    assert evaluation_options(DataOptions(), tmp_path / "b.csv", facts) == given
    in_python = replace(facts, data=replace(facts.data, name=GIVEN_IN_PYTHON))
    assert evaluation_options(None, [("a", "x")], in_python) == given
    assert evaluation_options(None, path, TrainingFacts()) == given


def test_held_out_documents_are_evaluated_unless_all_are_asked_for() -> None:
    classifier, data = tiny.classifier(), tiny.reviews()
    assert classifier.evaluate(data).documents == 12
    assert classifier.evaluate(data, split="all").documents == 120
    assert classifier.evaluate(data, split="train").documents == 108
    held_out = select_evaluation_data(classifier.parts, data, None, None, task="single")
    assert (held_out.split, held_out.is_training_data, len(held_out.rows())) == ("valid", True, 12)
    described = {
        split: select_evaluation_data(classifier.parts, data, split, None, task="single").describe().split("; ")[1]
        for split in ("valid", "train", "all")
    }
    assert described == {
        "valid": "held out while the model was trained",
        "train": "the model learned from them",
        "all": "the model learned from some of them",
    }
    new = select_evaluation_data(
        classifier.parts, [*tiny.reviews(4, 500), ("no label", None)], None, None, task="single"
    )
    assert new.describe().endswith("5 documents, 4 of them labelled; not from the data that the model was trained on")
    assert classifier.evaluate(tiny.reviews(30, 500)).documents == 30
    found = tiny.language_model().evaluate(data).tokens
    assert found == tiny.language_model().evaluate(data, split="valid").tokens
    assert found < 0.2 * tiny.language_model().evaluate(data, split="all").tokens
    assert tiny.language_model().evaluate_with(data).results["plain"].tokens == found
    assert classifier.compare(classifier, data).documents == 12
    parts = replace(classifier.parts, label_names=tuple(reversed(classifier.labels)))
    with pytest.raises(ConfigError, match="other: expected a classifier of the same task and labels"):
        classifier.compare(TextClassifier(parts), data)


def test_the_test_part_goes_before_the_valid_part_unless_it_was_learnt_from() -> None:
    data = [
        Document(text, label, split=("train", "train", "valid", "test")[number // 30])
        for number, (text, label) in enumerate(tiny.reviews())
    ]
    base = tiny.language_model()
    given = {"steps": 1, "recipe": tiny.LEARN, "data_options": tiny.WORDS, "run": tiny.RUN}
    clean, transductive = base.finetune(data, **given), base.finetune(data, **given, splits=("train", "test"))
    for model, split in ((clean, "test"), (transductive, "valid"), (base, None)):
        with_splits = data if model is not base else [replace(document, split=None) for document in data[:60]]
        assert select_evaluation_data(model.parts, with_splits, None, None).split == split
    assert select_evaluation_data(clean.parts, data, None, None, order=("valid", "test")).split == "valid"
    assert select_evaluation_data(transductive.parts, data, "test", None).split == "test"


def test_a_split_that_cannot_be_drawn_again_is_refused(tmp_path: Path) -> None:
    rows = [(text, number % 5, ("train", "valid")[number % 3 == 0]) for number, (text, _) in enumerate(tiny.reviews())]
    path = tiny.write_csv(tmp_path / "a.csv", rows, ("text", "label", "part"))
    as_numbers, by_column = replace(tiny.WORDS, label_task="number"), replace(tiny.WORDS, split_column="part")
    model = _pretrain(path, as_numbers)
    for split in (None, "train"):
        with pytest.raises(DataError, match=r"a\.csv: the model was trained on it under another split than this one"):
            model.evaluate(path, split=split)
    assert select_evaluation_data(model.parts, path, None, as_numbers).split == "valid"
    assert select_evaluation_data(model.parts, path, "all", None).split is None
    chosen = replace(tiny.WORDS, split_by="random")
    assert select_evaluation_data(model.parts, path, None, chosen).split == "valid"
    parts = _pretrain(path, by_column).parts
    prepared = prepare(path, tiny.WORDS, tokenizer=parts.tokenizer, vocabulary=parts.vocabulary)
    with pytest.raises(DataError, match='under another split than this one; .* or give split="all"'):
        select_evaluation_data(parts, prepared, None, None)


def test_the_column_that_a_split_went_by_need_not_be_named_again(tmp_path: Path) -> None:
    rows = [(text, label, f"author {number % 4}") for number, (text, label) in enumerate(tiny.reviews())]
    path = tiny.write_csv(tmp_path / "a.csv", rows, ("body", "label", "author"))
    by_author = replace(tiny.WORDS, split_by="group", group_column="author", valid_fraction=0.25, label_column="label")
    parts = _pretrain(path, by_author).parts
    judged = select_evaluation_data(parts, path, None, DataOptions(label_column="label"))
    assert (judged.is_training_data, len(judged.rows())) == (True, 30)
    by_split = replace(tiny.WORDS, split_column="author", label_column="label")
    renamed = [(text, label, "valid" if author == "author 3" else "train") for text, label, author in rows]
    path = tiny.write_csv(tmp_path / "b.csv", renamed, ("body", "label", "author"))
    judged = select_evaluation_data(_pretrain(path, by_split).parts, path, None, DataOptions(label_column="label"))
    assert (judged.is_training_data, judged.split, len(judged.rows())) == (True, "valid", 30)
    other = tiny.write_csv(tmp_path / "other.csv", tiny.reviews(20, 500))
    assert not select_evaluation_data(parts, other, None, None).is_training_data


def test_a_pair_is_evaluated_on_held_out_documents(tmp_path: Path) -> None:
    given = {"steps": 2, "recipe": tiny.CLASSIFY, "data_options": tiny.WORDS, "run": tiny.RUN}
    for direction, base in (("f", tiny.language_model()), ("b", tiny.backward_language_model())):
        TextClassifier.train(tiny.reviews(), base, method="finetune", **given).save(tmp_path / direction)
    save_pair(tmp_path / "both", tmp_path / "f", tmp_path / "b")
    assert TextClassifier.load(tmp_path / "both").evaluate(tiny.reviews()).documents == 12


def test_a_split_column_goes_before_the_split_that_the_model_records(tmp_path: Path) -> None:
    documents = [Document(text, group=str(number % 10)) for number, (text, _) in enumerate(tiny.reviews())]
    by_group = replace(tiny.WORDS, split_by="group")
    model = _pretrain(documents, by_group)
    held_out = set(prepare(documents, by_group).rows("valid"))
    rows = [(each.text, "valid" if row in held_out else "train") for row, each in enumerate(documents)]
    path = tiny.write_csv(tmp_path / "a.csv", rows, ("text", "part"))
    selected = select_evaluation_data(model.parts, path, None, replace(tiny.WORDS, split_column="part"))
    assert selected.split == "valid"
    assert selected.is_training_data
    assert len(selected.corpus.rows("valid")) == len(held_out)
