"""Blocks of code in the pages of documentation; run as a program, it executes them.

    python tests/support/pages.py FOLDER PAGE...

The bash and Python blocks of all pages run in order in FOLDER, in which a quickstart has run, each in a process of its
own, and the first that fails ends the run with its output. Training budgets are cut to a tenth of a minute, and the
quickstart's texts to a part of their documents.
"""

import csv
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
COMMANDS = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
KEEP_EVERY = {"general.csv": 10, "target.csv": 40}

_MINUTES = re.compile(r"(--minutes |minutes=)[\d.]+")


class Block(NamedTuple):
    """A fenced block: the line of its fence, its language and its code."""

    line: int
    language: str
    code: str


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(text[: match.start()].count("\n") + 1, match[1], match[2]) for match in _FENCE.finditer(text)]


def shorten(file: Path) -> None:
    """Leave of one of the quickstart's CSV files its header and a part of its rows."""
    with open(file, encoding="utf-8", newline="") as lines:
        header, *rows = csv.reader(lines)
    with open(file, "w", encoding="utf-8", newline="") as lines:
        csv.writer(lines).writerows([header, *rows[:: KEEP_EVERY[file.name]]])


def run_page(page: Path, folder: Path) -> None:
    """Run a page's blocks in `folder`.

    Raises:
        SystemExit: If a block fails, with its output.
    """
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for block in blocks(page):
        if block.language not in COMMANDS:
            continue
        start = time.monotonic()
        code = _MINUTES.sub(r"\g<1>0.1", block.code)
        process = subprocess.run(
            [*COMMANDS[block.language], code],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        place = f"{page}:{block.line}"
        if process.returncode:
            raise SystemExit(f"{place}: exit status {process.returncode}\n\n{code}\n{process.stdout}")
        print(f"{place}: {block.language}, {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    for name in KEEP_EVERY:
        shorten(Path(sys.argv[1]) / "ulmkit-quickstart" / name)
    for name in sys.argv[2:]:
        run_page(Path(name), Path(sys.argv[1]))
