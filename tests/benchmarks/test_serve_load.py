"""The clients of the server's benchmark."""

import argparse
import asyncio
import contextlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import serve
from fastai_classifier import SIZES, FastaiClassifier, network_sizes
from support import tiny

TEXT = "a text"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, status: str = "200 OK") -> None:
    """Answer each request of a connection with its own body, after 10 ms."""
    while head := await reader.readuntil(b"\r\n\r\n"):
        body = await reader.readexactly(int(head.lower().split(b"content-length:")[1]))
        await asyncio.sleep(0.01)
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


async def with_server(status: str, clients: int) -> serve.Load:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer, status)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    load = await serve.measure_load(port, [serve.encode_request(TEXT)], clients, 0.3)
    server.close()
    return load


def test_clients_ask_at_once_and_each_waits_for_its_answer() -> None:
    load = asyncio.run(with_server("200 OK", 4))
    assert 0.01 <= load.p50 <= load.p99
    assert 0.5 < load.per_second * load.p50 < 6  # four clients wait nearly all the time, one would give 1


def test_a_refusal_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit, match="refused: .*a text"):
        asyncio.run(with_server("429 Too Many Requests", 1))


def test_the_first_answer_is_waited_for_while_the_model_is_loaded() -> None:
    statuses = ["503 Service Unavailable"] * 2 + ["200 OK"]

    async def main() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await answer(reader, writer, statuses.pop(0))
            except asyncio.IncompleteReadError:
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        with serve.running([sys.executable, "-S", "-c", "import time; time.sleep(60)"]) as process:
            await serve.first_answer(server.sockets[0].getsockname()[1], serve.encode_request(TEXT), process)
        server.close()

    asyncio.run(main())
    assert statuses == []


def test_requests_are_those_of_the_server() -> None:
    head, body = serve.encode_request("é").split(b"\r\n\r\n")
    assert json.loads(body) == {"texts": ["é"]}
    assert f"Content-Length: {len(body)}".encode() in head


def test_rows_are_better_where_there_are_more_answers_in_less_time() -> None:
    ours = serve.Figures(1.0, {1: serve.Load(100.0, 0.01, 0.02)})
    peer = serve.Figures(2.0, {1: serve.Load(50.0, 0.02, 0.04)})
    assert {row["ratio"] for row in serve.compare(ours, peer, "peer")} == {2.0}
    assert {row["ratio"] for row in serve.compare(ours, None, "missing")} == {None}


def test_fastai_gets_the_sizes_of_the_served_network(tmp_path: Path) -> None:
    tiny.classifier().save(tmp_path / "network")
    assert network_sizes(tmp_path / "network") == {"emb_sz": 32, "n_hid": 32, "n_layers": 2}
    (tmp_path / "config.json").write_text('{"members": []}')
    assert network_sizes(tmp_path) == SIZES


def test_fastai_is_asked_for_one_text_at_a_time() -> None:
    learner = SimpleNamespace(no_bar=contextlib.nullcontext, predict=lambda text: (text[0], 0, [1.0]))
    assert FastaiClassifier(learner=learner).predict(["pos, it says", "neg"]) == ["p", "n"]


def test_a_missing_peer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "missing_modules", lambda adapter: list(adapter.modules))
    options = argparse.Namespace(classifier="none")
    described = serve.measure_peer("fastai", tmp_path, [], options)
    assert described == ("plain handler, fastai (not installed: fastai)", None)


def test_a_fastai_classifier_is_saved_and_read_again(tmp_path: Path) -> None:
    pytest.importorskip("fastai", reason="fastai is a peer of the benchmarks alone; see benchmarks/requirements.txt")
    texts, labels = zip(*tiny.reviews(40), strict=True)
    peer = FastaiClassifier({"emb_sz": 8, "n_hid": 8, "n_layers": 2})
    peer.fit(texts, labels, [])
    peer.save(tmp_path)
    answers = FastaiClassifier.load(tmp_path).predict(texts[:3])
    assert answers == peer.predict(texts[:3])
    assert set(answers) <= {"pos", "neg"}


def test_quick_asks_fastai_unless_other_peers_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def peers(*arguments: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["serve.py", "classifier", "--data", "data", *arguments])
        return list(serve.read_options().peers)

    assert peers("--quick") == ["fastai"]
    assert peers("--quick", "--peers") == []
    assert peers() == ["fastai", "tfidf", "minilm"]
