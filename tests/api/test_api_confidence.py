"""Classifiers that abstain or answer with sets, and the held-out documents that their promises rest on."""

from dataclasses import replace

import numpy as np
import pytest
from support import tiny

from ulmkit import TextClassifier
from ulmkit.errors import ConfigError, FolderError
from ulmkit.evaluation import HeldOutAnswers
from ulmkit.pipeline import train_automatically
from ulmkit.training import Budget

HELD_OUT = tiny.reviews(200, 5000)
TEXTS = [text for text, _ in tiny.reviews(40, 7000)] + ["the film was", "and music in it"]


def unsure() -> HeldOutAnswers:
    """Answers of which those below a confidence of 0.9 are wrong."""
    confidence = np.linspace(0.5, 1.0, 1000)
    labels = np.zeros(1000, dtype=np.int64)
    return HeldOutAnswers("made up", labels, (confidence <= 0.9).astype(np.int64), confidence, np.zeros(1000))


def test_it_abstains_below_the_threshold_and_answers_alike_above_it() -> None:
    classifier = tiny.classifier()
    selective = classifier.selective(0.1, held_out=unsure())
    assert selective.selection.threshold == pytest.approx(0.9, abs=0.03)
    plain, answers = classifier.predict(TEXTS), selective.predict(TEXTS)
    confidence = np.asarray(classifier.predict_proba(TEXTS)).max(axis=1)
    expected = [
        label if sure > selective.selection.threshold else None for label, sure in zip(plain, confidence, strict=True)
    ]
    assert answers == expected
    assert None in answers
    assert "pos" in answers
    assert selective.predict([]) == []


def test_held_out_documents_may_be_given() -> None:
    classifier = tiny.classifier()
    selective = classifier.selective(0.2, held_out=HELD_OUT)
    assert selective.selection.documents == 200
    assert "200 documents, all of" in selective.selection.source
    report = selective.evaluate(tiny.reviews(60, 9000))
    assert report.documents == 60
    assert report.error == report.errors / report.answered


def test_conformal_sets_have_the_predicted_label_first() -> None:
    classifier = tiny.classifier()
    certain = classifier.conformal(0.3, held_out=HELD_OUT)
    assert [each[0] for each in certain.predict(TEXTS)] == classifier.predict(TEXTS)
    everything = classifier.conformal(0.001, held_out=HELD_OUT)
    assert {len(each) for each in everything.predict(TEXTS)} == {2}
    assert everything.evaluate(tiny.reviews(60, 9000)).coverage == 1.0


def test_networks_keep_their_answers_for_the_validation_documents() -> None:
    answers = tiny.classifier().held_out_answers()
    facts = tiny.classifier().parts.facts
    assert len(answers) == facts.validation_documents == 12
    assert answers.is_right.mean() == pytest.approx(facts.validation["accuracy"])


def test_ladders_keep_answers_of_models_that_were_fitted_to_others() -> None:
    """Labels are noise: answers of models that had seen them would be better than chance."""
    draw = np.random.default_rng(0)
    noise = [(text, ("a", "b")[draw.integers(2)]) for text, _ in tiny.reviews(60, 3000)]
    parts = train_automatically(
        noise, (), method="linear", budget=Budget(steps=1), data_options=tiny.WORDS, run=tiny.RUN
    )
    answers = TextClassifier(parts).held_out_answers()
    assert len(answers) == parts.facts.labelled_documents
    assert parts.facts.ladder is not None
    assert answers.source == parts.facts.ladder.judged_on
    assert answers.is_right.mean() == pytest.approx(parts.facts.ladder.kept.accuracy)
    with pytest.raises(ConfigError, match="max_error: expected"):
        TextClassifier(parts).selective(0.2)


def test_promises_of_other_models_are_not_taken_over() -> None:
    forward = tiny.classifier().parts
    pair = TextClassifier(forward, replace(forward, direction="backward"))
    with pytest.raises(FolderError, match="this pair has none"):
        pair.selective(0.5)
    assert pair.conformal(0.2, held_out=HELD_OUT).rule.documents == 200
    assert tiny.classifier().parts.held_out is not None
    with pytest.raises(FolderError, match="this classifier has none"):
        tiny.classifier().to_int8().conformal(0.2)


def test_what_has_no_effect_or_no_meaning_is_refused() -> None:
    with pytest.raises(ConfigError, match="split, data_options: have no effect without `held_out`"):
        tiny.classifier().selective(0.5, split="valid")
    number = tiny.reviews(20)
    regressor = TextClassifier.train(
        [(text, float(len(text))) for text, _ in number],
        tiny.language_model(),
        task="number",
        method="finetune",
        steps=2,
        recipe=tiny.CLASSIFY,
        data_options=tiny.WORDS,
        run=tiny.RUN,
    )
    assert regressor.parts.held_out is not None
    assert regressor.parts.held_out.answers is None
    with pytest.raises(ConfigError, match="confidence: expected a classifier of one label per document, got task 'num"):
        regressor.conformal(0.1)


def test_a_network_has_a_temperature_that_changes_no_label(tmp_path) -> None:
    classifier = tiny.classifier()
    plain = TextClassifier(replace(classifier.parts, temperature=1.0))
    scaled = TextClassifier(replace(classifier.parts, temperature=2.5))
    assert classifier.parts.temperature != 1.0
    assert scaled.predict(TEXTS) == plain.predict(TEXTS)
    sure, less = (np.asarray(each.predict_proba(TEXTS)) for each in (plain, scaled))
    np.testing.assert_allclose(np.log(less[:, 0] / less[:, 1]), np.log(sure[:, 0] / sure[:, 1]) / 2.5, rtol=1e-4)
    np.testing.assert_allclose(
        scaled.predict_labelled(scaled.evaluation_data(tiny.reviews(40, 7000))), less[:40], atol=1e-5
    )
    stream = scaled.stream()
    stream.feed(TEXTS[0])
    np.testing.assert_allclose(stream.finish(), less[0], atol=1e-5)
    pairs = [TextClassifier(each.parts, replace(each.parts, direction="backward")) for each in (plain, scaled)]
    np.testing.assert_array_equal(pairs[0].predict_proba(TEXTS), pairs[1].predict_proba(TEXTS))  # so labels stay
    weights = [each.explain(TEXTS[:1])[0].words[0].weight for each in (plain, scaled)]
    assert weights[1] == pytest.approx(weights[0] / 2.5, rel=1e-3)
    scaled.save(tmp_path / "scaled")
    np.testing.assert_allclose(TextClassifier.load(tmp_path / "scaled").predict_proba(TEXTS), less, atol=1e-7)
    with pytest.raises(ConfigError, match="temperature: expected a number above 0, got 0"):
        replace(classifier.parts, temperature=0.0)
