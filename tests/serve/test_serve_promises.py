"""A served classifier that abstains where it is not sure, and names the labels that may be right."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from support import tiny
from support.hesitation import TEXTS

from ulmkit import TextClassifier
from ulmkit.api import Confidence
from ulmkit.errors import ConfigError, FolderError
from ulmkit.hub import HeldOut
from ulmkit.serve import ServeOptions, create_app

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


def test_promises_that_cannot_be_kept_are_refused(hesitant: TextClassifier) -> None:
    with pytest.raises(ConfigError, match=r"max_error: expected at least 0\.03, the lowest error"):
        create_app(hesitant, "tiny", ServeOptions(confidence=Confidence(max_error=0.001)))
    without = TextClassifier(replace(tiny.classifier().parts, held_out=HeldOut()))
    with pytest.raises(FolderError, match="held-out answers: expected those that training keeps"):
        create_app(without, "tiny", ServeOptions(confidence=ABSTAIN))
