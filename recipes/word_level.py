"""One command for each word-level corpus: train, judge, and set what was measured beside what was published."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from figures import BOTH, Figures, Ways
from published_corpora import PublishedCorpus, open_corpus
from recipe_command import machine, make_parser, set_threads, told_command, write_measurements
from stages import Stage, begin_run, read_curve, run_settings, train_stages
from tables import PublishedRow, RunFacts, measured_rows, print_table

from ulmkit.config import check_choice, check_whole
from ulmkit.evaluation import CacheConfig, DynamicConfig
from ulmkit.hub import read_config
from ulmkit.pipeline import ModernRecipe, PublishedRecipe, RunOptions
from ulmkit.report import check_plot_path, plot_runs
from ulmkit.training import Budget, make_progress

TUNING_SHARE = 0.25
"""Part of a budget in minutes that a published recipe's second stage gets."""

WAYS = {"plain": "plain", "cache": "cache", "dynamic": "dynamic", "both": BOTH}
_QUICK_SIZES: dict[str, Any] = {"embedding_size": 32, "hidden_size": 48, "layers": 2, "last_hidden_size": None}
_QUICK_BATCHES: dict[str, Any] = {"batch_size": 8, "bptt": 12}


@dataclass(frozen=True, kw_only=True)
class WordLevel:
    """A corpus and what is known of it.

    recipes: by name. caches, dynamics: hyperparameters of cache and dynamic evaluation for recipes that have their own,
    and for all others. statistics_batches: of the training text, which the published figures of dynamic evaluation took
    whole. published: rows of the table.
    """

    corpus: PublishedCorpus
    recipes: Mapping[str, ModernRecipe | PublishedRecipe]
    caches: Mapping[str, CacheConfig]
    other_caches: CacheConfig
    dynamics: Mapping[str, DynamicConfig]
    other_dynamics: DynamicConfig
    statistics_batches: int
    published: Sequence[PublishedRow]


def run_word_level(task: WordLevel, description: str | None, arguments: Sequence[str] | None = None) -> None:
    """The command. Raises: ConfigError, DataError, FolderError for what it cannot do; see `run_main`."""
    options = _read_options(task, description, arguments)
    set_threads(options.threads)
    recipe = task.recipes[options.recipe]
    corpus = open_corpus(options.data, task.corpus)
    seed = getattr(recipe, "seed", None) if options.seed is None else options.seed
    run = RunOptions(
        device=options.device,
        precision=options.precision,
        seed=seed or 0,
        progress=make_progress(),
        validations=20 if isinstance(recipe, ModernRecipe) else Budget(epochs=1),
        restore_best=True,
    )
    recipe = _smaller(recipe) if options.quick else recipe
    if options.dropout is not None:  # what the first stage's model has, the second's keeps
        recipe = replace(recipe, main=replace(recipe.main, dropout_multiplier=options.dropout))
    stages = plan_stages(recipe, options.epochs, options.minutes)
    begin_run(options.out, run_settings(corpus, recipe.sizes, stages, run))
    wanted = stages[:1] if options.first_stage else stages
    folders = train_stages(options.out, corpus, recipe.sizes, wanted, run)
    figures = _judge(task, recipe, options, Figures(options.out, corpus, run), list(folders))
    facts = _facts(task, recipe, options, run, folders, task.corpus.differences(corpus))
    print_table(task.published, figures, facts)
    curve = read_curve(options.out)
    if options.json:
        details = {"run": facts.to_dict(), "evaluation": figures, "curve": curve}
        write_measurements(options.json, task.corpus.name, measured_rows(task.published, figures, facts), details)
    if options.plot:
        plot_runs({options.recipe: [(row["minutes"], row["perplexity"]) for row in curve]}, options.plot)


def plan_stages(
    recipe: ModernRecipe | PublishedRecipe, epochs: float | None = None, minutes: float | None = None
) -> list[Stage]:
    """The stages of a recipe within a budget; None of either: the recipe's own epochs.

    Epochs are those of each stage. Minutes are of all: a published recipe's second stage gets a quarter of them.
    """
    each = recipe.epochs if epochs is None else epochs
    if isinstance(recipe, ModernRecipe):
        budget = Budget(epochs=each) if minutes is None else Budget(minutes=minutes)
        return [Stage(name="main", recipe=recipe.main, budget=budget)]
    if minutes is None:
        budgets = [Budget(epochs=each), Budget(epochs=min(each, recipe.tuning_epochs or each))]
    else:
        budgets = Budget(minutes=minutes).split([1.0 - TUNING_SHARE, TUNING_SHARE])
    named = zip(("main", "tuning"), (recipe.main, recipe.tuning), budgets, strict=True)
    return [Stage(name=name, recipe=stage, budget=budget) for name, stage, budget in named]


def _read_options(task: WordLevel, description: str | None, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(description)
    parser.add_argument("--data", required=True, metavar="PLACE", help="folder, prepared corpus, or 'download'")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="the run's (CORPUS-RECIPE)")
    parser.add_argument("--recipe", default="modern", help=", ".join(task.recipes))
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="of training, all stages together; the second gets a quarter")
    budget.add_argument("--epochs", type=float, help="of each stage (the recipe's own)")
    factors = ", ".join(f"{name} {recipe.main.dropout_multiplier:g}" for name, recipe in task.recipes.items())
    parser.add_argument("--first-stage", action="store_true", help="end with it; without this the same command goes on")
    parser.add_argument("--dropout", type=float, metavar="FACTOR", help=f"on all dropouts of its sizes ({factors})")
    parser.add_argument("--seed", type=int, help="(the recipe's own, else 0)")
    parser.add_argument("--evaluate", nargs="+", choices=list(WAYS), default=list(WAYS), help="(all)")
    parser.add_argument("--search", action="store_true", help="hyperparameters of cache and dynamic evaluation, which "
                        "takes hours on a CPU")  # fmt: skip
    parser.add_argument("--search-tokens", type=int, default=30_000, help="validation tokens to search on (30000)")
    parser.add_argument("--statistics-batches", type=int, help="for dynamic evaluation (200; for published "
                        "recipes all)")  # fmt: skip
    parser.add_argument("--test", action="store_true", help="judge on the test set too; for once, at the end")
    parser.add_argument("--plot", metavar="FILE", help="draw validation perplexity over minutes")
    parser.add_argument("--quick", action="store_true", help="a tiny model, to see that everything works")
    options = parser.parse_args(arguments)
    check_choice("recipe", options.recipe, task.recipes)
    if options.statistics_batches is None:
        is_published = isinstance(task.recipes[options.recipe], PublishedRecipe)
        options.statistics_batches = task.statistics_batches if is_published and not options.quick else 200
    for name in ("search_tokens", "statistics_batches"):
        check_whole(name, getattr(options, name))
    if options.plot:
        check_plot_path(options.plot)
    options.command = told_command(parser, arguments)
    options.out = options.out or Path(f"{task.corpus.name.lower()}-{options.recipe}")
    return options


def _smaller(recipe: ModernRecipe | PublishedRecipe) -> ModernRecipe | PublishedRecipe:
    sizes = replace(recipe.sizes, **_QUICK_SIZES, softmax_experts=min(3, recipe.sizes.softmax_experts))
    stages = {"main": replace(recipe.main, **_QUICK_BATCHES)}
    if isinstance(recipe, PublishedRecipe):
        stages["tuning"] = replace(recipe.tuning, **_QUICK_BATCHES)
    return replace(recipe, sizes=sizes, **stages)


def _judge(
    task: WordLevel,
    recipe: ModernRecipe | PublishedRecipe,
    options: argparse.Namespace,
    figures: Figures,
    stages: Sequence[str],
) -> list[dict[str, Any]]:
    """All figures that are asked for: validation first, the test set last, by what validation chose."""
    rows, last = None, stages[-1]
    if isinstance(recipe, PublishedRecipe):
        rows = {"valid": recipe.validation_batch_size, "test": recipe.test_batch_size}
    ways = Ways(
        names=[WAYS[name] for name in WAYS if name in options.evaluate],
        cache=task.caches.get(options.recipe, task.other_caches),
        dynamic=task.dynamics.get(options.recipe, task.other_dynamics),
        statistics_batches=options.statistics_batches,
        original_rows=rows,
    )
    if options.search:
        cache, dynamic = figures.search(last, ways, options.search_tokens)
        ways = replace(ways, cache=cache, dynamic=dynamic)
    plain = replace(ways, names=[name for name in ways.names if name == "plain"])
    found = []
    for split in ("valid", "test") if options.test else ("valid",):
        for stage in stages[:-1]:
            found += figures.evaluate(stage, split, plain)
        found += figures.evaluate(last, split, ways)
    return found


def _facts(
    task: WordLevel,
    recipe: ModernRecipe | PublishedRecipe,
    options: argparse.Namespace,
    run: RunOptions,
    folders: Mapping[str, Path],
    differences: Sequence[str],
) -> RunFacts:
    stages = {name: read_config(folder)["facts"] for name, folder in folders.items()}
    first = next(iter(stages.values()))
    epochs = recipe.epochs if options.epochs is None else options.epochs
    budget = f"{epochs:g} epochs a stage" if options.minutes is None else f"{options.minutes:g} minutes"
    return RunFacts(
        corpus=task.corpus.name,
        recipe=options.recipe,
        is_full_length=options.minutes is None
        and options.dropout is None
        and epochs >= recipe.epochs
        and not options.quick,
        budget=budget
        + ("" if options.dropout is None else f", dropouts of its sizes times {options.dropout:g}")
        + (", a tiny model" if options.quick else ""),
        seed=run.seed,
        machine=f"{machine()['processor']}, {first['machine'].partition(', ')[2]}",
        device=first["device"],
        precision=first["precision"],
        minutes={name: found["minutes"] for name, found in stages.items()},
        epochs={name: found["epochs"] for name, found in stages.items()},
        averaged_steps={name: found["averaged_steps"] for name, found in stages.items() if "averaged_steps" in found},
        is_published=isinstance(recipe, PublishedRecipe),
        differences=tuple(differences),
        command=options.command,
    )
