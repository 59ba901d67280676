"""Watching one validation metric: the best weights so far, and when to stop waiting for better ones."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ulmkit.errors import ConfigError, FolderError, did_you_mean
from ulmkit.training.averaging import is_non_monotone
from ulmkit.training.checkpoint import clear_missing_keys, load_tensors, read_header, save_tensors

BEST_NAME = "best.safetensors"


@dataclass(frozen=True)
class Best:
    """The best validation so far: value of the monitored metric, step, all metrics."""

    value: float
    step: int
    metrics: dict[str, float]

    def to_text(self) -> str:
        """As JSON text, in which numbers may be infinite or not a number."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "Best":
        """What `to_text` gave. Raises: KeyError if a part is missing."""
        found = json.loads(text)
        return cls(found["value"], found["step"], found["metrics"])


class Monitor:
    """The best validation so far, and those in a row that did not better it.

    A value that is not a number never counts as better. The best weights are the model's state dict, in
    folder/best.safetensors with the `Best` in its header, or in memory if there is no folder.

    Args: name: metric to watch, None for the first that `validate` gives. mode: "min" or "max" is better.
        patience: that many validations in a row without a better value are too many; None waits forever.
            rule: "best", or "non_monotone" for `is_non_monotone` with patience as its window.
        folder: where best.safetensors goes. in_memory: without a folder, keep the best weights at all.
    """

    def __init__(
        self,
        name: str | None,
        mode: str,
        patience: int | None,
        folder: Path | None,
        in_memory: bool = False,
        rule: str = "best",
    ) -> None:
        self._name, self._sign, self._patience = name, 1.0 if mode == "min" else -1.0, patience
        self._folder, self._in_memory = folder, in_memory
        self.best: Best | None = None
        self._to_beat: float | None = None  # best.value, or while steps are taken again after a crash, the best by then
        self._worse_in_a_row = 0
        self._rule, self._costs = rule, list[float]()
        self._weights: dict[str, torch.Tensor] | None = None

    @property
    def best_path(self) -> Path | None:
        """File with the best weights, None if there is none."""
        return self._folder / BEST_NAME if self._folder is not None and self.best is not None else None

    @property
    def is_out_of_patience(self) -> bool:
        """Whether validations have been no better for too long."""
        if self._patience is None or not self._costs:
            return False
        if self._rule == "non_monotone":
            return is_non_monotone(self._costs[:-1], self._costs[-1], self._patience)
        return self._worse_in_a_row >= self._patience

    def forget_earlier_run(self) -> None:
        """Remove the best weights that a run which died before its first checkpoint left in the folder."""
        if self._folder is not None:
            (self._folder / BEST_NAME).unlink(missing_ok=True)

    def forget_bad_validations(self) -> None:
        """Start counting anew, at the beginning of a phase."""
        self._worse_in_a_row, self._costs = 0, []

    def cost(self, metrics: Mapping[str, float]) -> float:
        """The monitored metric, lower is better. Raises: ConfigError if it is not among them."""
        name = next(iter(metrics), "") if self._name is None else self._name
        if name not in metrics:
            raise ConfigError(f"monitor: there is no metric {name!r}; {did_you_mean(name, metrics)}")
        return self._sign * float(metrics[name])

    def begin_with(self, metrics: Mapping[str, float], model: nn.Module, save: bool) -> None:
        """Keep the model's weights, with which training begins, as the best so far; patience does not count them.

        Args: as `watch`. Raises: ConfigError if the metric to watch is not among them.
        """
        self._take_if_best(self._sign * self.cost(metrics), metrics, 0, model, save)

    def watch(self, metrics: Mapping[str, float], step: int, model: nn.Module, save: bool) -> bool:
        """Take the metrics of a validation; keep the model's weights if they are the best.

        Args: save: whether this rank writes files.
        Returns: whether they are kept.
        Raises: ConfigError if the metric to watch is not among them.
        """
        cost = self.cost(metrics)
        value = self._sign * cost
        self._costs.append(cost)
        if not self._is_better(value, self._to_beat):
            self._worse_in_a_row += 1
            return False
        self._to_beat, self._worse_in_a_row = value, 0
        return self._take_if_best(value, metrics, step, model, save)

    def _take_if_best(
        self, value: float, metrics: Mapping[str, float], step: int, model: nn.Module, save: bool
    ) -> bool:
        if math.isnan(value) or (self.best is not None and self._is_better(self.best.value, value)):
            return False
        self.best = Best(value, step, {key: float(metric) for key, metric in metrics.items()})
        self._keep(self.best, model, save)
        return True

    def _is_better(self, value: float, than: float | None) -> bool:
        return not math.isnan(value) and (than is None or self._sign * value < self._sign * than)

    def _keep(self, best: Best, model: nn.Module, save: bool) -> None:
        if save and self._folder is not None:
            save_tensors(self._folder / BEST_NAME, model.state_dict(), {"best": best.to_text()})
        elif self._folder is None and self._in_memory:
            self._weights = {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}

    def restore_best(self, model: nn.Module) -> None:
        """Load the best weights into the model; does nothing if there are none.

        Raises: FolderError if best.safetensors is missing or altered.
        """
        if self._weights is not None:
            model.load_state_dict(self._weights)
        elif self.best_path is not None:
            load_model_weights(self.best_path, model)

    def state_dict(self) -> dict[str, Any]:
        """The best validation and the state of patience, as JSON (numbers that may be infinite as JSON text)."""
        return {
            "best": None if self.best is None else self.best.to_text(),
            "to_beat": json.dumps(self._to_beat),
            "worse_in_a_row": self._worse_in_a_row,
            "costs": json.dumps(self._costs),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave.

        A best.safetensors written after it that is better stays the best. Patience goes on as if it were not there,
        for the steps up to it are taken again.

        Raises: FolderError if best.safetensors is altered; KeyError if the state lacks something.
        """
        self.best = None if state["best"] is None else Best.from_text(state["best"])
        self._to_beat, self._worse_in_a_row = json.loads(state["to_beat"]), state["worse_in_a_row"]
        self._costs = json.loads(state["costs"])
        path = None if self._folder is None else self._folder / BEST_NAME
        if path is not None and path.is_file():
            with clear_missing_keys(path):
                kept = Best.from_text(read_header(path)["best"])
            if self.best is None or self._is_better(kept.value, self.best.value):
                self.best = kept


def load_model_weights(path: str | os.PathLike[str], model: nn.Module) -> None:
    """Load weights that the trainer wrote (best.safetensors) into a model, strictly by name.

    Raises: FolderError if the file is missing or altered, or its names and shapes are not the model's.
    """
    tensors = load_tensors(Path(path))
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise FolderError(f"{path}: expected the weights of this model; {reason}") from error
