"""Settings for all tests."""

import os

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """The tests' tensors are tiny: threads would only wait for each other, most of all on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Encoded corpora go to a cache of the test run's own."""
    os.environ["ULMKIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
