"""Who may ask: the API key, other origins, and names that lead here."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

KEY = "sixteen-or-more-characters"
ASK = {"json": {"text": "a fine film"}}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {KEY}"}, 200),
        ({"X-API-Key": KEY}, 200),
        ({"Authorization": f"Basic {KEY}"}, 401),
        ({"Authorization": f"Bearer {KEY}x"}, 401),
        ({"Authorization": "Bearer caf\xe9".encode("latin-1")}, 401),
        ({}, 401),
    ],
)
def test_requests_bring_the_key(connect: Callable[..., TestClient], headers: dict, status: int) -> None:
    client = connect(api_key=KEY, host="0.0.0.0")
    answer = client.post("/predict", headers=headers, **ASK)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert KEY not in answer.text


@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/info", 401), ("/metrics", 401), ("/none", 401)])
def test_only_the_state_is_told_to_everyone(connect: Callable[..., TestClient], path: str, status: int) -> None:
    assert connect(api_key=KEY).get(path).status_code == status


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:8000", 200), ("127.0.0.1", 200), ("[::1]:8000", 200), ("evil.example", 403), ("[", 403), ("", 403)],
)
def test_a_local_server_answers_to_its_own_names_alone(client: TestClient, host: str, status: int) -> None:
    assert client.post("/predict", headers={"Host": host}, **ASK).status_code == status


@pytest.mark.parametrize(
    ("origin", "status"), [("http://localhost", 200), ("https://evil.example", 403), ("null", 403), ("http://[", 403)]
)
def test_pages_of_other_origins_are_refused(client: TestClient, origin: str, status: int) -> None:
    assert client.post("/predict", headers={"Origin": origin}, **ASK).status_code == status


def test_a_public_server_answers_to_any_name(connect: Callable[..., TestClient]) -> None:
    client = connect(host="0.0.0.0", allow_public=True)
    assert client.post("/predict", headers={"Host": "my.example"}, **ASK).status_code == 200


def test_answers_carry_headers_that_browsers_obey(client: TestClient) -> None:
    for answer in (client.get("/health"), client.get("/docs"), client.get("/none")):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert answer.headers["Cache-Control"] == "no-store"
