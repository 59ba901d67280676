"""Drift of new texts from those that a model was trained on."""

import dataclasses
import math

import numpy as np
import pytest
from support import tiny

from ulmkit import LanguageModel, TextClassifier, find_drift
from ulmkit.api import DriftMonitor
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.hub import EnsembleParts, FeatureParts
from ulmkit.members.combiner import Combiner
from ulmkit.pipeline import prepare
from ulmkit.pipeline.text_measures import measure_documents, measure_held_out

ALIKE = [text for text, _ in tiny.reviews(80, 5000)]
OTHER = [f"{number} invoices were not paid in time by customer {number}" for number in range(60)]
DAY = 86_400.0
MONDAY = 1_704_067_200.0  # 2024-01-01


def test_a_language_model_finds_other_texts_and_not_those_like_its_own() -> None:
    model = tiny.language_model()
    alike = find_drift(model, ALIKE)
    assert not alike.has_drifted
    assert {each.measure for each in alike.periods[0].comparisons} >= {"bits_per_character", "unknown_rate", "words"}
    assert alike.class_shares == {}
    other = find_drift(model, [*ALIKE[:5], *OTHER], documents=3)
    assert other.has_drifted
    assert len(other.unlike) == 3
    assert all("invoices" in each.text for each in other.unlike)


def test_bits_per_character_are_those_of_the_score() -> None:
    model = tiny.language_model()
    (score,) = model.score(ALIKE[:1])
    monitor = DriftMonitor(model)
    monitor.add(ALIKE[:1])
    measured = monitor._parts[0].values["bits_per_character"][0]
    assert measured == pytest.approx(-score.log_probability / math.log(2) / len(ALIKE[0]), abs=1e-4)


def test_new_texts_are_measured_as_the_corpus_was() -> None:
    texts = tiny.reviews(120)
    for model in (tiny.language_model(), tiny.classifier()):
        corpus = prepare(
            texts, tiny.WORDS, task="single", tokenizer=model.parts.tokenizer, vocabulary=model.parts.vocabulary
        )
        held_out = measure_held_out(model.parts, corpus)
        monitor = DriftMonitor(model)
        monitor.add([texts[row][0] for row in corpus.rows("valid")])
        (again,) = monitor._parts
        assert set(held_out.values) == set(again.values)
        for name, column in held_out.values.items():
            np.testing.assert_allclose(column, again.values[name], atol=2e-5, err_msg=name)
        if held_out.predicted is not None:
            np.testing.assert_array_equal(held_out.predicted, again.predicted)


def test_a_classifier_compares_confidence_and_class_shares() -> None:
    report = find_drift(tiny.classifier(), [text for text, label in tiny.reviews(80, 5000) if label == "pos"])
    assert report.has_drifted
    (period,) = report.periods
    by_measure = {each.measure: each for each in period.comparisons}
    assert "confidence" in by_measure
    assert "bits_per_character" not in by_measure
    assert by_measure["classes"].effect > 0.3
    assert report.class_shares["pos"][1] > 0.9


def test_linear_models_tell_words_that_they_do_not_know() -> None:
    classifier = TextClassifier.train(tiny.reviews(), None, method="linear", run=tiny.RUN)
    assert not find_drift(classifier, ALIKE).has_drifted
    report = find_drift(classifier, [f"{text} quixotic" for text in ALIKE])
    assert [each.measure for each in report.periods[0].comparisons if each.adjusted_p_value < 1e-6] == ["unknown_words"]
    monitor = DriftMonitor(classifier)
    monitor.add(["quixotic the film quixotic", ""])
    np.testing.assert_allclose(monitor._parts[0].values["unknown_words"], [0.5, 0.0])


def test_an_ensemble_with_a_language_model_inside_has_its_bits() -> None:
    lm, network = tiny.language_model().parts, tiny.classifier().parts
    features = FeatureParts((lm,), np.full((224, 1), 0.01, dtype=np.float32), np.zeros(1, dtype=np.float32))
    parts = EnsembleParts(
        network.task,
        network.vocabulary,
        network.tokenizer,
        network.label_names,
        (features,),
        Combiner(np.ones(1), np.zeros(2)),
        network.facts,
    )
    documents = [network.vocabulary.encode(network.tokenizer.tokenize(text)) for text in ALIKE[:3]]
    numbers = np.array([10, 10, 10])
    measured = measure_documents(parts, documents, numbers, numbers, None)
    expected = measure_documents(lm, documents, numbers, numbers, None)
    np.testing.assert_array_equal(measured.values["bits_per_character"], expected.values["bits_per_character"])


def test_parts_and_periods() -> None:
    monitor = DriftMonitor(tiny.language_model(), period="week", documents=2)
    monitor.add(ALIKE[:40], times=[MONDAY + number % 7 * DAY for number in range(40)])
    monitor.add(OTHER[:30], times=[MONDAY + 7 * DAY] * 30, names=[f"row {number}" for number in range(30)])
    monitor.add([])
    report = monitor.report()
    assert [(each.name, each.texts, each.has_drifted) for each in report.periods] == [
        ("2024-W01", 40, False),
        ("2024-W02", 30, True),
    ]
    assert all(each.name.startswith("row ") for each in report.unlike)


@pytest.mark.parametrize(
    ("period", "names"), [("day", ["2023-12-31", "2024-01-01"]), ("month", ["2023-12", "2024-01"])]
)
def test_periods_change_at_midnight_in_utc(period: str, names: list[str]) -> None:
    report = find_drift(tiny.language_model(), ALIKE[:2], times=[MONDAY - 1.0, MONDAY], period=period)
    assert [each.name for each in report.periods] == names


def test_a_pair_is_compared_without_the_answers_of_its_forward_member() -> None:
    forward = tiny.classifier().parts
    pair = TextClassifier(forward, dataclasses.replace(forward, direction="backward"))
    report = find_drift(pair, ALIKE)
    assert {each.measure for each in report.periods[0].comparisons} == {"unknown_rate", "tokens_per_word", "words"}
    assert report.class_shares == {}


def test_measures_survive_saving(tmp_path) -> None:
    for model in (tiny.language_model(), tiny.classifier()):
        folder = tmp_path / type(model).__name__
        model.save(folder)
        before, after = model.parts.held_out.texts, type(model).load(folder).parts.held_out.texts
        assert set(before.values) == set(after.values)
        for name, column in before.values.items():
            np.testing.assert_array_equal(column, after.values[name])


def test_what_cannot_be_compared_is_refused() -> None:
    model = tiny.language_model()
    older = LanguageModel(dataclasses.replace(model.parts, held_out=None))
    with pytest.raises(FolderError, match=r"got none: it was made by an earlier version .* train or fine-tune"):
        find_drift(older, ALIKE)
    with pytest.raises(DataError, match="drift: expected at least one text, got none"):
        find_drift(model, [])
    with pytest.raises(DataError, match="names: expected one for each of 80 texts, got 1"):
        DriftMonitor(model).add(ALIKE, names=["one"])
    with pytest.raises(DataError, match="times: expected one for each of 80 texts to compare by day"):
        find_drift(model, ALIKE, period="day")
    with pytest.raises(DataError, match=r"text 0: expected a date or seconds since 1970 as its time, got 2024\.0"):
        find_drift(model, ALIKE[:1], period="month", times=[2024.0])
    with pytest.raises(DataError, match="expected seconds since 1970"):
        find_drift(model, ALIKE[:1], period="month", times=[1e30])
    with pytest.raises(ConfigError, match="period: got 'year'; there are: day, week, month"):
        DriftMonitor(model, period="year")
    with pytest.raises(ConfigError, match="documents: expected .* got -1"):
        DriftMonitor(model, documents=-1)
    assert TextClassifier(tiny.classifier().parts).to_int8().parts.held_out.texts is not None
