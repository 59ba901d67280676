"""Number of CPU threads on a machine that other programs keep busy.

The LSTM kernels wait for all threads at every time step. While another program has one of two cores, a training step
with two threads therefore waits for a thread that is not running most of the time, and one thread is faster. Only
timing tells: a round of trials times steps with other numbers of threads, now and then and when steps become slow.
"""

import contextlib
import statistics
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

TRIAL_SHARE = 0.01
"""Largest share of the time that trials may cost while all threads are in use."""

RETURN_SHARE = 0.04
"""Largest share for trials while fewer threads are in use: the sooner the others are free again, the better."""

ALARM_SHARE = 0.1
"""Largest share for trials that begin because steps have become slow."""

SLOW = 0.6
"""Steps are slow below this fraction of the usual speed."""

WORSE = 0.65
"""A round of trials goes no further in a direction where the speed falls below this fraction of the best."""

GAIN = 1.15
"""Factor by which a number of threads must be faster to replace the one in use."""

ADVISED_GAIN = 1.5
"""Factor by which a number of threads must be faster to be advised; rehearsals leave the optimizer out."""

_FIRST_ROUND_STEPS = 3
_ROUND_STEPS = 20
_KEPT_SPEEDS = 10
_SLOW_STEPS = 2
_MOST_LOST_STEPS = 4.0  # counted for one trial, so that a step that hung does not end the trials


@dataclass(frozen=True)
class ThreadChange:
    """A number of threads that is faster than the one in use.

    Attributes:
        before: Number of threads so far.
        after: The faster number.
        gain: Speed with `after` relative to that with `before`.
    """

    before: int
    after: int
    gain: float

    def __str__(self) -> str:
        threads = "1 thread" if self.after == 1 else f"{self.after} threads"
        reason = "the machine is busy: " if self.after < self.before else ""
        return f"{reason}{threads} instead of {self.before}: {self.gain:.1f} times as fast"


def thread_counts(most: int) -> list[int]:
    """List the numbers of threads to try, most first: one fewer, then about three quarters and half of each."""
    counts = {most, most - 1}
    half = most
    while half > 1:
        counts |= {3 * half // 4, half // 2}
        half //= 2
    return sorted((count for count in counts | {1} if count > 0), reverse=True)


def next_trial(counts: Sequence[int], current: int, speeds: Mapping[int, float]) -> int | None:
    """Choose the number of threads to time next in a round of trials.

    Fewer threads come first, then more, each direction until the speed is clearly worse.

    Args:
        counts: Numbers that may be used, in descending order.
        current: Number in use.
        speeds: Speed of each number timed in this round, `current` among them.

    Returns:
        The number, or None if the round is over.
    """
    best = max(speeds.values())
    fewer = [count for count in counts if count < current]
    more = [count for count in reversed(counts) if count > current]
    for direction in (fewer, more):
        for count in direction:
            if count not in speeds:
                return count
            if speeds[count] < WORSE * best:
                break
    return None


class ThreadTuner:
    """Times steps, and chooses the number of threads of the next one.

    The first round of trials begins after three steps, so that a run that starts on a busy machine soon notices. A
    number that seems faster is timed twice, and its slower step counts.

    Args:
        most: Largest number of threads.
        clock: Source of the time in seconds.
        gain: Factor by which a number must be faster to be taken.

    Attributes:
        current: Number of threads in use.
        threads: Number for the next step: the current one, or that of a trial.
    """

    def __init__(self, most: int, clock: Callable[[], float], gain: float = GAIN) -> None:
        self.current = most
        self.threads = most
        self._counts = thread_counts(most)
        self._clock = clock
        self._gain = gain
        self._round: dict[int, float] = {}
        self._repeated: int | None = None
        self._lost_seconds = 0.0
        self._steps_to_wait = _FIRST_ROUND_STEPS
        self._start_waiting()

    def _start_waiting(self) -> None:
        self._speeds: deque[float] = deque(maxlen=_KEPT_SPEEDS)
        self._steps = 0
        self._waiting_since = self._clock()

    def finish_step(self, tokens: int, seconds: float) -> ThreadChange | None:
        """Take in a step with `threads` threads, and choose the number for the next.

        Args:
            tokens: Tokens of the step.
            seconds: Duration of the step.

        Returns:
            The change if another number of threads has proved faster and is used from now on.
        """
        if tokens <= 0 or seconds <= 0 or len(self._counts) == 1:
            return None
        speed = tokens / seconds
        if self.threads == self.current:
            self._steps += 1
            if self._steps > 1:  # the first step with a number of threads also allocates memory
                self._speeds.append(speed)
            if not self._is_round_due():
                return None
            self._round = {self.current: statistics.median(self._speeds)}
            self._lost_seconds = 0.0
        else:
            usual = self._round[self.current]
            usual_seconds = tokens / usual
            self._lost_seconds += min(seconds - usual_seconds, _MOST_LOST_STEPS * usual_seconds)
            seems_faster = speed >= self._gain * usual
            self._round[self.threads] = min(speed, self._round.get(self.threads, speed))
            if seems_faster and self._repeated != self.threads:
                self._repeated = self.threads
                return None
        trial = next_trial(self._counts, self.current, self._round)
        if trial is not None:
            self.threads = trial
            return None
        return self._finish_round()

    def _is_round_due(self) -> bool:
        if len(self._speeds) < 2:
            return False
        waited_seconds = self._clock() - self._waiting_since
        speeds = list(self._speeds)
        earlier, latest = speeds[:-_SLOW_STEPS], speeds[-_SLOW_STEPS:]
        if earlier and max(latest) < SLOW * statistics.median(earlier):
            self._speeds = deque(latest, _KEPT_SPEEDS)
            return self._lost_seconds <= ALARM_SHARE * waited_seconds
        share = TRIAL_SHARE if self.current == self._counts[0] else RETURN_SHARE
        return self._steps >= self._steps_to_wait and self._lost_seconds <= share * waited_seconds

    def _finish_round(self) -> ThreadChange | None:
        before = self.current
        best = max(self._round, key=self._round.__getitem__)
        gain = self._round[best] / self._round[before]
        if gain >= self._gain:
            self.current = best
        self.threads = self.current
        self._repeated = None
        self._steps_to_wait = _ROUND_STEPS
        self._start_waiting()
        return ThreadChange(before, best, gain) if self.current != before else None


class RunThreads:
    """CPU threads of a training run: adapted to a busy machine, or fixed with advice once the machine proves busy.

    A fixed number keeps a run bitwise repeatable: results of torch's operations may depend on it. Other numbers are
    then timed in rehearsals, which have no effect on the training.

    Args:
        threads: Number of threads, the largest one if it is adapted; None for torch's.
        adapts: Whether steps may use fewer threads.
        is_tuned: Whether other numbers are tried at all.
        clock: Source of the time in seconds.
    """

    def __init__(self, threads: int | None, adapts: bool, is_tuned: bool, clock: Callable[[], float]) -> None:
        self._most = threads or torch.get_num_threads()
        self._adapts = adapts
        self._clock = clock
        self._tuner = ThreadTuner(self._most, clock, GAIN if adapts else ADVISED_GAIN) if is_tuned else None

    @property
    def current(self) -> int:
        """Number of threads in use, trials apart."""
        return self._tuner.current if self._tuner is not None else self._most

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Use these threads inside the block, and torch's former number afterwards."""
        former_threads = torch.get_num_threads()
        torch.set_num_threads(self._most)
        try:
            yield
        finally:
            torch.set_num_threads(former_threads)

    def finish_step(self, tokens: int, seconds: float, rehearse: Callable[[], int]) -> str | None:
        """Take in a step, and set the number of threads of the next.

        Args:
            tokens: Tokens of the step.
            seconds: Duration of the step.
            rehearse: Computes a step without any effect, and returns its tokens.

        Returns:
            A line to show if the number changes, or should.
        """
        if self._tuner is None:
            return None
        change = self._tuner.finish_step(tokens, seconds)
        if self._adapts:
            torch.set_num_threads(self._tuner.threads)
            return None if change is None else f"{change}; going on with that"
        while self._tuner.threads != self._most:
            change = self._tuner.finish_step(*self._timed(rehearse, self._tuner.threads))
            if change is not None:
                self._tuner = None
                return f"{change}; give --threads {change.after}, or --threads auto"
        return None

    def _timed(self, rehearse: Callable[[], int], threads: int) -> tuple[int, float]:
        torch.set_num_threads(threads)
        try:
            start = self._clock()
            tokens = rehearse()
            return tokens, self._clock() - start
        finally:
            torch.set_num_threads(self._most)
