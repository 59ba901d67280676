"""Rows of measurements and their JSON."""

import subprocess
import sys
from pathlib import Path

from ulmkit.files import read_json
from ulmkit.report import commit, machine, print_rows, row, write_measurements


def test_ratios_are_above_one_where_ours_is_better(capsys):
    rows = [
        row("speed", "tokens/s", 30.0, 20.0, "peer"),
        row("perplexity", "perplexity", 60.0, 90.0, "peer", lower_is_better=True),
        row("alone", "s", 1234.0, None, "peer (not installed)"),
    ]
    assert [line["ratio"] for line in rows] == [1.5, 1.5, None]
    print_rows(rows)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["case", "ulmkit", "peer", "unit", "ratio", "peer_name"]
    assert lines[3].split() == ["alone", "1,234", "-", "s", "-", "peer", "(not", "installed)"]


def test_the_document_tells_where_it_was_measured(tmp_path):
    write_measurements(tmp_path / "found.json", "name", [row("a", "s", 1.0, None, "none")], {"curve": [1]})
    found = read_json(tmp_path / "found.json")
    assert list(found) == ["benchmark", "date", "commit", "machine", "rows", "curve"]
    assert found["machine"] == machine()
    assert found["machine"]["cores"] >= 1


def test_the_commit_is_that_of_the_script(tmp_path):
    """A script in a repository of its own, with a file that differs, and one in none."""
    script = tmp_path / "script.py"
    script.write_text("from ulmkit.report import commit\nprint(commit())\n")

    def told() -> str:
        command = [sys.executable, str(script)]
        return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout

    assert told() == "None\n"
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    first = told().strip()
    assert len(first) == 40
    script.write_text(script.read_text() + "# changed\n")
    assert told() == f"{first}+\n"
    assert commit() is None or len(commit().rstrip("+")) == 40
