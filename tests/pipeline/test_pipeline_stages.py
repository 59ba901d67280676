"""Pretraining, fine-tuning and classification as functions."""

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import tiny

from ulmkit import TextClassifier
from ulmkit.config import to_dict
from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation import first_context
from ulmkit.hub import ClassifierParts, LanguageModelParts, TrainingFacts
from ulmkit.kernels import BACKENDS
from ulmkit.pipeline import (
    FINETUNE,
    FINETUNE_PLAIN,
    ClassifierRecipe,
    LanguageModelRecipe,
    evaluate_rows,
    find_finetuning_rate,
    finetune,
    language_models,
    linear_baselines,
    predict_rows,
    prepare,
    pretrain,
    texts_of,
    train,
    train_automatically,
    training_rows,
    usual_finetuning,
    validation_perplexity,
    validation_rows,
)
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.pipeline.language_models import DROPOUTS
from ulmkit.tasks import TASKS
from ulmkit.text import Document
from ulmkit.training import Budget, Schedule
from ulmkit.training.progress import LineProgress

STEPS = Budget(steps=4)


def _pretrain(data: Any = None, **options: Any) -> LanguageModelParts:
    given = {"budget": STEPS, "sizes": tiny.SIZES, "recipe": tiny.LEARN, "data_options": tiny.WORDS, "run": tiny.RUN}
    return pretrain(tiny.reviews() if data is None else data, **(given | options))


def _finetune(data: Any = None, base: LanguageModelParts | None = None, **options: Any) -> LanguageModelParts:
    given = {"budget": STEPS, "recipe": tiny.LEARN, "data_options": tiny.WORDS, "run": tiny.RUN}
    return finetune(base or tiny.language_model().parts, tiny.reviews() if data is None else data, **(given | options))


def _train(data: Any = None, **options: Any) -> ClassifierParts:
    given = {"budget": STEPS, "recipe": tiny.CLASSIFY, "data_options": tiny.WORDS, "run": tiny.RUN}
    return train(
        tiny.reviews() if data is None else data,
        options.pop("language_model", tiny.language_model().parts),
        **(given | options),
    )


def _same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    others = second.state_dict()
    return all(torch.equal(tensor, others[name]) for name, tensor in first.state_dict().items())


def test_pretraining_lowers_perplexity_and_records_what_it_did() -> None:
    parts = tiny.language_model().parts
    facts = parts.facts
    figures = facts.validation
    assert figures["perplexity"] < 0.8 * len(parts.vocabulary)
    assert np.exp(figures["loss"]) == pytest.approx(figures["perplexity"])
    assert (facts.stage, facts.run.budget, facts.run.steps) == ("pretraining", Budget(steps=40), 40)
    assert facts.run.machine.device == "cpu"
    assert facts.run.machine.precision in ("fp32", "bf16")
    assert facts.run.machine.backend in BACKENDS
    assert facts.data.cleanness == "clean"
    assert [(split.name, split.use, split.documents) for split in facts.data.splits] == [
        ("train", "training", 108),
        ("valid", "held out", 12),
    ]
    rows = [row for row in parts.history if row["kind"] == "validation"]
    assert rows[-1]["valid_perplexity"] == pytest.approx(figures["perplexity"])
    assert rows[-1]["valid_loss"] == pytest.approx(figures["loss"])
    assert not parts.model.training


def test_fine_tuning_moves_the_vocabulary_and_leaves_the_base_alone() -> None:
    base = tiny.language_model().parts
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    data = [(text + " zebra", label) for text, label in tiny.reviews(80, first=500)]
    tuned = _finetune(data, budget=Budget(steps=30))
    assert "zebra" in tuned.vocabulary
    assert "zebra" not in base.vocabulary
    assert tuned.facts.vocabulary_transfer.matched == len(tuned.vocabulary) - 1
    assert tuned.facts.validation["perplexity"] < 0.9 * tuned.facts.validation_before["perplexity"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.model.state_dict().items())
    assert tuned.facts.base.run.budget == Budget(steps=40)


def test_usual_settings_of_fine_tuning_depend_on_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    with_dropout = tiny.language_model().parts
    base = _pretrain(recipe=replace(tiny.LEARN, dropout_multiplier=0.0))
    assert [usual_finetuning(parts) for parts in (with_dropout, base)] == [FINETUNE, FINETUNE_PLAIN]
    small = {"batch_size": 8, "bptt": 16}
    monkeypatch.setattr(language_models, "FINETUNE_PLAIN", replace(FINETUNE_PLAIN, **small))
    tuned = _finetune(base=base, recipe=None)
    assert tuned.facts.recipe["factor"] == FINETUNE_PLAIN.factor != FINETUNE.factor
    assert tuned.facts.recipe["batch_size"] == 8


def test_the_first_figure_of_fine_tuning_is_the_base_models_own() -> None:
    base = tiny.language_model().parts
    corpus = prepare(tiny.reviews(), tiny.WORDS)
    found = validation_perplexity(base.model, corpus.stream(corpus.rows("valid")), base.vocabulary, 300_000)
    tuned = _finetune()
    assert tuned.facts.validation_before["perplexity"] == pytest.approx(found.perplexity, rel=1e-5)
    assert first_context(tuned.vocabulary) == tuned.vocabulary.eos_id


def test_the_same_seed_gives_the_same_model() -> None:
    first, second = _pretrain(), _pretrain()
    assert _same(first.model, second.model)
    assert not _same(first.model, _pretrain(run=replace(tiny.RUN, seed=1)).model)
    assert _same(_train().model, _train().model)
    assert not _same(_train().model, _train(run=replace(tiny.RUN, seed=1)).model)


def test_a_classifier_starts_from_the_language_models_encoder() -> None:
    base = tiny.language_model().parts
    recipe = replace(tiny.CLASSIFY, unfreezing="last")
    trained = _train(recipe=recipe)
    assert _same(trained.model.encoder, base.model.encoder)
    assert trained.vocabulary == base.vocabulary
    assert trained.facts.base == base.facts.as_base()
    assert trained.facts.base.validation == base.facts.validation


def test_from_scratch() -> None:
    trained = _train(language_model=None, sizes=tiny.ENCODER)
    assert trained.facts.base is None
    assert trained.model.config.embedding_size == 32
    assert trained.direction == "forward"


def test_few_labels_are_drawn_and_recorded() -> None:
    trained = _train(labels=10, valid_documents=5)
    assert trained.facts.labelled_documents == 10
    assert trained.facts.validation_documents == 5
    with pytest.raises(ConfigError, match="labels: expected 1 to 108, the labelled training documents, got 109"):
        _train(labels=109)
    with pytest.raises(ConfigError, match="labels: expected 1 to 108, the labelled training documents, got 2.5"):
        _train(labels=2.5)


def test_one_label_alone_can_be_learnt_from() -> None:
    assert _train(labels=1).facts.labelled_documents == 1


def test_text_of_a_test_split_alone_is_learned_from() -> None:
    data = [Document(text, split=("test", "valid")[number % 2]) for number, (text, _) in enumerate(tiny.reviews())]
    base = _pretrain(data_options=tiny.data_options("bytes"))
    tuned = _finetune(data, base, splits=("test",), data_options=None)
    assert tuned.facts.data is not None
    assert {split.name: split.use for split in tuned.facts.data.splits} == {"test": "training", "valid": "held out"}


@pytest.mark.parametrize(("multiplier", "said"), [(0.5, True), (1.0, False), (0.0, False)])
def test_a_multiplier_of_no_dropout_is_said_to_have_no_effect(multiplier: float, said: bool) -> None:
    base = _pretrain(recipe=replace(tiny.LEARN, dropout_multiplier=0.0))
    assert not any(getattr(base.model.config.encoder, name) for name in DROPOUTS)
    stream = io.StringIO()
    run = replace(tiny.RUN, progress=LineProgress(stream))
    _finetune(tiny.reviews(), base, recipe=replace(tiny.LEARN, dropout_multiplier=multiplier), run=run)
    assert ("dropout: a multiplier of 0.5 has no effect" in stream.getvalue()) is said


def test_clean_and_transductive() -> None:
    data = [
        Document(text, label, split=("train", "valid", "test")[number % 3])
        for number, (text, label) in enumerate(tiny.reviews())
    ]
    base = _pretrain(data)
    clean = _finetune(data, base)
    assert clean.facts.data.cleanness == "clean"
    assert {split.name: split.use for split in clean.facts.data.splits} == {
        "train": "training",
        "valid": "held out",
        "test": "held out",
    }
    tuned = _finetune(data, base, splits=("train", "unsupervised", "test"))
    assert tuned.facts.data.cleanness == "transductive"
    assert {split.name: split.use for split in tuned.facts.data.splits}["test"] == "training"
    assert _train(data, language_model=clean).facts.data.cleanness == "clean"
    assert _train(data, language_model=tuned).facts.data.cleanness == "transductive"


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: _pretrain(recipe=replace(tiny.LEARN, batch_size=5000)), "smaller batch_size or more text"),
        (lambda: _pretrain(["only one"]), "split by random: expected at least 2 documents to divide, got 1; .*lines"),
        (lambda: _pretrain(["a b c d e f"] * 9, data_options=replace(tiny.WORDS, split_by="given")),
         "validation: expected a split 'valid' to watch, got train"),
        (lambda: _pretrain(direction="Backward"), "direction: got 'Backward'; did you mean 'backward'"),
        (lambda: _pretrain(splits=("valid",)), "validation: expected a split 'valid' to watch.* of which valid is"),
        (lambda: _pretrain(splits=("extra",)), "splits: expected one of extra to learn from, got train, valid"),
        (lambda: _train(task="none"), "task: got 'none'; there are: single, multi, number, tokens, pair"),
        (lambda: _train(task="singel"), "task: got 'singel'; did you mean 'single'"),
        (lambda: _train([("a", "x"), ("b", "x")] * 5), "expected at least two classes .*, got one: 'x'"),
        (lambda: _train([Document("a film", label, split=split) for label, split in
                         [("x", "train"), ("y", "train"), ("z", "valid")]]), "got 'z' in valid alone"),
        (lambda: _train(recipe=replace(tiny.CLASSIFY, class_weights="balanced"), task="number",
                        data=[("a film", 1.0), ("the story", 2.0)] * 10), "'balanced' needs one or several labels"),
        (lambda: _train(recipe=replace(tiny.CLASSIFY, class_weights="balanced"), task="tokens",
                        data=[Document("the film", ("x", "y"), tokens=("the", "film"))] * 10),
         "'balanced' needs one or several labels per document, got task 'tokens'"),
        (lambda: _finetune(prepare(tiny.reviews(), DataOptions(tokenizer="bytes", workers=1)), data_options=None),
         r"was prepared with another tokenizer \(bytes\) than the model's \(whitespace\)"),
        (lambda: _train(prepare(tiny.reviews(), DataOptions(tokenizer="bytes", workers=1), task="single"),
                        data_options=None),
         r"its vocabulary \(265 tokens\) is not the model's"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained(run: Callable[[], object], message: str) -> None:
    with pytest.raises((DataError, ConfigError), match=message):
        run()


def test_class_weights_are_inverse_to_the_classes_frequencies() -> None:
    data = [(text, "rare" if number % 4 == 0 else "common") for number, (text, _) in enumerate(tiny.reviews())]
    trained = _train(data, recipe=replace(tiny.CLASSIFY, class_weights="balanced", label_smoothing=0.1))
    assert trained.label_names == ("common", "rare")
    assert trained.model.head.config.class_weights == pytest.approx((108 / (2 * 81), 108 / (2 * 27)))
    assert trained.model.head.config.label_smoothing == 0.1


def test_balanced_labels_weigh_their_positives() -> None:
    data = [(text, ("all", "rare") if number % 4 == 0 else ("all",)) for number, (text, _) in enumerate(tiny.reviews())]
    recipe = replace(tiny.CLASSIFY, class_weights="balanced")
    trained = _train(data, recipe=recipe, task="multi", budget=Budget(steps=1))
    rows = len(tiny.reviews()) * 0.9
    all_of_them, rare = trained.model.head.config.positive_weights
    assert all_of_them == pytest.approx(1 / (rows - 1), rel=0.05)
    assert rare == pytest.approx(3.0, rel=0.2)


def test_large_numbers_are_learnt() -> None:
    data = [(text, 2e5 + 5e4 * (label == "pos")) for text, label in tiny.reviews()]
    trained = _train(data, task="number", budget=Budget(steps=100))
    config = trained.model.head.config
    assert (config.number_mean, config.number_deviation) == pytest.approx((2.25e5, 2.5e4), rel=0.02)
    assert trained.facts.validation["rmse"] < 1.5e4


def _kind(parts: LanguageModelParts | ClassifierParts) -> str:
    return parts.facts.data.cleanness


def test_a_split_is_clean_by_what_was_held_out_not_by_names_and_policies(tmp_path: Path) -> None:
    ratings = [(text, str(number % 5)) for number, (text, _) in enumerate(tiny.reviews())]
    path = tiny.write_csv(tmp_path / "a.csv", ratings)
    base = _pretrain(path)
    tuned = _finetune(path, base)
    assert (_kind(base), _kind(tuned), _kind(_train(path, language_model=tuned))) == ("clean", "clean", "clean")
    assert _kind(_train(path, language_model=tuned, task="number")) == "mixed"
    as_numbers = replace(tiny.WORDS, label_task="number")
    again = _finetune(path, tuned, data_options=as_numbers)
    assert _kind(again) == "mixed"
    assert _kind(_train(path, language_model=again, task="number")) == "mixed"  # the first two held out others
    only = _finetune(path, _pretrain(path, data_options=as_numbers), data_options=as_numbers)
    assert _kind(_train(path, language_model=only, task="number")) == "clean"


def test_other_data_of_the_same_name_is_other_data(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, first in zip(folders, (0, 500), strict=True):
        folder.mkdir()
        tiny.write_csv(folder / "data.csv", tiny.reviews(120, first))
    tuned = _finetune(folders[0] / "data.csv", _pretrain(folders[0] / "data.csv"))
    assert _kind(_train(folders[1] / "data.csv", language_model=tuned)) == "other data"
    shutil.copy(folders[0] / "data.csv", tmp_path / "renamed.csv")
    assert _kind(_train(tmp_path / "renamed.csv", language_model=tuned)) == "clean"


def test_a_test_split_that_the_language_model_never_saw_is_clean_beside_more_training_text() -> None:
    data = [
        Document(text, label, split=("train", "valid", "test", "unsupervised")[number // 30])
        for number, (text, label) in enumerate(tiny.reviews())
    ]
    labelled = [document for document in data if document.split != "unsupervised"]
    assert _kind(_train(data, language_model=_pretrain(data))) == "clean"
    assert _kind(_train(labelled, language_model=_pretrain(data))) == "clean"
    assert _kind(_train(data, language_model=_pretrain(labelled))) == "clean"


def test_a_language_model_that_does_not_say_what_it_learnt_from(tmp_path: Path) -> None:
    base = _pretrain()
    older = replace(base.facts.data, splits=tuple(replace(split, fingerprint=None) for split in base.facts.data.splits))
    no_fingerprints, no_base = replace(base.facts, data=older), replace(base.facts, stage="fine-tuning")
    for facts in (TrainingFacts(), no_fingerprints, no_base):
        assert _kind(_train(language_model=replace(base, facts=facts))) == "unknown"
    mixed = replace(base.facts, data=replace(older, cleanness="mixed"))
    assert _kind(_train(language_model=replace(base, facts=mixed))) == "mixed"
    assert _kind(_train(language_model=None, sizes=tiny.ENCODER)) == "clean"


def test_mixed_splits_are_reported_before_training() -> None:
    ratings = [(text, str(number % 5)) for number, (text, _) in enumerate(tiny.reviews())]
    base, stream = _pretrain(ratings), io.StringIO()
    run = replace(tiny.RUN, progress=LineProgress(stream))
    _train([(text, float(label)) for text, label in ratings], language_model=base, task="number", run=run)
    assert "mixed splits: the language model learned from documents given in Python under" in stream.getvalue()
    stream.truncate(0)
    _train(ratings, language_model=base, run=run)
    assert "mixed" not in stream.getvalue()


def test_data_that_was_split_otherwise_for_the_language_model(tmp_path: Path) -> None:
    rows = [(text, label, f"author {number % 4}") for number, (text, label) in enumerate(tiny.reviews())]
    path = tiny.write_csv(tmp_path / "a.csv", rows, header=("text", "label", "author"))
    by_author = replace(tiny.WORDS, split_by="group", group_column="author", valid_fraction=0.25)
    tuned = {"random": _pretrain(path), "group": _pretrain(path, data_options=by_author)}
    kinds = {
        name: _train(path, language_model=base, data_options=by_author).facts.data.cleanness
        for name, base in tuned.items()
    }
    assert kinds == {"random": "mixed", "group": "clean"}


def test_patience_ends_early_and_leaves_the_best_weights() -> None:
    recipe = replace(tiny.CLASSIFY, peak_rate=0.1, patience=1, schedule=Schedule("constant"))
    trained = _train(recipe=recipe, budget=Budget(steps=60), run=replace(tiny.RUN, validations=30))
    assert trained.facts.run.stopped_because == "patience"
    assert trained.facts.run.steps < 60
    losses = [row["valid_loss"] for row in trained.history if row["kind"] == "validation"]
    assert min(losses) < losses[-1]
    recorded = trained.facts.validation["loss"]
    assert recorded == pytest.approx(min(losses), rel=1e-4)
    corpus = prepare(
        tiny.reviews(), tiny.WORDS, task="single", tokenizer=trained.tokenizer, vocabulary=trained.vocabulary
    )
    judged = validation_rows(corpus)
    found = evaluate_rows(trained.model, corpus, judged).validation_metrics()
    assert found["loss"] == pytest.approx(recorded, rel=1e-3)


def test_several_labels_have_patience_while_no_document_is_wholly_right_yet() -> None:
    words = [f"w{number}" for number in range(30)]
    rng = np.random.default_rng(0)
    data = [
        (" ".join(chosen), tuple(chosen)) for chosen in (rng.choice(words, size=4, replace=False) for _ in range(120))
    ]
    recipe = replace(tiny.CLASSIFY, patience=1, schedule=Schedule("constant"))
    run = replace(tiny.RUN, validations=4)
    trained = _train(data, task="multi", language_model=None, sizes=tiny.ENCODER, recipe=recipe, run=run)
    validations = [row for row in trained.history if row["kind"] == "validation"]
    assert {row["valid_error"] for row in validations} == {1.0}
    losses = [row["valid_loss"] for row in validations]
    assert losses == sorted(losses, reverse=True)
    assert trained.facts.run.steps == trained.facts.run.weights_of_step == STEPS.steps
    assert trained.facts.validation["loss"] == pytest.approx(losses[-1])


def test_a_language_model_has_patience_too() -> None:
    recipe = replace(tiny.LEARN, peak_rate=1.0, patience=1, schedule=Schedule("constant"))
    trained = _pretrain(recipe=recipe, budget=Budget(steps=60), run=replace(tiny.RUN, validations=30))
    assert trained.facts.run.stopped_because == "patience"
    losses = [row["valid_loss"] for row in trained.history if row["kind"] == "validation"]
    assert trained.facts.validation["loss"] == pytest.approx(min(losses), rel=1e-4)
    assert min(losses) < losses[-1]


def test_learning_rate_search_leaves_the_model_as_it_was() -> None:
    base = tiny.language_model().parts
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    found = find_finetuning_rate(
        base, tiny.reviews(), recipe=tiny.LEARN, data_options=tiny.WORDS, run=tiny.RUN, steps=20
    )
    assert len(found.rates) == len(found.losses) >= 6
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.model.state_dict().items())


def test_baselines_see_the_very_same_documents(tmp_path: Path) -> None:
    data = [(text, label) for text, label in tiny.reviews()]
    path = tiny.write_csv(tmp_path / "a.csv", data)
    corpus = prepare(path, tiny.WORDS, task="single")
    texts = texts_of(path, corpus, tiny.WORDS)
    assert texts == [text for text, _ in data]
    assert texts_of(corpus, corpus, tiny.WORDS) == texts
    rows, judged = training_rows(corpus, 60, 0), validation_rows(corpus)
    reports = linear_baselines(corpus, texts, rows, judged)
    assert len(reports) >= 2
    assert all(report.documents == len(judged) for report in reports.values())
    assert max(report.validation_metrics()["accuracy"] for report in reports.values()) >= 0.8


@pytest.mark.parametrize("tokenizer", ["bytes", None])
def test_linear_models_read_characters_where_neither_spaces_nor_tokens_separate_words(
    tokenizer: str | None,
) -> None:
    rng = np.random.default_rng(0)
    data = []
    for number in range(120):
        letters = list(rng.choice(list("月火水木金土日山川田"), size=12))
        letters[rng.integers(12)] = "好" if number % 2 else "悪"
        data.append(("".join(letters), str(number % 2)))
    options = DataOptions(tokenizer=tokenizer, workers=1)
    corpus = prepare(data, options, task="single")
    rows, judged = training_rows(corpus, None, 0), validation_rows(corpus)
    reports = linear_baselines(corpus, texts_of(data, corpus, options), rows, judged)
    assert reports["TF-IDF + logistic regression"].validation_metrics()["accuracy"] >= 0.9
    ladder = train_automatically(data, (), method="linear", budget=Budget(steps=1), data_options=options, run=tiny.RUN)
    assert ladder.facts.validation["accuracy"] >= 0.9
    assert ladder.tokenizer.name == (tokenizer or "sentencepiece")


def test_the_majority_is_that_of_the_training_documents() -> None:
    data = [Document(text, label, split="train") for text, label in [("a", "x"), ("b", "x"), ("c", "y")]]
    data += [Document("c", "y", split="valid"), Document("b", "y", split="valid")]
    corpus = prepare(data, DataOptions(tokenizer="bytes", workers=1), task="single")
    report = TASKS[corpus.task].report(np.array([[0.4, 0.6], [0.9, 0.1]]), corpus, corpus.rows("valid"))
    assert report.majority_label == "x"
    assert report.majority_accuracy == 0.0
    assert report.validation_metrics()["accuracy"] == 0.5


def test_predictions_for_a_corpus_do_not_depend_on_batch_mates() -> None:
    parts = tiny.classifier().parts
    corpus = prepare(tiny.reviews(), tiny.WORDS, task="single", tokenizer=parts.tokenizer, vocabulary=parts.vocabulary)
    together = predict_rows(parts.model, corpus, corpus.rows())
    for row in (0, 7, 15):
        np.testing.assert_allclose(predict_rows(parts.model, corpus, [row])[0], together[row], atol=1e-6)


def test_how_validation_was_chosen_is_in_the_model_card(tmp_path: Path) -> None:
    data = [
        Document(
            f"the film was a story and music in it {text}", label, group=f"author {number % 4}", time=float(number)
        )
        for number, (text, label) in enumerate(tiny.reviews())
    ]
    for policy in ("group", "time"):
        parts = _train(data, data_options=replace(tiny.WORDS, split_by=policy, valid_fraction=0.25))
        facts = parts.facts.data
        recorded = (facts.split_policy.kind, facts.split_policy.valid_fraction, facts.cleanness)
        assert recorded == (policy, 0.25, "other data")
        assert facts.near_duplicates["valid"]["train"].documents == 30
        TextClassifier(parts).save(tmp_path / policy)
        card = (tmp_path / policy / "README.md").read_text()
        chosen = {"group": "whole groups (seed 0)", "time": "the latest documents"}[policy]
        assert f"The validation split is 25% of the documents: {chosen}." in card
        shared = facts.near_duplicates["valid"]["train"]
        assert f"{shared.near} of the 30 documents in valid have a near-duplicate in train; {shared.exact} of" in card


def test_stages_take_minutes() -> None:
    """How the trainer keeps to them, its own tests show on a clock of theirs."""
    parts = _pretrain(budget=Budget(minutes=0.02), recipe=LanguageModelRecipe(batch_size=8, bptt=16))
    assert parts.facts.run.budget == Budget(minutes=0.02)
    assert parts.facts.run.stopped_because == "budget"
    assert parts.facts.run.steps > 1


def test_gradual_unfreezing_and_chain_thaw_through_train() -> None:
    for unfreezing, phases in (("gradual", 4), ("chain-thaw", 5)):
        recipe = ClassifierRecipe(unfreezing=unfreezing, dropout_multiplier=0.1)
        trained = _train(recipe=recipe, budget=Budget(steps=10))
        assert len({row["phase"] for row in trained.history if row["kind"] == "train"}) == phases
        assert trained.facts.recipe["unfreezing"] == unfreezing
        assert trained.facts.run.steps == 10


@pytest.mark.parametrize("task", ["single", "multi", "number", "tokens"])
def test_every_kind_of_label_learns_from_adversarial_shifts(task: str) -> None:
    def document(text: str, label: str) -> Document:
        words = tuple(text.split())
        labels = {"single": label, "multi": (label, "all"), "number": float(label == "pos")}
        return Document(text, labels.get(task, (label,) * len(words)), tokens=words if task == "tokens" else None)

    data = [document(*review) for review in tiny.reviews(60)]
    plain, shifted = (_train(data, task=task, recipe=replace(tiny.CLASSIFY, adversarial=size)) for size in (0.0, 5.0))
    assert not _same(plain.model, shifted.model)
    assert shifted.facts.recipe["adversarial"] == 5.0


def test_settings_without_adversarial_shifts_are_those_of_runs_before_there_were_any() -> None:
    assert "adversarial" not in to_dict(tiny.CLASSIFY)
