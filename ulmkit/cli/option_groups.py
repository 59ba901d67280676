"""Options that several commands share, each group made into one object.

A command names a group as one of its parameters and gets the object; on the command line the group's options stand
in its place.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
import typer

from ulmkit.config import check_whole
from ulmkit.model.cells import Mogrifier, cell_from_options
from ulmkit.model.config import AWDLSTMConfig, LanguageModelConfig
from ulmkit.pipeline import CLASSIFY, FINETUNE, PRETRAIN, DataOptions, RunOptions
from ulmkit.training import Budget, Schedule


@dataclass(frozen=True)
class Option:
    """One option: its type, what `--help` says, its default, and its name if not the keyword's own."""

    type: Any
    help: str
    default: Any = None
    flag: str | None = None


@dataclass(frozen=True)
class OptionGroup:
    """Options by keyword, and what makes the object from their values. panel: its heading in `--help`."""

    panel: str
    make: Callable[..., Any]
    options: Mapping[str, Option]

    def parameters(self) -> list[inspect.Parameter]:
        """As parameters of a command."""
        found = []
        for name, option in self.options.items():
            flags = () if option.flag is None else (option.flag,)
            info = typer.Option(*flags, help=option.help, rich_help_panel=self.panel)
            found.append(
                inspect.Parameter(
                    name,
                    inspect.Parameter.KEYWORD_ONLY,
                    default=option.default,
                    annotation=Annotated[option.type, info],
                )
            )
        return found


def with_groups(**groups: OptionGroup) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a command take each named parameter as a group of options."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(command, eval_str=True)
        own = [parameter for name, parameter in signature.parameters.items() if name not in groups]
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        parameters = own + [parameter for group in groups.values() for parameter in group.parameters()]

        @functools.wraps(command)
        def expanded(**values: Any) -> Any:
            made = {
                name: group.make(**{key: values.pop(key) for key in group.options}) for name, group in groups.items()
            }
            return command(**values, **made)

        expanded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        expanded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del expanded.__wrapped__
        return expanded

    return decorate


def _data_options(text_column: list[str] | None, columns: list[str] | None, **values: Any) -> DataOptions:
    text = text_column[0] if text_column and len(text_column) == 1 else text_column or None
    return DataOptions(text_column=text, columns=tuple(columns or ()), **values)


_READ = {
    "text_column": Option(list[str] | None, "Column with the text; give it again for a text of several fields."),
    "label_column": Option(str | None, "Column with the label."),
    "group_column": Option(str | None, "Column with the group, for --split-by group."),
    "time_column": Option(str | None, "Column with the time, for --split-by time."),
    "split_column": Option(str | None, "Column that says train, valid or test."),
    "columns": Option(list[str] | None, "Further column to keep; may be given again.", flag="--column"),
    "lines": Option(bool, "A .txt file holds one document a line.", False),
}

_SPLIT = {
    "split_by": Option(str, "Validation documents: auto, given, random, time or group.", "auto"),
    "valid_fraction": Option(float | None, "Fraction held out for validation if DATA has no split; 0.1 if not given."),
    "drop_shared": Option(
        bool,
        "Drop documents from training that a held-out split has too, exactly or nearly.",
        False,
        flag="--drop-shared-documents",
    ),
    "workers": Option(int | None, "Processes that tokenize; one a processor if not given."),
}

TOKENIZE = {
    "tokenizer": Option(str | None, "spacy (if not given), sentencepiece, whitespace or bytes."),
    "language": Option(str, "Language code, for spacy.", "en"),
    "max_vocab": Option(int | None, "Most tokens in a vocabulary: 60000 for spacy, no limit for whitespace."),
    "min_freq": Option(int | None, "Least number of times a word occurs: 3 for spacy, 1 for whitespace."),
    "pieces": Option(int, "Number of SentencePiece pieces.", 16_000),
    "pieces_kind": Option(str, "SentencePiece algorithm: unigram or bpe.", "unigram"),
}

_LABELS = {
    "label_task": Option(
        str,
        "Labels, if there are any: single, multi, number, tokens, pair or none; a random split is then that of `train` "
        "with the same --task.",
        "single",
        flag="--task",
    ),
}

READ = OptionGroup("Data", _data_options, _READ | _SPLIT)
READ_TEXT = OptionGroup("Data", _data_options, _READ | _SPLIT | _LABELS)
PREPARE = OptionGroup("Data", _data_options, _READ | _SPLIT | TOKENIZE)
PREPARE_TEXT = OptionGroup("Data", _data_options, _READ | _SPLIT | TOKENIZE | _LABELS)

_SIZES = {
    "embedding_size": Option(int, "Size of embedding and last layer.", 400),
    "hidden_size": Option(int, "Units of the other layers.", 1152),
    "layers": Option(int, "Recurrent layers.", 3),
    "cell": Option(str, "lstm, qrnn or mogrifier.", "lstm"),
    "mogrifier_rounds": Option(int, "Rounds of gating before each step of the mogrifier.", 5),
    "mogrifier_rank": Option(int, "Rank of the mogrifier's matrices; 0 for whole ones.", 84),
}

_SOFTMAX = {
    "softmax_experts": Option(int, "Softmaxes that are mixed; 1 is the plain softmax.", 1),
    "latent_dropout": Option(float, "Dropout on what each of several softmaxes is computed from.", 0.0),
    "last_hidden_size": Option(
        int | None, "Units of the last layer under several softmaxes; the embedding's size if not given."
    ),
}


def _encoder_config(
    cell: str, mogrifier_rounds: int, mogrifier_rank: int, last_hidden_size: int | None = None, **sizes: Any
) -> AWDLSTMConfig:
    options = {"mogrifier_rounds": mogrifier_rounds, "mogrifier_rank": mogrifier_rank or None}
    Mogrifier(rounds=mogrifier_rounds, rank=mogrifier_rank or None)  # refuse impossible options, whatever the cell
    return AWDLSTMConfig(cell=cell_from_options(cell, options), last_hidden_size=last_hidden_size, **sizes)


def _language_model_config(softmax_experts: int, latent_dropout: float, **encoder: Any) -> LanguageModelConfig:
    return LanguageModelConfig(
        encoder=_encoder_config(**encoder), softmax_experts=softmax_experts, latent_dropout=latent_dropout
    )


SIZES = OptionGroup("Model", _language_model_config, _SIZES | _SOFTMAX)


@dataclass(frozen=True)
class FromScratch:
    """What a language model settles, for a model without one. given: the options that were."""

    given: tuple[str, ...]
    sizes: AWDLSTMConfig
    tokenize: Mapping[str, Any]


def _from_scratch(**values: Any) -> FromScratch:
    given = {name: value for name, value in values.items() if value is not None}
    sizes = {name: given.get(name, option.default) for name, option in _SIZES.items()}
    return FromScratch(
        tuple(given), _encoder_config(**sizes), {name: given[name] for name in TOKENIZE if name in given}
    )


def _optional(option: Option) -> Option:
    rule = "" if option.default is None else f" {option.default} if not given."
    return replace(option, type=option.type | None, help=option.help + rule, default=None)


FROM_SCRATCH = OptionGroup(
    "For LM 'none' only", _from_scratch, {name: _optional(option) for name, option in (TOKENIZE | _SIZES).items()}
)


@dataclass(frozen=True)
class Machine:
    """Where a command runs, and the file that its summary is written to besides."""

    device: str
    precision: str
    backend: str
    seed: int
    json_file: str | None

    def run(self, **others: Any) -> RunOptions:
        """The RunOptions with these and `others`."""
        return RunOptions(device=self.device, precision=self.precision, backend=self.backend, seed=self.seed, **others)


def _machine(threads: int | None, **values: Any) -> Machine:
    if threads is not None:
        check_whole("threads", threads)
        torch.set_num_threads(threads)
    return Machine(**values)


MACHINE = OptionGroup(
    "Machine",
    _machine,
    {
        "device": Option(str, "auto, cpu, cuda or cuda:N.", "auto"),
        "precision": Option(str, "auto, fp32 or bf16.", "auto"),
        "backend": Option(str, "LSTM kernels: auto, or a name that `ulmkit info` shows.", "auto"),
        "threads": Option(int | None, "Processor threads; torch's choice if not given."),
        "seed": Option(int, "Of all that is random but the split, which is the same for every seed.", 0),
        "json_file": Option(str | None, "Write the summary to this file too.", flag="--json"),
    },
)


def budget_group(default_epochs: float) -> OptionGroup:
    """Epochs, steps or minutes; `default_epochs` if none is given."""

    def make(epochs: float | None, steps: int | None, minutes: float | None) -> Budget:
        if epochs is None and steps is None and minutes is None:
            return Budget(epochs=default_epochs)
        return Budget(epochs=epochs, steps=steps, minutes=minutes)

    return OptionGroup(
        "Budget: one of these",
        make,
        {
            "epochs": Option(float | None, f"Times through the training text; {default_epochs:g} if nothing is given."),
            "steps": Option(int | None, "Optimizer steps."),
            "minutes": Option(float | None, "Wall-clock time, validation included."),
        },
    )


def _stage(accumulation: int, validations: int, restore_best: bool) -> dict[str, Any]:
    check_whole("accumulation", accumulation)
    check_whole("validations", validations)
    return {"accumulation": accumulation, "validations": validations, "restore_best": restore_best}


STAGE = OptionGroup(
    "Recipe",
    _stage,
    {
        "accumulation": Option(int, "Batches of one optimizer step.", 1),
        "validations": Option(int, "How often the stage validates, evenly spread.", RunOptions().validations),
        "restore_best": Option(bool, "End with the best weights seen in validation, not the last.", False),
    },
)
"""What the RunOptions of a training say besides those of its Machine."""

_OF_OPTIMIZER = {"optimizer": "name", "weight_decay": "weight_decay", "decay": "decay"}


def _changed(preset: Any, **values: Any) -> Any:
    given = {name: value for name, value in values.items() if value is not None}
    if "schedule" in given:
        given["schedule"] = Schedule(given["schedule"])
    of_optimizer = {field: given.pop(name) for name, field in _OF_OPTIMIZER.items() if name in given}
    return replace(preset, optimizer=replace(preset.optimizer, **of_optimizer), **given)


def _recipe_options(preset: Any) -> dict[str, Option]:
    rate = preset.peak_rate
    return {
        "batch_size": Option(int | None, f"Sequences of a step; {preset.batch_size} if not given."),
        "peak_rate": Option(float | None, f"Highest learning rate; {rate} if not given.", flag="--rate"),
        "schedule": Option(
            str | None, f"slanted_triangular, one_cycle, flat_cosine or constant; {preset.schedule.name} if not given."
        ),
        "factor": Option(float | None, f"Rate of a layer group over the one below; {preset.factor:g} if not given."),
        "optimizer": Option(str | None, f"adamw, sgd, nt_asgd or asgd; {preset.optimizer.name} if not given."),
        "weight_decay": Option(float | None, f"Strength of decay; {preset.optimizer.weight_decay:g} if not given."),
        "decay": Option(str | None, f"decoupled, or l2 in the gradient; {preset.optimizer.decay} if not given."),
        "clip": Option(float | None, f"Largest norm of the gradient; {preset.clip} if not given."),
        "dropout_multiplier": Option(
            float | None,
            f"On all dropouts of the encoder; {preset.dropout_multiplier:g} if not given.",
            flag="--dropout",
        ),
    }


PATIENCE = Option(int | None, "Validations without a better value before a phase ends; the best weights are kept.")


def language_model_recipe(preset: Any) -> OptionGroup:
    """What may be changed of a LanguageModelRecipe."""
    return OptionGroup(
        "Recipe",
        functools.partial(_changed, preset),
        {
            **_recipe_options(preset),
            "bptt": Option(int | None, f"Steps back-propagated through; {preset.bptt} if not given."),
            "ar": Option(float | None, f"Activation regularisation; {preset.ar:g} if not given."),
            "tar": Option(float | None, f"Temporal activation regularisation; {preset.tar:g} if not given."),
            "patience": PATIENCE,
        },
    )


PRETRAIN_RECIPE = language_model_recipe(PRETRAIN)
FINETUNE_RECIPE = language_model_recipe(FINETUNE)
CLASSIFY_RECIPE = OptionGroup(
    "Recipe",
    functools.partial(_changed, CLASSIFY),
    {
        **_recipe_options(CLASSIFY),
        "unfreezing": Option(str | None, "gradual, full, last or chain-thaw; gradual if not given."),
        "label_smoothing": Option(float | None, "Share of the target spread over all labels."),
        "class_weights": Option(str | None, "none or balanced."),
        "value_range": Option(tuple[float, float] | None, "Lowest and highest number, for --task number."),
        "number_loss": Option(str | None, "mse, or huber for outliers, for --task number; mse if not given."),
        "patience": PATIENCE,
    },
)
