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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Give each worker a run of neighbouring tests, which share fixtures, unless --dist names another way."""
    if config.getvalue("dist") != "load":  # the default of -n
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)
