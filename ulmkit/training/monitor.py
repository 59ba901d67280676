"""Watching one validation metric: the best weights so far, and when to stop waiting for better ones."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ulmkit.errors import ConfigError, FolderError, did_you_mean
from ulmkit.training.checkpoint import load_tensors, read_header, save_tensors

BEST_NAME = "best.safetensors"


class Monitor:
    """Best value of a metric so far, and validations in a row that did not better it.

    A value that is not a number never counts as better. The best weights are the model's state dict, in
    folder/best.safetensors with value and step in its header, or in memory if there is no folder.

    Args: name: metric to watch, None for the first that `validate` gives. mode: "min" or "max" is better.
        patience: that many validations in a row without a better value are too many; None waits forever.
        folder: where best.safetensors goes. in_memory: without a folder, keep the best weights at all.
    """

    def __init__(
        self, name: str | None, mode: str, patience: int | None, folder: Path | None, in_memory: bool = False
    ) -> None:
        self._name, self._sign, self._patience = name, 1.0 if mode == "min" else -1.0, patience
        self._folder, self._in_memory = folder, in_memory
        self.best_value: float | None = None
        self.best_step: int | None = None
        self._worse_in_a_row = 0
        self._weights: dict[str, torch.Tensor] | None = None

    @property
    def best_path(self) -> Path | None:
        """File with the best weights, None if there is none."""
        return self._folder / BEST_NAME if self._folder is not None and self.best_step is not None else None

    @property
    def is_out_of_patience(self) -> bool:
        """Whether too many validations in a row were no better."""
        return self._patience is not None and self._worse_in_a_row >= self._patience

    def forget_bad_validations(self) -> None:
        """Start counting anew, at the beginning of a phase."""
        self._worse_in_a_row = 0

    def watch(self, metrics: Mapping[str, float], step: int, model: nn.Module, save: bool) -> bool:
        """Take the metrics of a validation; keep the model's weights if they are the best.

        Args: save: whether this rank writes files.
        Returns: whether they are.
        Raises: ConfigError if the metric to watch is not among them.
        """
        name = next(iter(metrics), "") if self._name is None else self._name
        if name not in metrics:
            raise ConfigError(f"monitor: there is no metric {name!r}; {did_you_mean(name, metrics)}")
        value = float(metrics[name])
        better = not math.isnan(value) and (
            self.best_value is None or self._sign * value < self._sign * self.best_value
        )
        self._worse_in_a_row = 0 if better else self._worse_in_a_row + 1
        if better:
            self.best_value, self.best_step = value, step
            if save and self._folder is not None:
                header = {"value": str(value), "step": str(step)}
                save_tensors(self._folder / BEST_NAME, model.state_dict(), header)
            elif self._folder is None and self._in_memory:
                self._weights = {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}
        return better

    def restore_best(self, model: nn.Module) -> None:
        """Load the best weights into the model; does nothing if there are none.

        Raises: FolderError if best.safetensors is missing or altered.
        """
        if self._weights is not None:
            model.load_state_dict(self._weights)
        elif self.best_path is not None:
            load_model_weights(self.best_path, model)

    def state_dict(self) -> dict[str, Any]:
        """Best value, its step, and the count of patience, as JSON (an infinite value as a string)."""
        value = None if self.best_value is None else str(self.best_value)
        state = {"best_value": value, "best_step": self.best_step, "worse_in_a_row": self._worse_in_a_row}
        return {**state, "weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave; a best.safetensors written after it that is better still counts."""
        self.best_value = None if state["best_value"] is None else float(state["best_value"])
        self.best_step, self._worse_in_a_row = state["best_step"], state["worse_in_a_row"]
        self._weights = state["weights"]
        if self._folder is not None and (self._folder / BEST_NAME).is_file():
            header = read_header(self._folder / BEST_NAME)
            value, step = float(header["value"]), int(header["step"])
            if self.best_value is None or self._sign * value < self._sign * self.best_value:
                self.best_value, self.best_step = value, step


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
