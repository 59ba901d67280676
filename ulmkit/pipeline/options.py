"""Options that say where and how a training stage runs: device, precision, seed, checkpoints, progress."""

import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ulmkit.config import BACKENDS, LARGEST_SEED, PRECISIONS, check_choice, check_threads, check_whole
from ulmkit.errors import ConfigError
from ulmkit.files import expand_user
from ulmkit.training.budget import Budget
from ulmkit.training.progress import ProgressDisplay
from ulmkit.training.world import World

if TYPE_CHECKING:
    import torch

    from ulmkit.model.awd_lstm import Encoder
    from ulmkit.text import EncodedCorpus

DEFAULT_MODEL = "en-small"
"""Shipped language model that stages start from unless another is named; it reads English."""

RATE_SEARCH_STEPS = 100
"""Steps over which `lr_find` raises the learning rate."""

SEARCH_TOKENS = 30_000
"""Validation tokens on which hyperparameters of the cache and of dynamic evaluation are searched."""

STATISTICS_BATCHES = 200
"""Maximum number of training batches from which gradient statistics are computed."""

_VALID_TOKENS = 300_000
_VALID_TOKENS_PER_MINUTE = 20_000


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Device, precision, checkpoints and validation of a stage.

    Attributes:
        device: Device: auto, cpu, cuda or cuda:N. "auto" takes a GPU if there is one; with several processes, one
            per process.
        precision: Precision: auto, fp32 or bf16. "auto" is bf16 where that is faster. A trained model keeps it in
            memory, but its folder does not: give it to `load` again for exactly the same answers.
        backend: LSTM kernels: auto, or a name that `ulmkit info` shows.
        seed: Random seed, which does not affect the train/validation split.
        threads: CPU threads of a training: a number, or "auto" to use fewer while other programs keep the machine
            busy. None is torch's number, adapted like "auto" in a budget of minutes; in steps or epochs it stays, so
            that the run can be repeated bitwise.
        folder: Folder for checkpoints and the log; None keeps neither.
        resume: Continue from the checkpoint in `folder`.
        progress: Receives the state of the training; None for silence.
        on_corpus: Called with the corpus before the training, in the first of several processes.
        on_validation: Called after each validation of a training with the fraction of it that is done and the metrics,
            in the first of several processes. What it raises ends the training.
        warn: Warn of held-out documents that the model may have been trained on.
        validations: Number of validations, evenly spaced. An interval such as Budget(epochs=1) is possible too. The
            last one is at the end; in a budget of minutes, those that would take more than a tenth of it are left out.
        valid_tokens: Validation tokens that a language model reads each time. None: 300,000, and in a budget of
            minutes at most 20,000 per minute. `evaluate` reads everything.
        accumulation: Batches per optimizer step (gradient accumulation).
        restore_best: Keep the weights of the best validation instead of the last ones.
        tensorboard: Folder for TensorBoard event files, which tensorboardX writes; None writes none. Several networks
            get a subfolder each.
        world: Processes that share each batch, see `joined_world`. All run the stage; the first alone prepares the
            data, validates, writes and shows progress.

    Raises:
        ConfigError: If an option is unknown or outside its range, or the device does not exist.
    """

    device: str = "auto"
    precision: str = "auto"
    backend: str = "auto"
    seed: int = 0
    threads: int | str | None = None
    folder: str | os.PathLike[str] | None = None
    resume: bool = False
    progress: ProgressDisplay | None = None
    on_corpus: "Callable[[EncodedCorpus], None] | None" = None
    on_validation: Callable[[float, Mapping[str, float]], None] | None = None
    warn: bool = True
    validations: int | Budget = 5
    valid_tokens: int | None = None
    accumulation: int = 1
    restore_best: bool = False
    tensorboard: str | os.PathLike[str] | None = None
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu"):  # torch, slow to import, knows the GPUs
            choose_device(self.device)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("backend", self.backend, ("auto", *BACKENDS))
        check_whole("seed", self.seed, at_least=0, at_most=LARGEST_SEED)
        check_threads("threads", self.threads)
        check_whole("accumulation", self.accumulation)
        if not isinstance(self.validations, Budget):
            check_whole("validations", self.validations)
        if self.valid_tokens is not None:
            check_whole("valid_tokens", self.valid_tokens)

    def validation_tokens(self, budget: Budget) -> int:
        """Validation tokens that a language model reads each time while it trains for `budget`."""
        if self.valid_tokens is not None:
            return self.valid_tokens
        minutes = math.inf if budget.minutes is None else budget.minutes
        return max(1, int(min(_VALID_TOKENS, _VALID_TOKENS_PER_MINUTE * minutes)))

    def events_of(self, network: str) -> Path | None:
        """Folder for the event files of one of several networks."""
        return None if self.tensorboard is None else expand_user(self.tensorboard) / network


def choose_device(name: str) -> "torch.device":
    """Turn the name of a device into a `torch.device`.

    Raises:
        ConfigError: If the name is unknown, or the device does not exist.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ConfigError(f"device: expected auto, cpu, cuda or cuda:N, got {name!r}")
    device = torch.device(name)
    gpus = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise ConfigError(f"device: got {name!r}, but torch finds {gpus or 'no'} GPU here; use device='cpu'")
    return device


def place(encoder: "Encoder", options: RunOptions) -> "torch.device":
    """Set precision and backend of an encoder, and return the device to move its model to."""
    encoder.precision = options.precision
    encoder.backend = options.backend
    return choose_device(options.device)
