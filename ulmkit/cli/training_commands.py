"""Commands that make models: prepare, pretrain, finetune, train, lr-find.

They import what needs torch when they run, so that `--help` answers at once.
"""

from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ulmkit.cli.option_groups import (
    FINETUNE_RECIPE,
    FROM_SCRATCH,
    MACHINE_WITH_SEED,
    PREPARE_TEXT,
    PRETRAIN_RECIPE,
    RATE_SEARCH_RECIPE,
    READ,
    READ_TEXT,
    SET_TOKENIZE,
    SIZES,
    STAGE,
    TOKENIZE,
    TRAIN_RECIPE,
    TRAINING_MACHINE,
    JsonFile,
    Machine,
    Overwrite,
    budget_group,
    encoder_from_scratch,
    with_groups,
)
from ulmkit.cli.pairs import say_forward_member
from ulmkit.cli.reading import ReadingReport
from ulmkit.cli.summary import summarise
from ulmkit.config import check_choice
from ulmkit.errors import ConfigError
from ulmkit.model.config import LanguageModelConfig
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.pipeline.options import DEFAULT_MODEL, RATE_SEARCH_STEPS, RunOptions
from ulmkit.pipeline.recipes import FINETUNE, GO_ON, ClassifierRecipe, LanguageModelRecipe
from ulmkit.safe_writes import check_writable, remove_event_files
from ulmkit.training.budget import Budget
from ulmkit.training.progress import make_progress

if TYPE_CHECKING:
    from ulmkit.api import LanguageModel, TextClassifier
    from ulmkit.hub import TrainingFacts

DataArgument = Annotated[
    str, typer.Argument(metavar="DATA", help="A file, a folder, a prepared corpus, or a data set on the hub.")
]
ModelArgument = Annotated[
    str, typer.Argument(metavar="LM", help="A language model: a folder, a shipped name or a hub name.")
]


def _data_alone(context: typer.Context, data: str) -> str:
    """Take a single argument for DATA, and the default language model."""
    if data or context.resilient_parsing:
        return data
    only: str = context.params["language_model"]
    if not only:
        raise typer.BadParameter("expected a file, a folder, a prepared corpus or a data set on the hub, got nothing")
    context.params["language_model"] = DEFAULT_MODEL
    return only


BaseArgument = Annotated[
    str,
    typer.Argument(
        metavar="[LM]",
        show_default=False,
        help=f"A language model: a folder, a shipped name or a hub name (default: {DEFAULT_MODEL}, for English).",
    ),
]
BaseOrNoneArgument = Annotated[
    str,
    typer.Argument(
        metavar="[LM]",
        show_default=False,
        help=f"A language model: a folder, a shipped name or a hub name (default: {DEFAULT_MODEL}, for English); "
        "'none' for linear models alone, or for a network with random weights. Or a fine-tuned classifier to train "
        "further.",
    ),
]
DataAfterBaseArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        show_default=False,
        callback=_data_alone,
        help="A file, a folder, a prepared corpus, or a data set on the hub.",
    ),
]
OutOption = Annotated[str, typer.Option("--out", "-o", help="Output folder.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted training run.")]
PlotFile = Annotated[
    str | None, typer.Option("--plot", help="Draw the training curves into this file: .png, .svg or .pdf.")
]
Transductive = Annotated[
    bool, typer.Option("--transductive", help="Also train on the text of the test split; the model card says so.")
]

_CLASSIFIER_EPOCHS = 5.0

Progress = Callable[[int], None]
"""Called with the number of documents prepared so far."""

PLOTS = (".png", ".svg", ".pdf")
TASK_NAMES = "single, multi, number, tokens, pair"
"""Names of `ulmkit.tasks.TASKS`, which needs numpy."""


@with_groups(data_options=READ, tokenize=SET_TOKENIZE)
def prepare_command(
    data: DataArgument,
    out: OutOption,
    data_options: DataOptions,
    tokenize: Mapping[str, Any],
    task: Annotated[
        str | None,
        typer.Option(
            help=f"Label type: none, {TASK_NAMES} (default: that of a classifier named by --model, else none). "
            "A language model reads a corpus of any task."
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Use the tokenizer and vocabulary of this model, and its labels if it is a classifier."),
    ] = None,
    overwrite: Overwrite = False,
    json_file: JsonFile = None,
) -> None:
    """Encode text once and save it as a corpus.

    The text is tokenized and split; training memory-maps the corpus.

    Example: ulmkit prepare reviews.csv --out corpus --task single
    """
    from ulmkit.hub import ClassifierParts, Pair, load_model, resolve_model
    from ulmkit.pipeline import prepare
    from ulmkit.pipeline.held_out import data_warnings
    from ulmkit.text.corpus.reading_report import corpus_report, reading_to_json

    check_writable(out, overwrite)
    data_options = replace(data_options, **tokenize)
    model_parts: dict[str, Any] = {"task": task or "none"}
    if model is not None:
        if tokenize:
            flag = next(iter(tokenize)).replace("_", "-")
            raise ConfigError(f"--{flag}: the model has its own; drop it, or drop --model")
        loaded = load_model(resolve_model(model))
        member = loaded.forward if isinstance(loaded, Pair) else loaded
        model_parts |= {"tokenizer": member.tokenizer, "vocabulary": member.vocabulary}
        if isinstance(member, ClassifierParts) and task in (None, member.task.name):
            model_parts |= {"task": member.task.name, "label_names": member.label_names}
    with closing(make_progress()) as display:
        corpus = prepare(data, data_options, folder=out, overwrite=overwrite, progress=display.documents, **model_parts)
    values = {"corpus": out, "vocabulary": len(corpus.vocabulary), "tokenizer": corpus.tokenizer.name}
    summary: dict[str, Any] = values | {line.name: line.text for line in corpus_report(corpus.facts)}
    for name, split in corpus.facts.splits.items():
        summary[name] = f"{split.documents:,} documents, {split.tokens:,} tokens, {split.unknown_rate:.2%} unknown"
    for held_out, by_split in (corpus.facts.near_duplicates or {}).items():
        for trained_on, shared in by_split.items():
            summary[f"in {held_out}, also in {trained_on}"] = (
                f"{shared.near:,} of {shared.documents:,} documents, {shared.exact:,} exactly"
            )
    reading = reading_to_json(corpus.facts)
    summarise(summary, json_file, {**values, "reading": reading, "facts": corpus.facts.to_json()})
    for warning in data_warnings(corpus):
        typer.echo(warning, err=True)


@with_groups(
    data_options=PREPARE_TEXT,
    sizes=SIZES,
    budget=budget_group(10),
    recipe=PRETRAIN_RECIPE,
    stage=STAGE,
    machine=TRAINING_MACHINE,
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
    backward: Annotated[
        bool, typer.Option("--backward", help="Train a backward model, which reads text from the end.")
    ] = False,
    plot: PlotFile = None,
    resume: Resume = False,
) -> None:
    """Train a language model from scratch.

    Example: ulmkit pretrain wikipedia/ --out my-lm --minutes 60
    """
    from ulmkit.api import LanguageModel

    def train(run: RunOptions, progress: Progress) -> LanguageModel:
        return LanguageModel.pretrain(
            data,
            **asdict(budget),
            sizes=sizes,
            recipe=recipe,
            data_options=data_options,
            run=run,
            direction="backward" if backward else "forward",
            progress=progress,
        )

    _run_training(train, machine, stage, recipe.batch_size, out, resume, plot)


@with_groups(
    data_options=READ_TEXT, budget=budget_group(5), recipe=FINETUNE_RECIPE, stage=STAGE, machine=TRAINING_MACHINE
)
def finetune_command(
    *,
    language_model: BaseArgument = "",
    data: DataAfterBaseArgument = "",
    out: OutOption,
    data_options: DataOptions,
    budget: Budget,
    recipe: Callable[[LanguageModelRecipe], LanguageModelRecipe],
    stage: Mapping[str, Any],
    machine: Machine,
    transductive: Transductive = False,
    plot: PlotFile = None,
    resume: Resume = False,
) -> None:
    """Fine-tune a language model on target text.

    Both members of a pair are trained, each for half of the minutes, or for all of the epochs or steps.

    Example: ulmkit finetune reviews.csv --out reviews-lm --minutes 10
    """
    from ulmkit.api import LanguageModel
    from ulmkit.pipeline import usual_finetuning
    from ulmkit.text.corpus.builder import TRAINING_SPLITS

    recipe(FINETUNE)  # refuses values outside their range before a model is loaded
    splits = (*TRAINING_SPLITS, "test") if transductive else TRAINING_SPLITS

    def train(run: RunOptions, progress: Progress) -> LanguageModel:
        base = LanguageModel.load(language_model)
        return base.finetune(
            data,
            **asdict(budget),
            recipe=recipe(usual_finetuning(base.parts)),
            data_options=data_options,
            run=run,
            splits=splits,
            progress=progress,
        )

    _run_training(train, machine, stage, None, out, resume, plot)


@with_groups(
    data_options=READ,
    budget=budget_group(_CLASSIFIER_EPOCHS, fills_in=False),
    recipe=TRAIN_RECIPE,
    stage=STAGE,
    from_scratch=FROM_SCRATCH,
    machine=TRAINING_MACHINE,
)
def train_command(
    *,
    language_model: BaseOrNoneArgument = "",
    data: DataAfterBaseArgument = "",
    out: OutOption,
    data_options: DataOptions,
    budget: Budget | None,
    recipe: Callable[[ClassifierRecipe], ClassifierRecipe],
    stage: Mapping[str, Any],
    from_scratch: Mapping[str, Any],
    machine: Machine,
    task: Annotated[
        str | None,
        typer.Option(
            help=f"Label type: {TASK_NAMES} (default: that of the classifier to train further, else single).",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[int | None, typer.Option(help="Labelled documents to train on (default: all).")] = None,
    valid_documents: Annotated[int | None, typer.Option(help="Documents to validate on (default: all).")] = None,
    baselines: Annotated[bool, typer.Option(help="Fit linear baselines on the same documents.")] = True,
    method: Annotated[
        str,
        typer.Option(
            help="auto (a ladder of linear models, features of LM, fine-tuned networks and their blend, of which the "
            "cheapest good one is kept), features or linear (its lower rungs alone), or finetune (gradual unfreezing)."
        ),
    ] = "auto",
    drop_classes: Annotated[
        list[str] | None,
        typer.Option("--drop-class", help="Class to remove from the classifier to train further; may be repeated."),
    ] = None,
    old_data: Annotated[
        str | None,
        typer.Option(
            help="Documents to score the classifier on before and after it is trained further (default: those it was "
            "validated on, if they are found)."
        ),
    ] = None,
    transductive: Transductive = False,
    plot: PlotFile = None,
    resume: Resume = False,
) -> None:
    """Train a classifier on labelled documents.

    Example: ulmkit train reviews-lm reviews.csv --out my-classifier --minutes 5
    """
    from ulmkit.api import TextClassifier, load_either
    from ulmkit.pipeline import climbs_ladder, trains_networks, usual_recipe, why_no_networks

    has_language_model = language_model != "none"
    usual = usual_recipe(method, task or "single", has_language_model=has_language_model)
    first_recipe, go_on_recipe = recipe(usual), recipe(GO_ON)
    sizes = [name for name in from_scratch if name not in TOKENIZE]
    climbs = climbs_ladder(method, task or "single")
    if not trains_networks(method, task or "single", has_language_model=has_language_model):
        for name, value in stage.items():
            if value != getattr(RunOptions, name):
                raise ConfigError(f"{name}: has no effect: {why_no_networks(method)}")
    elif budget is None:
        budget = Budget(epochs=_CLASSIFIER_EPOCHS)
    if language_model == "none" and climbs and sizes:
        flag = sizes[0].replace("_", "-")
        raise ConfigError(f"--{flag}: is for a network without a language model; add --method finetune, or drop it")
    data_options = replace(data_options, **{name: from_scratch[name] for name in TOKENIZE if name in from_scratch})
    if language_model != "none" and from_scratch:
        flag = next(iter(from_scratch)).replace("_", "-")
        raise ConfigError(f"--{flag}: the language model has its own; drop it, or give 'none' for LM")

    def train(run: RunOptions, progress: Progress) -> TextClassifier:
        start = None if language_model == "none" else load_either(language_model, run)
        return TextClassifier.train(
            data,
            start,
            **({} if budget is None else asdict(budget)),
            task=task,
            recipe=go_on_recipe if isinstance(start, TextClassifier) else first_recipe,
            sizes=None if climbs or start is not None else encoder_from_scratch(from_scratch),
            data_options=data_options,
            run=run,
            labels=labels,
            valid_documents=valid_documents,
            baselines=baselines,
            method=method,
            transductive=transductive,
            drop_classes=drop_classes or (),
            old_data=old_data,
            progress=progress,
        )

    _run_training(train, machine, stage, first_recipe.batch_size, out, resume, plot)


@with_groups(data_options=READ_TEXT, recipe=RATE_SEARCH_RECIPE, machine=MACHINE_WITH_SEED)
def lr_find_command(
    language_model: ModelArgument,
    data: DataArgument,
    data_options: DataOptions,
    recipe: Callable[[LanguageModelRecipe], LanguageModelRecipe],
    machine: Machine,
    plot: Annotated[str, typer.Option(help="Output file of the plot: .png, .svg or .pdf.")] = "lr-find.png",
    steps: Annotated[int, typer.Option(help="Steps over which the rate rises.")] = RATE_SEARCH_STEPS,
) -> None:
    """Suggest a learning rate for fine-tuning.

    The rate is raised over a few training steps, and the loss is plotted.

    Example: ulmkit lr-find my-lm reviews.csv --plot lr-find.png
    """
    from ulmkit.api import LanguageModel
    from ulmkit.pipeline import usual_finetuning
    from ulmkit.report import plot_lr_find

    check_choice("plot", Path(plot).suffix.lower(), PLOTS)
    base = LanguageModel.load(language_model)
    say_forward_member(base)
    with closing(make_progress()) as display:
        report = ReadingReport(display.message)
        search = base.find_learning_rate(
            data,
            recipe=recipe(usual_finetuning(base.parts)),
            data_options=data_options,
            run=replace(machine.run, on_corpus=report, progress=display),
            steps=steps,
            progress=display.documents,
        )
    suggestions = {"steepest": search.steepest, "valley": search.valley}
    plot_lr_find(search.rates, search.losses, suggestions, plot, smoothed=search.smoothed)
    summary = {**suggestions, "plot": plot}
    summarise(summary, machine.json_file, {**summary, **asdict(search), "reading": report.values})


def _run_training(
    train: "Callable[[RunOptions, Progress], LanguageModel | TextClassifier]",
    machine: Machine,
    stage: Mapping[str, Any],
    batch_size: int | None,
    out: str,
    resume: bool,
    plot: str | None,
) -> None:
    """Join the processes of a training, run it, and save and summarise its model in the first process.

    The first process guards `out`, see `run_folder`.

    Args:
        train: Takes the options of the run, and a callback that counts the documents that are prepared.
        machine: Options of the machine.
        stage: Further options of the run.
        batch_size: Batch size, which the processes share; None if it depends on the model, and `train` checks it.
        out: Folder of the model.
        resume: Continue an interrupted training run.
        plot: File for a plot of the training; None draws none.
    """
    from ulmkit.pipeline.stage_folder import run_folder, training_folder
    from ulmkit.training import joined_world

    if plot is not None:
        check_choice("plot", Path(plot).suffix.lower(), PLOTS)
    with joined_world(machine.run.device) as world, closing(make_progress()) as display:
        if batch_size is not None:
            world.check_divides(batch_size)
        with (
            run_folder(out, resume, machine.overwrite)
            if world.is_first
            else nullcontext(training_folder(out)) as folder
        ):
            if stage["tensorboard"] is not None and world.is_first and not resume:
                remove_event_files(stage["tensorboard"])
            report = ReadingReport(display.message)
            run = replace(
                machine.run, folder=folder, resume=resume, progress=display, on_corpus=report, world=world, **stage
            )
            model = train(run, display.documents)
            if not world.is_first:
                return
            model.save(out, overwrite=machine.overwrite or resume)
    if plot is not None:
        from ulmkit.report import plot_parts

        plot_parts(*(model.parts, *([] if model.backward is None else [model.backward])), path=plot)
    _summarise_training(model, out, machine, report.values)


def _summarise_training(
    model: "LanguageModel | TextClassifier", out: str, machine: Machine, reading: Mapping[str, Any]
) -> None:
    """Print the results of a training, and write them with its facts to the JSON file."""
    from ulmkit.hub import EnsembleParts, facts_to_json, member_name
    from ulmkit.hub.folder_config import DIRECTIONS
    from ulmkit.model.aligned import count_parameters

    parts = model.parts
    backward = model.backward
    summary: dict[str, Any] = {"model": out}
    if isinstance(parts, EnsembleParts):
        summary["members"] = ", ".join(map(member_name, parts.members))
    else:
        summary["parameters"] = count_parameters(parts.model)
    if backward is None:
        summary |= _training_figures(parts.facts)
    else:
        summary["parameters"] += count_parameters(backward.model)
        for direction, member in zip(DIRECTIONS, (parts, backward), strict=True):
            summary |= {f"{direction}: {name}": value for name, value in _training_figures(member.facts).items()}
    values: dict[str, Any] = {name: summary[name] for name in ("model", "members", "parameters") if name in summary}
    values |= {"facts": facts_to_json(parts.facts), "reading": reading}
    if backward is not None:
        values["backward_facts"] = facts_to_json(backward.facts)
    summarise(summary, machine.json_file, values)


def _training_figures(facts: "TrainingFacts") -> dict[str, Any]:
    """Figures of what a training spent and reached, by names for people."""
    run = facts.run
    figures: dict[str, Any] = {}
    if facts.labelled_documents is not None:
        figures["labelled documents"] = facts.labelled_documents
    if facts.validation_documents is not None:
        figures["validation documents"] = facts.validation_documents
    if run is not None:
        spent: dict[str, Any] = {"steps": run.steps, "epochs": run.epochs, "minutes": run.minutes}
        spent["tokens per second"] = run.tokens_per_second
        figures |= {name: value for name, value in spent.items() if value is not None}
    continuation = facts.continuation
    if continuation is not None and continuation.old_documents is not None:
        old = continuation.old_documents
        figures["old documents"] = old.documents
        figures |= {f"{old.measure}, old documents, before": old.before, f"{old.measure}, old documents": old.after}
    if facts.ladder is not None and facts.ladder.is_cross_validated:
        kept = facts.ladder.kept
        figures["accuracy, held-out labels"] = (
            f"{kept.accuracy:.4f} ± {kept.standard_error:.4f} ({facts.ladder.judged_on})"
        )
    before = {"before training": facts.validation_before} if facts.validation_before else {}
    for name, metrics in (before | {"validation": facts.validation} | dict(facts.baselines)).items():
        figures |= {f"{metric}, {name}": value for metric, value in metrics.items()}
    return figures
