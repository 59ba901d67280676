"""Where and how a stage runs: device, precision, seed, checkpoints, progress; and what is recorded of it."""

import math
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ulmkit.config import check_choice, check_not_negative, check_positive
from ulmkit.errors import ConfigError
from ulmkit.kernels import BACKENDS, PRECISIONS
from ulmkit.model.awd_lstm import AWDLSTM, AWDLSTMConfig
from ulmkit.text import EncodedCorpus
from ulmkit.text.corpus_builder import TRAINING_SPLITS
from ulmkit.training import (
    Budget,
    OptimizerConfig,
    Phase,
    Progress,
    Trainer,
    TrainerConfig,
    TrainingResult,
    TrainingTask,
)

_VALID_TOKENS = 300_000
_VALID_TOKENS_A_MINUTE = 20_000

DROPOUTS = tuple(f"{name}_dropout" for name in ("embedding", "input", "hidden", "output", "weight"))


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where and how a stage runs.

    Attributes:
        device: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N".
        precision: "auto", "fp32" or "bf16". backend: of the LSTM, "auto" or a name.
        seed: of initialisation, batches and dropout.
        folder: for checkpoints and the log; None keeps nothing. resume: go on from its checkpoint.
        progress: who is told how it goes, None for silence.
        validations: how often the stage validates, evenly spread; the last time is at its end. In a budget of minutes
            those that would take more than a tenth of it are left out.
        valid_tokens: how much validation text a language model reads for it; None: 300,000 tokens, in a budget of
            minutes at most 20,000 for each. `evaluate` reads all, exactly.
        accumulation: batches of one optimizer step.
        restore_best: end with the best weights seen in validation rather than the last.
        tensorboard: write event files into the folder too.
    Raises: ConfigError if one is unknown or outside its range, or the device is not there.
    """

    device: str = "auto"
    precision: str = "auto"
    backend: str = "auto"
    seed: int = 0
    folder: str | os.PathLike[str] | None = None
    resume: bool = False
    progress: Progress | None = None
    validations: int = 5
    valid_tokens: int | None = None
    accumulation: int = 1
    restore_best: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        choose_device(self.device)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("backend", self.backend, ("auto", *BACKENDS))
        check_not_negative("seed", self.seed)
        check_positive("validations", self.validations)
        if self.valid_tokens is not None:
            check_positive("valid_tokens", self.valid_tokens)

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


def with_dropouts(config: AWDLSTMConfig, dropouts: dict[str, float], multiplier: float) -> AWDLSTMConfig:
    """The config with these dropouts times `multiplier` (at most 0.95)."""
    values = asdict(config) | {name: min(0.95, dropouts[name] * multiplier) for name in DROPOUTS}
    return AWDLSTMConfig(**values)


def run_stage(
    task: TrainingTask,
    phases: Sequence[Phase],
    options: RunOptions,
    *,
    optimizer: OptimizerConfig,
    clip: float | None,
    patience: int | None = None,
) -> TrainingResult:
    """Train a task through its phases with these options."""
    config = TrainerConfig(
        optimizer=optimizer,
        clip=clip,
        accumulation=options.accumulation,
        validate_every=options.validations,
        patience=patience,
        restore_best=options.restore_best or patience is not None,
        tensorboard=options.tensorboard,
        checkpoint_every=None if options.folder is None else Budget(minutes=5),
        log_every_steps=10,
        seed=options.seed,
    )
    folder = None if options.folder is None else Path(options.folder)
    return Trainer(task, config, phases, folder, options.progress).fit(options.resume)


def last_validation(result: TrainingResult, options: RunOptions) -> dict[str, float]:
    """The figures of the weights that the model was left with."""
    rows = [row for row in result.history if row["kind"] == "validation"]
    if options.restore_best:
        rows = [row for row in rows if row["step"] == result.best_step]
    prefix = "valid_"
    return {
        name.removeprefix(prefix): value
        for name, value in rows[-1].items()
        if name.startswith(prefix) and value is not None
    }


def data_facts(
    corpus: EncodedCorpus, used: Sequence[str], base_facts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What the model card says about the data: a row for each split, and how validation was chosen.

    Args: used: the splits that the model learnt from. base_facts: of the model it started from; what is transductive
        there stays so.
    """
    facts = corpus.facts
    name = ", ".join(facts.get("sources") or []) or corpus.folder.name
    data = [
        {
            "name": name,
            "split": split,
            "use": "training" if split in used else "held out",
            **{key: found[key] for key in ("documents", "labelled", "words", "tokens") if key in found},
            "unknown_rate": round(found["unknown_rate"], 5),
        }
        for split, found in facts["splits"].items()
    ]
    transductive = any(split not in TRAINING_SPLITS for split in used)
    transductive |= (base_facts or {}).get("splits", {}).get("kind") == "transductive"
    splits = {
        **facts["split_policy"],
        "kind": "transductive" if transductive else "clean",
        "policy": facts["split_policy"]["kind"],
    }
    if facts.get("near_duplicates"):
        splits["near_duplicates"] = facts["near_duplicates"]
    return {"data": data, "splits": splits}


def training_facts(result: TrainingResult, recipe: Any, budget: Budget, options: RunOptions) -> dict[str, Any]:
    """What the model card says about a finished training."""
    spent = {name: value for name, value in asdict(budget).items() if value is not None}
    return {
        "budget": spent,
        "steps": result.steps,
        "epochs": round(result.epochs, 3),
        "tokens_read": result.tokens,
        "minutes": round(result.seconds / 60.0, 2),
        "tokens_per_second": round(result.tokens / result.seconds) if result.seconds > 0 else None,
        "stopped_because": result.stopped_because,
        "seed": options.seed,
        "precision": options.precision,
        "machine": f"{platform.machine()}, {os.cpu_count()} processors, {torch.get_num_threads()} threads",
        "recipe": asdict(recipe),
    }
