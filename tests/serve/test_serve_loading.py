"""Answers of the server while its classifier is being loaded."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from support import tiny

from ulmkit.errors import FolderError
from ulmkit.serve import ServeOptions, create_app
from ulmkit.serve.loading import LoadingApp

KEY = "sixteen-or-more-characters"


class Loading:
    """A classifier that is loaded as soon as it may be, and a client of its server."""

    def __init__(self, **options: object) -> None:
        self.may_load = threading.Event()
        self.events: list[str] = []
        self.options = ServeOptions(**options)
        self.app = LoadingApp(
            self.make,
            "<tiny>",
            self.options,
            on_ready=lambda: self.events.append("ready"),
            on_failure=lambda: self.events.append("failed"),
        )

    def make(self) -> FastAPI:
        """Make the application, or fail."""
        self.may_load.wait(30)
        return create_app(tiny.classifier(), "tiny", self.options)

    @contextmanager
    def client(self) -> Iterator[TestClient]:
        """Run the server."""
        with TestClient(self.app, base_url="http://localhost", raise_server_exceptions=False) as client:
            yield client

    def finish(self) -> None:
        """Let it be loaded, and wait for that."""
        self.may_load.set()
        deadline = time.monotonic() + 30
        while not self.events and time.monotonic() < deadline:
            time.sleep(0.001)


def test_health_tells_when_the_classifier_is_there() -> None:
    loading = Loading()
    with loading.client() as client:
        answer = client.get("/health")
        assert (answer.status_code, answer.json()["status"], answer.headers["Retry-After"]) == (503, "loading", "1")
        assert "the classifier is still being loaded" in answer.json()["error"]
        assert loading.events == []
        loading.finish()
        assert (client.get("/health").status_code, client.get("/health").json()["status"]) == (200, "ok")
        assert client.post("/predict", json={"text": "a fine film"}).status_code == 200
    assert loading.events == ["ready"]


@pytest.mark.parametrize(("method", "path"), [("POST", "/predict"), ("GET", "/metrics"), ("GET", "/nothing")])
def test_other_paths_ask_for_patience(method: str, path: str) -> None:
    loading = Loading()
    with loading.client() as client:
        answer = client.request(method, path, content=b"x" * 1000)
        assert (answer.status_code, answer.headers["Retry-After"], list(answer.json())) == (503, "1", ["error"])
        loading.finish()


def test_people_get_a_page_that_reloads_itself() -> None:
    loading = Loading()
    with loading.client() as client:
        answer = client.get("/")
        assert (answer.status_code, answer.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
        assert "is being loaded" in answer.text
        assert 'http-equiv="refresh"' in answer.text
        assert "&lt;tiny&gt;" in answer.text
        assert "<tiny>" not in answer.text
        assert client.get("/style.css").status_code == 200
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        loading.finish()
        assert client.get("/").status_code == 200


def test_access_is_checked_meanwhile() -> None:
    loading = Loading(api_key=KEY, max_bytes=100)
    with loading.client() as client:
        assert client.get("/info").status_code == 401
        assert client.get("/info", headers={"X-API-Key": KEY}).status_code == 503
        assert client.get("/health").status_code == 503
        assert client.get("/health", headers={"Host": "evil.example"}).status_code == 403
        assert client.post("/predict", content=b"x" * 101, headers={"X-API-Key": KEY}).status_code == 413
        loading.finish()


def test_a_failure_is_kept_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    loading = Loading()

    def fail(*_: object) -> FastAPI:
        raise FolderError("no classifier")

    monkeypatch.setattr(f"{__name__}.create_app", fail)
    with loading.client() as client:
        assert client.get("/health").status_code == 503
        loading.finish()
        assert client.get("/health").status_code == 503
    assert (loading.events, str(loading.app.error)) == (["failed"], "no classifier")


def test_what_is_loaded_after_the_end_is_not_announced() -> None:
    loading = Loading()
    with loading.client():
        pass
    loading.may_load.set()
    deadline = time.monotonic() + 30
    while loading.app._app is None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert (loading.app._app is None, loading.events) == (False, [])
