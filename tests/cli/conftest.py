"""Models that several modules of command line tests share."""

from pathlib import Path

import pytest
from support import tiny


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a language model, `lm`, and a classifier, `classifier`."""
    folder = tmp_path_factory.mktemp("models")
    tiny.language_model().save(folder / "lm")
    tiny.classifier().save(folder / "classifier")
    return folder
