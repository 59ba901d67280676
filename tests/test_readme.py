"""README's claims that a test can check."""

import functools
import importlib
import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def formula_rows() -> list[str]:
    section = README.read_text(encoding="utf-8").split("## Paper, section, equation → function")[1].split("\n## ")[0]
    return re.findall(r"`(ulmkit\.[\w.]+)`", section)


def test_there_are_rows():
    assert len(formula_rows()) > 15


@pytest.mark.parametrize("name", formula_rows())
def test_every_row_names_a_function_that_cites_its_source(name):
    module, *attributes = re.fullmatch(r"([a-z_.]+)\.(\w+)(?:\.(\w+))?", name).groups()
    found = functools.reduce(getattr, filter(None, attributes), importlib.import_module(module))
    assert "Source:" in (found.__doc__ or ""), f"{name} has no Source in its docstring"
