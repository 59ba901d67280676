"""benchmarks/gpu.sh, with commands that only tell what they were called with."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/bash
case "$*" in *"$FAILS"*) [ -z "$FAILS" ] || exit 3;; esac
case "$*" in -c*) exit 1;; esac
[ "$1" != -m ] || [ "$2" != pytest ] || echo "tests ran"
line=$(printf '%q ' "$@")
echo "$line" >> "$TOLD"
"""
CHECKER = """#!/bin/bash
while [ "$1" != "$PYTHON" ]; do shift; done
[ "$PYTORCH_NO_CUDA_MEMORY_CACHING" = 1 ] && exec "$@"
"""


@pytest.fixture
def script(tmp_path):
    """Runs it. Returns: the exit status, what was printed, and the commands that it gave python."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (("python", PYTHON), ("compute-sanitizer", CHECKER)):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)

    def run(fails: str = "", budget: int = 570) -> tuple[int, str, list[list[str]]]:
        told = tmp_path / "told"
        told.write_text("")
        environment = {
            **os.environ,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "PYTHON": str(commands / "python"),
            "OUT": str(tmp_path / "out"),
            "TOLD": str(told),
            "FAILS": fails,
            "BUDGET": str(budget),
        }
        done = subprocess.run(
            ["bash", str(ROOT / "benchmarks" / "gpu.sh")], env=environment, capture_output=True, text=True
        )
        (log,) = (tmp_path / "out").glob("gpu-*.log")
        assert log.read_text() == done.stdout
        return done.returncode, done.stdout, [shlex.split(line) for line in told.read_text().splitlines()]

    return run


def names(calls: list[list[str]]) -> list[str]:
    """Of what was run one after the other: not FlashRNN's build, which runs beside."""
    return [
        next(part for part in call if part != "-m") + " --flashrnn" * ("--flashrnn" in call)
        for call in calls
        if call[-2:] != ["--repeats", "1"]
    ]


def test_everything_runs_one_after_the_other(script):
    status, said, calls = script()
    assert status == 0, said
    assert names(calls) == [
        "ulmkit",
        "pytest",
        "benchmarks/lstm_cuda.py",
        "benchmarks/train_cuda.py",
        "benchmarks/lstm_cuda.py --flashrnn",
        "benchmarks/lstm_cuda.py",
        "benchmarks/train_cuda.py",
        "pytest",
        "pytest",
    ]
    assert said.count("tests ran") == 3


def test_a_failure_skips_nothing_else_and_sets_the_exit_status(script):
    status, said, calls = script("-m pytest")
    assert status == 3
    assert len(names(calls)) == 6
    assert "== failed (3)" in said


def test_flashrnn_is_not_built_a_second_time(script):
    status, said, calls = script("--flashrnn")
    assert status == 3
    assert "== failed (3): the build of FlashRNN" in said
    assert len(calls) == 8


def test_nothing_starts_when_the_time_is_up(script):
    status, said, calls = script(budget=4)
    assert status == 124
    assert names(calls) == []
    assert said.count("no time left") == 9


class Selection:
    """A pytest plugin that keeps the names of the tests that are selected."""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.names = " ".join(item.name for item in session.items)


def test_the_memory_checker_finds_its_tests(script, monkeypatch):
    everything, races = (call for call in script()[2] if "-k" in call)
    assert races[-1] in everything[-1]
    monkeypatch.chdir(ROOT)
    assert everything[:2] == ["-m", "pytest"]
    selection = Selection()
    status = pytest.main([*everything[2:], "--collect-only", "-q"], [selection])
    assert status == pytest.ExitCode.OK
    for name in ("shape1-dtype0-True", "shape1-dtype2-False", "test_nll_and_every_gradient", "penalties"):
        assert name in selection.names
