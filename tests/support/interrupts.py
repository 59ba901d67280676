"""Ctrl-C at a step of a training in this process."""

import signal

from ulmkit.training import LineProgress, ProgressInfo


class InterruptAtStep(LineProgress):
    """A progress display that presses Ctrl-C at an optimizer step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step

    def update(self, info: ProgressInfo) -> None:
        if info.step == self._step:
            signal.raise_signal(signal.SIGINT)
