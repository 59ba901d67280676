"""The trainer: pretraining, fine-tuning and classification go through it alike."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ulmkit.errors import ConfigError, FolderError, TrainingError
from ulmkit.training.checkpoint import latest_checkpoint
from ulmkit.training.distributed import World
from ulmkit.training.interrupt import InterruptGuard, TrainingInterrupted
from ulmkit.training.log import Row
from ulmkit.training.memory import keep_freed_memory
from ulmkit.training.progress import ProgressDisplay
from ulmkit.training.run import Run
from ulmkit.training.step import NotFiniteError
from ulmkit.training.task import TrainingTask
from ulmkit.training.trainer_config import TrainerConfig
from ulmkit.training.unfreezing import Phase


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended.

    history: rows of the log (see TrainingLog). best_value, best_step, best_path: of the monitored metric, None if
    nothing was validated (best_path also without a folder). best_metrics: all of that validation, whose row may be
    lost in a crash. stopped_because: "budget" or "patience". steps, epochs, tokens, seconds: of the whole run, all
    its sessions. averaged_steps: that the weights are a mean of, 0 if it never began; None for optimizers without.
    checkpoint: the last one, None without a folder.
    """

    history: list[Row]
    best_value: float | None
    best_step: int | None
    best_path: Path | None
    best_metrics: dict[str, float] | None
    stopped_because: str
    steps: int
    epochs: float
    tokens: int
    seconds: float
    averaged_steps: int | None
    checkpoint: Path | None


class Trainer:
    """Trains a task through phases.

    In phases measured in epochs or steps the number of steps is fixed at the start, from len(task). In minutes, the
    phases share the time given to them all: every schedule runs to its end within it, and a run that validates only
    at its end is late by that one validation, whose cost it cannot know. Validations before the end are left out once
    they would take more than a tenth of the time.

    The folder gets training_log.csv and .jsonl, best.safetensors, and the newest checkpoint. Without a folder nothing
    is written, and Ctrl-C loses the run. With several ranks every one of them must see the same folder.

    Args: task: model, batches, loss. config: how to train. phases: what trains when; at least one.
        folder: of this run alone. progress: who is told how it goes (`make_progress()`), None for silence.
        clock: seconds, for tests. world: the ranks, from `join_world()`.
        identity: what else must be the same for a run to go on, as JSON values: the data's fingerprint, the recipe.
        before: metrics of the weights that training begins with; with restore_best they stay unless they are bettered.
    Raises: ConfigError if the phases or the task's groups do not fit the model, budgets mix minutes and others, or
        the identity is not JSON.
    """

    def __init__(
        self,
        task: TrainingTask,
        config: TrainerConfig,
        phases: Sequence[Phase],
        folder: str | os.PathLike[str] | None = None,
        progress: ProgressDisplay | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        world: World | None = None,
        identity: Mapping[str, Any] | None = None,
        before: Mapping[str, float] | None = None,
    ) -> None:
        if not phases:
            raise ConfigError("phases: expected at least one, got none")
        self._task, self._progress = task, progress
        self._folder = None if folder is None else Path(folder)
        ranks = World() if world is None else world
        self._new_run = lambda: Run(task, config, list(phases), self._folder, progress, clock, ranks, identity, before)
        self._new_run()  # raises now what would be raised in fit

    def fit(self, resume: bool = False) -> TrainingResult:
        """Train, from the beginning or from the folder's checkpoint.

        A resumed run takes the very steps that the whole run would have taken (bitwise on the CPU, unless phases are
        in minutes); a run that was complete returns its result at once. On the CPU, memory freed between steps stays
        with the process from now on (`keep_freed_memory`). Afterwards the parameters require gradients as before.

        Args: resume: go on from the newest checkpoint in the folder.
        Returns: the result; the model holds the last weights, or the best with restore_best.
        Raises: TrainingError if the loss is no longer finite, naming the last good checkpoint; TrainingInterrupted
            (a KeyboardInterrupt) after Ctrl-C, when a checkpoint is saved; FolderError if there is no checkpoint to
            resume, it cannot be read, or it would be overwritten; ConfigError, naming the first difference, if it was
            made with other settings or another identity.
        """
        checkpoint = self._checkpoint_to_resume(resume)
        run = self._new_run()
        if run.runner.device.type == "cpu":
            keep_freed_memory()
        flags = [(parameter, parameter.requires_grad) for parameter in self._task.model.parameters()]
        was_training = self._task.model.training
        try:
            if self._progress is not None and run.world.is_first:
                self._progress.start()
            self._execute(run, checkpoint)
        finally:
            if self._progress is not None and run.world.is_first:
                self._progress.close()
            for parameter, flag in flags:
                parameter.requires_grad_(flag)
                parameter.grad = None
            self._task.model.train(was_training)
        return _result(run)

    def _checkpoint_to_resume(self, resume: bool) -> Path | None:
        found = None if self._folder is None else latest_checkpoint(self._folder)
        if resume and found is None:
            raise FolderError(f"{self._folder}: expected a checkpoint to resume, got none; begin without resume")
        if not resume and found is not None:
            raise FolderError(f"{found}: is there from an earlier run; resume it, or choose another folder")
        return found

    def _execute(self, run: Run, checkpoint: Path | None) -> None:
        try:
            with InterruptGuard() as guard:
                run.begin() if checkpoint is None else run.resume(checkpoint)
                try:
                    run.execute(guard)
                finally:
                    run.reporter.log.close()
        except NotFiniteError as error:
            good = run.checkpoint_path or "none yet"
            raise TrainingError(
                f"loss: expected finite numbers, got {error} at step {run.state.step}; the last good checkpoint is"
                f" {good}; begin anew with a lower learning rate, a smaller clip or in fp32"
            ) from error
        except KeyboardInterrupt as error:
            path = run.checkpoint_path
            how = f"the newest checkpoint is {path}; resume it to go on" if path else "nothing was saved; begin again"
            raise TrainingInterrupted(f"training stopped at step {run.state.step}: {how}", path) from error


def _result(run: Run) -> TrainingResult:
    best = run.monitor.best
    return TrainingResult(
        history=run.reporter.log.rows,
        best_value=None if best is None else best.value,
        best_step=None if best is None else best.step,
        best_path=run.monitor.best_path,
        best_metrics=None if best is None else best.metrics,
        stopped_because=run.state.stopped_because,
        steps=run.state.step,
        epochs=run.epoch,
        tokens=run.state.tokens,
        seconds=run.watch.seconds,
        averaged_steps=None if run.runner.average is None else run.runner.average.steps,
        checkpoint=run.checkpoint_path,
    )
