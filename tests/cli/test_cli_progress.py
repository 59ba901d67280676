"""Progress of commands on a terminal, and silence elsewhere."""

import io
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from support import tiny
from support.command import ulmkit

from ulmkit import pipeline
from ulmkit.cli import app
from ulmkit.cli.progress import DocumentCounter, count_networks, describe_task
from ulmkit.training import ProgressInfo, RichProgress

COLOUR = re.compile(r"\x1b\[[\d;]*[349][0-8][\d;]*m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of a usual kind, for `_run`."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    return Terminal()


def _run(terminal: Terminal, *arguments: object, out: io.StringIO | None = None) -> str:
    """Run a command whose standard error is a terminal. Returns: what that shows."""
    with mock.patch.object(sys, "stderr", terminal), mock.patch.object(sys, "stdout", out or io.StringIO()):
        app([str(argument) for argument in arguments], standalone_mode=False)
    return terminal.getvalue()


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_csv(tmp_path_factory.mktemp("data") / "reviews.csv", tiny.reviews(30))


@pytest.mark.parametrize(
    ("command", "name", "options"),
    [
        ("predict", "classifier", ("--out", "rows.jsonl")),
        ("predict", "classifier", ()),
        ("score", "lm", ("--out", "rows.csv")),
        ("embed", "lm", ("--out", "vectors.npy")),
        ("drift", "classifier", ()),
    ],
)
def test_documents_are_counted_on_a_terminal(
    command: str,
    name: str,
    options: tuple,
    models: Path,
    reviews: Path,
    terminal: Terminal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = _run(terminal, command, models / name, reviews, *options)
    assert "30 of 30" in shown
    assert "0 of 30" in shown.replace("30 of 30", "")
    assert shown.rstrip().endswith("\x1b[2K")  # the bar vanishes at the end


def test_rows_on_the_terminal_show_the_progress_themselves(models: Path, reviews: Path, terminal: Terminal) -> None:
    out = Terminal()
    assert "of 30" not in _run(terminal, "score", models / "lm", reviews, out=out)
    assert out.getvalue().count('"log_probability"') == 30


def test_an_evaluation_shows_its_passes(models: Path, reviews: Path, terminal: Terminal) -> None:
    shown = _run(terminal, "evaluate", models / "lm", reviews, "--split", "all")
    assert re.search(r"perplexity .* of [\d,]+", shown)
    assert "30 of 30" in _run(terminal, "evaluate", models / "classifier", reviews, "--split", "all")


def test_nothing_is_shown_where_there_is_no_terminal(models: Path, reviews: Path, tmp_path: Path) -> None:
    told = ulmkit("predict", models / "classifier", reviews, "--out", tmp_path / "rows.jsonl")
    assert told.out == f"30 rows written to {tmp_path / 'rows.jsonl'}\n"
    assert "of 30" not in told.err
    assert "\x1b" not in told.err


def test_the_count_follows_the_networks_and_then_the_chunks() -> None:
    shown = []
    bars = SimpleNamespace(add_task=lambda *_, **__: 0, update=lambda _, completed: shown.append(completed))
    counter = DocumentCounter(bars, 20, networks=2)  # type: ignore[arg-type]
    for count in (4, 4, 8):
        counter.read(count)
    counter.finish(10)
    counter.read(4)
    assert shown == [2, 4, 8, 10, 12]
    linear = DocumentCounter(bars, 20, networks=0)  # type: ignore[arg-type]
    linear.read(5)
    linear.finish(5)
    assert shown[5:] == [5]


def test_networks_tell_what_they_have_read() -> None:
    counts: list[int] = []
    ids = [np.array([1, 2, 3])] * 5
    with pipeline.watch_documents(counts.append):
        pipeline.predict_outputs(tiny.classifier().parts.model, ids)
        pipeline.embed_documents(tiny.language_model().parts.model.encoder, ids)
    pipeline.predict_outputs(tiny.classifier().parts.model, ids)
    assert counts == [5, 5]
    assert count_networks(tiny.classifier()) == 1


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((120, 2000, 40.0, 47.0), "120 of 2,000  40 documents/s  47 s left"),
        ((120, None, 40.0, None), "120  40 documents/s  3 s"),
        ((0, None, None, None), "3 s"),
        ((0, 10, None, None), "0 of 10  3 s"),
    ],
)
def test_what_a_bar_says(values: tuple, text: str) -> None:
    completed, total, speed, left = values
    task = SimpleNamespace(
        completed=completed, total=total, speed=speed, finished_speed=None, time_remaining=left, elapsed=3.0
    )
    assert describe_task(task, "documents") == text  # type: ignore[arg-type]


@pytest.mark.parametrize("no_color", [False, True])
def test_colours_can_be_switched_off(no_color: bool, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    progress = RichProgress(terminal)
    progress.working("rung 1 of 4: NB-SVM")
    progress.start()
    progress.update(ProgressInfo("all", 0.5, 12, 0.25, 4.0, 54.6, 3210.0, 75.0))
    progress.close()
    assert "rung 1 of 4: NB-SVM" in terminal.getvalue()
    assert bool(COLOUR.search(terminal.getvalue())) is not no_color
