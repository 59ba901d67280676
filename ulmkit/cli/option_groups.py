"""Options that several commands share, each group made into one object.

A command names a group as one of its parameters and gets the object; on the command line the group's options stand
in its place. Types, defaults and help come from the dataclasses that hold the options. Nothing here imports torch, so
that `--help` answers at once.
"""

import functools
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeVar

import typer

from ulmkit.cli.dataclass_options import Option, field_options
from ulmkit.config import check_threads
from ulmkit.errors import ConfigError
from ulmkit.model.cells import CELLS, cell_from_options
from ulmkit.model.config import AWDLSTMConfig, LanguageModelConfig
from ulmkit.pipeline.data_options import DataOptions
from ulmkit.pipeline.options import RunOptions
from ulmkit.pipeline.recipe_files import read_recipe
from ulmkit.pipeline.recipes import (
    ALL_LAYERS,
    CLASSIFY,
    FINETUNE,
    FINETUNE_PLAIN,
    PRETRAIN,
    ClassifierRecipe,
    LanguageModelRecipe,
)
from ulmkit.training.budget import Budget
from ulmkit.training.schedules import Schedule


@dataclass(frozen=True)
class OptionGroup:
    """Options by keyword, and the function that makes an object from their values.

    Attributes:
        panel: Heading in `--help`.
        make: Takes the options as keywords.
        options: Options by keyword.
        takes_given: Whether `make` also takes, as `given`, the names of the options that stand on the command line.
    """

    panel: str
    make: Callable[..., Any]
    options: Mapping[str, Option]
    takes_given: bool = False

    def parameters(self) -> list[inspect.Parameter]:
        """Return the options as parameters of a command."""
        parameters = []
        for name, option in self.options.items():
            flags = [option.flag] if option.flag is not None else []
            if option.is_switch and not flags:  # with its name given, typer adds no --no-NAME
                flags = ["--" + name.replace("_", "-")]
            info = typer.Option(*flags, help=option.help, rich_help_panel=self.panel)
            parameters.append(
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=option.default,
                    annotation=Annotated[option.type, info],
                )
            )
        return parameters


def with_groups(**groups: OptionGroup) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a command take each named parameter as a group of options."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(command)
        parameters = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in signature.parameters.items()
            if name not in groups
        ]
        for group in groups.values():
            parameters += group.parameters()
        if any(group.takes_given for group in groups.values()):
            keyword_only = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(_CONTEXT, keyword_only, annotation=typer.Context))

        @functools.wraps(command)
        def expanded(**values: Any) -> Any:
            context = values.pop(_CONTEXT, None)
            objects = {}
            for name, group in groups.items():
                options = {key: values.pop(key) for key in group.options}
                if group.takes_given:
                    options["given"] = {key for key in options if _is_given(context, key)}
                objects[name] = group.make(**options)
            return command(**values, **objects)

        expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del expanded.__wrapped__
        return expanded

    return decorate


_CONTEXT = "context"


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def option_flags(command: Callable[..., Any]) -> dict[str, str]:
    """Return the name on the command line of each parameter that is an option, by the parameter and by that name."""
    names = {}
    for name, parameter in inspect.signature(command).parameters.items():
        (info,) = getattr(parameter.annotation, "__metadata__", (None,))
        if isinstance(info, typer.models.OptionInfo):
            declared = (info.default, *(info.param_decls or ()))  # typer takes a first name for a default, at first
            long = [flag for flag in declared if isinstance(flag, str) and flag.startswith("--")]
            names[name] = long[0] if long else "--" + name.replace("_", "-")
    return {flag.removeprefix("--").replace("-", "_"): flag for flag in names.values()} | names


_PARAMETER = re.compile(
    r"`(?P<marked>[a-z_]+)`"
    r"|(?<![\w'\"./-])(?P<name>[a-z_]+)(?:=(?P<value>'[^']*'|\"[^\"]*\"|[\w.:+-]+))?(?![\w'\"=/(-]|\.\w)"
)
_LISTING = "there are: "
_QUOTES = "'\""


def name_flags(error: BaseException, flags: Mapping[str, str]) -> str:
    """Return an error's message with the Python parameters in it written as the command's options.

    A parameter is the name with which the message of a ConfigError begins, one in backticks, one with a value
    (device='cpu'), or one with an underscore (batch_size). Quoted values and lists of valid ones stay as they are.

    Args:
        error: The error.
        flags: Options by parameter, see `option_flags`.
    """
    message = str(error)

    def flag_of(match: re.Match[str]) -> str:
        name = match["marked"] or match["name"]
        is_first = isinstance(error, ConfigError) and match.start() == 0 and message[match.end() :].startswith(":")
        if name not in flags or not (match["marked"] or match["value"] or "_" in name or is_first):
            return match[0]
        value = match["value"] or "True"
        return flags[name] if value == "True" else f"{flags[name]} {value.strip(_QUOTES)}"

    advice, listing, valid = message.partition(_LISTING)
    return _PARAMETER.sub(flag_of, advice) + listing + valid


def _data_options(
    text_column: list[str] | None,
    label_column: list[str] | None,
    columns: list[str] | None,
    no_header: bool,
    **values: Any,
) -> DataOptions:
    return DataOptions(
        text_column=_one_or_several(text_column),
        label_column=_one_or_several(label_column),
        columns=tuple(columns or ()),
        header=not no_header,
        **values,
    )


def _one_or_several(values: list[str] | None) -> str | list[str] | None:
    return values[0] if values and len(values) == 1 else values or None


_REPEATED = list[str] | None
_READ = field_options(
    DataOptions,
    *("text_column", "label_column", "group_column", "time_column", "split_column", "columns"),
    *("lines", "format"),
    text_column={"type": _REPEATED, "help": "Column with the text; repeat it for a text of several fields."},
    label_column={
        "type": _REPEATED,
        "help": "Column with the label; repeat it for one column of 0 and 1 per label (task multi).",
    },
    columns={
        "type": _REPEATED,
        "help": "Further column to keep; may be repeated.",
        "default": None,
        "flag": "--column",
    },
)
_READ["no_header"] = Option(
    bool, "Read the first line of a .csv or .tsv file as data; its columns are called 1, 2, ...", False
)
_SPLIT = field_options(
    DataOptions,
    *("split_by", "valid_fraction", "drop_shared", "workers"),
    drop_shared={"flag": "--drop-shared-documents"},
)
TOKENIZE = field_options(
    DataOptions, "tokenizer", "language", "max_vocab", "min_freq", "pieces", "pieces_kind", "byte_fallback"
)
_LABELS = field_options(DataOptions, "label_task", label_task={"flag": "--task"})

READ = OptionGroup("Data", _data_options, _READ | _SPLIT)
READ_TEXT = OptionGroup("Data", _data_options, _READ | _SPLIT | _LABELS)
PREPARE_TEXT = OptionGroup("Data", _data_options, _READ | _SPLIT | TOKENIZE | _LABELS)


def _cell_options() -> dict[str, Option]:
    """Return the choice of the cell, and the options of every cell, each prefixed with the cell's name."""
    options = {"cell": Option(str, f"Recurrent cell: {', '.join(CELLS)}.", AWDLSTMConfig().cell.name)}
    for name, cell in CELLS.items():
        options |= field_options(cell, prefix=f"{name}_")
    return options


_ENCODER = field_options(AWDLSTMConfig, "embedding_size", "hidden_size", "layers") | _cell_options()

_SOFTMAX = field_options(AWDLSTMConfig, "last_hidden_size") | field_options(
    LanguageModelConfig, "softmax_experts", "latent_dropout"
)


def _encoder_config(cell: str, **values: Any) -> AWDLSTMConfig:
    options = {name: values.pop(name) for name in _ENCODER if name.split("_")[0] in CELLS}
    for name in CELLS:  # refuse impossible options, whatever the cell
        cell_from_options(name, options)
    for option, value in options.items():
        name = option.split("_")[0]
        if cell in CELLS and name != cell and value != _ENCODER[option].default:
            raise ConfigError(f"{option}: has no effect on cell={cell!r}; drop it, or take cell={name!r}")
    return AWDLSTMConfig(cell=cell_from_options(cell, options), **values)


def _language_model_config(softmax_experts: int, latent_dropout: float, **encoder: Any) -> LanguageModelConfig:
    return LanguageModelConfig(
        encoder=_encoder_config(**encoder), softmax_experts=softmax_experts, latent_dropout=latent_dropout
    )


SIZES = OptionGroup("Model", _language_model_config, _ENCODER | _SOFTMAX)


def _set_options(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _if_set(panel: str, options: Mapping[str, Option]) -> OptionGroup:
    """Make a group whose object is the values of those options that were set."""
    return OptionGroup(panel, _set_options, {name: option.optional() for name, option in options.items()})


SET_TOKENIZE = _if_set("Data", TOKENIZE)
FROM_SCRATCH = _if_set("For LM 'none' only", TOKENIZE | _ENCODER)
"""Options that were set, for a classifier without a language model, which would bring tokenizer and sizes."""


def encoder_from_scratch(set_options: Mapping[str, Any]) -> AWDLSTMConfig:
    """Make an encoder's config from options of `FROM_SCRATCH`, and from the defaults of those not set."""
    return _encoder_config(**{name: set_options.get(name, option.default) for name, option in _ENCODER.items()})


@dataclass(frozen=True)
class Machine:
    """Options of the commands that compute.

    Attributes:
        run: Device, precision, backend and seed; the defaults of those that the command does not have.
        json_file: JSON file for the summary; None writes none.
        overwrite: Whether existing output may be replaced.
    """

    run: RunOptions
    json_file: str | None
    overwrite: bool


def _machine(threads: str | int | None, json_file: str | None, overwrite: bool, **options: Any) -> Machine:
    machine = _machine_of_loaded(threads, json_file, overwrite, **options)
    if isinstance(machine.run.threads, int):
        import torch

        torch.set_num_threads(machine.run.threads)
    return machine


def _machine_of_loaded(threads: str | int | None, json_file: str | None, overwrite: bool, **options: Any) -> Machine:
    try:
        number: int | str | None = int(threads) if threads is not None else None
    except ValueError:
        number = threads
    check_threads("threads", number)
    return Machine(RunOptions(threads=number, **options), json_file, overwrite)


def limit_threads(run: RunOptions) -> None:
    """Set torch's CPU threads as the command line says, if the model that was loaded needs torch.

    Linear members answer without torch, whose import takes longer than their answers.
    """
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(run.threads, int):
        torch.set_num_threads(run.threads)


_JSON_HELP = "Also write the summary to this file, as JSON."
_OVERWRITE_HELP = "Replace existing output, but never the input."
JsonFile = Annotated[str | None, typer.Option("--json", help=_JSON_HELP)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help=_OVERWRITE_HELP)]

_THREADS = Option(int | None, "CPU threads (default: torch's choice).")
_TRAINING_THREADS = Option(
    str | None,
    "CPU threads: a number, or auto to train with fewer while other programs keep the machine busy "
    "(default: torch's choice, and auto with --minutes).",
)


def _machine_group(*names: str, threads: Option = _THREADS, make: Callable[..., Machine] = _machine) -> OptionGroup:
    """Make the group of those fields of RunOptions that a command uses, the threads, the JSON file and overwriting."""
    output = {
        "json_file": Option(str | None, _JSON_HELP, flag="--json"),
        "overwrite": Option(bool, _OVERWRITE_HELP, False, "--overwrite"),
    }
    return OptionGroup("Machine", make, {**field_options(RunOptions, *names), "threads": threads, **output})


TRAINING_MACHINE = _machine_group("device", "precision", "backend", "seed", threads=_TRAINING_THREADS)
MACHINE_WITH_SEED = _machine_group("device", "precision", "backend", "seed")
MACHINE = _machine_group("device", "precision", "backend")
MACHINE_OF_LOADED = _machine_group("device", "precision", "backend", make=_machine_of_loaded)
"""The options of `MACHINE`, for a command that calls `limit_threads` once it has loaded its model."""

MACHINE_WITHOUT_BACKEND = _machine_group("device", "precision")


def _serving_run(threads: int | None, **options: Any) -> RunOptions:
    return _machine_of_loaded(threads, None, False, **options).run


SERVING_MACHINE = OptionGroup(
    "Machine", _serving_run, {**field_options(RunOptions, "device", "precision", "backend"), "threads": _THREADS}
)
"""The options of `MACHINE_OF_LOADED`, for a command that runs until it is stopped, and so has no summary."""


def budget_group(default_epochs: float, *, fills_in: bool = True) -> OptionGroup:
    """Make the group of epochs, steps and minutes.

    Args:
        default_epochs: Epochs if none of the three is given.
        fills_in: Whether the group's object is then that budget; otherwise it is None, and the command decides.
    """

    def make(**values: float | None) -> Budget | None:
        if any(value is not None for value in values.values()):
            return Budget(**values)  # type: ignore[arg-type]
        return Budget(epochs=default_epochs) if fills_in else None

    help_of_epochs = f"Passes over the training text (default: {default_epochs:g})."
    options = field_options(Budget, epochs={"help": help_of_epochs})
    return OptionGroup("Budget (give one)", make, options)


STAGE = OptionGroup(
    "Recipe",
    dict,
    field_options(
        RunOptions,
        *("accumulation", "validations", "restore_best", "tensorboard"),
        validations={"type": int},
        tensorboard={"type": str | None, "help": "Folder for TensorBoard event files (needs ulmkit[tensorboard])."},
    ),
)
"""RunOptions of a training that are not those of its Machine."""

_OF_OPTIMIZER = {"optimizer": "name", "weight_decay": "weight_decay", "decay": "decay"}


def _changed(preset: Any, given: Set[str], recipe_file: str | None = None, **values: Any) -> Any:
    """Return a recipe: what the command line gives, else what the file gives, else the preset's."""
    if recipe_file is not None:
        preset = read_recipe(recipe_file, preset)
    values = {name: value for name, value in values.items() if name in given}
    optimizer = {field: values.pop(name) for name, field in _OF_OPTIMIZER.items() if name in values}
    schedule = values.pop("schedule", preset.schedule.name)
    if schedule != preset.schedule.name:
        values["schedule"] = Schedule(schedule)
    return replace(preset, optimizer=replace(preset.optimizer, **optimizer), **values)


def _recipe_group(preset: LanguageModelRecipe | ClassifierRecipe, *names: str) -> OptionGroup:
    """Make the group of a recipe's options: those of every recipe, and `names`."""
    optimizer = field_options(preset.optimizer, "name", "weight_decay", "decay")
    options = {
        "recipe_file": Option(
            str | None,
            "File with settings of the recipe, .json or .toml, such as `tune` writes; options given here win.",
            flag="--recipe",
        ),
        **field_options(preset, "batch_size", "peak_rate", peak_rate={"type": float, "flag": "--rate"}),
        **field_options(preset, "schedule", "factor", schedule={"type": str, "default": preset.schedule.name}),
        **{name: optimizer[field] for name, field in _OF_OPTIMIZER.items()},
        **field_options(preset, "clip", "dropout_multiplier", dropout_multiplier={"flag": "--dropout"}),
        **field_options(preset, *names, "patience", class_weights={"type": str}),
    }
    return OptionGroup("Recipe", functools.partial(_changed, preset), options, takes_given=True)


_Recipe = TypeVar("_Recipe", LanguageModelRecipe, ClassifierRecipe)


def _recipe_over(given: Set[str], **values: Any) -> Callable[[_Recipe], _Recipe]:
    """Return the function from a preset to the recipe that the command line makes of it."""
    return functools.partial(_changed, given=given, **values)


def _recipe_of_two(usual: OptionGroup, other: OptionGroup, case: str) -> OptionGroup:
    """Make the group of a command that has two presets: the help names both defaults of an option if they differ."""
    options = dict(usual.options)
    for name, option in usual.options.items():
        of_other = other.options[name].default
        if of_other != option.default:
            text = f"{option.help.rstrip('.')} (default: {option.default}; {case} {of_other})."
            options[name] = replace(option, type=option.type | None, help=text, default=None)
    return OptionGroup(usual.panel, _recipe_over, options, takes_given=True)


_OF_LANGUAGE_MODEL = ("bptt", "ar", "tar", "reset_probability")
PRETRAIN_RECIPE = _recipe_group(PRETRAIN, *_OF_LANGUAGE_MODEL)
FINETUNE_RECIPE = _recipe_of_two(
    _recipe_group(FINETUNE_PLAIN, *_OF_LANGUAGE_MODEL),
    _recipe_group(FINETUNE, *_OF_LANGUAGE_MODEL),
    "for a model with dropout",
)
RATE_SEARCH_RECIPE = replace(
    FINETUNE_RECIPE,
    options={
        name: option
        for name, option in FINETUNE_RECIPE.options.items()
        if name not in ("recipe_file", "peak_rate", "schedule", "patience")
    },
)
"""The options of fine-tuning that a search for its learning rate uses."""

_OF_CLASSIFIER = ("adversarial", "unfreezing", "label_smoothing", "class_weights", "value_range", "number_loss")
TRAIN_RECIPE = _recipe_of_two(
    _recipe_group(ALL_LAYERS, *_OF_CLASSIFIER), _recipe_group(CLASSIFY, *_OF_CLASSIFIER), "with --method finetune"
)
