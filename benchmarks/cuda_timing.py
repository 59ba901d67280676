"""Times of work on a GPU, measured by device events."""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from ulmkit.kernels.cuda.launcher import kernels

CYCLES_PER_SECOND = 2e9  # no GPU has a faster clock
Events = tuple[torch.cuda.Event, torch.cuda.Event]


def milliseconds(run: Callable[[], Any], repeats: int, *, ahead: bool = True) -> float:
    """Median time of a call on the device, in milliseconds, after warm-up calls.

    Args:
        run: The call.
        repeats: Number of timed calls.
        ahead: Keep the device busy before each call until all of it is launched, so that the host's time is left out.
    """
    cycles = _warm_up(run)
    pairs = [_events() for _ in range(repeats)]
    for start, end in pairs:
        if ahead:
            torch.cuda._sleep(cycles)
        start.record()
        run()
        end.record()
    return _median(pairs)


def launch_milliseconds(run: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Median time of the persistent kernel's launch alone within a call, in milliseconds.

    Returns:
        Times by direction, "forward" and "backward", for those that launch a persistent kernel.
    """
    cycles = _warm_up(run)
    with _timed_launches() as pairs:
        for _ in range(repeats):
            torch.cuda._sleep(cycles)
            run()
    return {direction: _median(of_direction) for direction, of_direction in pairs.items()}


@contextlib.contextmanager
def _timed_launches() -> Iterator[dict[str, list[Events]]]:
    """Record events before and after each launch of a persistent kernel within the block, by direction."""
    pairs: dict[str, list[Events]] = {}
    run = kernels(0)
    launch = run.persistent

    def timed(plan: Any, direction: str, arguments: Any) -> Any:
        start, end = _events()
        start.record()
        done = launch(plan, direction, arguments)
        end.record()
        if done:
            pairs.setdefault(direction, []).append((start, end))
        return done

    run.persistent = timed
    try:
        yield pairs
    finally:
        del run.persistent


def _warm_up(run: Callable[[], Any]) -> int:
    """Call a few times.

    Returns:
        Twice the device's cycles that the host needs to launch a call.
    """
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    return int(2 * CYCLES_PER_SECOND * (time.perf_counter() - start))


def _events() -> Events:
    return torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)


def _median(pairs: list[Events]) -> float:
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(end) for start, end in pairs)
