"""`--help` of each command, and what all commands have in common."""

import inspect
import io
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch
import typer
from support import tiny
from support.command import SMALL, TUNE, ulmkit
from typer.models import CommandInfo

from ulmkit.api import LanguageModel, TextClassifier
from ulmkit.api.generation_options import GenerationOptions
from ulmkit.cli import app
from ulmkit.cli.model_commands import generate_command, predict_command
from ulmkit.cli.quickstart_command import quickstart_command
from ulmkit.cli.training_commands import TASK_NAMES, lr_find_command, train_command
from ulmkit.pipeline import ALL_LAYERS, CLASSIFY, FINETUNE, FINETUNE_PLAIN, PRETRAIN
from ulmkit.quickstart import quickstart
from ulmkit.tasks import TASKS

MACHINE = {"--device", "--precision", "--backend", "--threads", "--seed"}
UNUSED = {
    "prepare": MACHINE,
    "import-fastai": MACHINE,
    "push": MACHINE,
    **{name: {"--seed"} for name in ("evaluate", "predict", "score", "embed", "export", "drift")},
    "info": {"--backend", "--seed"},
    "serve": {"--seed", "--json"},
    "completion": {"--json", *MACHINE},
    "lr-find": {"--rate", "--schedule", "--patience"},
}
STAGE = ("--accumulation", "--restore-best", "--optimizer", "--decay")
PANELS = {
    "quickstart": {"Data", "Machine"},
    "prepare": {"Data"},
    "pretrain": {"Data", "Model", "Budget (give one)", "Recipe", "Machine"},
    "finetune": {"Data", "Budget (give one)", "Recipe", "Machine"},
    "train": {"Data", "Budget (give one)", "Recipe", "For LM 'none' only", "Machine"},
    "evaluate": {"Data", "Language models only", "Confidence", "Machine"},
    "predict": {"Data", "Confidence", "Machine"},
    "drift": {"Data", "Machine"},
    "score": {"Data", "Machine"},
    "embed": {"Data", "Machine"},
    "generate": {"Generation", "Machine"},
    "export": {"Data", "Machine"},
    "import-fastai": set(),
    "push": set(),
    "report": {"Data", "Machine"},
    "serve": {"Address and access", "Limits", "Page", "Log", "Confidence", "Machine"},
    "tune": {"Data", "Length of each trial (give one)", "Machine"},
    "lr-find": {"Data", "Recipe", "Machine"},
    "info": {"Machine"},
    "completion": set(),
}


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "220")
    monkeypatch.setenv("TERMINAL_WIDTH", "220")


def test_the_commands_there_are() -> None:
    told = ulmkit("--help").out
    assert set(PANELS) <= set(told.split())
    assert len(app.registered_commands) == len(PANELS)
    assert ulmkit().out == told


@pytest.mark.parametrize("command", PANELS)
def test_help_shows_each_group_of_options_and_only_those_that_the_command_uses(command: str) -> None:
    told = ulmkit(command, "--help").out
    titles = {line.removesuffix(":") for line in told.splitlines() if line.endswith(":") and line[0] != " "}
    assert PANELS[command] <= titles
    assert titles - PANELS[command] <= {"Options", "Arguments"}
    unused = UNUSED.get(command, set())
    expected = {"--json", *MACHINE, *(STAGE if "Budget (give one)" in PANELS[command] else ())} - unused
    assert expected <= set(told.split())
    assert not unused & set(told.split())
    assert "[default:no-" not in "".join(told.split())
    assert f"Example: ulmkit {command} " in f"{told} ".replace("\n", " ")
    assert ulmkit(command, "-h").out == told
    if PANELS[command]:  # it has options, after which help is found too
        assert ulmkit(command, "--device" if "--json" in unused else "--json", "x", "--help").out == told


@pytest.mark.parametrize("command", PANELS)
def test_the_example_of_a_command_is_one_that_it_takes(command: str) -> None:
    told = ulmkit(command, "--help").out
    group = typer.main.get_command(app)
    words = shlex.split(told.split("Example: ulmkit ", 1)[1].split("\n\n")[0])
    context = group.make_context("ulmkit", list(words))
    name, found, arguments = group.resolve_command(context, words)  # type: ignore[attr-defined]
    assert name == command
    found.make_context(name, arguments, parent=context)


def test_no_summary_of_a_command_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    assert "..." not in ulmkit("--help").out.split("Commands:")[1]


@pytest.mark.parametrize(
    ("command", "usage"),
    [("train", "train [OPTIONS] [LM] DATA\n"), ("predict", "predict [OPTIONS] CLASSIFIER [DATA]\n")],
)
def test_usage_shows_plain_arguments(command: str, usage: str) -> None:
    assert f"Usage: ulmkit {usage}" in ulmkit(command, "--help").out


@pytest.mark.parametrize("command", app.registered_commands, ids=lambda command: command.name)
def test_help_of_each_option_is_a_whole_sentence(command: CommandInfo) -> None:
    assert command.callback is not None
    for name, parameter in inspect.signature(command.callback).parameters.items():
        if parameter.annotation is typer.Context:
            continue
        text = parameter.annotation.__metadata__[0].help
        assert text.endswith("."), name
        assert text.count("(") == text.count(")"), name


def test_help_imports_no_heavy_package() -> None:
    heavy = ("torch", "numpy", "spacy", "datasets", "sklearn", "pyarrow", "sentencepiece", "matplotlib", "rich")
    heavy += ("fastapi", "pydantic", "uvicorn", "prometheus_client", "optuna", "tensorboardX")
    code = (
        "import contextlib, io, sys\nfrom ulmkit.cli import main\nfor command in ('', *sys.argv[1:]):\n"
        "    sys.argv = ['ulmkit', *command.split(), '--help']\n"
        "    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n        main()\n"
        f"print(sorted(set(sys.modules) & set({heavy!r})))"
    )
    finished = subprocess.run([sys.executable, "-c", code, *PANELS], capture_output=True, text=True, check=False)
    assert (finished.stdout.strip(), finished.returncode) == ("[]", 0), finished.stderr


def test_help_names_every_task() -> None:
    assert ", ".join(TASKS) == TASK_NAMES


@pytest.mark.parametrize(
    ("arguments", "default"),
    [
        (("generate",), f"Maximum number of tokens to add. [default: {GenerationOptions().max_tokens}]"),
        (("pretrain",), f"[default: {PRETRAIN.bptt}]"),
        (("train",), f"(default: {ALL_LAYERS.factor}; with --method finetune {CLASSIFY.factor})."),
        (("finetune",), f"(default: {FINETUNE_PLAIN.factor}; for a model with dropout {FINETUNE.factor})."),
    ],
)
def test_help_shows_the_defaults_of_the_dataclasses(arguments: tuple, default: str) -> None:
    assert default in " ".join(ulmkit(*arguments, "--help").out.split())


@pytest.mark.parametrize(
    ("command", "function", "names"),
    [
        (quickstart_command, quickstart, ("data", "minutes", "labels", "held_out", "overwrite")),
        (predict_command, TextClassifier.predict, ("threshold",)),
        (generate_command, LanguageModel.generate, ("prompt", *(field.name for field in fields(GenerationOptions)))),
        (lr_find_command, LanguageModel.find_learning_rate, ("steps",)),
        (train_command, TextClassifier.train, ("task", "labels", "valid_documents")),
    ],
)
def test_commands_have_the_defaults_of_python(
    command: Callable[..., None], function: Callable[..., object], names: tuple[str, ...]
) -> None:
    here, there = inspect.signature(command).parameters, inspect.signature(function).parameters
    assert {name: here[name].default for name in names} == {name: there[name].default for name in names}


def test_threads_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    ulmkit("info", "--threads", 3, "--device", "cpu")
    assert asked == [3]


@pytest.mark.parametrize("command", ["pretrain", "finetune", "train"])
def test_a_terminal_shows_documents_first_and_then_the_training(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    tiny.language_model().save(tmp_path / "lm")
    data = tiny.write_csv(tmp_path / "reviews.csv", tiny.reviews(40))
    arguments = {
        "pretrain": ["pretrain", data, *SMALL],
        "finetune": ["finetune", tmp_path / "lm", data, *TUNE],
        "train": ["train", tmp_path / "lm", data, "--batch-size", 8, "--no-baselines"],
    }[command]
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("ULMKIT_CACHE", str(tmp_path / "cache"))
    app([str(part) for part in (*arguments, "--steps", 6, "--out", tmp_path / "out")], standalone_mode=False)
    shown = terminal.getvalue()
    assert shown.index("documents") < shown.index("loss")
    assert "100%" in shown
    assert (tmp_path / "out" / "config.json").is_file()
