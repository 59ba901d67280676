"""The search for a recipe: what it reads and writes, and that a stopped one goes on as if it had not been stopped."""

import json
import re
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support import tiny

from ulmkit.errors import ConfigError, FolderError, MissingPackageError, TrainingError
from ulmkit.pipeline import (
    CLASSIFY,
    FINETUNE,
    ClassifierSpace,
    LanguageModelSpace,
    RecipeSearch,
    SearchOptions,
    classifiers,
    read_recipe,
    recipe_search,
    search_classifier_recipe,
    search_finetuning_recipe,
    search_folder,
)
from ulmkit.pipeline.search_spaces import Setting
from ulmkit.pipeline.search_study import Study
from ulmkit.training import Budget
from ulmkit.training.interrupt import TrainingInterrupted

BASE = replace(CLASSIFY, batch_size=16, input_dropout=0.0)
STEPS = Budget(steps=4)


class Clock:
    """A clock that moves on by some minutes whenever it is read."""

    def __init__(self, minutes: float = 0.0) -> None:
        self._minutes = minutes
        self._now = 0.0

    def __call__(self) -> float:
        self._now += 60 * self._minutes
        return self._now


def _search(**options) -> RecipeSearch:
    """Search with trainings of four steps on a few reviews."""
    clock = options.pop("clock", Clock())
    search = SearchOptions(**{"minutes": 60, "trials": 3, "trial_budget": STEPS, **options})
    return search_classifier_recipe(
        tiny.reviews(),
        tiny.language_model().parts,
        search,
        recipe=BASE,
        data_options=replace(tiny.WORDS, valid_fraction=0.3),
        run=replace(tiny.RUN, threads=1, validations=2),
        clock=clock,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RecipeSearch]:
    """The file and the outcome of a search of three trials."""
    out = tmp_path_factory.mktemp("search") / "best.json"
    return out, _search(out=out)


def _outline(search: RecipeSearch) -> list:
    return [(trial.settings, trial.state, trial.metrics) for trial in search.trials]


def test_the_best_of_the_trials_is_written(whole: tuple[Path, RecipeSearch]) -> None:
    out, search = whole
    losses = [trial.metrics["loss"] for trial in search.trials]
    assert [trial.state for trial in search.trials] == ["complete"] * 3
    assert (search.metric, search.best) == ("loss", int(np.argmin(losses)))
    assert len({json.dumps(trial.settings) for trial in search.trials}) == 3
    assert read_recipe(out, CLASSIFY) == replace(search.recipe, shares=list(search.recipe.shares))
    settings = search.trials[search.best].settings
    assert search.recipe.peak_rate == settings["peak_rate"]
    assert search.recipe.optimizer.weight_decay == settings["weight_decay"]
    assert search.recipe.shares[-1] == settings["last_share"]
    assert search.table().splitlines()[1 + search.best].startswith(f"-> {search.best + 1} ")
    assert sorted(path.name for path in search_folder(out).iterdir()) == ["best.json", "journal.log", "search.json"]


def test_the_first_trial_has_the_settings_of_the_recipe(whole: tuple[Path, RecipeSearch]) -> None:
    space = ClassifierSpace(BASE, 4, 80)
    assert whole[1].trials[0].settings == {setting.name: setting.first for setting in space.settings()}
    assert space.recipe(whole[1].trials[0].settings) == replace(BASE, shares=(0.25,) * 4)


def test_a_seed_gives_the_same_trials_again(whole: tuple[Path, RecipeSearch]) -> None:
    assert _outline(_search()) == _outline(whole[1])


def test_only_validation_documents_are_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    scored = set()
    evaluate = classifiers.evaluate_rows

    def spy(model, corpus, rows, **options):
        scored.update(rows.tolist())
        valid.update(corpus.rows("valid").tolist())
        return evaluate(model, corpus, rows, **options)

    valid: set = set()
    monkeypatch.setattr(classifiers, "evaluate_rows", spy)
    _search(trials=1)
    assert scored
    assert scored == valid


@pytest.mark.parametrize("when", ["midway", "killed"])
def test_a_stopped_search_goes_on_as_if_it_had_not_been_stopped(
    when: str, whole: tuple[Path, RecipeSearch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "best.json"
    train = recipe_search.train_network
    trainings = []

    def stop_second(*arguments, run, **options):
        trainings.append(run.resume)
        if len(trainings) == 2:
            if when == "killed":
                raise MemoryError
            display = run.progress
            run = replace(run, progress=_StopAtStep(display, 3))
        return train(*arguments, run=run, **options)

    monkeypatch.setattr(recipe_search, "train_network", stop_second)
    if when == "killed":
        with pytest.raises(MemoryError):
            _search(out=out)
    else:
        with pytest.raises(TrainingInterrupted, match=re.escape(f"in {search_folder(out)}; run again with resume=")):
            _search(out=out)
    assert not out.exists()
    with pytest.raises(FolderError, match="is left from an earlier search; continue it with resume=True, or remove it"):
        _search(out=out)
    resumed = _search(out=out, resume=True)
    assert trainings == [False, False, when == "midway", False]
    assert _outline(resumed) == _outline(whole[1])
    assert out.read_bytes() == whole[0].read_bytes()


class _StopAtStep:
    """A display that passes everything on, and sends Ctrl-C at a step."""

    def __init__(self, display, step: int) -> None:
        self._display = display
        self._step = step

    def __getattr__(self, name: str):
        return getattr(self._display, name)

    def update(self, info) -> None:
        self._display.update(info)
        if info.step == self._step:
            signal.raise_signal(signal.SIGINT)


def test_a_finished_search_goes_on_with_more_trials(whole: tuple[Path, RecipeSearch], tmp_path: Path) -> None:
    out = tmp_path / "best.json"
    first = _search(out=out, trials=1)
    out.write_text("{}")
    with pytest.raises(FolderError, match="already exists"):
        _search(out=out, resume=True)
    out.unlink()
    assert _outline(_search(out=out, resume=True, trials=2, trial_budget=None)) == _outline(whole[1])[:2]
    assert first.trials[0].metrics == whole[1].trials[0].metrics
    with pytest.raises(ConfigError, match=r"was made by another search \(trial_budget.steps: was 4, now 5\)"):
        _search(out=out, resume=True, trial_budget=Budget(steps=5))
    assert len(_search(out=out, overwrite=True, trials=1).trials) == 1


def test_the_time_ends_the_search_but_not_its_first_trial(tmp_path: Path) -> None:
    search = _search(minutes=5, trials=None, clock=Clock(1.0), out=tmp_path / "best.json")
    assert search.trials[0].state == "complete"
    assert search.minutes > 5
    assert len(search.trials) < 4
    quick = _search(minutes=1e-6, trials=None, clock=Clock(1.0))
    assert [trial.state for trial in quick.trials] == ["complete"]


def test_trials_that_diverge_are_counted_and_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    train = recipe_search.train_network
    recipes = []

    def diverge(*arguments, recipe, **options):
        recipes.append(recipe)
        if len(recipes) == 2:
            raise TrainingError("loss: expected finite numbers")
        return train(*arguments, recipe=recipe, **options)

    monkeypatch.setattr(recipe_search, "train_network", diverge)
    search = _search()
    assert [trial.state for trial in search.trials] == ["complete", "failed", "complete"]
    assert search.trials[1].reason == "loss: expected finite numbers"
    monkeypatch.setattr(recipe_search, "train_network", lambda *_, **__: (_ for _ in ()).throw(TrainingError("no")))
    with pytest.raises(TrainingError, match="tune: expected a trial that ends well, got none of 2; no"):
        _search(trials=2)


def test_a_trial_worse_than_the_median_is_pruned() -> None:
    study = Study([Setting(name="a", first=0.5, low=0.0, high=1.0)], {}, seed=0)
    for value in (1.0, 2.0, 3.0, 4.0):
        trial = study.ask()
        assert not trial.report(2, value, {"loss": value})
        trial.complete(value, {"loss": value}, 60.0)
    good, bad = study.ask(), study.ask()
    assert not bad.report(1, 9.0, {"loss": 9.0})
    assert bad.report(2, 9.0, {"loss": 9.0})
    bad.prune(30.0)
    assert not good.report(2, 0.5, {"loss": 0.5})
    assert study.trials()[-1].state == "pruned"
    assert study.trials()[-1].minutes == 0.5
    assert study.mean_minutes == pytest.approx((4 + 0.5) / 5)


def test_settings_of_a_language_model_are_searched() -> None:
    base = replace(FINETUNE, batch_size=8, bptt=16)
    search = search_finetuning_recipe(
        tiny.reviews(),
        tiny.language_model().parts,
        SearchOptions(minutes=60, trials=2, trial_budget=STEPS),
        recipe=base,
        data_options=tiny.WORDS,
        run=tiny.RUN,
    )
    assert search.metric == "loss"
    assert set(search.trials[1].settings) == {
        *("peak_rate", "factor", "batch_size", "bptt", "dropout_multiplier", "ar", "tar")
    }
    assert search.recipe in [LanguageModelSpace(base, 1000).recipe(trial.settings) for trial in search.trials]
    assert search.to_dict()["trial_budget"] == {"epochs": None, "steps": 4, "minutes": None}


def test_dropout_is_searched_only_where_there_is_some() -> None:
    names = [
        {setting.name for setting in LanguageModelSpace(FINETUNE, 1000, some).settings()} for some in (True, False)
    ]
    assert names[0] - names[1] == {"dropout_multiplier"}


@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        (replace(CLASSIFY, unfreezing="full"), {"factor"}),
        (replace(CLASSIFY, unfreezing="last"), set()),
        (CLASSIFY, {"factor", "last_share"}),
    ],
)
def test_settings_without_effect_are_not_searched(recipe, names: set) -> None:
    searched = {setting.name for setting in ClassifierSpace(recipe, 4, 1000).settings()}
    assert searched == names | {"peak_rate", "batch_size", "dropout_multiplier", "weight_decay"}


def test_ranges_hold_the_recipe_and_batches_fit_the_documents() -> None:
    recipe = replace(CLASSIFY, peak_rate=0.2, batch_size=64)
    settings: Mapping[str, Setting] = {
        setting.name: setting for setting in ClassifierSpace(recipe, 4, documents=90).settings()
    }
    assert (settings["peak_rate"].high, settings["peak_rate"].first) == (0.2, 0.2)
    assert settings["batch_size"].choices == (32, 64)
    with pytest.raises(ConfigError, match="peak_rate: expected one number to search from, got 4"):
        ClassifierSpace(replace(CLASSIFY, peak_rate=(1e-2,) * 4), 4, 90).settings()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(
        MissingPackageError, match=r"optuna: is not installed; to tune, run: pip install 'ulmkit\[tune\]'"
    ):
        _search()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"minutes": 0}, "minutes: expected a number above 0, got 0"),
        ({"trials": 0}, "trials: expected a whole number of at least 1, got 0"),
        ({"out": "best.toml"}, "out: expected a file name that ends in .json, got 'best.toml'"),
        ({"resume": True}, "resume: has no effect without `out`"),
    ],
)
def test_options_are_checked(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        SearchOptions(**{"minutes": 1, **options})


def test_a_folder_of_ones_own_is_kept(tmp_path: Path) -> None:
    folder = search_folder(tmp_path / "best.json")
    folder.mkdir()
    (folder / "notes.txt").write_text("keep me")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(FolderError, match="notes.txt: was not written by a search"):
            _search(out=tmp_path / "best.json", **options)
    assert (folder / "notes.txt").read_text() == "keep me"


def test_a_search_that_cannot_begin_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="steps: expected at least 4, one for each phase, got 3"):
        _search(out=tmp_path / "best.json", trial_budget=Budget(steps=3))
    assert list(tmp_path.iterdir()) == []
