"""The Mogrifier LSTM: against its plain loop, gradients included, and against the formula worked out here."""

import math

import pytest
import torch
from support.gradients import gradients, relative_error

from ulmkit.errors import ConfigError
from ulmkit.kernels import reference as reference_lstm
from ulmkit.kernels.mogrifier import mogrifier, mogrify

SIZES = [(1, 1, 1, 1), (5, 3, 4, 7), (4, 2, 33, 33), (3, 7, 7, 1)]


def problem(steps, batch, inputs, hidden, rounds, rank, dtype=torch.float64) -> dict[str, torch.Tensor]:
    """By name, factors as "0.0", "0.1", "1.0", ...: the first number the round's."""
    generator = torch.Generator().manual_seed(steps + 10 * batch + 100 * hidden + 7 * rounds)
    shapes = {
        "x": (steps, batch, inputs),
        "h0": (batch, hidden),
        "c0": (batch, hidden),
        "weight": (4 * hidden, inputs + hidden),
        "bias": (4 * hidden,),
    }
    scales = {"weight": hidden**-0.5}
    for number in range(rounds):
        rows, columns = (inputs, hidden) if number % 2 == 0 else (hidden, inputs)
        factors = [(rows, columns)] if rank is None else [(rows, rank), (rank, columns)]
        for place, shape in enumerate(factors):
            shapes[f"{number}.{place}"], scales[f"{number}.{place}"] = shape, shape[1] ** -0.5
    return {
        name: (scales.get(name, 1.0) * torch.randn(shape, generator=generator, dtype=dtype)).requires_grad_()
        for name, shape in shapes.items()
    }


def modulations(values) -> list[tuple[torch.Tensor, ...]]:
    numbers = sorted({int(name.split(".")[0]) for name in values if "." in name})
    return [tuple(values[name] for name in sorted(values) if name.startswith(f"{number}.")) for number in numbers]


def run(values, lengths=None, reference=False, dtype=None):
    weight = values["weight"] if dtype is None else values["weight"].to(dtype)
    factors = [tuple(factor.to(weight.dtype) for factor in group) for group in modulations(values)]
    return mogrifier(
        values["x"], values["h0"], values["c0"], weight, values["bias"], factors, lengths, reference=reference
    )


def test_rounds_by_hand():
    """x of 2 and h of 1 unit: x^1 from h, h^2 from x^1, x^3 from h^2, every number written out."""
    q1, r2, q3 = [[0.5], [-1.0]], [[0.3, 0.2]], [[1.0], [0.25]]
    factors = [(torch.tensor(matrix).double(),) for matrix in (q1, r2, q3)]
    x, h = mogrify(torch.tensor([[0.4, -0.6]]).double(), torch.tensor([[0.7]]).double(), factors)

    def scale(p):
        return 2 / (1 + math.exp(-p))

    x1 = [scale(0.5 * 0.7) * 0.4, scale(-1.0 * 0.7) * -0.6]
    h2 = scale(0.3 * x1[0] + 0.2 * x1[1]) * 0.7
    assert h.flatten().tolist() == pytest.approx([h2])
    assert x.flatten().tolist() == pytest.approx([scale(1.0 * h2) * x1[0], scale(0.25 * h2) * x1[1]])


def test_no_rounds_are_an_lstm():
    values = problem(5, 3, 4, 7, 0, None)
    w_ih, w_hh = values["weight"].split([4, 7], dim=1)
    expected = reference_lstm.lstm(values["x"], values["h0"], values["c0"], w_ih, w_hh, values["bias"], None)
    for a, b in zip(run(values), expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("rounds", "rank"), [(1, None), (2, 1), (5, None), (5, 3)])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("ends", [False, True])
def test_equals_the_plain_loop_in_float64(sizes, rounds, rank, ends):
    values = problem(*sizes, rounds, rank)
    lengths = torch.arange(sizes[1]).flip(0) % (sizes[0] + 1) if ends else None
    got, expected = run(values, lengths), run(values, lengths, reference=True)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)
    wanted = gradients(values, expected)
    for name, gradient in gradients(values, got).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-8, atol=1e-9, msg=name)


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("lengths", [None, torch.tensor([3, 1])])
def test_gradcheck(rank, lengths):
    values = problem(3, 2, 2, 3, 3, rank)

    def op(*inputs):
        return run(dict(zip(values, inputs, strict=True)), lengths)

    assert torch.autograd.gradcheck(op, tuple(values.values()))


@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # fp32: rounding of sums. bf16 has 8 bits: weights, states, what is in the gates and gradients are rounded to it.
    [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)],
)
def test_near_float64_at_full_size(dtype, tolerance):
    values = problem(3, 5, 400, 1152, 5, 84)
    expected = run(values, reference=True)
    wanted = gradients(values, expected)
    low = {name: value.detach().float().requires_grad_() for name, value in values.items()}
    got = run(low, dtype=dtype)
    assert got[0].dtype == dtype
    assert got[2].dtype == torch.float32
    for a, b in zip(got, expected, strict=True):
        assert relative_error(a, b) < tolerance
    for name, gradient in gradients(low, got).items():
        assert relative_error(gradient, wanted[name]) < tolerance, name


def test_lengths_equal_each_sequence_alone():
    values = problem(6, 5, 3, 4, 5, 2)
    lengths = torch.tensor([3, 6, 0, 1, 6])
    y, h, c = run(values, lengths)
    for b, length in enumerate(lengths.tolist()):
        alone = {**values, "x": values["x"][:length, b : b + 1]}
        alone["h0"], alone["c0"] = values["h0"][b : b + 1], values["c0"][b : b + 1]
        y_alone, h_alone, c_alone = run(alone)
        torch.testing.assert_close(y[:length, b : b + 1], y_alone)
        assert not y[length:, b].any()
        torch.testing.assert_close(h[b : b + 1], h_alone)
        torch.testing.assert_close(c[b : b + 1], c_alone)


def test_two_calls_with_state_equal_one_and_so_do_their_gradients():
    values = problem(7, 2, 3, 5, 4, None)
    whole = run(values)
    first = run({**values, "x": values["x"][:3]})
    second = run({**values, "x": values["x"][3:], "h0": first[1], "c0": first[2]})
    joined = (torch.cat([first[0], second[0]]), second[1], second[2])
    for a, b in zip(joined, whole, strict=True):
        torch.testing.assert_close(a, b)
    wanted = gradients(values, whole)
    for name, gradient in gradients(values, joined).items():
        torch.testing.assert_close(gradient, wanted[name], msg=name)


@pytest.mark.parametrize("reference", [False, True])
def test_no_steps_keep_the_state(reference):
    values = problem(2, 2, 3, 4, 2, None)
    y, h, c = run({**values, "x": values["x"][:0]}, reference=reference)
    assert y.shape == (0, 2, 4)
    assert torch.equal(h, values["h0"])
    assert torch.equal(c, values["c0"])


def test_not_a_number_stays_in_its_sequence():
    values = problem(4, 3, 6, 5, 3, None)
    broken = values["x"].detach().clone()
    broken[1, 0, 0] = torch.nan
    y = run({**values, "x": broken})[0]
    assert y[1:, 0].isnan().all()
    assert y[0].isfinite().all()
    assert y[:, 1:].isfinite().all()
    y, h, _ = run({**values, "x": broken}, torch.tensor([1, 4, 4]))
    assert y.isfinite().all()
    assert h.isfinite().all()


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("h0", (2, 5), r"h0: expected \(3, 5\), got \(2, 5\)"),
        ("c0", (3, 4), r"c0: expected \(3, 5\), got \(3, 4\)"),
        ("weight", (20, 8), r"weight: expected \(20, 9\), got \(20, 8\)"),
        ("bias", (19,), r"bias: expected \(20,\), got \(19,\)"),
        ("lengths", (4,), r"lengths: expected \(3,\), got \(4,\)"),
        ("0.1", (2, 4), r"modulations\[0\]: expected factors of a matrix \(4, 5\), got \(4, 2\) times \(2, 4\)"),
        ("1.0", (5, 3), r"modulations\[1\]: expected factors of a matrix \(5, 4\), got \(5, 3\) times \(2, 4\)"),
    ],
)
def test_wrong_shapes_are_named(name, shape, message):
    values = {**problem(2, 3, 4, 5, 2, 2), name: torch.zeros(shape).double()}
    with pytest.raises(ConfigError, match=message):
        run(values, values.get("lengths"))
