"""Recipes are scripts: their folder goes on the path, as it does when one of them is run."""

import sys
from pathlib import Path

import pytest
from recipe_text import RECIPES, write_corpus

sys.path.insert(0, str(RECIPES))


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a small word-level corpus."""
    return write_corpus(tmp_path_factory.mktemp("recipes") / "text", 120)
