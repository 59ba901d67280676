"""Means of losses and metrics between two rows of the log."""

import math
from typing import Any

import torch

from ulmkit.training.task import StepResult


class Meter:
    """Weighted means of the loss and metrics since the last log row.

    Tensors are read together, and only when a mean is asked for: reading one waits for the device.
    """

    def __init__(self) -> None:
        self._pending: list[tuple[str, torch.Tensor, float]] = []
        self._sums: dict[str, float] = {}
        self._weights: dict[str, float] = {}

    def add(self, result: StepResult) -> None:
        """Add the result of one batch, detached, with its weight filled in."""
        weight = 1.0 if result.weight is None else result.weight
        for name, value in (("loss", result.loss), *result.metrics.items()):
            if isinstance(value, torch.Tensor):
                self._pending.append((name, value, weight))
            else:
                self._count(name, float(value), weight)

    @property
    def is_empty(self) -> bool:
        """True if nothing was added since the last row."""
        return not self._pending and not self._sums

    def means(self) -> dict[str, float]:
        """Return the mean of the loss and of each metric so far; empty if nothing was added."""
        self._read()
        return {name: total / self._weights[name] for name, total in self._sums.items()}

    def is_finite(self) -> bool:
        """Return whether every loss since the last row is finite."""
        self._read()
        return math.isfinite(self._sums.get("loss", 0.0))

    def clear(self) -> None:
        """Start the next row."""
        self._pending.clear()
        self._sums.clear()
        self._weights.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return the sums so far, as JSON."""
        self._read()
        return {"sums": dict(self._sums), "weights": dict(self._weights)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the sums of a `state_dict`."""
        self._sums = dict(state["sums"])
        self._weights = dict(state["weights"])

    def merge(self, state: dict[str, Any]) -> None:
        """Add the sums of another rank's `state_dict`."""
        for name, total in state["sums"].items():
            self._sums[name] = self._sums.get(name, 0.0) + total
            self._weights[name] = self._weights.get(name, 0.0) + state["weights"][name]

    def _read(self) -> None:
        if self._pending:
            values = torch.stack([value.double() for _, value, _ in self._pending]).tolist()
            for (name, _, weight), value in zip(self._pending, values, strict=True):
                self._count(name, value, weight)
            self._pending.clear()

    def _count(self, name: str, value: float, weight: float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + value * weight
        self._weights[name] = self._weights.get(name, 0.0) + weight
