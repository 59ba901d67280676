"""Docstrings open with a summary that makes sense alone, for example in an editor's tooltip."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPENERS = (
    "Of As What Whether Which Who Whose Those These That The.same The.other The.others Likewise Also How Where When"
)
MISLEADING_OPENER = re.compile(rf"({'|'.join(OPENERS.split())})\b")

FILES = [path for folder in ("ulmkit", "recipes", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]


def bad_summaries(source: str) -> list[str]:
    """First lines of docstrings, of attributes too, that are no sentence or open with a misleading word."""
    expressions = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr)]
    docstrings = [node.value for node in expressions if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    summaries = [text.strip().split("\n")[0] for text in docstrings]
    return [summary for summary in summaries if MISLEADING_OPENER.match(summary) or not summary.endswith(".")]


def is_question(summary: str, path: Path) -> bool:
    """True for the question that a benchmark answers."""
    return path.parent.name == "benchmarks" and summary.endswith("?")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_summaries_make_sense_alone(path):
    summaries = bad_summaries(path.read_text(encoding="utf-8"))
    assert [summary for summary in summaries if not is_question(summary, path)] == []


def test_bad_summaries_are_found():
    good = '"""Read the corpus."""\ndef offset(): "Ofs are fine."\n'
    assert bad_summaries(good) == []
    assert len(bad_summaries('"""What it reads."""\nx = 1\n"""The same for bytes."""\ndef f(): "No full stop"')) == 3
