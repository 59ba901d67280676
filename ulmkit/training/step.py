"""One optimizer step over one or more batches."""

import contextlib
import gc
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ulmkit.errors import ConfigError
from ulmkit.training.averaging import WeightAverage
from ulmkit.training.optimizer_config import OptimizerConfig
from ulmkit.training.optimizers import make_optimizer, set_rates
from ulmkit.training.rng import capture_rng, restore_rng
from ulmkit.training.task import StepResult, TrainingTask
from ulmkit.training.world import World


class NotFiniteError(ArithmeticError):
    """Loss, gradient or weight that is infinite or NaN."""


class StepRunner:
    """Runs optimizer steps of a task; `train_groups` chooses the layer groups that train.

    Frozen parameters have requires_grad False and no optimizer state. The whole model stays in training mode: dropout
    is active, and batch norm normalises by the batch and updates its running statistics in frozen groups too, because
    its input changes as the groups below train; only its scale and shift freeze with their group. Parameters that
    unfreeze start with fresh optimizer state, the others keep theirs.

    Args:
        task: Model, batches and loss.
        config: Choice of the optimizer.
        clip: Largest global gradient norm; None does not clip.
        world: Ranks of the run.

    Attributes:
        names: Name of each parameter.
        optimizer: The optimizer.
        average: Mean of the weights; None for optimizers without averaging.
        device: Device of the model.
        reads_loss: Whether each loss is read at once, which on a GPU would wait for the device.

    Raises:
        ConfigError: Unless task.groups hold every parameter of task.model exactly once.
    """

    def __init__(self, task: TrainingTask, config: OptimizerConfig, clip: float | None, world: World) -> None:
        self.task = task
        self.config = config
        self.clip = clip
        self.world = world
        self.names = {parameter: name for name, parameter in task.model.named_parameters()}
        _check_groups(task.groups, self.names)
        self.optimizer = make_optimizer(task.groups, config, [0.0] * len(task.groups))
        self.average: WeightAverage | None = None
        if config.name in ("nt_asgd", "asgd"):
            weights: dict[str, torch.Tensor] = {name: parameter for parameter, name in self.names.items()}
            weights |= {name: b for name, b in task.model.named_buffers() if b.is_floating_point()}
            self.average = WeightAverage(weights, config.window if config.name == "nt_asgd" else None)
        self.device = next(iter(self.names)).device
        self.reads_loss = self.device.type == "cpu"
        self._module: nn.Module = _LossModule(task)

    def train_groups(self, groups: Sequence[int]) -> None:
        """Freeze all other layer groups."""
        for level, parameters in enumerate(self.task.groups):
            for parameter in parameters:
                parameter.requires_grad_(level in groups)
                if level not in groups:
                    parameter.grad = None
                    self.optimizer.state.pop(parameter, None)
        self._trained = [p for level in groups for p in self.task.groups[level]]
        self._module = _LossModule(self.task)  # drops the previous phase's wrapper and its hooks
        if self.world.size > 1:
            gc.collect()
            self._module = DistributedDataParallel(self._module)

    def run(
        self, batches: Sequence[Any], rates: Sequence[float], momentum: float | None
    ) -> tuple[list[StepResult], int]:
        """Take one step with the gradient of the mean over all items of the batches.

        Losses are averaged over batches and ranks in proportion to their weights (StepResult.weight).

        Args:
            batches: Batches of this rank, at least one.
            rates: Learning rate of each layer group, before scaling by the mean `rate_scale` of the batches.
            momentum: Momentum from the schedule, or None.

        Returns:
            The detached result of each batch, and the number of tokens over all ranks.

        Raises:
            NotFiniteError: On every rank, before the weights change, if `reads_loss`.
        """
        self.optimizer.zero_grad(set_to_none=True)
        is_weighted = len(batches) > 1 or self.world.size > 1
        results: list[StepResult] = []
        weight, tokens, scale = 0.0, 0, 0.0
        for number, batch in enumerate(batches):
            with self._reduction(is_last=number == len(batches) - 1):
                result = self._module(batch)
                self._check_loss(result.loss)
                share = float(result.tokens if result.weight is None else result.weight)
                (result.loss * share if is_weighted else result.loss).backward()
            results.append(_detached(result, share))
            weight += share
            tokens += result.tokens
            scale += float(getattr(batch, "rate_scale", 1.0)) / len(batches)
        weight, all_tokens, scale = self.world.sum([weight, float(tokens), scale / self.world.size])
        gradients = [p.grad for p in self._trained if p.grad is not None]
        if is_weighted and gradients:  # DistributedDataParallel has averaged over the ranks; this sums again
            torch._foreach_mul_(gradients, self.world.size / weight)
        self._clip()
        set_rates(self.optimizer, [rate * scale for rate in rates], momentum, self.config)
        self.optimizer.step()
        if self.average is not None:
            self.average.update()
        return results, int(all_tokens)

    def rehearse(self, batches: Sequence[Any]) -> int:
        """Compute the forward and backward pass of a step again, without any effect on the training.

        Args:
            batches: Batches of the last step.

        Returns:
            The number of tokens.
        """
        rng = capture_rng()
        task_state = self.task.state_dict()
        buffers = [(buffer, buffer.clone()) for buffer in self.task.model.buffers()]
        tokens = 0
        try:
            for batch in batches:
                result = self._module(batch)
                result.loss.backward()
                tokens += result.tokens
        finally:
            self.optimizer.zero_grad(set_to_none=True)
            with torch.no_grad():
                for buffer, former in buffers:
                    buffer.copy_(former)
            self.task.load_state_dict(task_state)
            restore_rng(rng)
        return tokens

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Give the model inside the block the weights that the run would end with: the mean, if there is one."""
        return contextlib.nullcontext() if self.average is None else self.average.applied()

    def _clip(self) -> None:
        if self.clip is None:
            return
        norm = nn.utils.clip_grad_norm_(self._trained, self.clip)
        if self.reads_loss and not math.isfinite(norm.item()):
            raise NotFiniteError(f"a gradient of norm {norm.item()}")

    def _check_loss(self, loss: torch.Tensor) -> None:
        if loss.dim() != 0:
            raise ConfigError(f"loss: expected one number, got shape {tuple(loss.shape)}; take its mean")
        if self.reads_loss:
            [total] = self.world.sum([loss.item()])
            if not math.isfinite(total):
                raise NotFiniteError(f"{total}")

    def _reduction(self, is_last: bool) -> contextlib.AbstractContextManager[None]:
        """Let the ranks exchange gradients in the backward pass of a step's last batch only."""
        if isinstance(self._module, DistributedDataParallel) and not is_last:
            return self._module.no_sync()
        return contextlib.nullcontext()


class _LossModule(nn.Module):
    """Module whose forward is the task's loss, as DistributedDataParallel wraps a module's forward."""

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
