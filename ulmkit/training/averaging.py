"""Averages of the weights over steps, begun when validation stops improving."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def is_non_monotone(costs: Sequence[float], cost: float, window: int) -> bool:
    """Whether a validation is worse than the best of those more than `window` before it.

    t > n  and  v > min(logs[0], ..., logs[t - n - 1])

    Args: costs: logs, of the t validations before, lower is better. cost: v. window: n, at least 0.
    Source: Merity, Keskar & Socher, ICLR 2018, section 3, algorithm 1, and their code. arXiv:1708.02182 prints the
        minimum of the last n instead, by their word a misprint (salesforce/awd-lstm-lm, issue 13).
    """
    early = costs[: len(costs) - window] if len(costs) > window else []
    return any(cost > former for former in early)


class WeightAverage:
    """The mean of the weights, and of running statistics, after each step from the trigger on.

    w = sum of w_i from i = T to k, over k - T + 1

    Training goes on from the last weights; validation and the result take the mean. T is the first step after the
    trigger.

    Args: weights: all of a model, by name, and its buffers of floats. window: n of `is_non_monotone`, the trigger
        (NT-ASGD); None to average from the first step (plain ASGD).
    Source: Merity, Keskar & Socher 2017, arXiv:1708.02182, section 3, algorithm 1; Polyak & Juditsky 1992.
    """

    def __init__(self, weights: Mapping[str, Tensor], window: int | None) -> None:
        self._weights, self._window = dict(weights), window
        self._means: dict[str, Tensor] = {}
        self.steps = 0
        self.costs: list[float] = []
        self.is_triggered = window is None

    def observe(self, cost: float) -> bool:
        """Take the value of a validation, lower is better. Returns: whether it is the trigger."""
        if self.is_triggered or self._window is None:
            return False
        self.is_triggered = is_non_monotone(self.costs, cost, self._window)
        self.costs.append(cost)
        return self.is_triggered

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step, once triggered."""
        if not self.is_triggered:
            return
        self.steps += 1
        if not self._means:
            self._means = {name: weight.detach().clone() for name, weight in self._weights.items()}
        else:
            torch._foreach_lerp_(list(self._means.values()), list(self._weights.values()), 1.0 / self.steps)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the model has the mean weights, if there are any."""
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
        """What `load_state_dict` needs."""
        return {
            "means": dict(self._means),
            "steps": self.steps,
            "costs": json.dumps(self.costs),
            "is_triggered": self.is_triggered,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` gave. Raises: KeyError if the state lacks something."""
        means = state["means"]
        self._means = {name: means[name].to(weight) for name, weight in self._weights.items() if means}
        self.steps, self.costs = state["steps"], json.loads(state["costs"])
        self.is_triggered = state["is_triggered"]
