import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def _one_thread():
    """The models here are too small for several threads to help."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
