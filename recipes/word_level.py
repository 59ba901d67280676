"""The command of a word-level corpus: train, evaluate, and print what was measured beside what was published."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from published_corpora import PublishedCorpus, open_corpus
from recipe_command import given_command, make_parser, set_threads, write_measurements
from run_evaluation import BOTH, EvaluationPlan, RunEvaluation
from run_facts import RunFacts, stage_costs
from stages import Stage, begin_run, read_curve, run_settings, stage_run, train_stages
from tables import PublishedRow, measured_rows, print_table

from ulmkit.config import check_choice, check_whole
from ulmkit.evaluation import CacheConfig, DynamicConfig
from ulmkit.pipeline import ModernRecipe, PublishedRecipe, RunOptions
from ulmkit.report import check_plot_path, plot_runs
from ulmkit.training import Budget, make_progress

TUNING_SHARE = 0.25
"""Share of a budget in minutes that a published recipe's second stage gets."""

METHODS = {"plain": "plain", "cache": "cache", "dynamic": "dynamic", "both": BOTH}
"""Evaluation methods by their names on the command line."""

_QUICK_SIZES: dict[str, Any] = {"embedding_size": 32, "hidden_size": 48, "layers": 2, "last_hidden_size": None}
_QUICK_BATCHES: dict[str, Any] = {"batch_size": 8, "bptt": 12}


@dataclass(frozen=True, kw_only=True)
class WordLevel:
    """A published corpus, the recipes for it, and the published perplexities.

    Attributes:
        corpus: The corpus.
        recipes: Recipes by name.
        caches: Hyperparameters of the cache for recipes that have their own.
        other_caches: Hyperparameters of the cache for all other recipes.
        dynamics: Hyperparameters of dynamic evaluation for recipes that have their own.
        other_dynamics: Hyperparameters of dynamic evaluation for all other recipes.
        statistics_batches: Batches of the whole training text, which the published dynamic evaluations used.
        published: Rows of the table.
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
    """Run the command.

    Raises:
        UlmkitError: For bad arguments or data, and for a training that fails; see `run_main`.
    """
    options = _read_options(task, description, arguments)
    set_threads(options.threads)
    recipe = task.recipes[options.recipe]
    corpus = open_corpus(options.data, task.corpus)
    recipe_seed = recipe.seed if isinstance(recipe, PublishedRecipe) else None
    run = RunOptions(
        device=options.device,
        precision=options.precision,
        seed=(recipe_seed or 0) if options.seed is None else options.seed,
        progress=make_progress(),
        validations=20 if isinstance(recipe, ModernRecipe) else Budget(epochs=1),
        restore_best=True,
    )
    if options.quick:
        recipe = _shrink(recipe)
    if options.dropout is not None:  # only in the first stage: the second keeps the dropouts of the first one's model
        recipe = replace(recipe, main=replace(recipe.main, dropout_multiplier=options.dropout))
    stages = plan_stages(recipe, options.epochs, options.minutes)
    begin_run(options.out, run_settings(corpus, recipe.sizes, stages, run))
    wanted = stages[:1] if options.first_stage else stages
    folders = train_stages(options.out, corpus, recipe.sizes, wanted, run)
    entries = _evaluate(task, recipe, options, RunEvaluation(options.out, corpus, run), list(folders))
    facts = _facts(task, recipe, options, run, folders, task.corpus.differences(corpus))
    print_table(task.published, entries, facts)
    curve = read_curve(options.out)
    if options.json:
        details = {"run": facts.to_dict(), "evaluation": entries, "curve": curve}
        write_measurements(options.json, task.corpus.name, measured_rows(task.published, entries, facts), details)
    if options.plot:
        plot_runs({options.recipe: [(row["minutes"], row["perplexity"]) for row in curve]}, options.plot)


def plan_stages(
    recipe: ModernRecipe | PublishedRecipe, epochs: float | None = None, minutes: float | None = None
) -> list[Stage]:
    """Divide a budget over the stages of a recipe.

    Args:
        recipe: The recipe.
        epochs: Epochs of each stage; None for the recipe's own.
        minutes: Minutes of all stages together, a quarter of them for a published recipe's second stage; None for a
            budget in epochs.
    """
    stage_epochs = recipe.epochs if epochs is None else epochs
    if isinstance(recipe, ModernRecipe):
        budget = Budget(epochs=stage_epochs) if minutes is None else Budget(minutes=minutes)
        return [Stage(name="main", recipe=recipe.main, budget=budget)]
    if minutes is None:
        tuning_epochs = min(stage_epochs, recipe.tuning_epochs or stage_epochs)
        main, tuning = Budget(epochs=stage_epochs), Budget(epochs=tuning_epochs)
    else:
        main, tuning = Budget(minutes=minutes).split([1.0 - TUNING_SHARE, TUNING_SHARE])
    return [
        Stage(name="main", recipe=recipe.main, budget=main),
        Stage(name="tuning", recipe=recipe.tuning, budget=tuning),
    ]


def _read_options(task: WordLevel, description: str | None, arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = make_parser(description)
    factors = ", ".join(f"{name} {recipe.main.dropout_multiplier:g}" for name, recipe in task.recipes.items())
    parser.add_argument(
        "--data", required=True, metavar="PLACE", help="folder of text files, prepared corpus, or 'download'"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder of the run (default: CORPUS-RECIPE)")
    parser.add_argument("--recipe", default="modern", help=", ".join(task.recipes))
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="training time of all stages; the second gets a quarter of it")
    budget.add_argument("--epochs", type=float, help="epochs of each stage (default: the recipe's)")
    parser.add_argument(
        "--first-stage", action="store_true", help="stop after the first stage; without this the same command continues"
    )
    parser.add_argument(
        "--dropout", type=float, metavar="FACTOR", help=f"multiplies all dropouts of the recipe's sizes ({factors})"
    )
    parser.add_argument("--seed", type=int, help="random seed (default: the recipe's, else 0)")
    parser.add_argument(
        "--evaluate", nargs="+", choices=list(METHODS), default=list(METHODS), help="evaluation methods (default: all)"
    )
    parser.add_argument(
        "--search",
        action="store_true",
        help="search the hyperparameters of cache and dynamic evaluation, which takes hours on a CPU",
    )
    parser.add_argument(
        "--search-tokens", type=int, default=30_000, help="validation tokens of the search (default: 30000)"
    )
    parser.add_argument(
        "--statistics-batches",
        type=int,
        help="batches of gradient statistics for dynamic evaluation (default: 200; all for published recipes)",
    )
    parser.add_argument("--test", action="store_true", help="also evaluate on the test set: once, at the end")
    parser.add_argument("--plot", metavar="FILE", help="draw validation perplexity over minutes into this file")
    parser.add_argument("--quick", action="store_true", help="train a tiny model, to see that everything works")
    options = parser.parse_args(arguments)
    check_choice("recipe", options.recipe, task.recipes)
    if options.statistics_batches is None:
        is_published = isinstance(task.recipes[options.recipe], PublishedRecipe)
        options.statistics_batches = task.statistics_batches if is_published and not options.quick else 200
    for name in ("search_tokens", "statistics_batches"):
        check_whole(name, getattr(options, name))
    if options.plot:
        check_plot_path(options.plot)
    options.command = given_command(parser, arguments)
    options.out = options.out or Path(f"{task.corpus.name.lower()}-{options.recipe}")
    return options


def _shrink(recipe: ModernRecipe | PublishedRecipe) -> ModernRecipe | PublishedRecipe:
    """The recipe for a tiny model and small batches."""
    sizes = replace(
        recipe.sizes,
        encoder=replace(recipe.sizes.encoder, **_QUICK_SIZES),
        softmax_experts=min(3, recipe.sizes.softmax_experts),
    )
    main = replace(recipe.main, **_QUICK_BATCHES)
    if isinstance(recipe, PublishedRecipe):
        return replace(recipe, sizes=sizes, main=main, tuning=replace(recipe.tuning, **_QUICK_BATCHES))
    return replace(recipe, sizes=sizes, main=main)


def _evaluate(
    task: WordLevel,
    recipe: ModernRecipe | PublishedRecipe,
    options: argparse.Namespace,
    evaluation: RunEvaluation,
    stages: Sequence[str],
) -> list[dict[str, Any]]:
    """Evaluate on validation data, then on the test set with the hyperparameters that validation chose."""
    original_rows = None
    if isinstance(recipe, PublishedRecipe):
        original_rows = {"valid": recipe.validation_batch_size, "test": recipe.test_batch_size}
    plan = EvaluationPlan(
        methods=[METHODS[name] for name in METHODS if name in options.evaluate],
        cache=task.caches.get(options.recipe, task.other_caches),
        dynamic=task.dynamics.get(options.recipe, task.other_dynamics),
        statistics_batches=options.statistics_batches,
        original_rows=original_rows,
    )
    last = stages[-1]
    if options.search:
        cache, dynamic = evaluation.search(last, plan, options.search_tokens)
        plan = replace(plan, cache=cache, dynamic=dynamic)
    plain = replace(plan, methods=[method for method in plan.methods if method == "plain"])
    entries = []
    for split in ("valid", "test") if options.test else ("valid",):
        for stage in stages[:-1]:
            entries += evaluation.evaluate(stage, split, plain)
        entries += evaluation.evaluate(last, split, plan)
    return entries


def _facts(
    task: WordLevel,
    recipe: ModernRecipe | PublishedRecipe,
    options: argparse.Namespace,
    run: RunOptions,
    folders: Mapping[str, Path],
    differences: Sequence[str],
) -> RunFacts:
    epochs = recipe.epochs if options.epochs is None else options.epochs
    budget = f"{epochs:g} epochs a stage" if options.minutes is None else f"{options.minutes:g} minutes"
    if options.dropout is not None:
        budget += f", dropouts of its sizes times {options.dropout:g}"
    if options.quick:
        budget += ", a tiny model"
    is_shortened = options.minutes is not None or options.dropout is not None or options.quick
    return RunFacts(
        corpus=task.corpus.name,
        recipe=options.recipe,
        is_full_length=epochs >= recipe.epochs and not is_shortened,
        budget=budget,
        seed=run.seed,
        is_published=isinstance(recipe, PublishedRecipe),
        differences=tuple(differences),
        command=options.command,
        **stage_costs({name: stage_run(folder) for name, folder in folders.items()}),
    )
