"""Options that say where and how a training stage runs: device, precision, seed, checkpoints, progress."""

import math
import os
import re
from dataclasses import dataclass, field

import torch

from ulmkit.config import check_choice, check_whole
from ulmkit.errors import ConfigError
from ulmkit.kernels import BACKENDS, PRECISIONS
from ulmkit.model.awd_lstm import AWDLSTM
from ulmkit.training import (
    Budget,
    ProgressDisplay,
    World,
)

_VALID_TOKENS = 300_000
_VALID_TOKENS_A_MINUTE = 20_000


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where and how a stage runs.

    Attributes:
        device: "auto" (a GPU if there is one; of several processes each its own), "cpu", "cuda" or "cuda:N".
        precision: "auto", "fp32" or "bf16". backend: of the LSTM, "auto" or a name.
        seed: of initialisation, batches and dropout.
        folder: for checkpoints and the log; None keeps nothing. resume: go on from its checkpoint.
        progress: who is told how it goes, None for silence.
        validations: how often the stage validates, evenly spread, or an interval, such as Budget(epochs=1); the last
            time is at its end. In a budget of minutes those that would take more than a tenth of it are left out.
        valid_tokens: how much validation text a language model reads for it; None: 300,000 tokens, in a budget of
            minutes at most 20,000 for each. `evaluate` reads all, exactly.
        accumulation: batches of one optimizer step.
        restore_best: end with the best weights seen in validation rather than the last.
        tensorboard: write event files into the folder too.
        world: the processes that share each batch, see `joined_world`; all run the stage, and the first alone prepares
            the data, validates, writes and shows progress.
    Raises: ConfigError if one is unknown or outside its range, or the device is not there.
    """

    device: str = "auto"
    precision: str = "auto"
    backend: str = "auto"
    seed: int = 0
    folder: str | os.PathLike[str] | None = None
    resume: bool = False
    progress: ProgressDisplay | None = None
    validations: int | Budget = 5
    valid_tokens: int | None = None
    accumulation: int = 1
    restore_best: bool = False
    tensorboard: bool = False
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        choose_device(self.device)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("backend", self.backend, ("auto", *BACKENDS))
        check_whole("seed", self.seed, at_least=0)
        if not isinstance(self.validations, Budget):
            check_whole("validations", self.validations)
        if self.valid_tokens is not None:
            check_whole("valid_tokens", self.valid_tokens)

    def validation_tokens(self, budget: Budget) -> int:
        """How much validation text a language model reads while it trains for `budget`."""
        if self.valid_tokens is not None:
            return self.valid_tokens
        minutes = math.inf if budget.minutes is None else budget.minutes
        return max(1, int(min(_VALID_TOKENS, _VALID_TOKENS_A_MINUTE * minutes)))


def choose_device(name: str) -> torch.device:
    """The device that `name` means.

    Raises: ConfigError if it is unknown or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ConfigError(f"device: expected auto, cpu, cuda or cuda:N, got {name!r}")
    device, gpus = torch.device(name), torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise ConfigError(f"device: got {name!r}, but torch finds {gpus or 'no'} GPU here; use device='cpu'")
    return device


def place(encoder: AWDLSTM, options: RunOptions) -> torch.device:
    """Set precision and backend of an encoder, and return the device its model is to be moved to."""
    encoder.precision, encoder.backend = options.precision, options.backend
    return choose_device(options.device)
