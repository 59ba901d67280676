"""Requests and answers: predictions are those of the classifier, and what does not fit is refused."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from support import tiny

from ulmkit import TextClassifier
from ulmkit.errors import MissingPackageError
from ulmkit.serve import ServeOptions, create_app
from ulmkit.serve.guard import Guard
from ulmkit.serve.metrics import ServerMetrics
from ulmkit.serve.server import check_packages
from ulmkit.tasks import find_task

TEXTS = [text for text, _ in tiny.reviews(6)]


def probabilities(answer: Any) -> list[list[float]]:
    """The probabilities of each prediction in the order of the labels."""
    labels = tiny.classifier().labels
    return [[prediction["probabilities"][label] for label in labels] for prediction in answer.json()["predictions"]]


def test_predictions_are_exactly_those_of_the_classifier(client: TestClient) -> None:
    answer = client.post("/predict", json={"texts": TEXTS})
    assert answer.status_code == 200
    expected = tiny.classifier().predict_proba(TEXTS)
    assert np.array_equal(np.array(probabilities(answer)), expected)
    assert [each["label"] for each in answer.json()["predictions"]] == tiny.classifier().predict(TEXTS)


def test_one_text_and_none(client: TestClient) -> None:
    answer = client.post("/predict", json={"text": TEXTS[0]})
    assert np.array_equal(np.array(probabilities(answer)), tiny.classifier().predict_proba(TEXTS[:1]))
    assert client.post("/predict", json={"texts": []}).json() == {"predictions": []}


def test_requests_that_are_predicted_together_get_the_answers_of_each_alone() -> None:
    app = create_app(tiny.classifier(), "tiny", ServeOptions())

    async def ask() -> list[httpx2.Response]:
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            asked = [client.post("/predict", json={"texts": [text] * (1 + n)}) for n, text in enumerate(TEXTS)]
            return await asyncio.gather(*asked)

    for number, answer in enumerate(asyncio.run(ask())):
        alone = tiny.classifier().predict_proba([TEXTS[number]])
        assert np.allclose(probabilities(answer), alone, rtol=0, atol=1e-6)
        assert len(probabilities(answer)) == 1 + number


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"texts": ["a"] * 11}, 413, "texts: expected at most 10, got 11; send several requests"),
        ({"texts": ["a", "b" * 101]}, 413, "texts[1]: expected at most 100 characters, got 101"),
        ({"text": "b" * 101}, 413, "text: expected at most 100 characters, got 101"),
        ({"texts": ["a", 7]}, 422, "texts[1]: Input should be a valid string"),
        ({"texts": ["a", "b", []]}, 422, "texts[2]: expected a str or a tuple of str, got []"),
        ({"texts": "one text"}, 422, "texts: Input should be a valid list"),
        ({"text": None}, 422, "request: expected `text` or `texts`, got both or neither"),
        ({"text": "a", "texts": []}, 422, "request: expected `text` or `texts`, got both or neither"),
        ({"txt": "a"}, 422, "txt: there is no such field; /docs shows"),
        ({"text": "a", "threshold": 1.5}, 422, "threshold: expected 0 <= p < 1, got 1.5"),
        ([], 422, "request: expected a JSON object, sent with the header `Content-Type: application/json`; /docs"),
    ],
)
def test_what_does_not_fit_is_refused(
    connect: Callable[..., TestClient], body: object, status: int, message: str
) -> None:
    answer = connect(max_texts=10, max_characters=100).post("/predict", json=body)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert answer.json()["error"].startswith(message)


def test_requests_that_are_no_json_or_too_large_are_refused(connect: Callable[..., TestClient]) -> None:
    client = connect(max_bytes=200)
    for content, kind, message in (
        (b'{"text": ', "application/json", "request: expected JSON, got none from character 9 on"),
        (b'{"text": "\xff"}', "application/json", "request: expected JSON in UTF-8, got other bytes"),
        (b"", "application/json", "request: expected a JSON object"),
        (b'{"text": "a"}', "text/plain", "request: expected a JSON object"),
    ):
        answer = client.post("/predict", content=content, headers={"Content-Type": kind})
        assert (answer.status_code, answer.json()["error"].startswith(message)) == (422, True), answer.text
    answer = client.post("/predict", json={"text": "a" * 300})
    assert (answer.status_code, answer.json()["error"][:36]) == (413, "request: expected at most 200 bytes,")
    pieces = (b"a" * 50 for _ in range(10))  # without a length
    assert client.post("/predict", content=pieces).status_code == 413
    assert client.post("/predict", json={"text": "a"}).status_code == 200


def test_a_request_that_does_not_arrive_is_given_up() -> None:
    app = create_app(tiny.classifier(), "tiny", ServeOptions(timeout_seconds=0.05))
    sent: list[dict] = []

    async def never() -> dict:
        await asyncio.sleep(60)
        return {}

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [(b"host", b"localhost")]}
    asyncio.run(app({**scope, "query_string": b"", "scheme": "http", "http_version": "1.1"}, never, send))
    assert sent[0]["status"] == 408
    assert b"expected all of it within 0.05 seconds" in sent[1]["body"]


def test_large_requests_that_arrive_together_are_limited() -> None:
    async def main() -> list[int]:
        done = asyncio.Event()
        statuses: list[int] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await done.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def receive() -> dict:
            return {"type": "http.request", "body": b"a" * 100}

        async def send(message: dict) -> None:
            if "status" in message:
                statuses.append(message["status"])

        metrics = ServerMetrics(lambda: 0, lambda: 0)
        guard = Guard(app, ServeOptions(max_bytes=100), metrics, {"/predict": True})
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [(b"host", b"localhost")]}
        held = [asyncio.create_task(guard(scope, receive, send)) for _ in range(20)]
        await asyncio.sleep(0.01)
        assert statuses == [429] * 4
        done.set()
        await asyncio.gather(*held)
        await guard(scope, receive, send)  # nothing is held any more
        return statuses

    assert asyncio.run(main()) == [429] * 4 + [200] * 17


@pytest.mark.parametrize("cuts", [[0, 5], [1, 2, 3], [30], []])
def test_a_text_in_pieces_ends_with_the_answer_for_the_whole(client: TestClient, cuts: list[int]) -> None:
    text = TEXTS[1]
    pieces = [text[begin:end] for begin, end in zip([0, *cuts], [*cuts, None], strict=True)]
    name, answer = None, {}
    for number, piece in enumerate(pieces):
        is_last = number == len(pieces) - 1
        response = client.post("/stream", json={"piece": piece, "stream": name, "finish": is_last})
        answer = response.json()
        assert (response.status_code, answer["finished"]) == (200, is_last)
        name = answer["stream"]
    stream = tiny.classifier().stream()
    for piece in pieces:
        stream.feed(piece)
    assert list(answer["probabilities"].values()) == stream.finish().tolist()
    assert answer["label"] == tiny.classifier().predict([text])[0]
    assert answer["characters"] == len(text)
    assert client.post("/stream", json={"piece": "more", "stream": name}).status_code == 404


def test_streams_are_limited_in_number_length_and_time(connect: Callable[..., TestClient]) -> None:
    client = connect(max_streams=1, max_characters=10, stream_seconds=600)
    first = client.post("/stream", json={"piece": "a fine"}).json()["stream"]
    answer = client.post("/stream", json={"piece": "b"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    answer = client.post("/stream", json={"piece": "film it was", "stream": first})
    assert (answer.status_code, "at most 10 characters, got 17" in answer.json()["error"]) == (413, True)
    assert client.post("/stream", json={"piece": "film", "stream": first}).status_code == 200
    idle = connect(max_streams=1, stream_seconds=1e-9)
    first = idle.post("/stream", json={"piece": "a"}).json()["stream"]
    assert idle.post("/stream", json={"piece": "b"}).status_code == 200
    assert idle.post("/stream", json={"piece": "b", "stream": first}).status_code == 404


def test_a_stream_whose_piece_is_refused_is_closed(connect: Callable[..., TestClient]) -> None:
    client = connect(max_streams=1)
    assert client.post("/stream", json={"piece": "a", "threshold": 1.5}).status_code == 422
    assert client.post("/stream", json={"piece": "a"}).status_code == 200


def test_a_classifier_that_cannot_stream_says_so(connect: Callable[..., TestClient]) -> None:
    parts = tiny.classifier().parts
    client = connect(TextClassifier(parts, parts))  # a pair
    answer = client.post("/stream", json={"piece": "a"})
    assert (answer.status_code, "stream: expected a forward classifier" in answer.json()["error"]) == (422, True)
    assert client.get("/info").json()["streams"] is False


def test_words_are_weighed_as_explain_does(client: TestClient) -> None:
    (expected,) = tiny.classifier().explain(TEXTS[:1])
    answer = client.post("/explain", json={"text": TEXTS[0]}).json()
    assert (answer["label"], answer["explained_label"]) == (expected.label, expected.label)
    assert [word["weight"] for word in answer["words"]] == [word.weight for word in expected.words]
    assert [TEXTS[0][word["start"] : word["end"]] for word in answer["words"]] == TEXTS[0].split()
    other = next(label for label in tiny.classifier().labels if label != expected.label)
    assert client.post("/explain", json={"text": TEXTS[0], "label": other}).json()["explained_label"] == other
    assert "did you mean" in client.post("/explain", json={"text": "a", "label": "neq"}).json()["error"]
    gradients = client.post("/explain", json={"text": TEXTS[0], "method": "integrated-gradients"}).json()
    weights = sum(word["weight"] for word in gradients["words"])
    assert weights == pytest.approx(gradients["log_odds"] - gradients["baseline"], rel=0.02, abs=0.02)
    assert "method: got 'guess'" in client.post("/explain", json={"text": "a", "method": "guess"}).json()["error"]


def test_probabilities_run_along_a_text(client: TestClient) -> None:
    (running,) = tiny.classifier().running_probabilities(TEXTS[:1], points=5)
    answer = client.post("/running", json={"text": TEXTS[0], "points": 5}).json()
    assert answer["words"] == len(running.words)
    assert [point["read"] for point in answer["points"]] == running.read.tolist()
    assert answer["points"][-1]["end"] == len(TEXTS[0])
    for point, output in zip(answer["points"], running.outputs, strict=True):
        assert list(point["probabilities"].values()) == pytest.approx(output.tolist())
        assert point["label"] == tiny.classifier().labels[int(output.argmax())]
    for points in (0, 1001):  # a member that reads backward reads the text anew for each
        assert client.post("/running", json={"text": "a", "points": points}).status_code == 422


def test_info_health_and_metrics(client: TestClient) -> None:
    info = client.get("/info").json()
    assert (info["name"], info["labels"], info["streams"]) == ("tiny", list(tiny.classifier().labels), True)
    assert info["accuracy"] == tiny.classifier().parts.facts.validation["accuracy"]
    assert info["limits"]["max_texts"] == 1000
    assert client.get("/health").json() == {"status": "ok", "waiting": 0}
    client.post("/predict", json={"texts": TEXTS})
    client.get("/nothing")
    lines = client.get("/metrics").text.splitlines()
    assert 'ulmkit_requests_total{path="/predict",status="200"} 1.0' in lines
    assert 'ulmkit_requests_total{path="other",status="404"} 1.0' in lines
    assert "ulmkit_batch_texts_sum 6.0" in lines
    labels = tiny.classifier().predict(TEXTS)
    assert f'ulmkit_answers_total{{label="pos"}} {float(labels.count("pos"))}' in lines
    assert "ulmkit_answer_probability_count 6.0" in lines


def test_the_interface_describes_itself_without_outside_addresses(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    assert {"/predict", "/stream", "/explain", "/running", "/info", "/health", "/metrics"} <= set(description["paths"])
    page = client.get("/docs").text
    assert all(f"{path}</code>" in page for path in description["paths"])
    assert "//" not in page.replace("http://localhost", "")
    assert client.get("/style.css").headers["Content-Type"].startswith("text/css")


OUTPUTS = {
    "single": (np.float32([[0.25, 0.75]]), [["b", {"a": 0.25, "b": 0.75}]]),
    "multi": (np.float32([[0.25, 0.75]]), [[["b"], {"a": 0.25, "b": 0.75}]]),
    "number": (np.float32([1.5]), [[1.5, None]]),
    "tokens": ([np.float32([[0.25, 0.75]])], [[[["word", "b"]], [{"a": 0.25, "b": 0.75}]]]),
}


@pytest.mark.parametrize("task", OUTPUTS)
def test_every_task_has_its_form_of_answer(
    connect: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    outputs, expected = OUTPUTS[task]
    names = () if task == "number" else ("a", "b")
    classifier = TextClassifier(replace(tiny.classifier().parts, task=find_task(task), label_names=names))
    monkeypatch.setattr(classifier, "predict_proba", lambda texts: outputs)
    answer = connect(classifier).post("/predict", json={"text": "word"}).json()
    assert [[each["label"], each["probabilities"]] for each in answer["predictions"]] == expected


def test_an_error_that_nobody_expected_is_answered_and_logged_without_the_text(
    connect: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    classifier = TextClassifier(tiny.classifier().parts)

    def fail(texts: list[str]) -> None:
        raise KeyError(texts[0])

    monkeypatch.setattr(classifier, "predict_proba", fail)
    answer = connect(classifier).post("/predict", json={"text": "a secret"})
    assert (answer.status_code, "this is a bug in ulmkit" in answer.json()["error"]) == (500, True)
    assert "KeyError" in caplog.text
    assert "secret" not in caplog.text + json.dumps(answer.json())


def test_texts_are_logged_only_if_asked(connect: Callable[..., TestClient], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "ulmkit.serve")
    client = connect(log_requests=True)
    client.post("/predict", json={"text": "a secret"})
    client.post("/stream", json={"piece": "a secret"})
    client.post("/predict", json={"texts": ["a secret", 3]})
    client.get("/nothing?q=secret")
    assert caplog.text.count("POST /predict") == 2
    assert "secret" not in caplog.text
    connect(log_texts=True).post("/predict", json={"text": "a secret"})
    assert 'text "a secret"' in caplog.text


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingPackageError, match=r"needs the package uvicorn.*pip install 'ulmkit\[serve\]'"):
        check_packages()
