"""Learning-rate range test: a ramp of rates over a few steps, after which everything is restored."""

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ulmkit.config import check_positive, check_whole
from ulmkit.errors import ConfigError, TrainingError
from ulmkit.training.optimizer_config import OptimizerConfig
from ulmkit.training.progress import ProgressDisplay, ProgressInfo
from ulmkit.training.rng import capture_rng, restore_rng
from ulmkit.training.step import NotFiniteError, StepRunner
from ulmkit.training.task import BatchCursor, TrainingTask
from ulmkit.training.unfreezing import Phase
from ulmkit.training.world import World

_MIN_STEPS = 6
_MAX_STEPS = 10_000
_SMOOTHING = 0.95  # decay of the running mean of the loss
_STOP_RATIO = 4.0  # the test ends when the smoothed loss exceeds its best by this ratio


@dataclass(frozen=True)
class RateSearch:
    """Result of a learning-rate range test.

    Attributes:
        rates: Learning rate of the top group at each step, rising.
        losses: Loss of each step.
        smoothed: Running means of the losses.
        steepest: Rate at which the smoothed loss falls fastest.
        valley: Rate halfway down its longest fall, a safe choice.
        diverged: Whether the ramp ended early because the loss rose too far or was no longer finite.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    steepest: float
    valley: float
    diverged: bool


def lr_find(
    task: TrainingTask,
    phase: Phase,
    optimizer: OptimizerConfig | None = None,
    *,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 100,
    clip: float | None = None,
    progress: ProgressDisplay | None = None,
) -> RateSearch:
    """Run a learning-rate range test: train with a rising rate, and find where the loss falls and diverges.

    rate_i = lowest * (highest / lowest)^(i / (steps - 1))

    Model, buffers, task and random number generators are restored exactly when it returns or raises.

    Args:
        task: Model, batches and loss; its first epoch is read.
        phase: Groups that train, and the factor between their rates; budget, peak rate and schedule are ignored.
        optimizer: Choice of the optimizer.
        lowest: First learning rate.
        highest: Last learning rate.
        steps: Length of the ramp, at least 6.
        clip: Largest global gradient norm; None does not clip.
        progress: Display of the steps; None for silence.

    Returns:
        The rates, their losses and two suggestions.

    Raises:
        ConfigError: If an argument is outside its range.
        TrainingError: If the loss diverges in the first steps.

    Source: Smith 2017, arXiv:1506.01186, section 3.3 (learning-rate range test).
    Deviation: the rate rises exponentially, not linearly.
    """
    check_positive("lowest", lowest)
    if not highest > lowest:
        raise ConfigError(f"highest: expected a rate above {lowest!r} (lowest), got {highest!r}")
    check_whole("steps", steps, at_least=_MIN_STEPS, at_most=_MAX_STEPS)
    ramp = [lowest * (highest / lowest) ** (i / (steps - 1)) for i in range(steps)]
    flags = [parameter.requires_grad for parameter in task.model.parameters()]
    was_training = task.model.training
    rng = capture_rng()
    tensors = [*task.model.parameters(), *task.model.buffers()]
    saved_tensors = [tensor.detach().clone() for tensor in tensors]
    saved_task = copy.deepcopy(task.state_dict())
    try:
        task.model.train()
        if progress is not None:
            progress.start()
        losses = _ramp(task, phase, optimizer or OptimizerConfig(), clip, ramp, progress)
    finally:
        if progress is not None:
            progress.close()
        for tensor, saved in zip(tensors, saved_tensors, strict=True):
            tensor.data.copy_(saved)
        task.load_state_dict(saved_task)
        for parameter, flag in zip(task.model.parameters(), flags, strict=True):
            parameter.requires_grad_(flag)
            parameter.grad = None
        task.model.train(was_training)
        restore_rng(rng)
    if len(losses) < _MIN_STEPS:
        raise TrainingError(
            f"lr_find: expected at least {_MIN_STEPS} steps before the loss diverges, got {len(losses)};"
            f" begin below {lowest!r}"
        )
    rates = ramp[: len(losses)]
    smoothed = running_means(losses, _SMOOTHING)
    return RateSearch(
        rates=rates,
        losses=losses,
        smoothed=smoothed,
        steepest=steepest(rates, smoothed),
        valley=valley(rates, smoothed),
        diverged=len(losses) < steps,
    )


def _ramp(
    task: TrainingTask,
    phase: Phase,
    optimizer: OptimizerConfig,
    clip: float | None,
    ramp: Sequence[float],
    progress: ProgressDisplay | None,
) -> list[float]:
    """Train along the ramp, and return the losses up to where the loss diverged."""
    runner = StepRunner(task, optimizer, clip, World())
    runner.train_groups(phase.groups)
    shape = [rate / phase.peak_rate for rate in phase.rates(len(task.groups))]
    cursor = BatchCursor(task)
    losses: list[float] = []
    best = math.inf
    tokens = 0
    started = time.monotonic()
    for rate in ramp:
        try:
            [result], read = runner.run(cursor.window(1), [rate * part for part in shape], None)
        except NotFiniteError:
            break
        loss = float(result.loss)
        if not math.isfinite(loss):
            break
        losses.append(loss)
        tokens += read
        if progress is not None:
            seconds = time.monotonic() - started
            done = len(losses) / len(ramp)
            speed = tokens / seconds if seconds > 0 else None
            left = seconds / done - seconds
            name = f"rate {rate:.1e}"
            progress.update(ProgressInfo(name, done, len(losses), cursor.epoch, loss, None, speed, left))
        smoothed = running_means(losses, _SMOOTHING)[-1]
        best = min(best, smoothed)
        if smoothed > best + (_STOP_RATIO - 1) * abs(best):
            break
    return losses


def running_means(values: Sequence[float], smoothing: float) -> list[float]:
    """Exponential running means, corrected for their start at zero.

    m_i = s * m_(i-1) + (1 - s) * x_i, m_0 = 0;  mean_i = m_i / (1 - s^i)

    Args:
        values: x_1, x_2, ...
        smoothing: s in [0, 1).

    Returns:
        One mean for each value.
    """
    means = []
    mean = 0.0
    for i, value in enumerate(values, start=1):
        mean = smoothing * mean + (1 - smoothing) * value
        means.append(mean / (1 - smoothing**i))
    return means


def steepest(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Learning rate at which the loss falls fastest over log(rate).

    k = max(1, n // 10);  the i with the least (loss_(i+k) - loss_(i-k)) / (log rate_(i+k) - log rate_(i-k))

    The differences span a tenth of the ramp each way, because those of neighbours are mostly noise.
    """
    k = max(1, len(rates) // 10)
    slopes = [
        (losses[i + k] - losses[i - k]) / (math.log(rates[i + k]) - math.log(rates[i - k]))
        for i in range(k, len(rates) - k)
    ]
    return rates[k + slopes.index(min(slopes))]


def valley(rates: Sequence[float], losses: Sequence[float]) -> float:
    """Learning rate at which the longest falling subsequence of losses has lost half its height.

    The longest fall leaves out the flat start and the divergence; running means lag behind, so halfway down the
    loss has been falling for a while and is far from rising.
    """
    lengths: list[int] = []  # of the longest fall that ends at each loss
    before: list[int | None] = []  # the loss before it in that fall
    for i, loss in enumerate(losses):
        higher = [j for j in range(i) if losses[j] > loss]
        last = max(higher, key=lengths.__getitem__, default=None)
        lengths.append(1 if last is None else lengths[last] + 1)
        before.append(last)
    place: int | None = max(range(len(losses)), key=lengths.__getitem__)
    fall: list[int] = []
    while place is not None:
        fall.insert(0, place)
        place = before[place]
    level = losses[fall[0]] - (losses[fall[0]] - losses[fall[-1]]) / 2
    return rates[next(i for i in fall if losses[i] <= level)]
