"""Worker processes that apply one function to a stream of items.

Each is a fresh interpreter started on this module alone, talking over its standard input and output. It neither
forks this process (with the threads that torch and OpenMP have in it) nor imports the program's main module (as
multiprocessing's spawn does), so it never loads torch and needs no `if __name__ == "__main__"` in the program. If the
program is killed, its workers end with it, since their input ends; workers of joblib's loky would stay.
"""

import contextlib
import itertools
import os
import pickle
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, TypeVar

from ulmkit.errors import DataError, UlmkitError

Item = TypeVar("Item")
Content = TypeVar("Content")
Answer = TypeVar("Answer")

SMALL_CHARACTERS = 1_500_000
"""Starting workers takes longer than processing this much text in the calling process."""

CHUNK_CHARACTERS = 500_000
"""Size of the chunks that a function is given; an item counts as at least 250 characters."""

_LEAST_CHARACTERS = 250

_START = "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); from ulmkit.text.workers import main; main()"


def available_processors() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chunked(items: Iterable[Item], size: Callable[[Item], int], chunk_size: int) -> Iterator[list[Item]]:
    """Cut items into lists, each ended by the item that brings its sizes to `chunk_size` or above."""
    chunk: list[Item] = []
    total = 0
    for item in items:
        chunk.append(item)
        total += size(item)
        if total >= chunk_size:
            yield chunk
            chunk = []
            total = 0
    if chunk:
        yield chunk


def map_chunks(
    function: Callable[[list[Content]], Answer],
    items: Iterable[Item],
    workers: int,
    *,
    content: Callable[[Item], Content],
    characters: Callable[[Item], int],
) -> Generator[tuple[list[Item], Answer], None, None]:
    """Apply a function to chunks of items, in worker processes if there is much text.

    Args:
        function: Picklable, and importable by name in a fresh interpreter; called with the contents of a chunk.
        items: Read once; at most two chunks per worker are read ahead.
        workers: Number of processes; with 1 the calling process does the work.
        content: Extracts the part of an item that the function needs.
        characters: Returns the size of an item; with less than SMALL_CHARACTERS in all, no worker is started.

    Yields:
        Each chunk and the function's answer, in order.

    Raises:
        UlmkitError: As the function raises it.
        DataError: If a worker dies, or the function raises anything else there.
    """
    pending: deque[list[Item]] = deque()
    size = 0

    def contents() -> Iterator[list[Content]]:
        nonlocal size
        for chunk in chunked(items, lambda item: max(characters(item), _LEAST_CHARACTERS), CHUNK_CHARACTERS):
            pending.append(chunk)
            size += sum(map(characters, chunk))
            yield list(map(content, chunk))

    chunks = contents()
    first: list[list[Content]] = []
    while workers > 1 and size < SMALL_CHARACTERS and (chunk := next(chunks, None)):
        first.append(chunk)
    with contextlib.ExitStack() as stack:
        if workers == 1 or size < SMALL_CHARACTERS:
            answers: Iterator[Answer] = map(function, itertools.chain(first, chunks))
        else:
            answers = stack.enter_context(WorkerPool(function, workers)).map(itertools.chain(first, chunks))
        for answer in answers:
            yield pending.popleft(), answer


class Worker(Generic[Item, Answer]):
    """One worker process. `call` may be called from any thread, one at a time.

    Args:
        function: What the process applies to each item.
    """

    def __init__(self, function: Callable[[Item], Answer]) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self._function = function
        self._is_set_up = False

    def call(self, item: Item) -> Answer:
        """Apply the function to an item in the process.

        Raises:
            UlmkitError: As the function raises it.
            DataError: If the process died, or the function raised anything else.
        """
        try:
            if not self._is_set_up:
                self._send([path or os.getcwd() for path in sys.path])
                self._send(self._function)
                self._is_set_up = True
            self._send(item)
            is_answer, value = pickle.load(self.process.stdout)  # type: ignore[arg-type]
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            status = self.process.wait()
            raise DataError(
                f"worker process: stopped with status {status}; if memory ran out, run again with fewer workers"
            ) from error
        if is_answer:
            return value
        raise value if isinstance(value, UlmkitError) else DataError(f"worker process: {value}")

    def _send(self, value: Any) -> None:
        pickle.dump(value, self.process.stdin, protocol=pickle.HIGHEST_PROTOCOL)  # type: ignore[arg-type]
        self.process.stdin.flush()  # type: ignore[union-attr]

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):  # what was left in the buffer has no reader
                pipe.close()  # type: ignore[union-attr]


class WorkerPool(Generic[Item, Answer]):
    """Worker processes that share a stream of items, with few of them in memory at a time.

    Args:
        function: What the processes apply to each item.
        workers: Number of processes.
    """

    def __init__(self, function: Callable[[Item], Answer], workers: int) -> None:
        self._workers = [Worker(function) for _ in range(workers)]
        self._free: queue.SimpleQueue[Worker[Item, Answer]] = queue.SimpleQueue()
        for worker in self._workers:
            self._free.put(worker)
        self._threads = ThreadPoolExecutor(workers)

    def map(self, items: Iterable[Item]) -> Iterator[Answer]:
        """Yield the function's answer to each item, in order; at most two items per worker are read ahead."""
        waiting: deque[Future[Answer]] = deque()
        for item in items:
            waiting.append(self._threads.submit(self._call, item))
            if len(waiting) > 2 * len(self._workers):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _call(self, item: Item) -> Answer:
        worker = self._free.get()
        try:
            return worker.call(item)
        finally:
            self._free.put(worker)

    def __enter__(self) -> "WorkerPool[Item, Answer]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.stop()
        self._threads.shutdown(cancel_futures=True)


def main() -> None:
    """Run a worker process: a function and items in, answers out, until its input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent ends its workers
    requests = sys.stdin.buffer
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not get among the answers
        function = pickle.load(requests)
        while True:
            try:
                item = pickle.load(requests)
            except EOFError:
                return
            pickle.dump(_answer(function, item), answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()


def _answer(function: Callable[[Any], Any], item: Any) -> tuple[bool, Any]:
    """Apply the function; an error is reported to the parent, which raises it."""
    try:
        return True, function(item)
    except UlmkitError as error:
        return False, error
    except Exception as error:
        return False, f"{type(error).__name__}: {error}"
