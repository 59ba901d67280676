"""Queue in front of the model: requests that come together are predicted together, one batch at a time."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ulmkit.serve.options import ServeOptions
from ulmkit.serve.refusals import RefusalError
from ulmkit.tasks import Outputs
from ulmkit.text import Text

Result = TypeVar("Result")
Predict = Callable[[Sequence[Text]], Outputs]


@dataclass
class _Job:
    """A function to call, the texts to predict for if it takes some, and the future of its result."""

    function: Callable[..., Any]
    texts: Sequence[Text] | None
    result: asyncio.Future[Any] = field(repr=False)


class ModelQueue:
    """Runs the model in threads of its own, each for one batch or one function after the other.

    All methods are for one event loop.

    Args:
        options: Sizes and times of batches, and the limits of the queue.
        on_batch: Called with the number of texts in each batch.
        workers: Number of threads; what waits is shared among those that have nothing to do.
    """

    def __init__(
        self,
        options: ServeOptions,
        on_batch: Callable[[int], None] = lambda texts: None,
        workers: int = 1,
    ) -> None:
        self._options = options
        self._on_batch = on_batch
        self._jobs: deque[_Job] = deque()
        self._workers = workers
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="ulmkit-model")
        self._pumps: list[asyncio.Task[None]] = []
        self._running = 0  # batches and functions
        self._came_alone = True  # whether the last batch was of one request

    @property
    def waiting(self) -> int:
        """Number of requests that wait for the model."""
        return len(self._jobs)

    async def predict(self, predict: Predict, texts: Sequence[Text]) -> Outputs:
        """Predict for the texts of a request, in a batch with those of others that are predicted by the same function.

        Raises:
            RefusalError: If too many requests wait, or the time is up.
        """
        outputs: Outputs = await self._wait_for(_Job(predict, texts, asyncio.get_running_loop().create_future()))
        return outputs

    async def call(self, function: Callable[[], Result]) -> Result:
        """Call a function that uses the model, when its turn has come.

        Raises:
            RefusalError: If too many requests wait, or the time is up.
        """
        result: Result = await self._wait_for(_Job(function, None, asyncio.get_running_loop().create_future()))
        return result

    def close(self) -> None:
        """Wait for what is being predicted, and end the threads."""
        self._threads.shutdown()

    async def _wait_for(self, job: _Job) -> Any:
        if len(self._jobs) >= self._options.max_waiting:
            raise RefusalError(429, f"the queue is full: {self._options.max_waiting} requests wait; try again", 1)
        self._jobs.append(job)
        self._pumps = [pump for pump in self._pumps if not pump.done()]
        if len(self._pumps) < self._workers:
            self._pumps.append(asyncio.create_task(self._run_jobs()))
        try:
            async with asyncio.timeout(self._options.timeout_seconds):
                return await job.result
        except TimeoutError:
            raise RefusalError(
                503, f"no answer within {self._options.timeout_seconds:g} seconds; send less at once, or try again", 1
            ) from None

    async def _run_jobs(self) -> None:
        """Run waiting jobs until there are none."""
        while self._jobs:
            if not self._came_alone and not self._is_batch_full():
                await asyncio.sleep(self._options.batch_milliseconds / 1000)
            batch = self._next_batch()
            if not batch:
                continue
            self._came_alone = len(batch) == 1 and not self._jobs
            self._running += 1
            try:
                if batch[0].texts is None:
                    await self._run_function(batch[0])
                else:
                    await self._run_batch(batch)
            finally:
                self._running -= 1

    @property
    def _waiting_texts(self) -> int:
        return sum(len(job.texts or ()) for job in self._jobs)

    def _is_batch_full(self) -> bool:
        return self._waiting_texts >= self._options.batch_texts

    def _next_batch(self) -> list[_Job]:
        """Take the next function, or the next requests that fit into a batch; those given up are passed over."""
        share = math.ceil(self._waiting_texts / (self._workers - self._running))
        most = min(self._options.batch_texts, share)
        batch: list[_Job] = []
        texts = 0
        while self._jobs:
            job = self._jobs[0]
            if not job.result.done():
                texts += len(job.texts or ())
                if batch and (job.function != batch[0].function or texts > most):
                    break
                batch.append(job)
            self._jobs.popleft()
            if batch and batch[0].texts is None:
                break
        return batch

    async def _run_function(self, job: _Job) -> None:
        try:
            result = await asyncio.get_running_loop().run_in_executor(self._threads, job.function)
        except Exception as error:
            _fail(job, error)
        else:
            _answer(job, result)

    async def _run_batch(self, batch: Sequence[_Job]) -> None:
        """Predict for a batch; if that fails, for each request alone, so that one does not fail the others."""
        texts = [text for job in batch for text in job.texts or ()]
        try:
            outputs = await asyncio.get_running_loop().run_in_executor(self._threads, batch[0].function, texts)
        except Exception as error:
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            for job in batch:
                await self._run_batch([job])
            return
        self._on_batch(len(texts))
        first = 0
        for job in batch:
            count = len(job.texts or ())
            _answer(job, outputs[first : first + count])
            first += count


def _answer(job: _Job, result: Any) -> None:
    if not job.result.done():  # not given up by its request
        job.result.set_result(result)


def _fail(job: _Job, error: Exception) -> None:
    if not job.result.done():
        job.result.set_exception(error)
