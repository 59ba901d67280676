"""Search for the settings of a fine-tuning on validation documents, within a budget of minutes."""

import math
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ulmkit.config import check_positive, check_whole, to_dict
from ulmkit.errors import ConfigError, TrainingError
from ulmkit.files import fingerprint
from ulmkit.hub import LanguageModelParts, facts_to_json
from ulmkit.pipeline.classifiers import train_network
from ulmkit.pipeline.data import DocumentCallback, prepare
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.pipeline.language_models import finetune, has_dropout, prepare_for_model, usual_finetuning
from ulmkit.pipeline.options import RunOptions
from ulmkit.pipeline.recipe_files import write_recipe
from ulmkit.pipeline.recipes import CLASSIFY, ClassifierRecipe, LanguageModelRecipe
from ulmkit.pipeline.search_spaces import ClassifierSpace, LanguageModelSpace, Space
from ulmkit.pipeline.search_study import (
    BEST_FILE,
    SearchTrial,
    Study,
    Trial,
    claim_folder,
    import_optuna,
    stored_trial_budget,
)
from ulmkit.pipeline.training_part import training_rows, validation_rows
from ulmkit.tables import rounded, text_table
from ulmkit.text import EncodedCorpus
from ulmkit.text.corpus.builder import TRAINING_SPLITS
from ulmkit.text.read.documents import Data
from ulmkit.training import Budget, PrefixedProgress, ProgressDisplay, ProgressInfo, latest_checkpoint
from ulmkit.training.interrupt import StopRequested, TrainingInterrupted

Clock = Callable[[], float]
Train = Callable[[ClassifierRecipe | LanguageModelRecipe, RunOptions], Mapping[str, float]]
"""Trains with a recipe, and returns the metrics of the last validation, the one that is minimised first."""

_TRIALS = 10  # complete ones that the minutes should be enough for


@dataclass(frozen=True)
class RecipeSearch:
    """Outcome of a search.

    Attributes:
        recipe: The best recipe.
        trials: All trials, in order; the first has the settings that the search started from.
        best: Position of the best one in `trials`.
        metric: Validation metric that was minimised.
        trial_budget: Length of the training of a trial.
        minutes: Minutes that the search took, all sessions together.
    """

    recipe: ClassifierRecipe | LanguageModelRecipe
    trials: tuple[SearchTrial, ...]
    best: int
    metric: str
    trial_budget: Budget
    minutes: float

    def table(self) -> str:
        """The trials as plain text; the best one is marked."""
        settings = list(self.trials[0].settings)
        metrics = list(self.trials[self.best].metrics)
        rows = [
            [
                f"{'-> ' if number == self.best else '   '}{number + 1}",
                *(rounded(trial.settings.get(name)) for name in settings),
                *(rounded(trial.metrics.get(name)) for name in metrics),
                f"{trial.steps:,}",
                f"{trial.minutes:.1f}",
                trial.state,
            ]
            for number, trial in enumerate(self.trials)
        ]
        return text_table(("trial", *settings, *metrics, "steps", "minutes", "state"), rows)

    def to_dict(self) -> dict[str, object]:
        """The outcome as JSON values."""
        return {
            "recipe": to_dict(self.recipe),
            "metric": self.metric,
            "best": self.best,
            "trial_budget": asdict(self.trial_budget),
            "minutes": round(self.minutes, 2),
            "trials": [asdict(trial) for trial in self.trials],
        }


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Length of a search, and where it is kept.

    Attributes:
        minutes: Wall-clock time of the search, all sessions together. One trial is always trained to its end.
        trials: Maximum number of trials; None for as many as the minutes allow.
        trial_budget: Length of the training of a trial; None for a tenth of the minutes.
        out: File for the best recipe, .json; the trials are kept in a folder beside it. None keeps nothing.
        resume: Continue the search beside `out`.
        overwrite: Replace an existing file and an earlier search.

    Raises:
        ConfigError: If a value is outside its range.
    """

    minutes: float
    trials: int | None = None
    trial_budget: Budget | None = None
    out: str | os.PathLike[str] | None = None
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_positive("minutes", self.minutes)
        if self.trials is not None:
            check_whole("trials", self.trials)
        if self.out is not None and Path(self.out).suffix != ".json":
            raise ConfigError(f"out: expected a file name that ends in .json, got {os.fspath(self.out)!r}")
        if self.out is None and self.resume:
            raise ConfigError("resume: has no effect without `out`; give the file of the search to continue")

    @property
    def budget(self) -> Budget:
        """Length of the training of a trial."""
        return self.trial_budget or Budget(minutes=self.minutes / _TRIALS)


def search_classifier_recipe(
    data: Data | EncodedCorpus,
    language_model: LanguageModelParts,
    search: SearchOptions,
    *,
    task: str = "single",
    recipe: ClassifierRecipe = CLASSIFY,
    data_options: DataOptions | None = None,
    run: RunOptions | None = None,
    labels: int | None = None,
    valid_documents: int | None = None,
    progress: DocumentCallback | None = None,
    clock: Clock = time.monotonic,
) -> RecipeSearch:
    """Search for settings of `train` with method "finetune"; see `ClassifierSpace` for those that are searched.

    Trials train on the training split and are compared on the validation split; nothing else is read. The best value
    is therefore a little too good for other documents.

    Args:
        data: Labelled documents; see `prepare`.
        language_model: The model to start from.
        search: Length of the search, and where it is kept.
        task: Name of the task, one of `TASKS`.
        recipe: Recipe that the search starts from, and that has the settings that are not searched.
        data_options: How documents are read, split and tokenized.
        run: Device, precision, seed and progress.
        labels: Train on this many labelled documents; None takes all.
        valid_documents: Validate on this many documents; None takes all.
        progress: Called with the number of documents prepared so far.
        clock: Source of the time in seconds, for tests.

    Returns:
        The best recipe and all trials.

    Raises:
        MissingPackageError: If Optuna is not installed.
        DataError: If labels are missing or do not fit the task.
        ConfigError: If another search is resumed, or several processes run.
        FolderError: If something may not be replaced, or there is no search to resume.
        TrainingError: If no trial could be completed.
    """
    started = clock()
    run = run or RunOptions()
    search, folder = _begin(search, run)
    corpus = prepare(
        data,
        data_options,
        task=task,
        tokenizer=language_model.tokenizer,
        vocabulary=language_model.vocabulary,
        progress=progress,
    )
    rows = training_rows(corpus, labels, run.seed)
    held_out = validation_rows(corpus, valid_documents, run.seed)
    groups = language_model.model.config.encoder.layers + 2  # with the embedding and the head
    space = ClassifierSpace(recipe, groups, len(rows))

    def train(recipe: ClassifierRecipe | LanguageModelRecipe, run: RunOptions) -> Mapping[str, float]:
        assert isinstance(recipe, ClassifierRecipe)
        parts = train_network(corpus, language_model, rows, held_out, budget=search.budget, recipe=recipe, run=run)
        return parts.facts.validation

    details = {"task": task, "rows": fingerprint(rows.tolist()), "held_out": fingerprint(held_out.tolist())}
    return _Search(space, train, search, run, folder, clock, started).run(corpus, language_model, details)


def search_finetuning_recipe(
    data: Data | EncodedCorpus,
    language_model: LanguageModelParts,
    search: SearchOptions,
    *,
    recipe: LanguageModelRecipe | None = None,
    data_options: DataOptions | None = None,
    run: RunOptions | None = None,
    progress: DocumentCallback | None = None,
    clock: Clock = time.monotonic,
) -> RecipeSearch:
    """Search for settings of the fine-tuning of a language model; see `LanguageModelSpace` for those that are searched.

    Args:
        data: Text in any form that `prepare` takes; see `search_classifier_recipe` for the rest.
        language_model: The model to start from.
        search: Length of the search, and where it is kept.
        recipe: Recipe that the search starts from, and that has the settings that are not searched; None takes that of
            `usual_finetuning`.
        data_options: How the text is read and split.
        run: Device, precision, seed and progress.
        progress: Called with the number of documents prepared so far.
        clock: Source of the time in seconds, for tests.

    Returns:
        The best recipe and all trials.
    """
    started = clock()
    run = run or RunOptions()
    recipe = recipe or usual_finetuning(language_model)
    search, folder = _begin(search, run)
    corpus = prepare_for_model(language_model, data, data_options, run, progress)
    tokens = sum(split.tokens for name, split in corpus.facts.splits.items() if name in TRAINING_SPLITS)
    space = LanguageModelSpace(recipe, tokens, has_dropout(language_model))

    def train(recipe: ClassifierRecipe | LanguageModelRecipe, run: RunOptions) -> Mapping[str, float]:
        assert isinstance(recipe, LanguageModelRecipe)
        return finetune(language_model, corpus, budget=search.budget, recipe=recipe, run=run).facts.validation

    return _Search(space, train, search, run, folder, clock, started).run(corpus, language_model, {})


def _begin(search: SearchOptions, run: RunOptions) -> tuple[SearchOptions, Path | None]:
    """Check what can be checked before any work.

    Returns:
        The options, with the length of the trials of a search that is resumed; and the folder of the search.
    """
    import_optuna()
    if run.world.size > 1:
        raise ConfigError(f"tune: a search runs in one process, got {run.world.size}; start it without torchrun")
    if search.out is None:
        return search, None
    folder = claim_folder(search.out, resume=search.resume, overwrite=search.overwrite)
    if search.resume and search.trial_budget is None:
        search = replace(search, trial_budget=stored_trial_budget(folder))
    return search, folder


class _PrunedError(Exception):
    """The trial is worse than most."""


class _TimeOverError(Exception):
    """The minutes of the search are over."""


class _Search:
    """One session of a search."""

    def __init__(
        self,
        space: Space,
        train: Train,
        options: SearchOptions,
        run: RunOptions,
        folder: Path | None,
        clock: Clock,
        started: float,
    ) -> None:
        self._space = space
        self._train = train
        self._options = options
        self._run = run
        self._folder = folder
        self._clock = clock
        self._started = started
        self._metric = ""

    def run(self, corpus: EncodedCorpus, base: LanguageModelParts, details: Mapping[str, object]) -> RecipeSearch:
        """Run trials until the time is over, write the best recipe, and return all of them."""
        if self._run.on_corpus is not None:
            self._run.on_corpus(corpus)
        settings = self._space.settings()
        identity = {
            "data": corpus.facts.fingerprint,
            "base": fingerprint(facts_to_json(base.facts)),
            "direction": base.direction,
            "recipe": to_dict(self._space.base),
            "settings": [asdict(setting) for setting in settings],
            "trial_budget": asdict(self._options.budget),
            "seed": self._run.seed,
            "precision": self._run.precision,
            **details,
        }
        resume = self._options.resume
        study = Study(settings, identity, seed=self._run.seed, folder=self._folder, resume=resume)
        former_seconds = study.seconds
        try:
            while self._has_time(study, former_seconds):
                if not self._try(study, former_seconds):
                    break
                study.spend(self._seconds(former_seconds))
        except KeyboardInterrupt as error:
            if self._folder is None:
                raise
            number = error.number if isinstance(error, StopRequested) else signal.SIGINT
            study.spend(self._seconds(former_seconds))
            message = f"search stopped: its trials are in {self._folder}; run again with resume=True to continue"
            raise TrainingInterrupted(message, self._folder, number) from error
        except ConfigError:
            if self._folder is not None and len(study.trials()) == 1:
                shutil.rmtree(self._folder)  # no trial can be trained in this way, so there is nothing to continue
            raise
        study.spend(self._seconds(former_seconds))
        return self._finish(study)

    def _seconds(self, former_seconds: float) -> float:
        """Seconds of all sessions so far."""
        return former_seconds + self._clock() - self._started

    def _has_time(self, study: Study, former_seconds: float) -> bool:
        """Tell whether another trial should begin: the first always, a later one if it is likely to end in time."""
        trials = study.trials()
        if self._options.trials is not None and len(trials) >= self._options.trials:
            return False
        left = self._options.minutes - self._seconds(former_seconds) / 60
        return not trials or left > study.mean_minutes

    def _try(self, study: Study, former_seconds: float) -> bool:
        """Run a trial. Returns: False if the time is over."""
        trial = study.ask()
        has_complete_one = any(each.state == "complete" for each in study.trials())
        number = len(study.trials())
        started = self._clock()

        def check_time() -> None:
            if has_complete_one and self._seconds(former_seconds) > 60 * self._options.minutes:
                raise _TimeOverError

        display = _TrialProgress(self._run.progress, f"trial {number}", trial, check_time)
        try:
            run = self._run_of(trial, display)
            metrics = self._train(self._space.recipe(trial.values), run)
            value = metrics.get(self._metric or next(iter(metrics), ""), math.nan)
            if not math.isfinite(value):
                raise TrainingError("validation: the metric is not finite")
        except _PrunedError:
            trial.prune(self._clock() - started)
            display.message("pruned: worse than the median of the earlier trials")
            return True
        except _TimeOverError:
            trial.stop(self._clock() - started)
            display.message("unfinished: the time is over")
            return False
        except TrainingError as error:
            trial.fail(str(error), self._clock() - started)
            display.message(f"failed: {error}")
            return True
        except KeyboardInterrupt:
            trial.stop(self._clock() - started)
            raise
        self._metric = self._metric or next(iter(metrics))
        trial.complete(value, metrics, self._clock() - started)
        reached = "  ".join(f"{name} {figure:.4g}" for name, figure in metrics.items())
        display.message(f"{reached}; {self._seconds(former_seconds) / 60:.1f} of {self._options.minutes:g} minutes")
        return True

    def _run_of(self, trial: Trial, display: "_TrialProgress") -> RunOptions:
        """The options of a trial's training."""
        validations = self._run.validations if isinstance(self._run.validations, int) else None
        count = 0

        def validated(fraction_done: float, metrics: Mapping[str, float]) -> None:
            nonlocal count
            count += 1
            self._metric = self._metric or next(iter(metrics))
            step = count if validations is None else max(1, round(fraction_done * validations))
            if trial.report(step, metrics[self._metric], metrics) and fraction_done < 1.0:
                raise _PrunedError

        return replace(
            self._run,
            folder=trial.folder,
            resume=trial.folder is not None and latest_checkpoint(trial.folder) is not None,
            progress=display,
            on_corpus=None,
            on_validation=validated,
            warn=False,
            tensorboard=None,
        )

    def _finish(self, study: Study) -> RecipeSearch:
        trials = study.trials()
        metric = self._metric or next((name for trial in trials for name in trial.metrics), "")
        complete = [number for number, trial in enumerate(trials) if trial.state == "complete"]
        if not complete:
            reasons = [trial.reason for trial in trials if trial.reason is not None]
            raise TrainingError(f"tune: expected a trial that ends well, got none of {len(trials)}; {reasons[-1]}")
        best = min(complete, key=lambda number: trials[number].metrics[metric])
        recipe = self._space.recipe(trials[best].settings)
        if self._options.out is not None and self._folder is not None:
            write_recipe(self._folder / BEST_FILE, recipe)
            write_recipe(self._options.out, recipe)
        return RecipeSearch(recipe, tuple(trials), best, metric, self._options.budget, study.seconds / 60)


class _TrialProgress(PrefixedProgress):
    """Progress of a trial, which counts its steps and ends it when the time is over."""

    def __init__(
        self, display: ProgressDisplay | None, name: str, trial: Trial, check_time: Callable[[], None]
    ) -> None:
        super().__init__(display or _Silent(), name)
        self._trial = trial
        self._check_time = check_time

    def update(self, info: ProgressInfo) -> None:
        """Show the state after a step, unless the time is over."""
        self._trial.steps = info.step
        self._check_time()
        super().update(info)


class _Silent:
    """Display of nothing."""

    def start(self) -> None:
        """Do nothing."""

    def update(self, info: ProgressInfo) -> None:
        """Do nothing."""

    def message(self, text: str) -> None:
        """Do nothing."""

    def working(self, text: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
