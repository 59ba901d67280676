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
