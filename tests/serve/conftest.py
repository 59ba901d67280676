"""Clients of a server around the tiny classifier, without a network."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fastapi.testclient import TestClient
from support import hesitation, tiny

from ulmkit import TextClassifier
from ulmkit.serve import ServeOptions, create_app


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Sets the loggers back that a running server changes for its process."""
    changed = [logging.getLogger(name) for name in ("ulmkit.serve", "uvicorn.error")]
    before = [(log.handlers[:], log.level, log.propagate) for log in changed]
    yield
    for log, (handlers, level, propagate) in zip(changed, before, strict=True):
        log.handlers[:] = handlers
        log.setLevel(level)
        log.propagate = propagate


@pytest.fixture
def connect() -> Iterator[Callable[..., TestClient]]:
    """Makes a client of a server with the given options."""
    with ExitStack() as stack:

        def make(classifier: TextClassifier | None = None, **options: object) -> TestClient:
            app = create_app(classifier or tiny.classifier(), "tiny", ServeOptions(**options))
            return stack.enter_context(TestClient(app, base_url="http://localhost", raise_server_exceptions=False))

        yield make


@pytest.fixture
def client(connect: Callable[..., TestClient]) -> TestClient:
    """A client of a server with default options."""
    return connect()


@pytest.fixture
def hesitant() -> TextClassifier:
    """A classifier that is sure of every other one of `hesitation.TEXTS`."""
    return hesitation.classifier()
