"""Every benchmark can be read and asked for its options, with what it imports of ulmkit."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
DATA = {"debian_packages"}  # makes data for the others
COMMANDS = sorted(
    path.stem for path in FOLDER.glob("*.py") if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", COMMANDS)
def test_help(monkeypatch, capsys, name):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(name).main()
    assert end.value.code == 0
    assert ("--json" if name not in DATA else "--out") in capsys.readouterr().out
