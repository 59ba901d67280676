"""Drift in the figures for Prometheus: shares of the served labels, and measures of a sample of the texts."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from support import tiny

from ulmkit import TextClassifier, find_drift
from ulmkit.api.drift import measure_texts
from ulmkit.evaluation import TextMeasures
from ulmkit.hub import EnsembleParts, FeatureParts, HeldOut
from ulmkit.members.combiner import Combiner
from ulmkit.serve.drift import ServedTexts

TEXTS = [text for text, _ in tiny.reviews(30, 5000)]
ALWAYS = 0.999


class Clock:
    """A time that goes on when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def samples(client: TestClient) -> dict[tuple[str, str], float]:
    """The figures by name and label, or measure."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in families
        for sample in family.samples
    }


def serve_texts(client: TestClient, texts: list[str]) -> None:
    """Send texts, each on its own as soon as the one before was measured."""
    served = client.app.state.service._served.texts
    for number, text in enumerate(texts, start=1):
        assert client.post("/predict", json={"text": text}).status_code == 200
        deadline = time.monotonic() + 30
        while (served.sampled_texts < number or served._is_busy) and time.monotonic() < deadline:
            time.sleep(0.001)
        served._next = -np.inf


def finish(served: ServedTexts) -> None:
    """Wait until what was added before is measured; closing alone may drop it."""
    served._thread.submit(lambda: None).result()


def test_the_figures_are_those_of_the_drift_command(connect: Callable[..., TestClient]) -> None:
    client = connect(drift_share=ALWAYS)
    serve_texts(client, TEXTS)
    expected = find_drift(tiny.classifier(), TEXTS)
    found = samples(client)
    (period,) = expected.periods
    assert found["ulmkit_drift_sampled_texts", ""] == len(TEXTS)
    assert found["ulmkit_drift_held_out_texts", ""] == expected.held_out_texts
    for each in period.comparisons:
        assert found["ulmkit_drift_effect", each.measure] == pytest.approx(each.effect)
        assert found["ulmkit_drift_p_value", each.measure] == pytest.approx(each.adjusted_p_value)
        if each.after is not None:
            assert found["ulmkit_drift_sampled_median", each.measure] == pytest.approx(each.after)
            assert found["ulmkit_drift_held_out_median", each.measure] == pytest.approx(each.before)
    assert found["ulmkit_drift_found", ""] == period.has_drifted
    distance = 0.0
    for label, (held_out, new) in expected.class_shares.items():
        assert found["ulmkit_served_class_share", label] == pytest.approx(new)
        assert found["ulmkit_held_out_class_share", label] == pytest.approx(held_out)
        distance += abs(held_out - new) / 2
    assert found["ulmkit_class_share_distance", ""] == pytest.approx(distance)


def test_a_language_model_inside_has_its_bits() -> None:
    network, lm = tiny.classifier().parts, tiny.language_model().parts
    shared = (network.task, network.vocabulary, network.tokenizer, network.label_names)
    features = FeatureParts((lm,), np.full((224, 1), 0.01, dtype=np.float32), np.zeros(1, dtype=np.float32))
    combiner = Combiner(np.ones(1), np.zeros(2))
    parts = EnsembleParts(*shared, (features,), combiner, network.facts)
    held_out = measure_texts(TextClassifier(parts), [text for text, _ in tiny.reviews(20, 9000)])
    classifier = TextClassifier(replace(parts, held_out=HeldOut(texts=held_out)))
    served = ServedTexts(classifier, ALWAYS)
    outputs = classifier.predict_proba(TEXTS)
    for number, text in enumerate(TEXTS):
        served._next = -np.inf
        served.add([text], outputs[number : number + 1])
        finish(served)
    served.close()
    bits = {each.measure: each.after for each in served.compare().comparisons}["bits_per_character"]
    expected = measure_texts(tiny.language_model(), TEXTS).values["bits_per_character"]
    assert bits == pytest.approx(np.median(expected), abs=1e-4)


def test_every_text_is_counted_but_only_a_sample_is_measured(connect: Callable[..., TestClient]) -> None:
    client = connect(drift_share=0.0)
    client.post("/predict", json={"texts": TEXTS})
    client.post("/predict", json={"texts": []})
    found = samples(client)
    labels = tiny.classifier().predict(TEXTS)
    assert found["ulmkit_served_class_share", "pos"] == pytest.approx(labels.count("pos") / len(TEXTS))
    assert found["ulmkit_drift_sampled_texts", ""] == 0
    assert ("ulmkit_drift_effect", "words") not in found


def test_the_thread_rests_in_proportion_to_its_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    served = ServedTexts(tiny.classifier(), 0.1, clock)
    held_out = tiny.classifier().parts.held_out.texts

    def measure_for_a_second(*_: object) -> TextMeasures:
        clock.now += 1.0
        return held_out.select(np.arange(1))

    monkeypatch.setattr("ulmkit.serve.drift.measure_texts", measure_for_a_second)
    outputs = tiny.classifier().predict_proba(TEXTS[:1])
    measured = []
    for second in range(21):
        clock.now = float(second)
        served.add(TEXTS[:1], outputs)
        finish(served)
        measured.append(served.sampled_texts)
    assert (measured[0], measured[9], measured[10], measured[19], measured[20]) == (1, 1, 2, 2, 3)
    served.close()


def test_texts_are_forgotten_and_long_ones_are_not_measured() -> None:
    served = ServedTexts(tiny.classifier(), ALWAYS)
    text = "a secret " * 6000
    served.add([text], tiny.classifier().predict_proba(["a secret"]))
    finish(served)
    served.close()
    assert served.sampled_texts == 0
    served = ServedTexts(tiny.classifier(), ALWAYS)
    served.add(["a secret"], tiny.classifier().predict_proba(["a secret"]))
    finish(served)
    served.close()
    assert served.sampled_texts == 1
    assert "secret" not in repr(vars(served)) + repr(served._sample[0])


def test_an_error_is_logged_without_the_text(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(classifier: TextClassifier, texts: list[str], outputs: np.ndarray) -> None:
        raise ValueError(texts[0])

    monkeypatch.setattr("ulmkit.serve.drift.measure_texts", fail)
    served = ServedTexts(tiny.classifier(), ALWAYS)
    served.add(["a secret"], tiny.classifier().predict_proba(["a secret"]))
    finish(served)
    served.close()
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text


def test_a_classifier_without_measures_has_the_shares_alone(connect: Callable[..., TestClient]) -> None:
    client = connect(TextClassifier(replace(tiny.classifier().parts, held_out=HeldOut())), drift_share=ALWAYS)
    client.post("/predict", json={"texts": TEXTS})
    found = samples(client)
    assert found["ulmkit_served_class_share", "pos"] + found["ulmkit_served_class_share", "neg"] == 1
    assert found["ulmkit_drift_held_out_texts", ""] == found["ulmkit_drift_sampled_texts", ""] == 0
    assert ("ulmkit_class_share_distance", "") not in found
