"""The queue in front of the model: batches, limits, errors, and what was given up."""

import asyncio
import contextlib
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from ulmkit.serve.batching import ModelQueue
from ulmkit.serve.options import ServeOptions
from ulmkit.serve.refusals import RefusalError


class Model:
    """Answers each text with its length, and remembers the batches; it can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.may_run = threading.Event()
        self.may_run.set()

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.may_run.wait(10)
        self.batches.append(list(texts))
        if "bad" in texts:
            raise ValueError("a bad text")
        return np.array([len(text) for text in texts])


def run(requests: Sequence[Sequence[str]], model: Model, hold_up: bool = False, **options: float) -> list:
    """The results of requests that are made together, errors among them."""

    async def main() -> list:
        queue = ModelQueue(ServeOptions(**options))
        if hold_up:
            model.may_run.clear()
            asyncio.get_running_loop().call_later(0.1, model.may_run.set)
        results = await asyncio.gather(*(queue.predict(model, texts) for texts in requests), return_exceptions=True)
        queue.close()
        return results

    return asyncio.run(main())


def test_requests_that_come_together_are_predicted_together_and_get_their_own_answers() -> None:
    model = Model()
    results = run([["a" * number, "b"] for number in range(6)], model, batch_texts=100)
    assert [result.tolist() for result in results] == [[number, 1] for number in range(6)]
    assert sum(map(len, model.batches)) == 12
    assert len(model.batches) <= 2


def test_a_batch_is_no_larger_than_it_may_be_unless_a_request_is() -> None:
    model = Model()
    results = run([["a"] * 3, ["b"] * 3, ["c"] * 20, ["d"]], model, batch_texts=8)
    assert [len(result) for result in results] == [3, 3, 20, 1]
    assert [len(batch) for batch in model.batches] == [6, 20, 1]


def test_a_request_waits_for_others_only_while_several_come() -> None:
    async def main() -> float:
        model = Model()
        queue = ModelQueue(ServeOptions(batch_milliseconds=300))
        start = asyncio.get_running_loop().time()
        for _ in range(5):
            await queue.predict(model, ["a"])
        alone = asyncio.get_running_loop().time() - start
        await asyncio.gather(queue.predict(model, ["a"]), queue.predict(model, ["b"]))
        start = asyncio.get_running_loop().time()
        await queue.predict(model, ["c"])
        assert asyncio.get_running_loop().time() - start > 0.25
        queue.close()
        return alone

    assert asyncio.run(main()) < 1


def test_one_request_that_fails_does_not_fail_those_beside_it() -> None:
    model = Model()
    good, bad, other = run([["good"], ["bad"], ["other"]], model)
    assert (good.tolist(), other.tolist()) == ([4], [5])
    assert isinstance(bad, ValueError)


def test_more_requests_than_may_wait_are_refused() -> None:
    model = Model()
    results = run([["a"]] * 8, model, hold_up=True, max_waiting=3)
    refused = [result for result in results if isinstance(result, RefusalError)]
    assert len(refused) == 5
    assert {(error.status, error.retry_seconds) for error in refused} == {(429, 1)}
    assert "the queue is full: 3 requests wait" in str(refused[0])


def test_a_request_is_given_up_when_its_time_is_over_and_never_predicted() -> None:
    async def main() -> list[list[str]]:
        model = Model()
        model.may_run.clear()
        queue = ModelQueue(ServeOptions(timeout_seconds=0.05))
        first = asyncio.create_task(queue.call(model.may_run.wait))
        await asyncio.sleep(0)
        with pytest.raises(RefusalError, match=r"no answer within 0\.05 seconds") as refusal:
            await queue.predict(model, ["late"])
        assert refusal.value.status == 503
        with pytest.raises(RefusalError):
            await first
        model.may_run.set()
        while not model.batches:  # on a busy machine this one may be late, too
            with contextlib.suppress(RefusalError):
                await queue.predict(model, ["next"])
        queue.close()
        return model.batches

    assert ["late"] not in asyncio.run(main())


def test_functions_run_in_their_turn_and_alone() -> None:
    async def main() -> list[list[str]]:
        model = Model()
        queue = ModelQueue(ServeOptions())
        function = queue.call(lambda: model.batches.append(["function"]))
        await asyncio.gather(queue.predict(model, ["a"]), function, queue.predict(model, ["b"]))
        queue.close()
        return model.batches

    assert asyncio.run(main()) == [["a"], ["function"], ["b"]]


def test_requests_of_two_models_are_not_predicted_together() -> None:
    async def main() -> tuple[list, Model, Model]:
        first, second = Model(), Model()
        queue = ModelQueue(ServeOptions())
        asked = [(first, "a"), (first, "bb"), (second, "ccc"), (first, "dddd")]
        results = await asyncio.gather(*(queue.predict(model, [text]) for model, text in asked))
        queue.close()
        return results, first, second

    results, first, second = asyncio.run(main())
    assert [result.tolist() for result in results] == [[1], [2], [3], [4]]
    assert (first.batches, second.batches) == ([["a", "bb"], ["dddd"]], [["ccc"]])


def test_workers_share_what_waits_and_run_at_once() -> None:
    both = threading.Barrier(2, timeout=10)
    batches: list[int] = []

    def predict(texts: Sequence[str]) -> np.ndarray:
        both.wait()  # only passed while two batches run at once
        batches.append(len(texts))
        return np.array([len(text) for text in texts])

    async def main() -> list:
        queue = ModelQueue(ServeOptions(), workers=2)
        results = await asyncio.gather(*(queue.predict(predict, ["a" * number]) for number in range(8)))
        queue.close()
        return results

    assert [result.tolist() for result in asyncio.run(main())] == [[number] for number in range(8)]
    assert batches == [4, 4]
