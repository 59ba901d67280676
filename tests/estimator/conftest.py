"""A language model folder that the tests of the estimators share."""

from pathlib import Path

import pytest
from support import tiny


@pytest.fixture(scope="session")
def lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny language model."""
    folder = tmp_path_factory.mktemp("estimator") / "lm"
    tiny.language_model().save(folder)
    return folder
