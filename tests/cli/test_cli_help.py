"""`--help` of each command, and what all commands have in common."""

import io
import sys
from pathlib import Path

import pytest
import torch
from support import tiny
from support.command import SMALL, TUNE, ulmkit

from ulmkit.cli import app

MACHINE = ("--device", "--precision", "--backend", "--threads", "--seed", "--json")
STAGE = ("--accumulation", "--restore-best", "--no-restore-best", "--optimizer", "--decay")
PANELS = {
    "quickstart": {"Data", "Machine"},
    "prepare": {"Data", "Machine"},
    "pretrain": {"Data", "Model", "Budget: one of these", "Recipe", "Machine"},
    "finetune": {"Data", "Budget: one of these", "Recipe", "Machine"},
    "train": {"Data", "Budget: one of these", "Recipe", "For LM 'none' only", "Machine"},
    "evaluate": {"Data", "Of a language model", "Machine"},
    "predict": {"Data", "Machine"},
    "score": {"Data", "Machine"},
    "generate": {"Machine"},
    "export": {"Data", "Machine"},
    "lr-find": {"Data", "Recipe", "Machine"},
    "info": {"Machine"},
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
def test_help_shows_each_group_of_options_and_every_command_takes_the_machines(command: str) -> None:
    told = ulmkit(command, "--help").out
    titles = {line.strip("╭─╮ \n").strip() for line in told.splitlines() if line.startswith("╭─")}
    assert PANELS[command] <= titles
    assert titles - PANELS[command] <= {"Options", "Arguments"}
    for option in (*MACHINE, *(STAGE if "Budget: one of these" in PANELS[command] else ())):
        assert f"{option} " in told, option
    assert ulmkit(command, "-h").out == told


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
