"""Monitoring of one validation metric: the best weights so far, and when to stop waiting for better ones."""

import copy
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ulmkit.arrays import read_header
from ulmkit.errors import ConfigError, FolderError, did_you_mean
from ulmkit.files import parse_json
from ulmkit.tensors import check_finite, load_tensors, save_tensors
from ulmkit.training.averaging import is_non_monotone
from ulmkit.training.checkpoint import clear_state_errors
from ulmkit.training.trainer_config import TrainerConfig

BEST_NAME = "best.safetensors"


@dataclass(frozen=True)
class Best:
    """The best validation so far.

    Attributes:
        value: Value of the monitored metric.
        step: Optimizer step of the validation.
        metrics: All metrics of the validation.
    """

    value: float
    step: int
    metrics: dict[str, float]

    def to_text(self) -> str:
        """Return the validation as JSON text, in which numbers may be infinite or NaN."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "Best":
        """Read a `to_text`; raise KeyError, TypeError or ValueError if it is none."""
        values = parse_json(text)
        metrics = {name: float(value) for name, value in values["metrics"].items()}
        return cls(float(values["value"]), int(values["step"]), metrics)


class Monitor:
    """Keeps the best weights by one validation metric, and counts validations without improvement.

    NaN is never better. The best weights are the model's state dict, in folder/best.safetensors with the `Best` in
    its header, or in memory if there is no folder.

    Args:
        config: Settings of the run; without a folder the best weights are kept only if they are to be restored.
        folder: Folder for best.safetensors.

    Attributes:
        best: The best validation so far, None before the first.
    """

    def __init__(self, config: TrainerConfig, folder: Path | None) -> None:
        self._config = config
        self._sign = 1.0 if config.mode == "min" else -1.0
        self._folder = folder
        self.best: Best | None = None
        # best.value, except while steps are repeated after a crash: then the best value by that step.
        self._to_beat: float | None = None
        self._worse_in_a_row = 0
        self._losses: list[float] = []
        self._weights: dict[str, torch.Tensor] | None = None

    @property
    def best_path(self) -> Path | None:
        """File with the best weights, or None."""
        return self._folder / BEST_NAME if self._folder is not None and self.best is not None else None

    @property
    def is_out_of_patience(self) -> bool:
        """True if validations have not improved for too long."""
        patience = self._config.patience
        if patience is None or not self._losses:
            return False
        if self._config.patience_rule == "non_monotone":
            return is_non_monotone(self._losses[:-1], self._losses[-1], patience)
        return self._worse_in_a_row >= patience

    def forget_earlier_run(self) -> None:
        """Remove the best weights of a run that died before its first checkpoint."""
        if self._folder is not None:
            (self._folder / BEST_NAME).unlink(missing_ok=True)

    def forget_bad_validations(self) -> None:
        """Restart the count of validations without improvement, as each phase does."""
        self._worse_in_a_row = 0
        self._losses = []

    def loss(self, metrics: Mapping[str, float]) -> float:
        """Return the monitored metric, lower is better; raise ConfigError if it is missing."""
        name = self._config.monitor or next(iter(metrics), "")
        if name not in metrics:
            raise ConfigError(f"monitor: there is no metric {name!r}; {did_you_mean(name, metrics)}")
        return self._sign * float(metrics[name])

    def record(self, metrics: Mapping[str, float], step: int, model: nn.Module, save: bool) -> bool:
        """Record a validation, and keep the model's weights if they are the best.

        Args:
            metrics: Metrics of the validation.
            step: Optimizer steps so far.
            model: Model that was validated.
            save: Whether this rank writes files.

        Returns:
            Whether the weights are the best.

        Raises:
            ConfigError: If the monitored metric is missing.
        """
        loss = self.loss(metrics)
        value = self._sign * loss
        self._losses.append(loss)
        if not self._is_better(value, self._to_beat):
            self._worse_in_a_row += 1
            return False
        self._to_beat = value
        self._worse_in_a_row = 0
        return self.keep_if_best(metrics, step, model, save)

    def keep_if_best(self, metrics: Mapping[str, float], step: int, model: nn.Module, save: bool) -> bool:
        """Keep the model's weights if they are the best, without counting them for patience; see `record`."""
        value = self._sign * self.loss(metrics)
        if math.isnan(value) or (self.best is not None and self._is_better(self.best.value, value)):
            return False
        self.best = Best(value, step, {key: float(metric) for key, metric in metrics.items()})
        if save and self._folder is not None:
            save_tensors(self._folder / BEST_NAME, model.state_dict(), {"best": self.best.to_text()})
        elif self._folder is None and self._config.restore_best:
            self._weights = copy.deepcopy(model.state_dict())
        return True

    def _is_better(self, value: float, than: float | None) -> bool:
        return not math.isnan(value) and (than is None or self._sign * value < self._sign * than)

    def restore_best(self, model: nn.Module) -> None:
        """Load the best weights, if there are any, into the model.

        Raises:
            FolderError: If best.safetensors is missing or altered.
        """
        if self._weights is not None:
            model.load_state_dict(self._weights)
        elif self.best_path is not None:
            load_model_weights(self.best_path, model)

    def state_dict(self) -> dict[str, Any]:
        """Return the best validation and the state of patience as JSON, with possibly infinite numbers as text."""
        return {
            "best": None if self.best is None else self.best.to_text(),
            "to_beat": json.dumps(self._to_beat),
            "worse_in_a_row": self._worse_in_a_row,
            "losses": json.dumps(self._losses),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state from `state_dict`.

        A better best.safetensors that was written later stays the best. Patience ignores it, because the steps up to
        it will be repeated.

        Raises:
            FolderError: If best.safetensors is altered.
            KeyError, TypeError, ValueError: If the state is incomplete or of other types.
        """
        self.best = None if state["best"] is None else Best.from_text(state["best"])
        to_beat = parse_json(state["to_beat"])
        self._to_beat = None if to_beat is None else float(to_beat)
        self._worse_in_a_row = int(state["worse_in_a_row"])
        self._losses = [float(loss) for loss in parse_json(state["losses"])]
        path = None if self._folder is None else self._folder / BEST_NAME
        if path is not None and path.is_file():
            with clear_state_errors(path):
                later = Best.from_text(read_header(path)["best"])
            if self.best is None or self._is_better(later.value, self.best.value):
                self.best = later


def load_model_weights(path: str | os.PathLike[str], model: nn.Module) -> None:
    """Load a safetensors file into a model, strictly by name.

    Raises:
        FolderError: If the file is missing or altered, a value is NaN or infinite, or its names and shapes are not the
            model's.
    """
    tensors = load_tensors(Path(path))
    check_finite(Path(path), tensors)
    try:
        model.load_state_dict(tensors)
    except (ConfigError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise FolderError(f"{path}: expected the weights of this model; {reason}") from error
