"""Weights of bytes: their rounding, and every path for them against exact arithmetic on rounded numbers."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ulmkit.errors import ConfigError
from ulmkit.kernels import Int8Matrix, pack, quantize_rows, reference
from ulmkit.kernels.backends import INT8, TORCH
from ulmkit.kernels.cpu import library as library_module


def problem(steps: int, batch: int, inputs: int, hidden: int) -> list[torch.Tensor]:
    """x, h0, c0, w_ih, w_hh and bias."""
    generator = torch.Generator().manual_seed(steps + 10 * batch + 100 * hidden)
    shapes = ((steps, batch, inputs), (batch, hidden), (batch, hidden))
    x, h0, c0 = (torch.randn(*shape, generator=generator) for shape in shapes)
    shapes = ((4 * hidden, inputs), (4 * hidden, hidden), (4 * hidden,))
    w_ih, w_hh, bias = (torch.randn(*shape, generator=generator) * hidden**-0.5 for shape in shapes)
    return [x, h0.tanh(), c0, w_ih, w_hh, bias]


def rounded(rows: torch.Tensor) -> torch.Tensor:
    """Each row as the products see it."""
    return quantize_rows(rows).to_float()


def by_definition(x, h, c, w_ih, w_hh, bias, lengths):
    """The LSTM with inputs, states and weights rounded at each product, in float64."""
    w_ih, w_hh = rounded(w_ih).double(), rounded(w_hh).double()
    outputs = torch.zeros(len(x), *h.shape, dtype=torch.float64)
    h, c = h.double(), c.double()
    for t in range(len(x)):
        y, h_next, c_next = reference.lstm(
            rounded(x[t]).double().unsqueeze(0), rounded(h.float()).double(), c, w_ih, w_hh, bias.double(), None
        )
        going = (lengths > t).unsqueeze(1)
        h, c = torch.where(going, h_next, h), torch.where(going, c_next, c)
        outputs[t] = torch.where(going, y[0], 0.0)
    return outputs, h, c


@pytest.mark.parametrize(
    ("steps", "batch", "inputs", "hidden"),
    [(1, 1, 1, 1), (3, 7, 7, 7), (2, 33, 33, 33), (5, 3, 100, 130), (12, 20, 48, 24), (2, 3, 400, 1152)],
)
def test_every_path_is_exact_on_rounded_numbers(int8_path, steps, batch, inputs, hidden):
    values = problem(steps, batch, inputs, hidden)
    lengths = torch.tensor([steps - n % (steps + 1) for n in range(batch)])
    packed = INT8.pack(quantize_rows(values[3]), quantize_rows(values[4]))
    assert packed.function.keywords["layout"].path == int8_path
    got = packed.run(*values[:3], values[5], lengths)
    for a, b in zip(got, by_definition(*values, lengths), strict=True):
        # A value on the edge between two bytes may fall to either side: half a step of one input of many.
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-3)
        assert (a.double() - b).norm() <= 1e-4 * b.norm().clamp(min=1e-6)


def test_close_to_the_weights_it_was_made_from(int8_path):
    values = problem(10, 6, 64, 96)
    got = INT8.pack(quantize_rows(values[3]), quantize_rows(values[4])).run(*values[:3], values[5])
    for a, b in zip(got, pack(values[3], values[4]).run(*values[:3], values[5]), strict=True):
        assert (a - b).norm() <= 0.02 * b.norm()  # 127 levels: each number is off by up to 1/254 of its row's largest


def test_alone_or_together_in_one_piece_or_two(int8_path):
    x, h0, c0, w_ih, w_hh, bias = problem(9, 5, 20, 35)
    packed = INT8.pack(quantize_rows(w_ih), quantize_rows(w_hh))
    y, h_n, c_n = packed.run(x, h0, c0, bias)
    first, h, c = packed.run(x[:4], h0, c0, bias)
    rest, h, c = packed.run(x[4:], h, c, bias)
    assert torch.equal(torch.cat([first, rest]), y)
    assert torch.equal(h, h_n)
    assert torch.equal(c, c_n)


@pytest.mark.parametrize(("batch", "inputs", "hidden"), [(17, 20, 35), (50, 40, 130)])
def test_batch_mates_change_no_bit(int8_path, batch, inputs, hidden):
    x, h0, c0, w_ih, w_hh, bias = problem(12, batch, inputs, hidden)
    packed = INT8.pack(quantize_rows(w_ih), quantize_rows(w_hh))
    y, _, _ = packed.run(x, h0, c0, bias)
    for size in (1, 2, 3, 4, 5, 6, 7, 13, 16):
        few, _, _ = packed.run(x[:, :size], h0[:size], c0[:size], bias)
        assert torch.equal(few, y[:, :size])


def test_threads_change_nothing(int8_path, restore_threads):
    x, h0, c0, w_ih, w_hh, bias = problem(6, 9, 40, 70)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        packed = INT8.pack(quantize_rows(w_ih), quantize_rows(w_hh))
        found.append(packed.run(x, h0, c0, bias)[0])
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_zeros_large_states_and_no_numbers(int8_path):
    x, h0, c0, w_ih, w_hh, bias = problem(3, 4, 6, 20)
    w_ih[:3], x[:, 0], h0[1] = 0.0, 0.0, 40.0
    packed = INT8.pack(quantize_rows(w_ih), quantize_rows(w_hh))
    wanted = by_definition(x, h0, c0, w_ih, w_hh, bias, torch.full((4,), 3))
    torch.testing.assert_close(packed.run(x, h0, c0, bias)[0].double(), wanted[0], rtol=1e-3, atol=1e-3)
    for broken in (torch.nan, torch.inf):
        x[1, 2, 3] = broken
        y, _, _ = packed.run(x, h0, c0, bias)
        assert y[1:, 2].isnan().all()
        assert y[:, [0, 1, 3]].isfinite().all()


def test_no_steps_at_all(int8_path):
    x, h0, c0, w_ih, w_hh, bias = problem(0, 3, 6, 20)
    y, h_n, c_n = INT8.pack(quantize_rows(w_ih), quantize_rows(w_hh)).run(x, h0, c0, bias)
    assert y.shape == (0, 3, 20)
    assert torch.equal(h_n, h0)
    assert torch.equal(c_n, c0)


def test_gradients_are_refused(int8_path):
    x, h0, c0, w_ih, w_hh, bias = problem(2, 3, 6, 20)
    with pytest.raises(ConfigError, match="lstm: int8 weights have no gradients; train the model they were made"):
        INT8.pack(quantize_rows(w_ih), quantize_rows(w_hh)).run(x.requires_grad_(), h0, c0, bias)


def test_without_the_library(monkeypatch):
    monkeypatch.setattr(library_module, "load_library", lambda: "not built: no compiler")
    x, h0, c0, w_ih, w_hh, bias = problem(4, 3, 6, 20)
    with pytest.raises(ConfigError, match="backend: 'int8' not built: no compiler; use backend='auto'"):
        INT8.pack(w_ih, w_hh)
    packed = TORCH.pack(quantize_rows(w_ih), quantize_rows(w_hh))
    wanted = TORCH.pack(rounded(w_ih), rounded(w_hh)).run(x, h0, c0, bias)
    torch.testing.assert_close(packed.run(x, h0, c0, bias)[0], wanted[0])


@given(
    st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3), min_size=1, max_size=5),
)
def test_each_number_is_off_by_half_a_level_at_most(rows):
    weight = torch.tensor(rows)
    matrix = quantize_rows(weight)
    half_level = weight.abs().amax(dim=1, keepdim=True) / 254
    assert ((matrix.to_float() - weight).abs() <= half_level * 1.001 + 1e-37).all()
    assert torch.equal(matrix.values, quantize_rows(matrix.to_float()).values)


def test_invalid_values_scales_and_shapes_are_refused():
    with pytest.raises(ConfigError, match="weight: expected finite numbers"):
        quantize_rows(torch.tensor([[1.0, torch.nan]]))
    with pytest.raises(ConfigError, match=r"values: expected \(R, C\) int8, got \(2, 2\) torch.float32"):
        Int8Matrix(torch.zeros(2, 2), torch.zeros(2))
    with pytest.raises(ConfigError, match=r"scales: expected \(2,\) float32, got \(3,\) torch.float32"):
        Int8Matrix(torch.zeros(2, 2, dtype=torch.int8), torch.zeros(3))
    with pytest.raises(
        ConfigError, match=r"pack: expected w_ih \(4H, E\) and w_hh \(4H, H\), got \(8, 3\) and \(4, 1\)"
    ):
        INT8.pack(quantize_rows(torch.ones(8, 3)), quantize_rows(torch.ones(4, 1)))
    lowest = Int8Matrix(torch.full((4, 1), -128, dtype=torch.int8), torch.ones(4))
    with pytest.raises(ConfigError, match="w_hh: expected int8 weights from -127 to 127, got -128"):
        INT8.pack(quantize_rows(torch.ones(4, 3)), lowest)
