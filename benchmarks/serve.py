"""How many requests does the server answer, and how fast, beside plain handlers around other classifiers?

Each server runs in a process of its own, alone, and is asked over loopback by 1, 8 and 64 clients at once. Each client
sends one document after the other and waits for each answer; the documents are drawn at random from the test split.
Clients and server share the machine's cores, so that the figures are lower bounds.

requests/s    Answers divided by the time, after a warm-up.
p50, p99      Time from sending a request to the end of its answer.
start         Time from starting the process to the end of its first answer, all imports included.

The peers are plain FastAPI handlers (serve_handler.py): one around the same classifier, which shows what the server's
batches bring and what its checks cost; one around fastai's AWD-LSTM of the same sizes, untrained; and those of
frontier_peers.py that `--peers` names, trained on documents of the train split. Their accuracy is not measured here,
and they answer with a label alone. For fastai see requirements.txt.

    python benchmarks/serve.py CLASSIFIER --data DATA [--peers NAME...] [--quick] [--json FILE]
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import report, row
from fastai_classifier import FastaiClassifier, network_sizes
from frontier_peers import PEERS, Peer, PeerOptions, missing_modules
from serve_handler import FASTAI, PLAIN

from ulmkit.text import read_documents

CLIENTS = (1, 8, 64)
QUICK_CLIENTS = (1, 8)
QUICK_PEERS = [FASTAI]
QUICK_LABELS = 100
ADAPTERS = {FASTAI: FastaiClassifier, **PEERS}
START_SECONDS = 300.0
_POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Load:
    """Answers to a number of clients.

    Attributes:
        per_second: Answers per second.
        p50: Median time to an answer, in seconds.
        p99: 99th percentile of it.
    """

    per_second: float
    p50: float
    p99: float


@dataclass(frozen=True)
class Figures:
    """All figures of a server: seconds from start to first answer, and the load by number of clients."""

    start: float
    loads: dict[int, Load]


def main() -> None:
    options = read_options()
    texts = draw(options.data, "test", options.documents)
    lengths = [len(text.split()) for text in texts]
    print(f"{len(texts)} documents, {statistics.median(lengths):.0f} words in the median, at most {max(lengths)}")
    ours = measure_server([sys.executable, "-m", "ulmkit", "serve", options.classifier, "--port"], texts, options)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in (PLAIN, *options.peers):
            described, figures = measure_peer(name, Path(folder), texts, options)
            rows += compare(ours, figures, described)
    report("serve", rows, options.json, {"classifier": Path(options.classifier).name, "data": Path(options.data).name})


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("classifier", metavar="CLASSIFIER", help="folder of the classifier to serve")
    parser.add_argument("--data", required=True, help="labelled documents with a train and a test split, such as IMDb")
    parser.add_argument("--documents", type=int, default=500, help="documents to send (default: 500)")
    parser.add_argument("--labels", type=int, default=1000, help="documents that peers learn from (default: 1000)")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds for each number of clients (default: 10)")
    parser.add_argument(
        "--peers", nargs="*", choices=ADAPTERS, help="(default: fastai tfidf minilm, with --quick fastai)"
    )
    parser.add_argument("--quick", action="store_true", help="1 and 8 clients for 2 seconds, 100 labels")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file")
    options = parser.parse_args()
    options.clients = CLIENTS
    if options.quick:
        options.clients = QUICK_CLIENTS
        options.seconds = 2.0
        options.documents = 50
        options.labels = QUICK_LABELS
    if options.peers is None:
        options.peers = QUICK_PEERS if options.quick else [FASTAI, "tfidf", "minilm"]
    return options


def draw(data: str, split: str, count: int) -> list[str]:
    """Documents of a split, drawn at random."""
    texts = [document.text for document in read_documents(data, split=split)]
    return [texts[place] for place in np.random.default_rng(0).permutation(len(texts))[:count]]


def measure_peer(
    name: str, folder: Path, texts: Sequence[str], options: argparse.Namespace
) -> tuple[str, Figures | None]:
    """Train a peer if it needs it, and measure its handler; returns its name and figures, None if it is missing."""
    place = options.classifier
    described = "plain handler, same classifier"
    if name != PLAIN:
        described = f"plain handler, {ADAPTERS[name].name}"
        if missing := missing_modules(ADAPTERS[name]):
            return f"{described} (not installed: {', '.join(missing)})", None
        place = folder / name
        place.mkdir()
        train_peer(name, place, options)
    code = "import sys, serve_handler; serve_handler.run(sys.argv[1], sys.argv[2], int(sys.argv[3]))"
    return described, measure_server([sys.executable, "-c", code, name, str(place)], texts, options)


def train_peer(name: str, folder: Path, options: argparse.Namespace) -> None:
    """Train a peer on documents of the train split, and save it."""
    from ulmkit.tasks import find_task

    documents = list(read_documents(options.data, split="train", label_kind=find_task("single")))
    chosen = [documents[place] for place in np.random.default_rng(0).permutation(len(documents))[: options.labels]]
    peer: Peer
    if name == FASTAI:
        peer = FastaiClassifier(network_sizes(Path(options.classifier)))
    else:
        peer = PEERS[name](PeerOptions(folder=folder))
    peer.fit([document.text for document in chosen], [document.label for document in chosen], [])
    peer.save(folder)


def measure_server(command: Sequence[str], texts: Sequence[str], options: argparse.Namespace) -> Figures:
    """Start a server with a port as its last argument, and measure it."""
    requests = [encode_request(text) for text in texts]
    port = free_port()
    begin = time.perf_counter()
    with running([*command, str(port)]) as process:
        asyncio.run(first_answer(port, requests[0], process))
        start = time.perf_counter() - begin
        loads = {}
        for clients in options.clients:
            asyncio.run(measure_load(port, requests, clients, options.seconds / 5))
            loads[clients] = asyncio.run(measure_load(port, requests, clients, options.seconds))
    return Figures(start, loads)


@contextlib.contextmanager
def running(command: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process, which can import the modules of this folder, while the block lasts."""
    folder = Path(__file__).parent
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONPATH": path})
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def encode_request(text: str) -> bytes:
    """A request to label a text, as bytes of HTTP/1.1."""
    body = json.dumps({"texts": [text]}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


class UnavailableError(SystemExit):
    """A server that cannot answer yet."""


async def first_answer(port: int, request: bytes, process: "subprocess.Popen[bytes]") -> None:
    """Ask until the server answers.

    Raises:
        SystemExit: If its process ends, or takes too long.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(_POLL_SECONDS)
            continue
        try:
            await ask(reader, writer, request)
        except UnavailableError:
            await asyncio.sleep(_POLL_SECONDS)
            continue
        finally:
            writer.close()
        return
    raise SystemExit(f"no answer from {process.args}: exit status {process.poll()}")


async def measure_load(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Let clients ask for a time, each over a connection of its own."""
    times: list[float] = []
    begin = time.perf_counter()

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        turn = number * len(requests) // clients
        while time.perf_counter() - begin < seconds:
            start = time.perf_counter()
            await ask(reader, writer, requests[turn % len(requests)])
            times.append(time.perf_counter() - start)
            turn += 1
        writer.close()

    await asyncio.gather(*map(client, range(clients)))
    elapsed = time.perf_counter() - begin
    p50, p99 = np.percentile(times, [50, 99])
    return Load(len(times) / elapsed, float(p50), float(p99))


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    """Send a request and read its answer; returns the body.

    Raises:
        UnavailableError: If the server still loads its model.
        SystemExit: If the answer is another refusal.
    """
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    body = await reader.readexactly(length)
    if head.startswith(b"http/1.1 503"):
        raise UnavailableError(f"unavailable: {body.decode()}")
    if not head.startswith(b"http/1.1 200"):
        raise SystemExit(f"refused: {body.decode()}")
    return body


def compare(ours: Figures, peer: Figures | None, name: str) -> list[dict[str, Any]]:
    """Rows of a peer beside ulmkit's server."""
    rows = []
    for clients, load in ours.loads.items():
        theirs = peer.loads[clients] if peer is not None else None
        case = f"{clients} client{'s' if clients > 1 else ''}"
        rows.append(row(case, "requests/s", load.per_second, None if theirs is None else theirs.per_second, name))
        for percentile in ("p50", "p99"):
            value = None if theirs is None else 1000 * getattr(theirs, percentile)
            own = 1000 * getattr(load, percentile)
            rows.append(row(f"{case}, {percentile}", "ms", own, value, name, lower_is_better=True))
    start = None if peer is None else peer.start
    rows.append(row("start to first answer", "s", ours.start, start, name, lower_is_better=True))
    return rows


if __name__ == "__main__":
    main()
