"""Commands that make models: prepare, pretrain, finetune, train, lr-find."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ulmkit.api import LanguageModel, TextClassifier
from ulmkit.cli.option_groups import (
    CLASSIFY_RECIPE,
    FINETUNE_RECIPE,
    FROM_SCRATCH,
    MACHINE,
    PREPARE,
    PREPARE_TEXT,
    PRETRAIN_RECIPE,
    READ,
    READ_TEXT,
    SIZES,
    STAGE,
    TOKENIZE,
    FromScratch,
    Machine,
    budget_group,
    with_groups,
)
from ulmkit.cli.progress import document_progress
from ulmkit.cli.summary import summarise
from ulmkit.config import check_choice
from ulmkit.errors import ConfigError
from ulmkit.files import check_writable
from ulmkit.hub import ClassifierParts, Pair, facts_to_json, load_model, resolve_model
from ulmkit.model.aligned import count_parameters
from ulmkit.model.config import LanguageModelConfig
from ulmkit.pipeline import (
    RATE_SEARCH_STEPS,
    ClassifierRecipe,
    DataOptions,
    LanguageModelRecipe,
    RunOptions,
    finetune,
    prepare,
    prepare_once,
    pretrain,
    record_baselines,
    texts_of,
    train,
    training_rows,
    validation_rows,
)
from ulmkit.pipeline.held_out import shared_documents_warning
from ulmkit.pipeline.stage_folder import run_folder, training_folder
from ulmkit.report import plot_lr_find
from ulmkit.tasks import TASKS
from ulmkit.text import EncodedCorpus
from ulmkit.text.corpus.builder import TRAINING_SPLITS
from ulmkit.training import Budget, joined_world, make_progress

DataArgument = Annotated[
    str, typer.Argument(metavar="DATA", help="Files, a folder, a prepared corpus, or the name of a hub data set.")
]
ModelArgument = Annotated[str, typer.Argument(metavar="LM", help="A language model: a folder, or a hub name.")]
OutOption = Annotated[str, typer.Option("--out", "-o", help="Folder to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the folder that is there.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the training that was stopped.")]
Transductive = Annotated[
    bool, typer.Option("--transductive", help="Learn from the text of the test split too; the model card says so.")
]

PLOTS = (".png", ".svg", ".pdf")
TASK_NAMES = ", ".join(f"{task.name} ({task.summary})" for task in TASKS.values())


@with_groups(data_options=PREPARE, machine=MACHINE)
def prepare_command(
    data: DataArgument,
    out: OutOption,
    data_options: DataOptions,
    machine: Machine,
    task: Annotated[
        str | None,
        typer.Option(
            help=f"Labels: none, {TASK_NAMES}; if not given, the task of a classifier named by --model, else none. "
            "A language model reads a corpus of any task."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="A model that is to read it: its tokenizer, vocabulary and, of a classifier, labels."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Turn text into an encoded corpus: tokenized, split, memory-mapped."""
    check_writable(out, overwrite)
    given: dict[str, Any] = {"task": task or "none"}
    if model is not None:
        for name, option in TOKENIZE.items():
            if getattr(data_options, name) != option.default:
                raise ConfigError(f"--{name.replace('_', '-')}: is the model's own; leave it out, or leave out --model")
        loaded = load_model(resolve_model(model))
        member = loaded.forward if isinstance(loaded, Pair) else loaded
        given |= {"tokenizer": member.tokenizer, "vocabulary": member.vocabulary}
        if isinstance(member, ClassifierParts) and task in (None, member.task.name):
            given |= {"task": member.task.name, "label_names": member.label_names}
    with document_progress() as progress:
        corpus = prepare(data, data_options, folder=out, overwrite=overwrite, progress=progress, **given)
    figures: dict[str, Any] = {"corpus": out, "vocabulary": len(corpus.vocabulary), "tokenizer": corpus.tokenizer.name}
    for name, split in corpus.facts.splits.items():
        figures[name] = f"{split.documents:,} documents, {split.tokens:,} tokens, {split.unknown_rate:.2%} unknown"
    for held_out, by_split in (corpus.facts.near_duplicates or {}).items():
        for trained_on, shared in by_split.items():
            figures[f"in {held_out}, also in {trained_on}"] = (
                f"{shared.near:,} of {shared.documents:,} documents, {shared.exact:,} exactly"
            )
    summarise(figures, machine.json_file, {"facts": corpus.facts.to_json()})
    if (warning := shared_documents_warning(corpus)) is not None:
        typer.echo(warning, err=True)


@with_groups(
    data_options=PREPARE_TEXT,
    sizes=SIZES,
    budget=budget_group(10),
    recipe=PRETRAIN_RECIPE,
    stage=STAGE,
    machine=MACHINE,
)
def pretrain_command(
    data: DataArgument,
    out: OutOption,
    data_options: DataOptions,
    sizes: LanguageModelConfig,
    budget: Budget,
    recipe: LanguageModelRecipe,
    stage: Mapping[str, Any],
    machine: Machine,
    backward: Annotated[bool, typer.Option("--backward", help="Read the text from its end.")] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a language model from scratch."""
    with _training(machine, stage, recipe.batch_size, out, resume, overwrite) as run:
        parts = pretrain(
            _corpus(data, data_options, run),
            budget=budget,
            sizes=sizes,
            recipe=recipe,
            run=run,
            direction="backward" if backward else "forward",
        )
        model = LanguageModel(parts)
        if not run.world.is_first:
            return
        model.save(out, overwrite=overwrite)
    summarise(_summary(model, out), machine.json_file, {"facts": facts_to_json(model.parts.facts)})


@with_groups(data_options=READ_TEXT, budget=budget_group(5), recipe=FINETUNE_RECIPE, stage=STAGE, machine=MACHINE)
def finetune_command(
    language_model: ModelArgument,
    data: DataArgument,
    out: OutOption,
    data_options: DataOptions,
    budget: Budget,
    recipe: LanguageModelRecipe,
    stage: Mapping[str, Any],
    machine: Machine,
    transductive: Transductive = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Go on training a language model on the text it is meant for."""
    splits = (*TRAINING_SPLITS, "test") if transductive else TRAINING_SPLITS
    with _training(machine, stage, recipe.batch_size, out, resume, overwrite) as run:
        base = LanguageModel.load(language_model)
        corpus = _corpus(data, data_options, run, base)
        model = LanguageModel(finetune(base.parts, corpus, budget=budget, recipe=recipe, run=run, splits=splits))
        if not run.world.is_first:
            return
        model.save(out, overwrite=overwrite)
    summarise(_summary(model, out), machine.json_file, {"facts": facts_to_json(model.parts.facts)})


@with_groups(
    data_options=READ,
    budget=budget_group(5),
    recipe=CLASSIFY_RECIPE,
    stage=STAGE,
    from_scratch=FROM_SCRATCH,
    machine=MACHINE,
)
def train_command(
    language_model: Annotated[
        str, typer.Argument(metavar="LM", help="A language model: a folder or hub name; 'none' for random weights.")
    ],
    data: DataArgument,
    out: OutOption,
    data_options: DataOptions,
    budget: Budget,
    recipe: ClassifierRecipe,
    stage: Mapping[str, Any],
    from_scratch: FromScratch,
    machine: Machine,
    task: Annotated[str, typer.Option(help=f"What to predict: {TASK_NAMES}.")] = "single",
    labels: Annotated[int | None, typer.Option(help="Learn from so many labelled documents only.")] = None,
    valid_documents: Annotated[int | None, typer.Option(help="Judge by so many validation documents only.")] = None,
    baselines: Annotated[bool, typer.Option(help="Fit the linear baselines on the same documents.")] = True,
    resume: Resume = False,
    overwrite: Overwrite = False,
) -> None:
    """Train a classifier on labelled documents."""
    check_choice("task", task, TASKS)
    data_options = replace(data_options, **from_scratch.tokenize)
    if language_model != "none" and from_scratch.given:
        flag = from_scratch.given[0].replace("_", "-")
        raise ConfigError(f"--{flag}: is the language model's own; leave it out, or give 'none' for LM")
    with _training(machine, stage, recipe.batch_size, out, resume, overwrite) as run:
        base = None if language_model == "none" else LanguageModel.load(language_model)
        corpus = _corpus(data, data_options, run, base, task)
        judged, rows = validation_rows(corpus, valid_documents, run.seed), training_rows(corpus, labels, run.seed)
        parts = train(
            corpus,
            None if base is None else base.parts,
            budget=budget,
            task=task,
            recipe=recipe,
            sizes=from_scratch.sizes,
            run=run,
            labels=labels,
            valid_documents=valid_documents,
        )
        model = TextClassifier(parts)
        if not run.world.is_first:
            return
        if baselines:
            texts = texts_of(data, corpus, data_options)
            model = TextClassifier(record_baselines(model.parts, corpus, texts, rows, judged))
        model.save(out, overwrite=overwrite)
    summarise(_summary(model, out), machine.json_file, {"facts": facts_to_json(model.parts.facts)})


@with_groups(data_options=READ_TEXT, recipe=FINETUNE_RECIPE, machine=MACHINE)
def lr_find_command(
    language_model: ModelArgument,
    data: DataArgument,
    data_options: DataOptions,
    recipe: LanguageModelRecipe,
    machine: Machine,
    plot: Annotated[str, typer.Option(help="Picture to write.")] = "lr-find.png",
    steps: Annotated[int, typer.Option(help="Steps of the ramp.")] = RATE_SEARCH_STEPS,
) -> None:
    """Look for a learning rate for fine-tuning: a ramp of rates, the loss of each, and a plot."""
    check_choice("plot", Path(plot).suffix.lower(), PLOTS)
    base = LanguageModel.load(language_model)
    with document_progress() as progress:
        found = base.find_learning_rate(
            data,
            recipe=recipe,
            data_options=data_options,
            run=machine.run(),
            steps=steps,
            progress=progress,
        )
    suggestions = {"steepest": found.steepest, "valley": found.valley}
    plot_lr_find(found.rates, found.losses, suggestions, plot, smoothed=found.smoothed)
    summarise({**suggestions, "plot": plot}, machine.json_file, asdict(found))


def _corpus(
    data: str, options: DataOptions, run: RunOptions, base: LanguageModel | None = None, task: str = "none"
) -> EncodedCorpus:
    """The data as a model that starts from `base` reads it, the documents counted on the terminal."""
    given: dict[str, Any] = {}
    if base is not None:
        own = base.parts.tokenizer.closed_vocabulary()
        given = {"tokenizer": base.parts.tokenizer, "vocabulary": own if task == "none" else base.parts.vocabulary}
    with document_progress(shown=run.world.is_first) as progress:
        return prepare_once(run.world, data, options, task=task, progress=progress, **given)


@contextmanager
def _training(
    machine: Machine, stage: Mapping[str, Any], batch_size: int, out: str, resume: bool, overwrite: bool
) -> Iterator[RunOptions]:
    """Where and how a stage that writes `out` runs; see `run_folder`. Of several processes the first sees to it."""
    with joined_world(machine.device) as world:
        world.check_divides(batch_size)
        with run_folder(out, resume, overwrite) if world.is_first else nullcontext(training_folder(out)) as folder:
            yield machine.run(folder=folder, resume=resume, progress=make_progress(), world=world, **stage)


def _summary(model: LanguageModel | TextClassifier, out: str) -> dict[str, Any]:
    """What a training prints last."""
    facts, run = model.parts.facts, model.parts.facts.run
    summary: dict[str, Any] = {"model": out, "parameters": count_parameters(model.parts.model)}
    if facts.labelled_documents is not None:
        summary["labelled documents"] = facts.labelled_documents
    if run is not None:
        summary |= {"steps": run.steps, "epochs": run.epochs, "minutes": run.minutes}
        summary["tokens per second"] = run.tokens_per_second
    before = {"before training": facts.validation_before} if facts.validation_before else {}
    for name, metrics in (before | {"validation": facts.validation} | dict(facts.baselines)).items():
        summary |= {f"{metric}, {name}": value for metric, value in metrics.items()}
    return summary
