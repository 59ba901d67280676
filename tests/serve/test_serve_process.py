"""The running server: its socket, TLS, signals, and the command."""

import errno
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from support import tiny
from support.command import ulmkit

from ulmkit import TextClassifier
from ulmkit.api import Confidence
from ulmkit.errors import ConfigError, FolderError
from ulmkit.serve import ServeOptions, serve
from ulmkit.serve.retraining import check_start


def run_server(ask: Callable[[str], Any], classifier: TextClassifier, **options: object) -> tuple[Any, list[str]]:
    """Serve in this thread until a client in another sends a signal; returns what the client got and what was said."""
    said: list[str] = []
    results: list[Any] = []

    def say(line: str) -> None:
        said.append(line)
        if "serving at" in line:
            threading.Thread(target=talk, args=(line.split()[3],)).start()

    def talk(url: str) -> None:
        try:
            results.append(ask(url))
        except Exception as error:
            results.append(error)
            os.kill(os.getpid(), signal.SIGTERM)

    serve(lambda folder: classifier, "tiny", ServeOptions(port=0, **options), say)
    deadline = time.monotonic() + 10
    while not results and time.monotonic() < deadline:
        time.sleep(0.01)
    return results[0], said


def test_a_signal_lets_the_server_finish_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = TextClassifier(tiny.classifier().parts)
    predict = classifier.predict_proba

    def predict_until_told_to_stop(texts: Sequence[str]) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)
        return predict(texts)

    monkeypatch.setattr(classifier, "predict_proba", predict_until_told_to_stop)
    before = signal.getsignal(signal.SIGTERM)
    answer, said = run_server(lambda url: httpx2.post(f"{url}predict", json={"text": "a fine film"}), classifier)
    assert answer.status_code == 200, answer
    assert answer.json()["predictions"][0]["label"] in classifier.labels
    assert "server" not in answer.headers
    assert said[-1] == "stopped"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_classifier_that_cannot_be_loaded_ends_the_server(tmp_path: Path) -> None:
    said: list[str] = []

    def fail(folder: str) -> TextClassifier:
        raise FolderError(f"{folder}: expected a classifier, got nothing")

    with pytest.raises(FolderError, match="tiny: expected a classifier, got nothing"):
        serve(fail, "tiny", ServeOptions(port=0), said.append)
    assert said == []
    told = ulmkit("serve", tmp_path / "none", "--port", 0, status=2)
    assert "none" in told.error


def test_a_model_that_no_training_can_start_from_ends_the_server(tmp_path: Path) -> None:
    TextClassifier.train(tiny.reviews(20), None, method="linear").save(tmp_path / "linear")
    tiny.classifier().save(tmp_path / "network")
    tiny.language_model().save(tmp_path / "lm")
    labels = str(tmp_path / "labels.csv")
    for name in ("none", tmp_path / "network", tmp_path / "lm"):
        check_start(ServeOptions(corrections=labels, retrain=str(name)))
    for name, error in (
        (tmp_path / "linear", "--retrain: expected a language model, a fine-tuned classifier or 'none', got "),
        (tmp_path / "nothing", f"{tmp_path / 'nothing'}: no such folder"),
    ):
        told = ulmkit("serve", tmp_path / "network", "--port", 0, "--corrections", labels, "--retrain", name, status=2)
        assert error in told.error


def test_a_signal_ends_a_server_that_still_loads() -> None:
    may_load, is_loaded = threading.Event(), threading.Event()
    said: list[str] = []

    def wait(folder: str) -> TextClassifier:
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        may_load.wait(30)
        is_loaded.set()
        raise FolderError("too late")

    serve(wait, "tiny", ServeOptions(port=0), said.append)
    assert (said, is_loaded.is_set()) == (["stopped"], False)
    may_load.set()
    assert is_loaded.wait(30)


def test_a_port_that_is_taken_and_a_strange_address() -> None:
    def again(url: str) -> ConfigError:
        port = int(url.rsplit(":", 1)[1].strip("/"))
        with pytest.raises(ConfigError) as error:
            serve(lambda folder: tiny.classifier(), "other", ServeOptions(port=port), print)
        os.kill(os.getpid(), signal.SIGINT)
        return error.value

    error, _ = run_server(again, tiny.classifier())
    assert str(error).startswith("port: expected a free one at 127.0.0.1, got ")
    with pytest.raises(ConfigError, match="host: expected an address of this machine, got 'no.such.host.invalid'"):
        serve(
            lambda folder: tiny.classifier(),
            "tiny",
            ServeOptions(host="no.such.host.invalid", allow_public=True),
            print,
        )


def test_the_command_says_in_one_line_that_it_cannot_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = ulmkit("serve", tmp_path, "--port", port, status=2)
    assert told.error.startswith(f"ulmkit: --port: expected a free one at 127.0.0.1, got {port} (")

    async def lack_files(self: uvicorn.Server, sockets: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async def leave(self: uvicorn.Server, sockets: object) -> None:
        sys.exit(3)

    async def return_early(self: uvicorn.Server, sockets: object) -> None:
        self.should_exit = True

    failures = {lack_files: "Too many open files", leave: "the log says why", return_early: "the log says why"}
    for startup, reason in failures.items():
        monkeypatch.setattr(uvicorn.Server, "startup", startup)
        told = ulmkit("serve", tmp_path, "--port", 0, status=2)
        assert re.fullmatch(rf"ulmkit: server: cannot start at http://127\.0\.0\.1:\d+/ \({reason}\)", told.error)


def test_a_thread_that_cannot_start_ends_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def start_others(self: threading.Thread) -> None:
        if self.name == "ulmkit-load":
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", start_others)
    told = ulmkit("serve", tmp_path, "--port", 0, status=2)
    assert told.error.startswith("ulmkit: server: cannot load the classifier (can't start new thread)")


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text("no certificate")
    options = ServeOptions(port=0, tls_certificate=str(tmp_path / "a.pem"), tls_key=str(tmp_path / "a.pem"))
    with pytest.raises(ConfigError, match="tls_certificate: cannot be read with its key"):
        serve(lambda folder: tiny.classifier(), "tiny", options, print)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to make a certificate")
def test_a_certificate_and_its_key_serve_https(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    trusted = ssl.create_default_context(cafile=certificate)

    def ask(url: str) -> tuple[str, int]:
        status = httpx2.get(f"{url}health", verify=trusted).status_code
        os.kill(os.getpid(), signal.SIGTERM)
        return url.split(":")[0], status

    result, _ = run_server(ask, tiny.classifier(), tls_certificate=str(certificate), tls_key=str(key))
    assert result == ("https", 200)


def test_the_command_refuses_a_public_address_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = ulmkit("serve", tmp_path, "--host", "0.0.0.0", status=2)
    assert "--host: expected an API key for '0.0.0.0'" in told.error
    assert "give --allow-public" in told.error
    told = ulmkit("serve", tmp_path, "--api-key-file", tmp_path / "none", status=2)
    assert told.error.startswith("ulmkit: --api-key-file: cannot be read")
    monkeypatch.setenv("ULMKIT_API_KEY", "short")
    assert "API key: expected at least 16 ASCII characters, got 5" in ulmkit("serve", tmp_path, status=2).error


def test_the_command_serves_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.classifier().save(tmp_path / "reviews")
    key = tmp_path / "key"
    key.write_text("sixteen-or-more-characters\n")
    asked: list[tuple[str, ServeOptions, tuple[str, ...]]] = []

    def record(load: Callable[[str], TextClassifier], folder: str, options: ServeOptions, say: object) -> None:
        asked.append((folder, options, load(folder).labels))

    monkeypatch.setattr("ulmkit.serve.serve", record)
    confidence = ("--abstain-above-error", 0.1, "--certainty", 0.9, "--drift-share", 0.01)
    ulmkit("serve", tmp_path / "reviews", "--port", 0, "--max-texts", 5, "--api-key-file", key, *confidence)
    ((folder, options, labels),) = asked
    assert (folder, options.port, options.max_texts, labels) == (
        str(tmp_path / "reviews"),
        0,
        5,
        tiny.classifier().labels,
    )
    assert (options.confidence, options.drift_share) == (Confidence(max_error=0.1, certainty=0.9), 0.01)
    assert options.api_key == "sixteen-or-more-characters"
