"""The CUDA masks' own source, run on the CPU by fibers."""

import pytest
import torch
from support.host_driver import HostDriver, compiler, stand_in

from ulmkit.kernels import unpack_keep_bits
from ulmkit.kernels.cuda import fused_masks

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")


@pytest.fixture(autouse=True)
def driver(monkeypatch):
    return stand_in(monkeypatch, fused_masks, HostDriver())


def draw(size, keep, seed=0):
    """(8 size,) of 0 and 1."""
    bits = fused_masks.keep_bits(size, keep, "cpu", torch.Generator().manual_seed(seed))
    assert bits.shape == (size,)
    return unpack_keep_bits(bits[None], 8 * size)[0].double()


@pytest.mark.parametrize("keep", [1, 32_768, 52_429, 65_535])
def test_share_of_kept_weights(keep):
    share = keep / 65_536
    kept = draw(20_001, keep).mean().item()
    assert abs(kept - share) < 5 * (share * (1.0 - share) / 160_008) ** 0.5


def test_bits_are_independent_of_their_neighbours():
    kept = (draw(20_000, 45_875) - 0.7) / 0.21**0.5
    for distance in (1, 2, 8, 63, 64, 65, 128, 64 * 256):
        correlation = (kept[distance:] * kept[:-distance]).mean().item()
        assert abs(correlation) < 5 / len(kept) ** 0.5, distance


def test_same_seed_same_bits_and_another_seed_others():
    assert torch.equal(draw(999, 30_000, seed=1), draw(999, 30_000, seed=1))
    assert not torch.equal(draw(999, 30_000, seed=1), draw(999, 30_000, seed=2))


def test_the_operator_is_well_formed():
    torch.library.opcheck(fused_masks.keep_bits_of_seed, (torch.tensor(7), 37, 30_000))
