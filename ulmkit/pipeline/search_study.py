"""Trials of a search, which Optuna proposes and keeps in a folder, so that a stopped search can go on.

The folder holds `search.json` (what is searched), `journal.log` (Optuna's journal of all trials), `trial/` (checkpoints
of the trial that runs) and, at the end, `best.json` (the recipe). Nothing in it is pickled.
"""

import importlib
import json
import os
import re
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ulmkit.errors import ConfigError, FolderError, MissingPackageError
from ulmkit.files import expand_user, read_bytes, read_json
from ulmkit.json_records import record_from_json
from ulmkit.pipeline.search_spaces import Setting, Value
from ulmkit.safe_writes import check_output_file, write_json
from ulmkit.training.budget import Budget
from ulmkit.training.interrupt import InterruptGuard, StopRequested
from ulmkit.training.trainer_config import first_difference

BEST_FILE = "best.json"

_SEARCH_FILE, _JOURNAL_FILE, _TRIAL_FOLDER = "search.json", "journal.log", "trial"
_NAMES = "|".join(map(re.escape, (_SEARCH_FILE, _JOURNAL_FILE, BEST_FILE, _TRIAL_FOLDER)))
_OF_A_SEARCH = re.compile(rf"({_NAMES})(\.lock.*)?|\.({_NAMES})\..+")
_STUDY = "search"
_UNGUIDED_TRIALS = 8  # drawn at random, the first one aside, before the sampler learns from them
_TRIALS_BEFORE_PRUNING = 4
_FIRST_PRUNED_VALIDATION = 2
_DIGITS = 3  # of a setting, significant
_CONTINUES, _METRICS, _STEPS, _SECONDS, _REASON = "continues", "metrics", "steps", "seconds", "reason"


@dataclass(frozen=True)
class SearchTrial:
    """One trial of a search.

    Attributes:
        settings: Values of the settings.
        state: "complete"; "pruned", ended early because it was worse than the median of earlier trials; "failed"; or
            "unfinished", because the time was over.
        metrics: Metrics of its last validation.
        steps: Optimizer steps it took.
        minutes: Minutes it took.
        reason: Reason that it failed.
    """

    settings: Mapping[str, Value]
    state: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    steps: int = 0
    minutes: float = 0.0
    reason: str | None = None


def search_folder(out: str | os.PathLike[str]) -> Path:
    """Path of OUT.search, which holds the trials of a search for the recipe in the file `out`."""
    file = expand_user(out)
    return file.with_name(file.name + ".search")


def claim_folder(out: str | os.PathLike[str], *, resume: bool, overwrite: bool) -> Path:
    """Check, before any work, that a search may write `out` and its folder; remove an earlier search if asked to.

    Args:
        out: File for the recipe.
        resume: Continue the search in the folder; it may replace the recipe that it wrote.
        overwrite: Replace an existing file and an earlier search.

    Returns:
        The folder, which need not exist yet.

    Raises:
        FolderError: If something may not be replaced, or there is no search to resume.
    """
    folder = search_folder(out)
    if folder.exists() and not folder.is_dir():
        raise FolderError(f"{folder}: expected a folder for the search, got a file; choose another `out`")
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    for name in names:
        if not _OF_A_SEARCH.fullmatch(name):
            raise FolderError(f"{folder / name}: was not written by a search; move it, or choose another `out`")
    check_output_file(out, overwrite=overwrite or (resume and _is_own(expand_user(out), folder)))
    if resume and _SEARCH_FILE not in names:
        raise FolderError(f"{folder}: expected a search to resume, got none; begin without resume=True")
    if names and not resume:
        if not overwrite:
            raise FolderError(f"{folder}: is left from an earlier search; continue it with resume=True, or remove it")
        shutil.rmtree(folder)
    return folder


def stored_trial_budget(folder: Path) -> Budget:
    """Length of the trials of the search in a folder; raise ConfigError or FolderError if it is damaged."""
    return record_from_json(Budget, read_json(folder / _SEARCH_FILE).get("trial_budget"), "trial_budget")


def _is_own(out: Path, folder: Path) -> bool:
    best = folder / BEST_FILE
    return out.is_file() and best.is_file() and read_bytes(out) == read_bytes(best)


class Study:
    """Trials of a search; those that ended are kept in the folder at once.

    Args:
        settings: What is searched. The first trial takes their first values.
        identity: JSON values that must stay the same when the search is resumed.
        seed: Seed of the draws of settings.
        folder: Folder of the search; None keeps the trials in memory only.
        resume: Continue the search in the folder.

    Raises:
        MissingPackageError: If Optuna is not installed.
        ConfigError: If the folder holds another search; names the difference.
        FolderError: If the folder is damaged or cannot be written.
    """

    def __init__(
        self,
        settings: Sequence[Setting],
        identity: Mapping[str, object],
        *,
        seed: int,
        folder: Path | None = None,
        resume: bool = False,
    ) -> None:
        self._optuna = import_optuna()
        self._settings = settings
        self._seed = seed
        self._folder = folder
        storage = None
        if folder is not None:
            _check_identity(folder, identity, resume)
            journal = self._optuna.storages.journal
            storage = self._optuna.storages.JournalStorage(journal.JournalFileBackend(str(folder / _JOURNAL_FILE)))
        with self._writing():
            self._study = self._optuna.create_study(
                storage=storage,
                study_name=_STUDY,
                direction="minimize",
                load_if_exists=resume,
                pruner=self._optuna.pruners.MedianPruner(
                    n_startup_trials=_TRIALS_BEFORE_PRUNING, n_warmup_steps=_FIRST_PRUNED_VALIDATION
                ),
            )
            if not self._study.get_trials(deepcopy=False):
                self._study.enqueue_trial({setting.name: setting.first for setting in settings})
            self._requeue_unfinished()

    @property
    def seconds(self) -> float:
        """Seconds that all sessions spent, see `spend`."""
        return float(self._study.user_attrs.get(_SECONDS, 0.0))

    def spend(self, seconds: float) -> None:
        """Record the seconds that all sessions spent so far."""
        with self._writing():
            self._study.set_user_attr(_SECONDS, round(seconds, 2))

    @property
    def mean_minutes(self) -> float:
        """Mean minutes of the trials that ended by themselves; 0 if there are none."""
        minutes = [trial.minutes for trial in self.trials() if trial.state in ("complete", "pruned")]
        return statistics.fmean(minutes) if minutes else 0.0

    def ask(self) -> "Trial":
        """Begin a trial: one that was stopped, else one with new settings.

        The seed of each draw counts the trials before it, so that a resumed search draws what an uninterrupted one
        would have drawn.
        """
        number = len(self.trials())
        with self._writing():
            self._study.sampler = self._optuna.samplers.TPESampler(
                seed=(self._seed + number) % 2**32, n_startup_trials=_UNGUIDED_TRIALS
            )
            trial = self._study.ask()
            values = {setting.name: _suggest(trial, setting) for setting in self._settings}
            former = trial.user_attrs.get(_CONTINUES)
            folder = None if self._folder is None else self._folder / _TRIAL_FOLDER
            if former is None:
                if folder is not None:
                    shutil.rmtree(folder, ignore_errors=True)
                return Trial(self, trial, values, folder)
            stopped = self._study.get_trials(deepcopy=False)[former]
            for step, value in stopped.intermediate_values.items():
                trial.report(value, step)
            return Trial(self, trial, values, folder, float(stopped.user_attrs.get(_SECONDS, 0.0)))

    def trials(self) -> list[SearchTrial]:
        """The trials in order, without those that another one continues or that have not begun."""
        everything = self._study.get_trials(deepcopy=False)
        continued = {trial.user_attrs.get(_CONTINUES) for trial in everything}
        states = self._optuna.trial.TrialState
        names = {states.COMPLETE: "complete", states.PRUNED: "pruned", states.FAIL: "failed"}
        return [
            SearchTrial(
                settings={name: _rounded(value) for name, value in trial.params.items()},
                state=names.get(trial.state, "unfinished"),
                metrics=trial.user_attrs.get(_METRICS, {}),
                steps=trial.user_attrs.get(_STEPS, 0),
                minutes=trial.user_attrs.get(_SECONDS, 0.0) / 60,
                reason=trial.user_attrs.get(_REASON),
            )
            for trial in everything
            if trial.number not in continued and trial.state != states.WAITING
        ]

    def _requeue_unfinished(self) -> None:
        """Put trials that a stopped session left unfinished back in the queue."""
        states = self._optuna.trial.TrialState
        for trial in self._study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            self._study.enqueue_trial(trial.params, user_attrs={_CONTINUES: trial.number})
            self._study.tell(trial.number, state=states.FAIL)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Let Optuna write without its log lines, and without a signal that ends it midway."""
        logging = self._optuna.logging
        verbosity = logging.get_verbosity()
        logging.set_verbosity(logging.ERROR)
        try:
            with InterruptGuard() as guard:
                yield
        finally:
            logging.set_verbosity(verbosity)
        if guard.requested:
            raise StopRequested(guard.number)


class Trial:
    """One trial while it runs. Exactly one of `complete`, `prune` and `fail` ends it.

    Attributes:
        values: Values of the settings.
        folder: Folder for checkpoints; those of an earlier session are in it if the trial was stopped.
        steps: Optimizer steps so far, recorded when the trial stops or ends.
    """

    def __init__(
        self, study: Study, trial: Any, values: Mapping[str, Value], folder: Path | None, seconds: float = 0.0
    ) -> None:
        self.values = values
        self.folder = folder
        self.steps = 0
        self._study = study
        self._trial = trial
        self._seconds = seconds
        self._reported = set(study._study.get_trials(deepcopy=False)[trial.number].intermediate_values)

    def report(self, step: int, value: float, metrics: Mapping[str, float]) -> bool:
        """Record a validation.

        Args:
            step: Number of the validation from 1, comparable across trials.
            value: The metric that is minimised.
            metrics: All metrics.

        Returns:
            Whether the trial is worse than most, and should end.
        """
        if step in self._reported:
            return False
        with self._study._writing():
            self._reported.add(step)
            self._trial.report(value, step)
            self._trial.set_user_attr(_METRICS, dict(metrics))
            return bool(self._trial.should_prune())

    def complete(self, value: float, metrics: Mapping[str, float], seconds: float) -> None:
        """End the trial with its last metrics, after these seconds of this session."""
        self._end(seconds, metrics, value)

    def prune(self, seconds: float) -> None:
        """End the trial because it is worse than most."""
        self._end(seconds, None, state=self._study._optuna.trial.TrialState.PRUNED)

    def fail(self, reason: str, seconds: float) -> None:
        """End the trial because it cannot go on."""
        with self._study._writing():
            self._trial.set_user_attr(_REASON, reason)
        self._end(seconds, None, state=self._study._optuna.trial.TrialState.FAIL)

    def stop(self, seconds: float, metrics: Mapping[str, float] | None = None) -> None:
        """Record what the trial cost and reached, without ending it: a resumed search goes on with it."""
        with self._study._writing():
            self._trial.set_user_attr(_SECONDS, round(self._seconds + seconds, 2))
            self._trial.set_user_attr(_STEPS, self.steps)
            if metrics is not None:
                self._trial.set_user_attr(_METRICS, dict(metrics))

    def _end(self, seconds: float, metrics: Mapping[str, float] | None, *value: float, state: Any = None) -> None:
        self.stop(seconds, metrics)
        with self._study._writing():
            self._study._study.tell(self._trial, *value, state=state)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def import_optuna() -> Any:
    """Import Optuna.

    Raises:
        MissingPackageError: If it is not installed.
    """
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise MissingPackageError("optuna: is not installed; to tune, run: pip install 'ulmkit[tune]'") from error


def _check_identity(folder: Path, identity: Mapping[str, object], resume: bool) -> None:
    """Write what is searched into the folder, or compare it with what the folder was made for."""
    now = json.loads(json.dumps(identity))
    file = folder / _SEARCH_FILE
    if not resume:
        write_json(file, now)
        return
    difference = first_difference(read_json(file), now)
    if difference:
        raise ConfigError(f"{folder}: was made by another search ({difference}); use the same settings or begin anew")


def _suggest(trial: Any, setting: Setting) -> Value:
    if setting.choices:
        return int(trial.suggest_categorical(setting.name, setting.choices))
    return _rounded(trial.suggest_float(setting.name, setting.low, setting.high, log=setting.is_log))


def _rounded(value: Value) -> Value:
    """A number with as many digits as a person would write."""
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
