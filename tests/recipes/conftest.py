"""Fixtures of the recipes' tests."""

from pathlib import Path

import pytest
from support import tiny
from support.recipe_text import write_corpus


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small word-level corpus."""
    return write_corpus(tmp_path_factory.mktemp("recipes") / "text", 120)


@pytest.fixture(scope="session")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of labelled reviews with a test part and text without labels."""
    folder = tmp_path_factory.mktemp("reviews")
    tiny.write_csv(folder / "train.csv", tiny.reviews(80))
    tiny.write_csv(folder / "test.csv", tiny.reviews(30, first=5000))
    tiny.write_csv(folder / "unsupervised.csv", [(text, "") for text, _ in tiny.reviews(40, first=2000)])
    return folder


@pytest.fixture(scope="session")
def language_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny language models by direction."""
    folder = tmp_path_factory.mktemp("language-models")
    models = {"forward": tiny.language_model(), "backward": tiny.backward_language_model()}
    for direction, model in models.items():
        model.save(folder / direction)
    return {direction: folder / direction for direction in models}
