"""Completion of commands and options by the shell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import ulmkit

from ulmkit.cli.completion_command import SHELLS


@pytest.mark.parametrize(
    ("line", "expected", "unexpected"),
    [
        ("ulmkit tra", {"train"}, {"tune"}),
        ("ulmkit ", {"train", "tune", "completion"}, {"--recipe"}),
        ("ulmkit train --re", {"--recipe", "--resume", "--restore-best"}, {"--batch-size"}),
        ("ulmkit --help tr", set(), {"Usage:"}),
    ],
)
def test_bash_gets_what_fits(line: str, expected: set, unexpected: set, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_ULMKIT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
    offered = set(ulmkit().out.split())
    assert expected <= offered
    assert not unexpected & offered


def test_an_unknown_shell_is_refused() -> None:
    assert "shell: got 'tcsh'; there are: bash, zsh, fish" in ulmkit("completion", "tcsh", status=2).error


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts_ask_by_the_variable(shell: str) -> None:
    assert f"_ULMKIT_COMPLETE=complete_{shell}" in ulmkit("completion", shell).out


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_without_heavy_packages(tmp_path: Path) -> None:
    program = tmp_path / "ulmkit"
    program.write_text(
        f"#!{sys.executable}\nimport atexit, sys\nfrom ulmkit.cli import main\n"
        "atexit.register(lambda: print(*{'torch', 'numpy', 'rich'} & set(sys.modules), file=sys.stderr))\nmain()\n"
    )
    program.chmod(0o755)
    script = f"{ulmkit('completion', 'bash').out}\nCOMP_WORDS=(ulmkit lr)\nCOMP_CWORD=1\n"
    script += '_ulmkit_completion ulmkit\necho "${COMPREPLY[@]}"'
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert (found.stdout, found.stderr) == ("lr-find\n", "\n")
