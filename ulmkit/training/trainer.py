"""The trainer of all stages: pretraining, fine-tuning and classification."""

import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ulmkit.errors import ConfigError, FolderError, TrainingError
from ulmkit.files import expand_user
from ulmkit.training.checkpoint import checkpoints
from ulmkit.training.interrupt import STOP_SIGNALS, InterruptGuard, TrainingInterrupted
from ulmkit.training.log import LogRow
from ulmkit.training.memory import keep_freed_memory
from ulmkit.training.progress import ProgressDisplay
from ulmkit.training.run import Run, ValidationCallback
from ulmkit.training.step import NotFiniteError
from ulmkit.training.task import TrainingTask
from ulmkit.training.trainer_config import TrainerConfig
from ulmkit.training.unfreezing import Phase
from ulmkit.training.world import World


@dataclass(frozen=True)
class TrainingResult:
    """Outcome of a run, over all its sessions.

    Attributes:
        history: Rows of the log, see `TrainingLog`.
        best_value: Best value of the monitored metric, None without validation.
        best_step: Optimizer step of that validation, None without validation.
        best_path: File with the best weights, None without validation or folder.
        best_metrics: All metrics of that validation, whose log row a crash may have lost.
        stopped_because: "budget" or "patience".
        steps: Optimizer steps.
        epochs: Epochs.
        tokens: Tokens trained on.
        seconds: Wall-clock time.
        averaged_steps: Number of steps that the weights are the mean of, 0 if averaging never started; None for
            optimizers without averaging.
        checkpoint: Last checkpoint, None without a folder.
    """

    history: list[LogRow]
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
    """Trains a task in phases.

    Phases measured in epochs or steps have a number of steps fixed at the start, from len(task). Phases measured in
    minutes share their total time: every schedule runs to its end within it. Validations before the end are skipped
    once they would take more than a tenth of the time; a run that validates only at its end overruns by that one
    validation, whose cost it cannot know.

    The folder receives training_log.csv and .jsonl, best.safetensors, and the newest two checkpoints. Without a folder
    nothing is written, and Ctrl-C loses the run. All ranks must see the same folder.

    Args:
        task: Model, batches and loss.
        config: Settings of the run.
        phases: Phases, at least one.
        folder: Folder of this run only.
        progress: Display of progress, from `make_progress()`; None for silence.
        clock: Source of the time in seconds, for tests.
        world: Ranks of the run, from `join_world()`.
        identity: Further JSON values that must stay the same when the run is resumed, such as the data's fingerprint
            and the recipe.
        before: Metrics of the initial weights; with restore_best these weights stay unless training improves on them.
        on_validation: Called on the first rank after each validation with the fraction of the run that is done and the
            metrics. What it raises ends the run.

    Raises:
        ConfigError: If the phases or the task's groups do not fit the model, budgets mix minutes with others, or the
            identity is not JSON.
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
        on_validation: ValidationCallback | None = None,
    ) -> None:
        if not phases:
            raise ConfigError("phases: expected at least one, got none")
        self._task = task
        self._progress = progress
        self._folder = None if folder is None else expand_user(folder)
        ranks = World() if world is None else world
        self._new_run = lambda: Run(
            task, config, list(phases), self._folder, progress, clock, ranks, identity, before, on_validation
        )
        self._new_run()  # raises configuration errors here rather than in fit

    def fit(self, resume: bool = False) -> TrainingResult:
        """Train from the start, or from the folder's checkpoint.

        A resumed run takes exactly the steps that the uninterrupted run would have taken (bitwise on the CPU, unless
        phases are in minutes); a complete run returns its result at once. On the CPU, memory freed between steps
        stays with the process from now on (`keep_freed_memory`). Afterwards each parameter's requires_grad is as
        before.

        Args:
            resume: Whether to continue from the newest checkpoint in the folder, or from the one before if that is
                damaged.

        Returns:
            The result; the model has the last weights, or the best with restore_best.

        Raises:
            TrainingError: If the loss is no longer finite; names the last good checkpoint.
            TrainingInterrupted: After Ctrl-C, SIGTERM or SIGHUP, once a checkpoint is saved.
            FolderError: If the checkpoint is missing or unreadable, or would be overwritten.
            ConfigError: If the checkpoint was made with other settings or another identity; names the difference.
        """
        paths = self._checkpoints_to_resume(resume)
        run = self._new_run()
        if run.runner.device.type == "cpu":
            keep_freed_memory()
        requires_grad = [(parameter, parameter.requires_grad) for parameter in self._task.model.parameters()]
        was_training = self._task.model.training
        progress = self._progress if run.world.is_first else None
        try:
            if progress is not None:
                progress.start()
            run = self._execute(run, paths)
        finally:
            if progress is not None:
                progress.close()
            for parameter, flag in requires_grad:
                parameter.requires_grad_(flag)
                parameter.grad = None
            self._task.model.train(was_training)
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
            seconds=run.stopwatch.seconds,
            averaged_steps=None if run.runner.average is None else run.runner.average.steps,
            checkpoint=run.checkpoint_path,
        )

    def _checkpoints_to_resume(self, resume: bool) -> list[Path]:
        """Checkpoints to continue from, the newest first; none to start anew."""
        paths = [] if self._folder is None else checkpoints(self._folder)[::-1]
        if resume and not paths:
            raise FolderError(f"{self._folder}: expected a checkpoint to resume, got none; begin without resume")
        if not resume and paths:
            raise FolderError(f"{paths[0]}: is left from an earlier run; resume it, or choose another folder")
        return paths

    def _resume(self, run: Run, paths: list[Path]) -> Run:
        """Continue from the newest checkpoint, or from the one before if that is damaged; a damaged one is removed."""
        newest, *earlier = paths
        try:
            run.resume(newest)
            return run
        except FolderError as error:
            if not earlier:
                raise
            warnings.warn(f"{error} (resuming from {earlier[0].name} instead)", stacklevel=4)
        run = self._new_run()
        run.resume(earlier[0])
        if run.world.is_first:
            shutil.rmtree(newest, ignore_errors=True)
        return run

    def _execute(self, run: Run, paths: list[Path]) -> Run:
        # Of several processes, a launcher ends the others by SIGTERM when one has failed: they must not wait for it.
        guard = InterruptGuard(STOP_SIGNALS if run.world.size == 1 else STOP_SIGNALS[:1])
        try:
            with guard:
                if paths:
                    run = self._resume(run, paths)
                else:
                    run.begin()
                try:
                    with run.threads.in_use():
                        run.execute(guard)
                finally:
                    run.reporter.log.close()
                return run
        except NotFiniteError as error:
            last_good = run.checkpoint_path or "none yet"
            raise TrainingError(
                f"loss: expected finite numbers, got {error} at step {run.state.step}; the last good checkpoint is"
                f" {last_good}; begin anew with a lower learning rate, a smaller clip or in fp32"
            ) from error
        except KeyboardInterrupt as error:
            path = run.checkpoint_path
            advice = "nothing was saved; begin again"
            if path is not None:
                advice = f"the newest checkpoint is {path}; run again with resume=True to continue"
            raise TrainingInterrupted(
                f"training stopped at step {run.state.step}: {advice}", path, guard.number
            ) from error
