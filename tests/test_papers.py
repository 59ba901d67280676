"""PAPERS.md: every function that it names exists and cites its source, and every paper cited has a row."""

import functools
import importlib
import re
from pathlib import Path

import pytest

import ulmkit

PAPERS = Path(ulmkit.__file__).parent / "PAPERS.md"
NAMES = re.findall(r"`(ulmkit\.[\w.]+)`", PAPERS.read_text(encoding="utf-8"))


def test_there_are_rows():
    assert len(NAMES) > 40


@pytest.mark.parametrize("name", NAMES)
def test_every_row_names_a_function_that_cites_its_source(name):
    module, *attributes = re.fullmatch(r"([a-z_.]+)\.(\w+)(?:\.(\w+))?", name).groups()
    target = functools.reduce(getattr, filter(None, attributes), importlib.import_module(module))
    assert "Source:" in (target.__doc__ or ""), f"{name} has no Source in its docstring"


def test_every_paper_that_a_source_names_has_a_row():
    cited = set()
    for path in PAPERS.parent.rglob("*.py"):
        for source in re.findall(
            r"Source:(.*?)(?:\n\s*\n|Deviation:|\"{3})", path.read_text(encoding="utf-8"), re.DOTALL
        ):
            cited.update(re.findall(r"arXiv:\d+\.\d+", source))
    assert len(cited) > 20
    assert cited <= set(re.findall(r"arXiv:\d+\.\d+", PAPERS.read_text(encoding="utf-8")))
