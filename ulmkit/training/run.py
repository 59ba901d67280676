"""One session of a training run: the loop, and saving and restoring its state."""

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ulmkit.config import check_whole
from ulmkit.errors import ConfigError, FolderError
from ulmkit.files import expand_user, read_json
from ulmkit.json_records import record_from_json
from ulmkit.training.budget import Cadence, Position, RunState, Stopwatch, TimePlan, make_plan
from ulmkit.training.checkpoint import STATE_FILE, Checkpoint, clear_state_errors, load_checkpoint, save_checkpoint
from ulmkit.training.interrupt import InterruptGuard
from ulmkit.training.monitor import Monitor
from ulmkit.training.optimizers import load_optimizer_state, optimizer_state
from ulmkit.training.progress import ProgressDisplay
from ulmkit.training.reporter import LogPosition, Meter, Reporter
from ulmkit.training.rng import capture_rng, restore_rng, seed_everything
from ulmkit.training.step import NotFiniteError, StepRunner
from ulmkit.training.task import BatchCursor, TrainingTask
from ulmkit.training.thread_tuner import RunThreads
from ulmkit.training.trainer_config import TrainerConfig, first_difference, run_settings
from ulmkit.training.unfreezing import Phase
from ulmkit.training.world import World

ValidationCallback = Callable[[float, Mapping[str, float]], None]
"""Called with the fraction of the run that is done, and the metrics of a validation; may raise to end the run."""


def is_finished(checkpoint: Path) -> bool:
    """Tell whether a checkpoint was written at the end of its run."""
    try:
        return read_json(checkpoint / STATE_FILE)["state"]["run"]["finished"] is True
    except (FolderError, KeyError, TypeError):
        return False


class _NextAction(NamedTuple):
    """Decision of the first rank on what to do next."""

    position: Position
    interrupted: bool
    validate: bool
    checkpoint: bool


@dataclass(frozen=True, kw_only=True)
class _Times:
    """Seconds of a run in a checkpoint, see `Stopwatch`."""

    seconds: float
    total_seconds: Mapping[str, float]
    last_seconds: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Log rows in a checkpoint."""

    rows: tuple[Mapping[str, object], ...]


class Run:
    """A run of `Trainer`, which documents the arguments.

    Attributes:
        state: Counters of the run.
        plan: Plan of the phases.
        runner: Runner of optimizer steps.
        monitor: Best weights and patience.
        meter: Losses since the last log row.
        cursor: Reading position in the batches.
        stopwatch: Stopwatch.
        threads: CPU threads.
        reporter: Log and display.
        checkpoint_path: Newest checkpoint, None before the first.
    """

    def __init__(
        self,
        task: TrainingTask,
        config: TrainerConfig,
        phases: Sequence[Phase],
        folder: Path | None,
        progress: ProgressDisplay | None,
        clock: Callable[[], float],
        world: World,
        identity: Mapping[str, Any] | None,
        before: Mapping[str, float] | None,
        on_validation: ValidationCallback | None = None,
    ) -> None:
        self.task = task
        self.config = config
        self.phases = phases
        self.folder = folder
        self.world = world
        self._metrics_before_training = before
        self._on_validation = on_validation
        self._rates = [phase.rates(len(task.groups)) for phase in phases]
        if len(task) < 1:
            raise ConfigError(f"task: expected at least one batch per epoch, got {len(task)}; is there any text?")
        steps_per_epoch = math.ceil(len(task) / config.accumulation)
        self.plan = make_plan([phase.budget for phase in phases], steps_per_epoch)
        self._validation = Cadence(config.validate_every, steps_per_epoch)
        self._checkpoint = Cadence(config.checkpoint_every, steps_per_epoch)
        self.runner = StepRunner(task, config.optimizer, config.clip, world)
        shapes = {name: list(parameter.shape) for parameter, name in self.runner.names.items()}
        self._settings = run_settings(config, phases, shapes, len(task), world.size, identity)
        self.monitor = Monitor(config, folder)
        self.state = RunState()
        self._resumed_at = 0.0
        self.meter = Meter()
        self.cursor = BatchCursor(task)
        self.stopwatch = Stopwatch(clock)
        self.threads = RunThreads(
            config.threads if isinstance(config.threads, int) else None,
            adapts=config.threads == "auto" or (config.threads is None and isinstance(self.plan, TimePlan)),
            is_tuned=world.size == 1 and self.runner.device.type == "cpu",
            clock=clock,
        )
        self.checkpoint_path: Path | None = None
        self.reporter = Reporter(progress, self.stopwatch, world, task.is_language_model, self.runner.reads_loss)

    def begin(self) -> None:
        """Prepare to train from the first step."""
        if self.config.seed is not None:
            seed_everything(self.config.seed + self.world.rank)
        if self.world.is_first:
            self.monitor.forget_earlier_run()
        if self._metrics_before_training is not None and self.config.restore_best:
            self.monitor.keep_if_best(self._metrics_before_training, 0, self.task.model, save=self.world.is_first)
        self.reporter.open(self.folder, [], 0, self._event_folder)

    def resume(self, path: Path) -> None:
        """Prepare to continue from a checkpoint.

        Raises:
            FolderError: If it is truncated, altered or incomplete.
            ConfigError: If it was made with other settings or data.
        """
        checkpoint = load_checkpoint(path)
        with clear_state_errors(path):
            difference = first_difference(checkpoint.state["settings"], self._settings)
        if difference:
            raise ConfigError(f"{path}: was made by another run ({difference}); use the same settings or begin anew")
        with clear_state_errors(path):
            self._restore(checkpoint)
        self.checkpoint_path = path

    def _restore(self, checkpoint: Checkpoint) -> None:
        saved = checkpoint.state
        self.state = RunState.from_json(saved["run"])
        if self.state.rates and len(self.state.rates) != len(self.task.groups):
            raise ConfigError(f"rates: expected {len(self.task.groups)}, got {len(self.state.rates)}")
        self._resumed_at = self.state.fraction_done
        times = record_from_json(
            _Times, {name: saved[name] for name in ("seconds", "total_seconds", "last_seconds")}, "times"
        )
        self.stopwatch.former_seconds = times.seconds
        self.stopwatch.total_seconds = dict(times.total_seconds)
        self.stopwatch.last_seconds = dict(times.last_seconds)
        self.task.model.load_state_dict(checkpoint.model)
        self.runner.train_groups(self._phase.groups)
        load_optimizer_state(self.runner.optimizer, self.runner.names, saved["optimizer"])
        if self.runner.average is not None:
            self.runner.average.load_state_dict(saved["average"])
        self.monitor.load_state_dict(saved["monitor"])
        rows = record_from_json(_Rows, {"rows": saved["rows"]}, "log").rows
        if any(not {"kind", "step"} <= row.keys() for row in rows):
            raise ConfigError("rows: expected the kind and the step of every row")
        self.reporter.open(self.folder, [dict(row) for row in rows], self.state.tokens, self._event_folder)
        rank_state = saved["ranks"][self.world.rank]
        self.meter.load_state_dict(rank_state["meter"])
        for name in ("epoch", "batch"):
            check_whole(name, rank_state[name], at_least=0)
        self.cursor = BatchCursor(self.task, rank_state["epoch"], rank_state["batch"])
        self.cursor.start_epoch()
        self.task.load_state_dict(rank_state["task"])
        restore_rng(rank_state["rng"])

    @property
    def _event_folder(self) -> Path | None:
        return None if self.config.tensorboard is None else expand_user(self.config.tensorboard)

    def save(self) -> None:
        """Write a checkpoint, if there is a folder.

        Raises:
            NotFiniteError: If a loss since the last row, or a weight, is not finite; nothing is written.
        """
        if self.folder is None:
            return
        self._check_finite()
        rank_state = {
            "task": self.task.state_dict(),
            "rng": capture_rng(),
            "meter": self.meter.state_dict(),
            "epoch": self.cursor.epoch,
            "batch": self.cursor.batch,
        }
        with self.stopwatch.aside("checkpoint"):
            ranks = self.world.gather(rank_state)
            if self.world.is_first:
                saved = {
                    "settings": self._settings,
                    "run": self.state.to_json(),
                    "seconds": self.stopwatch.seconds,
                    "total_seconds": self.stopwatch.total_seconds,
                    "last_seconds": self.stopwatch.last_seconds,
                    "optimizer": optimizer_state(self.runner.optimizer, self.runner.names),
                    "average": None if self.runner.average is None else self.runner.average.state_dict(),
                    "monitor": self.monitor.state_dict(),
                    "rows": self.reporter.log.rows,
                    "ranks": ranks,
                }
                model = self.task.model.state_dict()
                self.checkpoint_path = save_checkpoint(self.folder, self.state.step, Checkpoint(model, saved))

    def execute(self, guard: InterruptGuard) -> None:
        """Run the remaining phases, then validate, save and restore the best weights.

        Raises:
            NotFiniteError: If a loss or a weight is not finite.
            KeyboardInterrupt: After saving, on Ctrl-C.
        """
        state = self.state
        lengths = self.world.gather(len(self.task))
        if len(set(lengths)) > 1:
            raise ConfigError(f"task: expected equally many batches on every rank, got {lengths}")
        self.task.model.train()
        while state.phase < len(self.phases):
            self.runner.train_groups(self._phase.groups)
            state.stopped_because = self._run_phase(guard)
            self._log_train()
            self._next_phase()
        while self.config.validate_every is not None and state.validated_step != state.step:
            self._stop_if(self.world.broadcast(guard.requested))
            self._validate(guard)
        if not state.finished:
            state.finished = True
            self.save()
        if self.runner.average is not None:
            self.runner.average.apply()
        if self.config.restore_best:
            self.world.wait_for_first()  # no rank reads the file before the first has written it
            self.monitor.restore_best(self.task.model)
            self.world.first_waits_for_all()  # the caller on the first rank may remove it once all have read it

    def _next_phase(self) -> None:
        """Move to the start of the next phase, skipping validations due in between."""
        state = self.state
        state.phase += 1
        state.phase_step = 0
        state.phase_start = state.fraction_done
        self.monitor.forget_bad_validations()
        if state.phase < len(self.phases):
            state.fraction_done = self.world.broadcast(self._position().fraction_done)
            state.validations = self._due(self._validation)

    def _run_phase(self, guard: InterruptGuard) -> str:
        """Train until the phase is over, and return the reason."""
        while True:
            action = self.world.call_on_first(lambda: self._decide_next_action(guard))
            self.state.fraction_done = action.position.fraction_done
            self._stop_if(action.interrupted)
            if action.validate:
                self._validate(guard)
            elif action.checkpoint:
                self.state.checkpoints = self._due(self._checkpoint)
                self.save()
            elif self.monitor.is_out_of_patience:
                return "patience"
            elif action.position.done:
                return "budget"
            else:
                self._step(action.position)

    def _decide_next_action(self, guard: InterruptGuard) -> _NextAction:
        state = self.state
        position = self._position()
        can_validate = state.step not in (0, state.validated_step)
        due = can_validate and self._due(self._validation, position.fraction_done) > state.validations
        validate = due and self.plan.affords_validation(self.stopwatch)
        checkpoint = state.step > 0 and self._due(self._checkpoint, position.fraction_done) > state.checkpoints
        return _NextAction(position, guard.requested, validate, checkpoint)

    def _position(self) -> Position:
        return self.plan.position(self.state, self.stopwatch, self._validation)

    def _step(self, position: Position) -> None:
        state = self.state
        setting = self._phase.schedule.at(position.step, position.total_steps)
        rates = [rate * setting.rate for rate in self._rates[state.phase]]
        start = self.stopwatch.clock()
        batches = self.cursor.window(self.config.accumulation)
        results, tokens = self.runner.run(batches, rates, setting.momentum)
        line = self.threads.finish_step(tokens, self.stopwatch.clock() - start, lambda: self.runner.rehearse(batches))
        for result in results:
            self.meter.add(result)
        state.step += 1
        state.phase_step += 1
        state.tokens += tokens
        state.rates = rates
        state.momentum = setting.momentum
        state.fraction_done = self._position().fraction_done
        if state.step % self.config.log_every_steps == 0:
            self._log_train()
        seconds_left = self.plan.seconds_left(state.fraction_done, self._resumed_at, self.stopwatch)
        self.reporter.step(self._log_position(), results[-1], seconds_left)
        if line is not None:
            self.reporter.message(f"step {state.step:,}: {line}")

    def _validate(self, guard: InterruptGuard) -> None:
        """Validate, log the metrics and keep the best weights.

        Ctrl-C aborts the validation of a run of one process at once; it is then still due.
        """
        # The row of the steps so far comes first, as the log is in order of time, and so does the check of the
        # weights: metrics of broken weights may be finite, and would be kept as the best.
        self._log_train()
        self._check_finite()
        rng = capture_rng()
        abortable = guard.at_once() if self.world.size == 1 else contextlib.nullcontext()
        self.task.model.eval()
        try:
            with self.stopwatch.aside("validation"), torch.no_grad(), self.runner.averaged(), abortable:
                metrics = self.world.call_on_first(self.task.validate)
        except KeyboardInterrupt:
            guard.requested = True
            restore_rng(rng)
            return
        finally:
            self.task.model.train()
        with self.runner.averaged():
            better = self.monitor.record(metrics, self.state.step, self.task.model, save=self.world.is_first)
        # Only now may averaging start: the weights just kept were those that were validated. Progress comes before
        # the count, because the measured cost moves a run in minutes on, past validations that are then skipped.
        starts_averaging = self.runner.average is not None and self.runner.average.observe(self.monitor.loss(metrics))
        if self.state.phase < len(self.phases):
            self.state.fraction_done = self.world.broadcast(self._position().fraction_done)
        self.state.validations = self._due(self._validation)
        self.state.validated_step = self.state.step
        self.reporter.validation_row(self._log_position(), metrics, better)
        if starts_averaging:
            self.reporter.message(f"step {self.state.step:,}: no improvement; averaging the weights from now on")
        if self._on_validation is not None and self.world.is_first:
            self._on_validation(self.state.fraction_done, metrics)

    def _stop_if(self, interrupted: bool) -> None:
        if interrupted:
            self.reporter.message("stopping: saving a checkpoint")
            self.save()
            raise KeyboardInterrupt

    def _log_train(self) -> None:
        """Log the steps since the last row, if any."""
        if not self.meter.is_empty:
            self._check_losses()
            state = self.state
            self.reporter.train_row(self._log_position(), state.rates, state.momentum, self.threads.current, self.meter)

    def _check_losses(self) -> None:
        if any(self.world.sum([not self.meter.is_finite()])):
            raise NotFiniteError("a loss that is infinite or NaN")

    def _check_finite(self) -> None:
        self._check_losses()
        with torch.no_grad():
            sums = torch.stack([parameter.float().sum() for parameter in self.runner.names])
        if not torch.isfinite(sums).all():
            raise NotFiniteError("a weight that is infinite or NaN")

    @property
    def _phase(self) -> Phase:
        """The phase being run, the last one once all are over."""
        return self.phases[min(self.state.phase, len(self.phases) - 1)]

    def _log_position(self) -> LogPosition:
        return LogPosition(self._phase.name, self.state.step, self.epoch, self.state.tokens, self.state.fraction_done)

    @property
    def epoch(self) -> float:
        """Epochs so far, including the fraction of the current one."""
        return round(self.cursor.epoch + min(1.0, self.cursor.batch / len(self.task)), 4)

    def _due(self, cadence: Cadence, fraction_done: float | None = None) -> int:
        fraction_done = self.state.fraction_done if fraction_done is None else fraction_done
        return cadence.due(fraction_done, self.state.step, self.stopwatch.seconds)
