"""Gradient statistics: mean squared gradients of the training text, which scale the steps of dynamic evaluation."""

import pytest
import torch
from support.streams import batches, naive_statistics

from ulmkit.errors import DataError
from ulmkit.evaluation import GradientStatistics, gradient_statistics


@pytest.mark.parametrize("read", [batches(), batches()[:1]])
def test_statistics_are_the_mean_squared_gradients(model, read):
    statistics = gradient_statistics(model, read)
    expected = naive_statistics(model, read)
    assert statistics.batches == len(read)
    assert statistics.mean_square.keys() == expected.keys()
    for name, tensor in statistics.mean_square.items():
        torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-4, atol=1e-9, msg=name)


def test_statistics_begin_anew_where_batches_do_and_stop_where_told(model):
    once, twice = gradient_statistics(model, batches()), gradient_statistics(model, [*batches(), *batches()])
    assert twice.batches == 8
    for name, tensor in once.mean_square.items():
        torch.testing.assert_close(twice.mean_square[name], tensor)
    assert gradient_statistics(model, batches(), max_batches=3).batches == 3


def test_statistics_are_saved_and_read(model, tmp_path):
    statistics = gradient_statistics(model, batches())
    statistics.save(tmp_path / "statistics.safetensors")
    loaded = GradientStatistics.load(tmp_path / "statistics.safetensors")
    assert loaded.batches == 4
    assert loaded.mean_square.keys() == statistics.mean_square.keys()
    assert all(torch.equal(tensor, statistics.mean_square[name]) for name, tensor in loaded.mean_square.items())


def test_refusals_of_statistics(model, tmp_path):
    with pytest.raises(DataError, match="batches: expected at least one, got none"):
        gradient_statistics(model, [])
    (tmp_path / "other.safetensors").write_bytes(b"no tensors")
    for name in ("other", "missing"):
        with pytest.raises(OSError, match=f"{name}.safetensors: expected gradient statistics, got .*; compute"):
            GradientStatistics.load(tmp_path / f"{name}.safetensors")
