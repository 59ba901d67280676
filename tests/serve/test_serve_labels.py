"""Checked labels and training again: the file, the process, and the new classifier."""

import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer
from fastapi.testclient import TestClient
from support import hesitation, tiny

from ulmkit import TextClassifier
from ulmkit.api import Confidence
from ulmkit.cli import app as command_line
from ulmkit.errors import ConfigError, DataError, UlmkitError
from ulmkit.serve import ServeOptions, create_app
from ulmkit.serve.corrections import Corrections
from ulmkit.serve.retraining import Retraining
from ulmkit.tasks import find_task
from ulmkit.text.read.documents import read_documents


def test_labels_are_kept_replaced_and_taken_back(connect: Callable[..., TestClient], tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    client = connect(corrections=str(file))
    assert client.get("/corrections").json() == {"saves": True, "file": "labels.csv", "checked": 0, "trains": False}
    assert not file.exists()
    text = 'a "fine" film,\nin two lines'
    for label, checked in [("neg", 1), ("pos", 1), (None, 0), ("pos", 1)]:
        answer = client.post("/corrections", json={"text": text, "label": label})
        assert (answer.status_code, answer.json()["checked"]) == (200, checked)
    assert client.post("/corrections", json={"text": "dull", "label": "neg"}).json()["checked"] == 2
    read = [(document.text, document.label) for document in read_documents(file, label_kind=find_task("single"))]
    assert read == [(text, "pos"), ("dull", "neg")]
    assert dict(Corrections(str(file)).labels) == dict(read)


def test_labels_that_cannot_be_kept_are_refused(connect: Callable[..., TestClient], tmp_path: Path) -> None:
    answer = connect().post("/corrections", json={"text": "a", "label": "pos"})
    assert (answer.status_code, "start it with --corrections FILE.csv" in answer.json()["error"]) == (404, True)
    client = connect(corrections=str(tmp_path / "labels.csv"))
    answer = client.post("/corrections", json={"text": "a", "label": "poss"})
    assert (answer.status_code, "label: got 'poss'; did you mean 'pos'?" in answer.json()["error"]) == (422, True)
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="corrections: expected a CSV file with the columns text and label"):
        Corrections(str(tmp_path / "other.csv"))


def test_a_label_that_was_not_written_is_not_kept(tmp_path: Path) -> None:
    corrections = Corrections(str(tmp_path / "there" / "labels.csv"))
    (tmp_path / "there").write_text("a file where the folder should be")
    with pytest.raises(UlmkitError):
        corrections.set("dull", "neg")
    assert len(corrections) == 0
    (tmp_path / "there").unlink()
    corrections.set("fine", "pos")
    assert dict(Corrections(str(tmp_path / "there" / "labels.csv")).labels) == {"fine": "pos"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corrections": "labels.txt"}, "corrections: expected a file name that ends in .csv, got 'labels.txt'"),
        ({"retrain": "lm"}, "retrain: needs the file of the checked labels; add `corrections`"),
        ({"retrain_data": "d.csv"}, "retrain_data: has no effect without `retrain`"),
        ({"retrain_split_column": "split"}, "retrain_split_column: has no effect without `retrain_data`"),
    ],
)
def test_options_that_do_not_go_together(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ServeOptions(**options)


def test_only_one_label_per_text_is_checked(tmp_path: Path) -> None:
    parts = replace(tiny.classifier().parts, task=find_task("multi"))
    with pytest.raises(ConfigError, match="corrections: only for one label per text, got task 'multi'"):
        create_app(TextClassifier(parts), "tiny", ServeOptions(corrections=str(tmp_path / "labels.csv")))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that trainings ran; instead, each saves the tiny classifier or fails."""
    ran: list[list[str]] = []

    def run(self: Retraining, command: list[str], log: Any) -> "subprocess.Popen[bytes]":
        ran.append(command)
        if command[4] == "fails":
            return subprocess.Popen([sys.executable, "-c", "print('why it failed\\n'); exit(2)"], stdout=log)
        tiny.classifier().save(command[command.index("--out") + 1])
        return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=log)

    monkeypatch.setattr(Retraining, "_run", run)
    return ran


def check_both(client: TestClient) -> None:
    """Check a text of each label."""
    for label in client.get("/info").json()["labels"]:
        assert client.post("/corrections", json={"text": f"a text of {label}", "label": label}).status_code == 200


def finish(client: TestClient) -> dict:
    """The state after the training."""
    process = client.app.state.service._retraining._process
    if process.stdin is not None:
        process.communicate(b"\n")
    process.wait()
    return client.get("/training").json()


def test_training_again_takes_the_checked_labels_and_the_data(
    connect: Callable[..., TestClient], tmp_path: Path, commands: list[list[str]]
) -> None:
    rows = [("a dull film", "pos", "train"), ("a fine film", "pos", "valid"), ("glad", "pos", "train")]
    data = tiny.write_csv(tmp_path / "data.csv", rows, ("text", "label", "split"))
    client = connect(
        corrections=str(tmp_path / "labels.csv"), retrain="lm", retrain_data=str(data), retrain_split_column="split"
    )
    assert client.get("/corrections").json()["trains"] is True
    answer = client.post("/training")
    assert (answer.status_code, "training: expected checked labels, got none" in answer.json()["error"]) == (422, True)
    for text in ("a dull film", "sad"):
        client.post("/corrections", json={"text": text, "label": "neg"})
    assert client.post("/training").json()["state"] == "running"
    assert commands[0][-4:] == ["--minutes", "5.0", "--split-column", "split"]
    assert client.post("/training").status_code == 409
    assert client.post("/training/use").status_code == 409
    written = (tmp_path / "labels-training.csv").read_text()
    assert written == "text,label,split\na dull film,neg,train\na fine film,pos,valid\nglad,pos,train\nsad,neg,train\n"
    done = finish(client)
    assert (done["state"], done["folder"], done["checked"]) == ("done", "labels-classifier-1", 2)
    assert done["accuracy"] == done["validation"]["accuracy"] == tiny.classifier().parts.facts.validation["accuracy"]
    assert client.post("/training/use").json()["name"] == "labels-classifier-1"
    assert client.get("/info").json()["name"] == "labels-classifier-1"
    client.post("/training")
    assert finish(client)["folder"] == "labels-classifier-2"
    known = typer.main.get_command(command_line).commands["train"].params
    options = {option for parameter in known for option in parameter.opts}
    assert {part for part in commands[0] if part.startswith("--")} <= options
    assert commands[0][:6] == [sys.executable, "-m", "ulmkit", "train", "lm", str(tmp_path / "labels-training.csv")]


def test_a_training_that_fails_says_why(
    connect: Callable[..., TestClient], tmp_path: Path, commands: list[list[str]]
) -> None:
    client = connect(corrections=str(tmp_path / "labels.csv"), retrain="fails")
    check_both(client)
    client.post("/training")
    state = finish(client)
    assert (state["state"], state["message"]) == ("failed", "why it failed")
    assert client.post("/training/use").status_code == 409


def test_data_that_cannot_be_read_is_named(
    connect: Callable[..., TestClient], tmp_path: Path, commands: list[list[str]]
) -> None:
    missing = str(tmp_path / "missing.csv")
    client = connect(corrections=str(tmp_path / "labels.csv"), retrain="lm", retrain_data=missing)
    client.post("/corrections", json={"text": "sad", "label": "neg"})
    answer = client.post("/training")
    assert answer.status_code == 422
    assert "missing.csv" in answer.json()["error"]
    assert (commands, client.get("/training").json()["state"]) == ([], "ready")


def test_a_stopped_training_does_not_stand_in_the_way(
    connect: Callable[..., TestClient], tmp_path: Path, commands: list[list[str]]
) -> None:
    (tmp_path / "labels-classifier-1.training").mkdir()
    client = connect(corrections=str(tmp_path / "labels.csv"), retrain="lm")
    check_both(client)
    client.post("/training")
    assert finish(client)["folder"] == "labels-classifier-2"


def test_a_training_that_cannot_begin_leaves_the_former_one(
    connect: Callable[..., TestClient], tmp_path: Path, commands: list[list[str]]
) -> None:
    data = tiny.write_csv(tmp_path / "data.csv", [("a dull film", "pos")])
    client = connect(corrections=str(tmp_path / "labels.csv"), retrain="lm", retrain_data=str(data))
    client.post("/corrections", json={"text": "sad", "label": "neg"})
    client.post("/training")
    assert finish(client)["state"] == "done"
    data.unlink()
    assert client.post("/training").status_code == 422
    assert client.get("/training").json()["folder"] == "labels-classifier-1"
    assert client.post("/training/use").json()["name"] == "labels-classifier-1"


def test_labels_of_held_out_texts_alone_are_missing(
    connect: Callable[..., TestClient], tmp_path: Path, commands: list[list[str]]
) -> None:
    rows = [("a dull film", "neg", "train"), ("a fine film", "pos", "valid")]
    data = tiny.write_csv(tmp_path / "data.csv", rows, ("text", "label", "split"))
    client = connect(
        corrections=str(tmp_path / "labels.csv"), retrain="lm", retrain_data=str(data), retrain_split_column="split"
    )
    client.post("/corrections", json={"text": "sad", "label": "neg"})
    answer = client.post("/training")
    assert (answer.status_code, "training texts of every label, got none of pos" in answer.json()["error"]) == (
        422,
        True,
    )
    client.post("/corrections", json={"text": "glad", "label": "pos"})
    assert client.post("/training").json()["state"] == "running"
    finish(client)


def test_labels_are_those_of_texts_as_files_are_read(tmp_path: Path) -> None:
    corrections = Corrections(str(tmp_path / "labels.csv"))
    decomposed, composed = "un cafe\u0301", "un caf\u00e9"
    corrections.set(decomposed, "pos")
    assert dict(corrections.labels) == {composed: "pos"}
    again = Corrections(str(tmp_path / "labels.csv"))
    again.set(decomposed, "neg")
    assert dict(again.labels) == {composed: "neg"}


def test_a_training_needs_texts_of_every_label(
    connect: Callable[..., TestClient], tmp_path: Path, commands: list[list[str]]
) -> None:
    client = connect(corrections=str(tmp_path / "labels.csv"), retrain="none")
    client.post("/corrections", json={"text": "sad", "label": "neg"})
    answer = client.post("/training")
    assert answer.status_code == 422
    assert "training: expected training texts of every label, got none of pos; check some" in answer.json()["error"]
    assert (commands, client.get("/training").json()["state"]) == ([], "ready")


def test_a_training_of_linear_models_has_no_time_limit(
    connect: Callable[..., TestClient], tmp_path: Path, commands: list[list[str]]
) -> None:
    client = connect(corrections=str(tmp_path / "labels.csv"), retrain="none")
    for label in tiny.classifier().labels:
        client.post("/corrections", json={"text": f"a {label} text", "label": label})
    assert client.post("/training").json()["minutes"] is None
    finish(client)
    assert "--minutes" not in commands[0]


def test_the_classifier_itself_is_trained_further_by_the_true_command(
    connect: Callable[..., TestClient], tmp_path: Path
) -> None:
    tiny.classifier().save(tmp_path / "start")
    client = connect(corrections=str(tmp_path / "labels.csv"), retrain=str(tmp_path / "start"), retrain_minutes=0.02)
    texts = [text for text, _ in tiny.reviews(8, 9000)]
    for text, label in tiny.reviews(8, 9000):
        client.post("/corrections", json={"text": text, "label": label})
    assert client.post("/training").json()["state"] == "running"
    deadline = time.monotonic() + 600
    while (state := client.get("/training").json())["state"] == "running" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (state["state"], state["folder"]) == ("done", "labels-classifier-1"), state["message"]
    assert "accuracy" in state["validation"]
    info = client.post("/training/use").json()
    assert (info["name"], info["labels"]) == ("labels-classifier-1", list(tiny.classifier().labels))
    new = TextClassifier.load(tmp_path / "labels-classifier-1")
    answers = client.post("/predict", json={"texts": texts}).json()["predictions"]
    assert [each["label"] for each in answers] == new.predict(texts)
    changed = new.predict_proba(texts) != tiny.classifier().predict_proba(texts)
    assert changed.any()


def test_a_new_classifier_must_keep_the_promises(
    connect: Callable[..., TestClient], tmp_path: Path, commands: list[list[str]]
) -> None:
    options = {"corrections": str(tmp_path / "labels.csv"), "retrain": "lm"}
    client = connect(hesitation.classifier(), confidence=Confidence(max_error=0.05), **options)
    check_both(client)
    client.post("/training")
    finish(client)
    answer = client.post("/training/use")
    assert (answer.status_code, "cannot promise as few errors" in answer.json()["error"]) == (409, True)
    assert client.get("/info").json()["name"] == "tiny"


def test_a_server_that_ends_stops_its_training(tmp_path: Path, commands: list[list[str]]) -> None:
    options = ServeOptions(corrections=str(tmp_path / "labels.csv"), retrain="lm")
    app = create_app(tiny.classifier(), "tiny", options)
    with TestClient(app, base_url="http://localhost") as client:
        check_both(client)
        assert client.post("/training").json()["state"] == "running"
        process = app.state.service._retraining._process
    assert process.poll() is not None


def test_a_new_classifier_with_other_labels_is_not_used(
    connect: Callable[..., TestClient], tmp_path: Path, commands: list[list[str]]
) -> None:
    other = TextClassifier(replace(tiny.classifier().parts, label_names=("no", "yes")))
    client = connect(other, corrections=str(tmp_path / "labels.csv"), retrain="lm")
    check_both(client)
    client.post("/training")
    finish(client)
    answer = client.post("/training/use")
    assert (answer.status_code, "has other labels" in answer.json()["error"]) == (409, True)


def test_the_page_and_its_parts_are_there_without_outside_addresses(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    names = re.findall(r'(?:href|src)="(/[^"]+)"', page.text)
    assert len(names) >= 3
    scripts = ["/page.js"]
    for name in scripts:
        script = client.get(name)
        assert script.status_code == 200
        assert script.headers["Content-Type"].startswith("text/javascript")
        assert "://" not in script.text.replace("http://www.w3.org/2000/svg", "")  # a name, which is not fetched
        scripts += [
            f"/{found}" for found in re.findall(r'from "\./(\w+\.js)"', script.text) if f"/{found}" not in scripts
        ]
    assert len(scripts) == 9
    assert "://" not in page.text + client.get("/style.css").text
    assert all(client.get(name).status_code == 200 for name in names)


def test_the_page_asks_for_the_key_itself(connect: Callable[..., TestClient]) -> None:
    client = connect(api_key="sixteen-or-more-characters")
    assert [client.get(path).status_code for path in ("/", "/page.js", "/docs")] == [200] * 3
    paths = ("/corrections", "/training", "/training/use", "/explain", "/stream")
    assert [client.post(path, json={}).status_code for path in paths] == [401] * 5
