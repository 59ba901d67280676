"""Worker processes that tokenize chunks.

Each is a fresh interpreter started on this module alone, talking over its standard input and output. It neither
forks this process (with the threads that torch and OpenMP have in it) nor imports the program's main module (as
multiprocessing's spawn does), so it never loads torch and needs no `if __name__ == "__main__"` in the program.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from ulmkit.errors import DataError, UlmkitError
from ulmkit.text.corpus.chunks import ChunkItem, EncodedChunk, encode_chunk
from ulmkit.text.tokens.tokenizers import load_tokenizer

_START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from ulmkit.text.corpus.workers import main; main()"
)


def available_processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Worker:
    """One worker process. `encode` may be called from any thread, one at a time."""

    def __init__(self, tokenizer_folder: Path) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self._is_told = False
        self._folder = str(tokenizer_folder)

    def encode(self, items: Sequence[ChunkItem]) -> EncodedChunk:
        """Tokenize a chunk.

        Raises: the worker's UlmkitError; DataError if the process died or failed.
        """
        try:
            if not self._is_told:
                self._send([path or os.getcwd() for path in sys.path])
                self._send(self._folder)
                self._is_told = True
            self._send(items)
            answer = pickle.load(self.process.stdout)  # type: ignore[arg-type]
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            status = self.process.wait()
            raise DataError(
                f"worker process: stopped with status {status}; if memory ran out, run again with fewer workers"
            ) from error
        if isinstance(answer, EncodedChunk):
            return answer
        if isinstance(answer, UlmkitError):
            raise answer
        raise DataError(f"worker process: {answer}")

    def _send(self, value: Any) -> None:
        pickle.dump(value, self.process.stdin, protocol=pickle.HIGHEST_PROTOCOL)  # type: ignore[arg-type]
        self.process.stdin.flush()  # type: ignore[union-attr]

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()  # type: ignore[union-attr]
            except OSError:  # what was left in the buffer has no reader
                continue


class WorkerPool:
    """Worker processes that encode a stream of chunks, in order, with few chunks in memory at a time.

    Args: tokenizer_folder: what the tokenizer's `save` wrote. workers: how many processes.
    """

    def __init__(self, tokenizer_folder: Path, workers: int) -> None:
        self._workers = [Worker(tokenizer_folder) for _ in range(workers)]
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        self._threads = ThreadPoolExecutor(workers)

    def encode(self, chunks: Iterable[Sequence[ChunkItem]]) -> Iterator[EncodedChunk]:
        """What encode_chunk gives for each of `chunks`, in their order; at most two a worker are read ahead."""
        waiting: deque[Future[EncodedChunk]] = deque()
        for chunk in chunks:
            waiting.append(self._threads.submit(self._encode, chunk))
            if len(waiting) > 2 * len(self._workers):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _encode(self, chunk: Sequence[ChunkItem]) -> EncodedChunk:
        worker = self._free.get()
        try:
            return worker.encode(chunk)
        finally:
            self._free.put(worker)

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for worker in self._workers:
            worker.stop()
        self._threads.shutdown(cancel_futures=True)


def main() -> None:
    """What a worker process runs: chunks in, encoded chunks out, until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent ends its workers
    requests = sys.stdin.buffer
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not get among the answers
        tokenizer = load_tokenizer(pickle.load(requests))
        while True:
            try:
                items = pickle.load(requests)
            except EOFError:
                return
            pickle.dump(_answer(tokenizer, items), answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()


def _answer(tokenizer: Any, items: Sequence[ChunkItem]) -> EncodedChunk | UlmkitError | str:
    try:
        return encode_chunk(tokenizer, items)
    except UlmkitError as error:
        return error
    except Exception as error:  # reported to the parent, which raises it with its kind and message
        return f"{type(error).__name__}: {error}"
