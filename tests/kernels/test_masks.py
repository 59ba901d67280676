import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ulmkit.errors import ConfigError
from ulmkit.kernels import draw_keep_bits, mask_recurrent, unpack_keep_bits
from ulmkit.kernels.cpu import library as library_module
from ulmkit.kernels.cpu.library import load_library


@pytest.fixture(params=["compiled", "torch"], autouse=True)
def generator_of_bits(request, monkeypatch):
    """Both sources of random bits."""
    if request.param == "torch":
        monkeypatch.setattr(library_module, "load_library", lambda: "not built: no compiler")
    elif isinstance(load_library(), str):
        pytest.skip("the kernel library is not built")
    return request.param


@given(dropout=st.floats(0.0, 0.95))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_share_of_kept_weights(dropout):
    bits = draw_keep_bits(400, 400, dropout, generator=torch.Generator().manual_seed(3))
    kept = unpack_keep_bits(bits, 400).double().mean().item()
    five_sigma = 5 * (0.25 / 160_000) ** 0.5 + 2**-16
    assert abs(kept - (1.0 - dropout)) < five_sigma


def test_nearly_all_weights_dropped():
    """A probability that rounds to 0."""
    assert not draw_keep_bits(4, 20, 0.9999999).any()


def test_bits_are_independent():
    bits = draw_keep_bits(2000, 64, 0.3, generator=torch.Generator().manual_seed(0))
    keep = unpack_keep_bits(bits, 64).double() - 0.7
    correlation = keep.T @ keep / 2000 / 0.21
    off_diagonal = correlation - torch.diag(correlation.diagonal())
    assert off_diagonal.abs().max() < 6 / 2000**0.5


def test_neighbouring_bits_and_pieces_are_independent():
    """Along a row, from one word of the generator to the next, and from one of its streams to the next."""
    bits = draw_keep_bits(64, 8 * 16_384, 0.5, generator=torch.Generator().manual_seed(1))
    sign = unpack_keep_bits(bits, 8 * 16_384).double().flatten() * 2 - 1
    for distance in (1, 8, 64, 512, 8 * 16_384):
        correlation = (sign[distance:] * sign[:-distance]).mean().item()
        assert abs(correlation) < 5 / len(sign) ** 0.5, distance


def test_paths_and_threads_make_no_difference(generator_of_bits, restore_threads, monkeypatch):
    if generator_of_bits == "torch":
        pytest.skip("has neither paths nor threads of ours")
    found = []
    for name in library_module.PATHS[torch.float32]:
        if name not in library_module.library().paths:
            continue
        monkeypatch.setitem(library_module.PATHS, torch.float32, (name,))
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(draw_keep_bits(700, 999, 0.3, generator=torch.Generator().manual_seed(2)))
    assert len(found) > 2
    assert all(torch.equal(bits, found[0]) for bits in found)


def test_layout_of_bits():
    bits = torch.tensor([[0b00000101, 0b10]], dtype=torch.uint8)
    expected = [True, False, True, False, False, False, False, False, False, True]
    assert unpack_keep_bits(bits, 10).tolist() == [expected]


def test_same_seed_same_bits_and_none_dropped_at_zero():
    first, second = (draw_keep_bits(9, 9, 0.5, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert unpack_keep_bits(draw_keep_bits(3, 11, 0.0), 11).all()


def test_masked_weights_and_their_gradient():
    weight = torch.ones(8, 2, requires_grad=True)
    bits = torch.tensor([[0b01]] * 8, dtype=torch.uint8)
    masked = mask_recurrent(weight, bits, 2.0)
    assert masked.tolist() == [[2.0, 0.0]] * 8
    masked.sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [[2.0, 0.0]] * 8


def test_dropout_outside_its_range():
    with pytest.raises(ConfigError, match="^dropout: expected 0 <= p < 1, got 1.0"):
        draw_keep_bits(4, 4, 1.0)


def test_torchs_operations_are_compiled_whole(generator_of_bits):
    """As for the layers that GPUs run with torch's kernels."""
    if generator_of_bits == "compiled":
        pytest.skip("is a call of our library")
    draw = torch.compile(lambda: draw_keep_bits(5, 20, 0.4), fullgraph=True, backend="aot_eager")
    torch.manual_seed(0)
    compiled = draw()
    torch.manual_seed(0)
    assert torch.equal(compiled, draw_keep_bits(5, 20, 0.4))
