"""Averages of the weights over steps, begun when validation stops improving."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def is_non_monotone(costs: Sequence[float], cost: float, window: int) -> bool:
    """Whether a validation is worse than the best of those more than `window` before it.

    t > n  and  v > min(logs[0], ..., logs[t - n - 1])

    Args: costs: logs, of the t validations before, lower is better. cost: v. window: n, at least 0.
    Source: Merity, Keskar & Socher 2017, arXiv:1708.02182, section 3, algorithm 1.
    """
    early = costs[: len(costs) - window] if len(costs) > window else []
    return bool(early) and cost > min(early)


class WeightAverage:
    """The mean of the weights after each step from the trigger on: NT-ASGD's, or with window None plain ASGD's.

    w = sum of w_i from i = T to k, over k - T + 1

    Training goes on from the last weights; validation and the result take the mean.

    Args: parameters: all of a model, by name. window: validations that may be worse than the best before them, n of
        `is_non_monotone`; None to average from the first step.
    Source: Merity, Keskar & Socher 2017, arXiv:1708.02182, section 3, algorithm 1; Polyak & Juditsky 1992.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], window: int | None) -> None:
        self._parameters, self._window = dict(parameters), window
        self._means: dict[str, Tensor] = {}
        self.steps = 0
        self.costs: list[float] = []
        self.is_triggered = window is None

    def observe(self, cost: float) -> None:
        """Take the value of a validation, lower is better; it may be the trigger."""
        if not self.is_triggered and self._window is not None:
            self.is_triggered = is_non_monotone(self.costs, cost, self._window)
            self.costs.append(cost)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step, once triggered."""
        if not self.is_triggered:
            return
        self.steps += 1
        if not self._means:
            self._means = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        else:
            torch._foreach_lerp_(list(self._means.values()), list(self._parameters.values()), 1.0 / self.steps)

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
            parameter = self._parameters[name]
            self._means[name], parameter.data = parameter.data, mean

    @torch.no_grad()
    def apply(self) -> None:
        """Give the model the mean weights for good, if there are any."""
        for name, mean in self._means.items():
            self._parameters[name].copy_(mean)

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
        self._means = {name: means[name].to(parameter) for name, parameter in self._parameters.items() if means}
        self.steps, self.costs = state["steps"], json.loads(state["costs"])
        self.is_triggered = state["is_triggered"]
