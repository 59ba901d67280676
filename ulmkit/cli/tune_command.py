"""The command that searches for the settings of a training."""

import shlex
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Annotated, Any

import typer

from ulmkit.cli.dataclass_options import field_options
from ulmkit.cli.option_groups import MACHINE_WITH_SEED, READ, Machine, OptionGroup, with_groups
from ulmkit.cli.reading import ReadingReport
from ulmkit.cli.summary import summarise
from ulmkit.cli.training_commands import TASK_NAMES, DataArgument, Resume
from ulmkit.config import check_choice
from ulmkit.errors import ConfigError
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.pipeline.options import DEFAULT_MODEL
from ulmkit.pipeline.recipe_files import read_recipe
from ulmkit.pipeline.recipes import CLASSIFY, ClassifierRecipe, LanguageModelRecipe
from ulmkit.training.budget import Budget
from ulmkit.training.progress import make_progress

STAGES = ("train", "finetune")


_DEFAULT_TASK = "single"
_PREFIX = "trial_"


def _trial_budget(**values: Any) -> Budget | None:
    lengths = {name: value for name, value in values.items() if value is not None}
    if len(lengths) > 1:
        raise ConfigError(f"{next(iter(lengths))}: gives the length of a trial a second time; drop all but one")
    try:
        return Budget(**{name.removeprefix(_PREFIX): value for name, value in lengths.items()}) if lengths else None
    except ConfigError as error:
        raise ConfigError(f"{_PREFIX}{error}") from error


_TRIAL = OptionGroup(
    "Length of each trial (give one)",
    _trial_budget,
    field_options(
        Budget,
        prefix=_PREFIX,
        epochs={"help": "Passes over the training text."},
        minutes={"help": "Wall-clock time, validation included (default: a tenth of --minutes)."},
    ),
)


@with_groups(data_options=READ, trial_budget=_TRIAL, machine=MACHINE_WITH_SEED)
def tune_command(
    data: DataArgument,
    out_file: Annotated[str, typer.Option("--out", "-o", help="Output file of the best settings, .json.")],
    minutes: Annotated[float, typer.Option(help="Minutes of the whole search.")],
    data_options: DataOptions,
    trial_budget: Budget | None,
    machine: Machine,
    stage: Annotated[
        str, typer.Option("--for", help="Command to tune: train (with --method finetune) or finetune.")
    ] = "train",
    language_model: Annotated[
        str, typer.Option(help="Language model to start from: a folder, a shipped name or a hub name.")
    ] = DEFAULT_MODEL,
    task: Annotated[str, typer.Option(help=f"Label type: {TASK_NAMES}.")] = _DEFAULT_TASK,
    labels: Annotated[int | None, typer.Option(help="Labelled documents to train on (default: all).")] = None,
    valid_documents: Annotated[int | None, typer.Option(help="Documents to validate on (default: all).")] = None,
    trials: Annotated[int | None, typer.Option(help="Maximum number of trials.")] = None,
    recipe_file: Annotated[
        str | None, typer.Option("--recipe", help="File with settings to start from, .json or .toml.")
    ] = None,
    resume: Resume = False,
) -> None:
    """Search for the best training settings.

    Trials train on the training split with different settings, and are compared on the validation split; the test
    split is not read. The first has the default settings. Trials that are worse than the median end early. The
    best settings are written to a file, for the option --recipe of the tuned command.

    Example: ulmkit tune reviews.csv --language-model reviews-lm --minutes 60 --out best.json
    """
    from ulmkit.api import LanguageModel, find_recipe
    from ulmkit.pipeline import SearchOptions, usual_finetuning

    check_choice("stage", stage, STAGES)
    if stage == "finetune" and (labels is not None or valid_documents is not None):
        name = "labels" if labels is not None else "valid_documents"
        raise ConfigError(f"{name}: has no effect with stage='finetune'; drop it")
    base = LanguageModel.load(language_model)
    recipe = _first_recipe(stage, recipe_file, usual_finetuning(base.parts))
    search = SearchOptions(
        minutes=minutes,
        trials=trials,
        trial_budget=trial_budget,
        out=out_file,
        resume=resume,
        overwrite=machine.overwrite,
    )
    with closing(make_progress()) as display:
        report = ReadingReport(display.message)
        result = find_recipe(
            data,
            base,
            search,
            recipe=recipe,
            task=task,
            data_options=data_options,
            run=replace(machine.run, progress=display, on_corpus=report),
            labels=labels,
            valid_documents=valid_documents,
            progress=display.documents,
        )
    print(f"{result.table()}\n")
    first, best = (result.trials[number].metrics.get(result.metric) for number in (0, result.best))
    ((unit, length),) = ((name, value) for name, value in vars(result.trial_budget).items() if value is not None)
    of_task = {"task": None if task == _DEFAULT_TASK else task, "labels": labels, "valid_documents": valid_documents}
    command = [
        *("ulmkit", stage, language_model, data, "--recipe", out_file),
        *(["--method", "finetune", *_given(of_task)] if stage == "train" else []),
        *(*_data_flags(data_options), f"--{unit}", f"{length:.3g}", "--out", "OUT"),
    ]
    summarise(
        {
            f"validation {result.metric}, default settings": first,
            f"validation {result.metric}, best settings": best,
            "each trial": f"{length:.3g} {unit.removesuffix('s') if length == 1 else unit}",
            "recipe": out_file,
            "next": shlex.join(command),
        },
        machine.json_file,
        {"out": out_file, "for": stage, **result.to_dict(), "reading": report.values},
    )


def _data_flags(data_options: DataOptions) -> list[str]:
    """Options of DATA as they were given; with others, training would use other documents than the trials."""
    defaults = DataOptions()
    changed = {
        name: getattr(data_options, name)
        for name in READ.options
        if hasattr(defaults, name) and getattr(data_options, name) != getattr(defaults, name)
    }
    return _given(changed) + ([] if data_options.header else ["--no-header"])


def _given(values: Mapping[str, Any]) -> list[str]:
    """Options on the command line with these values; none for None."""
    words: list[str] = []
    for name, value in values.items():
        option = READ.options.get(name)
        flag = (option.flag if option else None) or "--" + name.replace("_", "-")
        if value is True:
            words.append(flag)
        elif isinstance(value, list | tuple):
            words += [word for each in value for word in (flag, str(each))]
        elif value is not None:
            words += [flag, str(value)]
    return words


def _first_recipe(
    stage: str, file: str | None, finetuning: LanguageModelRecipe
) -> ClassifierRecipe | LanguageModelRecipe:
    """The recipe that a search starts from; `finetuning` is the usual one of a language model."""
    if stage == "train":
        return CLASSIFY if file is None else read_recipe(file, CLASSIFY)
    return finetuning if file is None else read_recipe(file, finetuning)
