"""Weight averaging that starts once validation stops improving (ASGD and NT-ASGD)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ulmkit.files import parse_json


def is_non_monotone(losses: Sequence[float], loss: float, window: int) -> bool:
    """Test the non-monotone criterion: the new loss exceeds the best loss from more than `window` validations ago.

    t > n  and  v > min(logs[0], ..., logs[t - n - 1])

    Args:
        losses: logs, the t validations so far, lower is better.
        loss: v, the new validation.
        window: n, at least 0.

    Returns:
        Whether the criterion holds.

    Source: Merity, Keskar & Socher, ICLR 2018, section 3, algorithm 1, and their code.
    Deviation: arXiv:1708.02182 prints the minimum of the last n instead, by the authors' word a misprint
        (salesforce/awd-lstm-lm, issue 13).
    """
    early = losses[: max(0, len(losses) - window)]
    return any(loss > earlier for earlier in early)


class WeightAverage:
    """Mean of the weights, and of running statistics, after each step from the trigger on.

    w = sum of w_i from i = T to k, over k - T + 1

    Training continues from the latest weights; validation and the result use the mean. T is the first step after the
    trigger.

    Args:
        weights: All parameters and floating-point buffers of a model, by name.
        window: n of `is_non_monotone`, the trigger of NT-ASGD; None averages from the first step (plain ASGD).

    Attributes:
        steps: Number of steps in the mean.
        losses: Validations before the trigger, lower is better.
        is_triggered: Whether averaging has started.

    Source: Merity, Keskar & Socher 2017, arXiv:1708.02182, section 3, algorithm 1; Polyak & Juditsky 1992.
    """

    def __init__(self, weights: Mapping[str, Tensor], window: int | None) -> None:
        self._weights = dict(weights)
        self._window = window
        self._means: dict[str, Tensor] = {}
        self.steps = 0
        self.losses: list[float] = []
        self.is_triggered = window is None

    def observe(self, loss: float) -> bool:
        """Record a validation, lower is better, and return whether it starts the averaging."""
        if self.is_triggered or self._window is None:
            return False
        self.is_triggered = is_non_monotone(self.losses, loss, self._window)
        self.losses.append(loss)
        return self.is_triggered

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights after a step to the mean, once triggered."""
        if not self.is_triggered:
            return
        self.steps += 1
        if not self._means:
            self._means = {name: weight.detach().clone() for name, weight in self._weights.items()}
        else:
            torch._foreach_lerp_(list(self._means.values()), list(self._weights.values()), 1.0 / self.steps)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the mean weights inside the block, if there are any."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for name, mean in self._means.items():
            weight = self._weights[name]
            self._means[name], weight.data = weight.data, mean

    @torch.no_grad()
    def apply(self) -> None:
        """Give the model the mean weights for good, if there are any."""
        for name, mean in self._means.items():
            self._weights[name].copy_(mean)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that `load_state_dict` restores."""
        return {
            "means": dict(self._means),
            "steps": self.steps,
            "losses": json.dumps(self.losses),
            "is_triggered": self.is_triggered,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state from `state_dict`; raise KeyError, TypeError or ValueError if it is incomplete or altered."""
        means = state["means"]
        self._means = {name: means[name].to(weight) for name, weight in self._weights.items() if means}
        for name, mean in self._means.items():
            if mean.shape != self._weights[name].shape:
                raise ValueError(f"average of {name}: expected shape {tuple(self._weights[name].shape)}")
        self.steps = int(state["steps"])
        self.losses = [float(loss) for loss in parse_json(state["losses"])]
        self.is_triggered = bool(state["is_triggered"])
