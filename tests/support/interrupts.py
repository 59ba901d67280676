"""A signal at a step of a training in this process."""

import signal

from ulmkit.training import LineProgress, ProgressInfo


class InterruptAtStep(LineProgress):
    """A progress display that sends a signal, Ctrl-C's unless another is named, at an optimizer step."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGINT) -> None:
        super().__init__()
        self._step = step
        self._number = number

    def update(self, info: ProgressInfo) -> None:
        if info.step == self._step:
            signal.raise_signal(self._number)


class InterruptInNetwork(LineProgress):
    """A progress display that sends SIGTERM, once or more, at a step of one of several networks; -1 never does.

    Attributes:
        steps: Network, counted from 1, and step of each update.
    """

    def __init__(self, network: int = -1, step: int = 1, times: int = 1) -> None:
        super().__init__()
        self._place = network, step
        self._times = times
        self.steps: list[tuple[int, int]] = []

    def update(self, info: ProgressInfo) -> None:
        network, step = self.steps[-1] if self.steps else (0, info.step)
        self.steps.append((network + (info.step <= step), info.step))
        if self.steps[-1] == self._place:
            for _ in range(self._times):
                signal.raise_signal(signal.SIGTERM)
