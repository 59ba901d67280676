"""One optimizer step: batches in, weights changed."""

import contextlib
import gc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ulmkit.errors import ConfigError
from ulmkit.training.averaging import WeightAverage
from ulmkit.training.distributed import World
from ulmkit.training.optimizer_config import OptimizerConfig
from ulmkit.training.optimizers import make_optimizer, set_rates
from ulmkit.training.task import StepResult, TrainingTask


class NotFiniteError(ArithmeticError):
    """The loss or the gradient of a step is infinite or not a number."""


@dataclass
class StepOutcome:
    """What one step saw on this rank: a StepResult for each batch (detached), and tokens over all ranks."""

    results: list[StepResult]
    tokens: int


class StepRunner:
    """Runs steps of a task with one optimizer; `train_groups` chooses what trains.

    Frozen parameters have requires_grad False and no optimizer state. The model stays in training mode as a whole:
    dropout works, and batch norm normalises by the batch and updates its running statistics, in frozen groups too,
    since what reaches it changes as the groups below train; only its scale and shift freeze with their group.
    Parameters that unfreeze start with fresh optimizer state, those that go on training keep theirs.

    Raises: ConfigError unless task.groups hold every parameter of task.model exactly once.
    """

    def __init__(self, task: TrainingTask, config: OptimizerConfig, clip: float | None, world: World) -> None:
        self.task, self.config, self.clip, self.world = task, config, clip, world
        self.names = {parameter: name for name, parameter in task.model.named_parameters()}
        _check_groups(task.groups, self.names)
        self.optimizer = make_optimizer(task.groups, config, [0.0] * len(task.groups))
        self.average: WeightAverage | None = None
        if config.name in ("nt_asgd", "asgd"):
            weights: dict[str, torch.Tensor] = {name: parameter for parameter, name in self.names.items()}
            weights |= {name: b for name, b in task.model.named_buffers() if b.is_floating_point()}
            self.average = WeightAverage(weights, config.window if config.name == "nt_asgd" else None)
        self.device = next(iter(self.names)).device
        self.reads_loss = self.device.type == "cpu"  # elsewhere reading it would wait for the device
        self._module: nn.Module = _LossModule(task)

    def train_groups(self, groups: Sequence[int]) -> None:
        """Freeze all layer groups but these."""
        for level, parameters in enumerate(self.task.groups):
            for parameter in parameters:
                parameter.requires_grad_(level in groups)
                if level not in groups:
                    parameter.grad = None
                    self.optimizer.state.pop(parameter, None)
        self._trained = [p for level in groups for p in self.task.groups[level]]
        self._module = _LossModule(self.task)  # drops the former phase's wrapper, and with it its hooks
        if self.world.size > 1:
            gc.collect()
            self._module = DistributedDataParallel(self._module)

    def run(self, batches: Sequence[Any], rates: Sequence[float], momentum: float | None) -> StepOutcome:
        """One step over these batches, the gradient being that of the mean over all their items.

        Over batches and ranks the losses are averaged in proportion to their weights (StepResult.weight).

        Args: batches: at least one. rates: of each layer group, before the batches' rate_scale (their mean).
            momentum: from the schedule, or None.
        Raises: NotFiniteError on every rank, before the weights change, where reading the loss is cheap.
        """
        self.optimizer.zero_grad(set_to_none=True)
        weighted = len(batches) > 1 or self.world.size > 1
        results, weight, tokens, scale = [], 0.0, 0, 0.0
        for number, batch in enumerate(batches):
            with self._without_reduction() if number < len(batches) - 1 else contextlib.nullcontext():
                result = self._module(batch)
                self._check_loss(result.loss)
                share = float(result.tokens if result.weight is None else result.weight)
                (result.loss * share if weighted else result.loss).backward()
            results.append(_detached(result, share))
            weight, tokens = weight + share, tokens + result.tokens
            scale += float(getattr(batch, "rate_scale", 1.0)) / len(batches)
        weight, all_tokens, scale = self.world.sum([weight, float(tokens), scale / self.world.size])
        gradients = [p.grad for p in self._trained if p.grad is not None]
        if weighted and gradients:  # ranks are averaged already, so their number goes back in
            torch._foreach_mul_(gradients, self.world.size / weight)
        self._clip()
        set_rates(self.optimizer, [rate * scale for rate in rates], momentum, self.config)
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        return StepOutcome(results, int(all_tokens))

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Within the block the model has the weights that the run would end with: the mean, where there is one."""
        return contextlib.nullcontext() if self.average is None else self.average.applied()

    def _clip(self) -> None:
        if self.clip is None:
            return
        norm = nn.utils.clip_grad_norm_(self._trained, self.clip)
        if self.reads_loss and not math.isfinite(norm.item()):
            raise NotFiniteError(f"a gradient of norm {norm.item()}")

    def _check_loss(self, loss: torch.Tensor) -> None:
        if loss.numel() != 1 or loss.dim() != 0:
            raise ConfigError(f"loss: expected one number, got shape {tuple(loss.shape)}; take its mean")
        if self.reads_loss:
            [total] = self.world.sum([loss.item()])
            if not math.isfinite(total):
                raise NotFiniteError(f"{total}")

    def _without_reduction(self) -> contextlib.AbstractContextManager[None]:
        if isinstance(self._module, DistributedDataParallel):
            return self._module.no_sync()
        return contextlib.nullcontext()


class _LossModule(nn.Module):
    """The task's loss as a module's forward, which is what DistributedDataParallel wraps."""

    def __init__(self, task: TrainingTask) -> None:
        super().__init__()
        self.model = task.model
        self._loss = task.loss

    def forward(self, batch: Any) -> StepResult:
        return self._loss(batch)


def _detached(result: StepResult, weight: float) -> StepResult:
    metrics: Mapping[str, float | torch.Tensor] = {
        name: value.detach() if isinstance(value, torch.Tensor) else value for name, value in result.metrics.items()
    }
    return StepResult(result.loss.detach(), result.tokens, metrics, weight)


def _check_groups(groups: Sequence[Sequence[nn.Parameter]], names: dict[nn.Parameter, str]) -> None:
    seen: set[nn.Parameter] = set()
    for level, parameters in enumerate(groups):
        if not parameters:
            raise ConfigError(f"groups: expected at least one parameter in each, got none in group {level}")
        for parameter in parameters:
            if parameter not in names:
                raise ConfigError(f"groups: group {level} has a parameter {tuple(parameter.shape)} not of the model")
            if parameter in seen:
                raise ConfigError(f"groups: expected each parameter once, got {names[parameter]!r} twice")
            seen.add(parameter)
    left_out = [name for parameter, name in names.items() if parameter not in seen]
    if left_out:
        raise ConfigError(f"groups: the parameter {left_out[0]!r} is in none; put every parameter in a group")
