"""The QRNN: against its plain loop, gradients included, and against the formula worked out here."""

import math

import pytest
import torch
from support.gradients import gradients, relative_error

from ulmkit.errors import ConfigError
from ulmkit.kernels.qrnn import fo_pool, fo_pool_reference, qrnn

NAMES = ("x", "previous", "c0", "weight", "bias")
SIZES = [(1, 1, 1, 1), (5, 3, 4, 7), (7, 2, 33, 33), (3, 7, 7, 1)]


def problem(steps, batch, inputs, hidden, window, dtype=torch.float64) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(steps + 10 * batch + 100 * hidden + window)
    shapes = {
        "x": (steps, batch, inputs),
        "previous": (batch, (window - 1) * inputs),
        "c0": (batch, hidden),
        "weight": (3 * hidden, window * inputs),
        "bias": (3 * hidden,),
    }
    scales = {"weight": (window * inputs) ** -0.5}
    return {
        name: (scales.get(name, 1.0) * torch.randn(shape, generator=generator, dtype=dtype)).requires_grad_()
        for name, shape in shapes.items()
    }


def run(values, lengths=None, reference=False, dtype=None):
    weight = values["weight"] if dtype is None else values["weight"].to(dtype)
    return qrnn(values["x"], values["previous"], values["c0"], weight, values["bias"], lengths, reference=reference)


def test_one_unit_by_hand():
    """Two steps of one unit with a window of 2, every number written out."""
    weight = torch.tensor([[1.0, 0.5], [-1.0, 0.25], [2.0, 0.0]], dtype=torch.float64)
    bias = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    x = torch.tensor([[[0.4]], [[-0.6]]], dtype=torch.float64)
    y, last, c_n = qrnn(x, torch.tensor([[0.8]]).double(), torch.tensor([[0.5]]).double(), weight, bias)
    c, expected = 0.5, []
    for now, before in ((0.4, 0.8), (-0.6, 0.4)):
        z = math.tanh(now + 0.5 * before + 0.1)
        f = 1 / (1 + math.exp(-(-now + 0.25 * before + 0.2)))
        o = 1 / (1 + math.exp(-(2 * now + 0.3)))
        c = f * c + (1 - f) * z
        expected.append(o * c)
    assert y.flatten().tolist() == pytest.approx(expected)
    assert (last.item(), c_n.item()) == (-0.6, pytest.approx(c))


@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("ends", [False, True])
def test_equals_the_plain_loop_in_float64(sizes, window, ends):
    values = problem(*sizes, window)
    lengths = torch.arange(sizes[1]).flip(0) % (sizes[0] + 1) if ends else None
    got, expected = run(values, lengths), run(values, lengths, reference=True)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    wanted = gradients(values, expected)
    for name, gradient in gradients(values, got).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-9, atol=1e-11, msg=name)


@pytest.mark.parametrize("window", [1, 2])
def test_gradcheck(window):
    values = problem(3, 2, 2, 3, window)
    checked = [values[name] for name in NAMES]
    assert torch.autograd.gradcheck(lambda *inputs: qrnn(*inputs, torch.tensor([3, 1])), checked)
    assert torch.autograd.gradcheck(lambda *inputs: qrnn(*inputs), checked)


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # fp32: rounding of sums. bf16 has 8 bits: weights, what is in the gates, outputs and gradients are rounded to it.
    [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)],
)
def test_near_float64_at_full_size(dtype, tolerance):
    values = problem(9, 5, 400, 1152, 2)
    expected = run(values, reference=True)
    wanted = gradients(values, expected)
    low = {name: value.detach().float().requires_grad_() for name, value in values.items()}
    got = run(low, dtype=dtype)
    assert got[0].dtype == dtype
    assert (got[1].dtype, got[2].dtype) == (torch.float32, torch.float32)
    for a, b in zip(got, expected, strict=True):
        assert relative_error(a, b) < tolerance
    for name, gradient in gradients(low, got).items():
        assert relative_error(gradient, wanted[name]) < tolerance, name


@pytest.mark.parametrize("window", [1, 2])
def test_lengths_equal_each_sequence_alone(window):
    values = problem(6, 5, 3, 4, window)
    lengths = torch.tensor([3, 6, 0, 1, 6])
    y, previous, c = run(values, lengths)
    for b, length in enumerate(lengths.tolist()):
        alone = {**values, "x": values["x"][:length, b : b + 1]}
        alone["previous"], alone["c0"] = values["previous"][b : b + 1], values["c0"][b : b + 1]
        y_alone, previous_alone, c_alone = run(alone)
        torch.testing.assert_close(y[:length, b : b + 1], y_alone)
        assert not y[length:, b].any()
        torch.testing.assert_close(previous[b : b + 1], previous_alone)
        torch.testing.assert_close(c[b : b + 1], c_alone)


def test_padding_is_never_read():
    values = problem(4, 2, 3, 5, 2)
    lengths = torch.tensor([2, 4])
    broken = values["x"].detach().clone()
    broken[2:, 0] = torch.nan
    for a, b in zip(run({**values, "x": broken}, lengths), run(values, lengths), strict=True):
        torch.testing.assert_close(a, b)
    broken = values["x"].detach().clone()
    broken[1, 0, 0] = torch.nan
    y = run({**values, "x": broken})[0]
    assert y[1:, 0].isnan().all()
    assert y[0].isfinite().all()
    assert y[:, 1].isfinite().all()


@pytest.mark.parametrize("window", [1, 2])
def test_two_calls_with_state_equal_one_and_so_do_their_gradients(window):
    values = problem(7, 2, 3, 5, window)
    whole = run(values)
    first = run({**values, "x": values["x"][:3]})
    second = run({**values, "x": values["x"][3:], "previous": first[1], "c0": first[2]})
    joined = (torch.cat([first[0], second[0]]), second[1], second[2])
    for a, b in zip(joined, whole, strict=True):
        torch.testing.assert_close(a, b)
    wanted = gradients(values, whole)
    for name, gradient in gradients(values, joined).items():
        torch.testing.assert_close(gradient, wanted[name], msg=name)


@pytest.mark.parametrize("reference", [False, True])
def test_no_steps_keep_the_state(reference):
    values = problem(2, 2, 3, 4, 2)
    y, previous, c = run({**values, "x": values["x"][:0]}, reference=reference)
    assert y.shape == (0, 2, 4)
    assert torch.equal(previous, values["previous"])
    assert torch.equal(c, values["c0"])


def test_strided_input():
    a = torch.randn(3, 4, 15, dtype=torch.float64).transpose(0, 1).requires_grad_()
    c0 = torch.randn(3, 5, dtype=torch.float64)
    found, expected = fo_pool(a, c0), fo_pool_reference(a, c0)
    torch.testing.assert_close(found, expected)
    sent = torch.randn(3, 4, 5, dtype=torch.float64).transpose(0, 1)
    for got, wanted in zip(*(torch.autograd.grad(out[0], a, sent) for out in (found, expected)), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("previous", (2, 4), r"previous: expected \(3, 4\) or \(3, 0\), got \(2, 4\)"),
        ("c0", (2, 5), r"c0: expected \(3, 5\), got \(2, 5\)"),
        ("weight", (15, 4), r"weight: expected \(15, 8\), got \(15, 4\)"),
        ("bias", (16,), r"bias: expected \(15,\), got \(16,\)"),
        ("lengths", (4,), r"lengths: expected \(3,\), got \(4,\)"),
    ],
)
def test_wrong_shapes_are_named(name, shape, message):
    values = {**problem(2, 3, 4, 5, 2), name: torch.zeros(shape)}
    with pytest.raises(ConfigError, match=message):
        run(values, values.get("lengths"))
