"""Recipes are scripts: their folder goes on the path, as it does when one of them is run."""

import sys
from pathlib import Path

import pytest
import tiny

RECIPES = Path(__file__).parents[2] / "recipes"
sys.path.insert(0, str(RECIPES))


def write_corpus(folder: Path, documents: int) -> Path:
    """Stock phrases, a sentence a line, as train.txt, valid.txt and test.txt."""
    folder.mkdir(parents=True)
    for split, first, count in (("train", 0, documents), ("valid", 5000, 30), ("test", 6000, 30)):
        lines = [tiny.review("pos", first + number) for number in range(count)]
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a small word-level corpus."""
    return write_corpus(tmp_path_factory.mktemp("recipes") / "text", 120)
