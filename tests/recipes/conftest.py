"""Fixtures of the recipes' tests."""

from pathlib import Path

import pytest
from support.recipe_text import write_corpus


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small word-level corpus."""
    return write_corpus(tmp_path_factory.mktemp("recipes") / "text", 120)
