"""A served classifier that abstains where it is not sure, and names the labels that may be right."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from support import tiny
from support.hesitation import TEXTS

from ulmkit import TextClassifier
from ulmkit.api import Confidence
from ulmkit.errors import ConfigError, FolderError
from ulmkit.hub import HeldOut
from ulmkit.serve import ServeOptions, create_app
from ulmkit.tasks import find_task

ABSTAIN = Confidence(max_error=0.05)


def test_texts_it_is_not_sure_of_get_no_label(connect: Callable[..., TestClient], hesitant: TextClassifier) -> None:
    client = connect(hesitant, confidence=ABSTAIN)
    answers = client.post("/predict", json={"texts": TEXTS}).json()["predictions"]
    expected = hesitant.selective(0.05).predict(TEXTS)
    assert [answer["label"] for answer in answers] == expected
    assert [answer["abstained"] for answer in answers] == [label is None for label in expected]
    assert expected.count(None) == 15
    assert [tuple(answer["label_set"]) for answer in answers] == hesitant.conformal(0.05).predict(TEXTS)
    probabilities = hesitant.predict_proba(TEXTS)
    assert [list(answer["probabilities"].values()) for answer in answers] == probabilities.tolist()
    lines = client.get("/metrics").text.splitlines()
    assert "ulmkit_abstained_total 15.0" in lines
    assert f'ulmkit_answers_total{{label="pos"}} {float(expected.count("pos"))}' in lines


def test_streams_and_explanations_abstain_as_well(connect: Callable[..., TestClient], hesitant: TextClassifier) -> None:
    client = connect(hesitant, confidence=ABSTAIN)
    unsure = TEXTS[hesitant.selective(0.05).predict(TEXTS).index(None)]
    answer = client.post("/explain", json={"text": unsure}).json()
    assert (answer["label"], answer["abstained"]) == (None, True)
    assert answer["explained_label"] == hesitant.predict([unsure])[0]
    answer = client.post("/stream", json={"piece": unsure, "finish": True}).json()
    assert (answer["label"], answer["abstained"]) == (None, True)


def test_info_tells_what_is_promised(connect: Callable[..., TestClient], hesitant: TextClassifier) -> None:
    info = connect(hesitant, confidence=Confidence(max_error=0.05, certainty=0.9, miscoverage=0.2)).get("/info").json()
    assert (info["abstains"]["max_error"], info["abstains"]["certainty"], info["miscoverage"]) == (0.05, 0.9, 0.2)
    assert info["abstains"]["threshold"] == hesitant.selective(0.05, certainty=0.9).selection.threshold
    assert info["abstains"]["coverage"] == 0.5
    info = connect(hesitant).get("/info").json()
    assert (info["abstains"], info["miscoverage"]) == (None, None)
    answer = connect(hesitant).post("/predict", json={"text": TEXTS[0]}).json()["predictions"][0]
    assert (answer["abstained"], answer["label_set"]) == (False, None)


def test_sets_alone_leave_every_label(connect: Callable[..., TestClient], hesitant: TextClassifier) -> None:
    client = connect(hesitant, confidence=Confidence(miscoverage=0.3))
    answers = client.post("/predict", json={"texts": TEXTS}).json()["predictions"]
    assert not any(answer["abstained"] for answer in answers)
    assert [tuple(answer["label_set"]) for answer in answers] == hesitant.conformal(0.3).predict(TEXTS)


@pytest.mark.parametrize("options", [{}, {"confidence": Confidence(max_error=0.6, miscoverage=0.3)}])
def test_a_request_has_an_error_of_its_own(
    connect: Callable[..., TestClient], hesitant: TextClassifier, options: dict
) -> None:
    client = connect(hesitant, **options)
    expected = hesitant.selective(0.05).predict(TEXTS)
    body = {"texts": TEXTS, "max_error": 0.05}
    answers = client.post("/predict", json=body).json()["predictions"]
    assert [answer["label"] for answer in answers] == expected
    assert expected.count(None) == 15
    sets = hesitant.conformal(0.3 if options else 0.05).predict(TEXTS)  # the server's own share stays
    assert [tuple(answer["label_set"]) for answer in answers] == sets
    answers = client.post("/predict", json={"texts": TEXTS}).json()["predictions"]
    assert not any(answer["abstained"] for answer in answers)
    unsure = {"piece": TEXTS[expected.index(None)], "finish": True}
    assert client.post("/stream", json=unsure | {"max_error": 0.05}).json()["abstained"] is True
    assert client.post("/stream", json=unsure).json()["abstained"] is False
    fields = client.get("/openapi.json").json()["components"]["schemas"]["PredictRequest"]["properties"]
    assert fields["max_error"]["anyOf"][0] == {"type": "number", "exclusiveMinimum": 0.0, "exclusiveMaximum": 1.0}


def test_held_out_texts_of_the_server_bear_the_error_of_a_request(
    connect: Callable[..., TestClient], hesitant: TextClassifier, tmp_path: Path
) -> None:
    data = tiny.write_csv(tmp_path / "held-out.csv", tiny.reviews(200, 5000))
    client = connect(hesitant, confidence=Confidence(miscoverage=0.3, held_out=str(data)))
    data.unlink()  # it is read once
    answers = client.post("/predict", json={"texts": TEXTS, "max_error": 0.1}).json()["predictions"]
    data = tiny.write_csv(tmp_path / "held-out.csv", tiny.reviews(200, 5000))
    expected = hesitant.selective(0.1, held_out=str(data)).predict(TEXTS)
    assert [answer["label"] for answer in answers] == expected
    assert expected != hesitant.selective(0.1).predict(TEXTS)


@pytest.mark.parametrize(
    ("max_error", "message"),
    [
        (0.001, "max_error: expected at least 0.03, the lowest error that 400 documents (made up) guarantee"),
        (0, "max_error: Input should be greater than 0"),
        (1, "max_error: Input should be less than 1"),
        (float("nan"), "max_error: Input should be a finite number"),
        ("low", "max_error: Input should be a valid number"),
    ],
)
def test_an_error_that_cannot_be_promised_to_a_request_is_refused(
    connect: Callable[..., TestClient], hesitant: TextClassifier, max_error: object, message: str
) -> None:
    body = json.dumps({"text": TEXTS[0], "max_error": max_error})
    answer = connect(hesitant).post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"].startswith(message)) == (422, True), answer.json()


def test_a_classifier_without_held_out_answers_promises_no_error(connect: Callable[..., TestClient]) -> None:
    parts = replace(tiny.classifier().parts, held_out=HeldOut())
    client = connect(TextClassifier(parts))
    answer = client.post("/predict", json={"text": "a", "max_error": 0.1})
    assert answer.status_code == 422
    assert "max_error: expected a classifier that keeps held-out answers" in answer.json()["error"]
    assert "start the server with --abstain-above-error and --held-out" in answer.json()["error"]
    assert client.post("/predict", json={"text": "a", "max_error": None}).status_code == 200
    several = TextClassifier(replace(parts, task=find_task("multi")))
    answer = connect(several).post("/predict", json={"text": "a", "max_error": 0.1})
    assert answer.status_code == 422
    assert "expected a classifier of one label per document, got task 'multi'" in answer.json()["error"]


def test_promises_that_cannot_be_kept_are_refused(hesitant: TextClassifier) -> None:
    with pytest.raises(ConfigError, match=r"max_error: expected at least 0\.03, the lowest error"):
        create_app(hesitant, "tiny", ServeOptions(confidence=Confidence(max_error=0.001)))
    without = TextClassifier(replace(tiny.classifier().parts, held_out=HeldOut()))
    with pytest.raises(FolderError, match="held-out answers: expected those that training keeps"):
        create_app(without, "tiny", ServeOptions(confidence=ABSTAIN))
