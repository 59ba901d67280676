"""Optimizers over layer groups: torch's, with decoupled or L2 weight decay and a learning rate for each group."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from ulmkit.errors import ConfigError
from ulmkit.training.optimizer_config import OptimizerConfig


class SGD(torch.optim.SGD):
    """SGD with decoupled weight decay: p is scaled by 1 - lr * decoupled_decay, then takes torch's step.

    A parameter group may have `decoupled_decay`; torch's own `weight_decay` is L2 decay. Momentum buffers start as
    zeros, which leaves the first step unchanged: torch's fused step needs buffers for all parameters of a group or
    for none, and parameters may start to train at different times.

    Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 1.
    Deviation: the decay is scaled by the rate, as in torch's AdamW, not by the schedule's multiplier alone.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Decay every parameter that has a gradient, then step."""
        for group in self.param_groups:
            keep = 1.0 - group["lr"] * group.get("decoupled_decay", 0.0)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if keep != 1.0:
                    parameter.mul_(keep)
                if group["momentum"] and self.state[parameter].get("momentum_buffer") is None:
                    self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return super().step(closure)


def make_optimizer(
    groups: Sequence[Sequence[nn.Parameter]], config: OptimizerConfig, rates: Sequence[float]
) -> torch.optim.Optimizer:
    """Make an optimizer whose parameter groups know their layer group (key `layer_group`), fused where possible.

    Parameters without a gradient are skipped and get no state, so frozen groups cost nothing.

    Args:
        groups: Parameters of each layer group, bottom to top.
        config: Choice of the optimizer.
        rates: Initial learning rate of each group.

    Returns:
        The optimizer.

    Raises:
        ConfigError: Unless there is one rate for each group.
    """
    if len(rates) != len(groups):
        raise ConfigError(f"rates: expected one for each of {len(groups)} groups, got {len(rates)}")
    decay_key = "decoupled_decay" if config.name != "adamw" and config.decay == "decoupled" else "weight_decay"
    parameter_groups: list[dict[str, Any]] = [
        {"params": list(parameters), "lr": rate, "layer_group": level, decay_key: config.weight_decay}
        for level, (parameters, rate) in enumerate(zip(groups, rates, strict=True))
    ]
    fused = all(p.device.type in ("cpu", "cuda") for parameters in groups for p in parameters)
    optimizer: torch.optim.Optimizer
    if config.name != "adamw":
        optimizer = SGD(parameter_groups, lr=0.0, momentum=config.momentum, fused=fused)
    else:
        adam = torch.optim.AdamW if config.decay == "decoupled" else torch.optim.Adam
        optimizer = adam(parameter_groups, lr=0.0, betas=config.betas, eps=config.eps, fused=fused)
    if fused:
        optimizer.register_step_post_hook(_count_changes)
    return optimizer


def _count_changes(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Tell autograd that the parameters changed in place, which torch's fused CPU steps omit."""
    for group in optimizer.param_groups:
        torch.autograd.graph.increment_version([p for p in group["params"] if p.grad is not None])


def set_rates(
    optimizer: torch.optim.Optimizer, rates: Sequence[float], momentum: float | None, config: OptimizerConfig
) -> None:
    """Set the learning rate of each parameter group, and momentum (SGD) or beta1 (Adam).

    Args:
        optimizer: Optimizer from `make_optimizer`.
        rates: Learning rate of each layer group.
        momentum: Momentum or beta1; None sets the config's.
        config: Choice of the optimizer.
    """
    for group in optimizer.param_groups:
        group["lr"] = rates[group["layer_group"]]
        if "betas" in group:
            group["betas"] = (config.betas[0] if momentum is None else momentum, config.betas[1])
        else:
            group["momentum"] = config.momentum if momentum is None else momentum


OptimizerState = dict[str, dict[str, Any]]


def optimizer_state(optimizer: torch.optim.Optimizer, names: dict[nn.Parameter, str]) -> OptimizerState:
    """Return the optimizer's state by parameter name: {"layers.0.weight": {"exp_avg": ..., "step": ...}}."""
    return {names[cast(nn.Parameter, p)]: dict(state) for p, state in optimizer.state.items()}


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, names: dict[nn.Parameter, str], state: OptimizerState
) -> None:
    """Restore an `optimizer_state` by parameter name; parameters not in it have no state.

    Raises:
        ConfigError: If `state` names a parameter that the optimizer does not have, or a value does not fit.
    """
    order = [names[p] for group in optimizer.param_groups for p in group["params"]]
    unknown = sorted(set(state) - set(order))
    if unknown:
        raise ConfigError(f"optimizer state: there is no parameter {unknown[0]!r}; is this the same model?")
    parameters = {name: parameter for parameter, name in names.items()}
    for name, values in state.items():
        _check_state(optimizer, name, parameters[name], values)
    torch_state = optimizer.state_dict()
    torch_state["state"] = {index: dict(state[name]) for index, name in enumerate(order) if name in state}
    optimizer.load_state_dict(torch_state)


def _check_state(optimizer: torch.optim.Optimizer, name: str, parameter: nn.Parameter, values: dict[str, Any]) -> None:
    """Raise ConfigError unless the state of a parameter has the optimizer's values, in the parameter's shape."""
    expected = {"momentum_buffer"} if isinstance(optimizer, SGD) else {"step", "exp_avg", "exp_avg_sq"}
    if not isinstance(values, dict) or (values and values.keys() != expected):
        raise ConfigError(f"optimizer state: expected {', '.join(sorted(expected))} for {name!r}, got {values!r:.60}")
    for key, value in values.items():
        if key == "momentum_buffer" and value is None:
            continue
        if not isinstance(value, torch.Tensor) or value.shape != (() if key == "step" else parameter.shape):
            raise ConfigError(f"optimizer state: {key!r} of {name!r} does not fit the parameter")
