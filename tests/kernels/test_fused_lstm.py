"""The fused kernels: every path that runs here, against the reference in float64."""

import functools

import pytest
import torch
from support.gradients import relative_error

from ulmkit.errors import ConfigError
from ulmkit.kernels import (
    Packed,
    draw_keep_bits,
    linear_cross_entropy,
    mask_recurrent,
    pack,
    reference,
)
from ulmkit.kernels.cpu.fused_lstm import Layout

CPU = torch.device("cpu")
NAMES = ("x", "h0", "c0", "w_ih", "w_hh", "bias")
TOLERANCES = {
    torch.float32: 1e-5,  # rounding of sums
    torch.bfloat16: 2e-2,  # 8 bits: inputs are exact, states and gates' gradients are rounded at each step
}


def problem(steps: int, batch: int, inputs: int, hidden: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """x, h0, c0, w_ih, w_hh and bias as float32; x and h0 have no more digits than `dtype`."""
    generator = torch.Generator().manual_seed(steps + 10 * batch + 100 * hidden)

    def draw(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return scale * torch.randn(*shape, generator=generator)

    scale = hidden**-0.5
    x, h0 = (draw(*shape).to(dtype).float() for shape in ((steps, batch, inputs), (batch, hidden)))
    weights = (draw(4 * hidden, inputs, scale=scale), draw(4 * hidden, hidden, scale=scale), draw(4 * hidden))
    return [tensor.requires_grad_() for tensor in (x, h0, draw(batch, hidden), *weights)]


def fused(values, lengths=None, keep_bits=None, keep_scale=1.0, dtype=torch.float32):
    x, h0, c0, w_ih, w_hh, bias = values
    return pack(w_ih, w_hh, keep_bits, keep_scale, dtype, "fused").run(x, h0, c0, bias, lengths)


def layout(packed: Packed) -> Layout:
    return packed.function.keywords["layout"]


def exact(values, lengths=None, keep_bits=None, keep_scale=1.0):
    x, h0, c0, w_ih, w_hh, bias = values
    return reference.lstm(x, h0, c0, w_ih, mask_recurrent(w_hh, keep_bits, keep_scale), bias, lengths)


def gradients(values, outputs):
    generator = torch.Generator().manual_seed(7)
    sent = [torch.randn(out.shape, generator=generator).bfloat16().to(out.dtype) for out in outputs]
    return torch.autograd.grad(outputs, values, sent)


@functools.cache
def wanted(steps, batch, inputs, hidden, dtype, lengths, dropout):
    """A problem's lengths and mask, and the reference's outputs and gradients for all paths of a type."""
    values = [value.detach().double().requires_grad_() for value in problem(steps, batch, inputs, hidden, dtype)]
    ends = None if lengths is None else torch.tensor(lengths)
    generator = torch.Generator().manual_seed(0)
    bits = draw_keep_bits(4 * hidden, hidden, dropout, generator=generator) if dropout else None
    mask = bits, 1 / (1 - dropout)
    outputs = exact(values, ends, *mask)
    return ends, mask, [output.detach() for output in outputs], gradients(values, outputs)


@pytest.mark.parametrize(
    ("steps", "batch", "inputs", "hidden", "lengths"),
    [
        (1, 9, 1, 1, None),  # of one sequence alone a gradient is one sum, whose four parts may cancel
        (7, 7, 7, 7, None),
        (4, 33, 33, 33, None),
        (9, 13, 64, 96, (9,) * 6 + (5,) * 7),
        (6, 5, 33, 17, (6, 0, 3, 6, 2)),
        (5, 3, 100, 130, (1, 2, 2)),
        (40, 20, 48, 24, None),  # several chunks of inputs
        (3, 7, 400, 1152, None),
        (2, 3, 1152, 400, None),
        (5, 1, 400, 1150, None),
        (3, 2, 33, 260, None),
        (12, 8, 70, 50, None),
    ],
)
@pytest.mark.parametrize("dropout", [0.3, 0.0])  # without it few rows meet weights that are not laid out
def test_outputs_and_every_gradient(dtype, steps, batch, inputs, hidden, lengths, dropout):
    ends, mask, outputs, their_gradients = wanted(steps, batch, inputs, hidden, dtype, lengths, dropout)
    values = problem(steps, batch, inputs, hidden, dtype)
    got = fused(values, ends, *mask, dtype)
    for name, a, b in zip(("y", "h_n", "c_n"), got, outputs, strict=True):
        assert relative_error(a, b) < TOLERANCES[dtype], name
    for name, a, b in zip(NAMES, gradients(values, got), their_gradients, strict=True):
        assert relative_error(a, b) < TOLERANCES[dtype], name


@pytest.mark.parametrize(("steps", "batch"), [(11, 21), (5, 4)])
def test_threads_change_nothing_and_runs_repeat(dtype, restore_threads, steps, batch):
    values = problem(steps, batch, 40, 70, dtype)
    found = []
    for threads in (1, 2, 2, 3):
        torch.set_num_threads(threads)
        outputs = fused(values, dtype=dtype)
        found.append([*outputs, *gradients(values, outputs)])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            assert torch.equal(a, b)


def test_weights_are_laid_out_where_it_pays(dtype):
    few, many = problem(4, 3, 6, 20, dtype), problem(40, 20, 6, 20, dtype)
    _, _, _, w_ih, w_hh, bias = few
    packed = pack(w_ih, w_hh, dtype=dtype, backend="fused")
    assert (layout(packed).forward is None) == (dtype == torch.float32)
    found = [gradients(few, packed.run(*few[:3], bias))]
    assert (layout(packed).forward is None) == (dtype == torch.float32)
    packed.run(*many[:3], bias)
    assert layout(packed).backward is not None
    found.append(gradients(few, packed.run(*few[:3], bias)))
    for name, a, b in zip(NAMES, *found, strict=True):
        assert relative_error(a, b) < TOLERANCES[dtype], name
    lengths = torch.tensor([4, 2, 0])
    packed = pack(w_ih, w_hh, dtype=dtype, backend="fused")
    packed.run(*few[:3], bias, lengths)
    assert layout(packed).backward is not None


def test_weights_in_another_order_of_memory(dtype):
    values = problem(4, 3, 6, 20, dtype)
    turned = [
        value.detach().t().contiguous().t().requires_grad_() if n in (3, 4) else value for n, value in enumerate(values)
    ]
    for a, b in zip(
        gradients(turned, fused(turned, dtype=dtype)), gradients(values, fused(values, dtype=dtype)), strict=True
    ):
        assert torch.equal(a, b)


def test_without_gradient_the_same_and_sequences_alone(dtype):
    values = problem(8, 6, 20, 35, dtype)
    lengths = torch.tensor([8, 1, 5, 8, 3, 2])
    together = fused(values, lengths, dtype=dtype)
    with torch.no_grad():
        for a, b in zip(fused(values, lengths, dtype=dtype), together, strict=True):
            assert torch.equal(a, b)
        x, h0, c0, *rest = values
        for n, length in enumerate(lengths.tolist()):
            y, h, c = fused([x[:length, n : n + 1], h0[n : n + 1], c0[n : n + 1], *rest], dtype=dtype)
            torch.testing.assert_close(y[:, 0], together[0][:length, n], rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])
            torch.testing.assert_close(h[0], together[1][n], rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])
            torch.testing.assert_close(c[0], together[2][n], rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])


def test_long_sequences_without_gradient(dtype):
    """States of two steps take turns, over several chunks of inputs, as sequences end."""
    values = problem(30, 20, 24, 40, dtype)
    lengths = torch.randint(31, (20,), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        alone = fused([value.detach() for value in values], lengths, dtype=dtype)
    for a, b in zip(alone, fused(values, lengths, dtype=dtype), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("steps", "batch"), [(0, 3), (4, 3), (0, 0), (4, 0), (0, 17), (4, 64)])
def test_no_steps_at_all(dtype, steps, batch):
    values = problem(steps, batch, 6, 20, dtype)
    outputs = fused(values, torch.zeros(batch, dtype=torch.int64), dtype=dtype)
    assert torch.equal(outputs[1], values[1])
    assert torch.equal(outputs[2], values[2])
    found = torch.autograd.grad([output.sum() for output in outputs], values)
    for name, gradient in zip(NAMES, found, strict=True):
        assert torch.equal(gradient, torch.full_like(gradient, float(name in ("h0", "c0")))), name


def test_default_types_make_no_difference(dtype):
    values = problem(3, 4, 6, 20, dtype)
    wanted = torch.autograd.grad(fused(values, dtype=dtype)[0].sum(), values)
    torch.set_default_dtype(torch.float64)
    try:
        found = torch.autograd.grad(fused(values, dtype=dtype)[0].sum(), values)
    finally:
        torch.set_default_dtype(torch.float32)
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a, b)


def test_weights_changed_before_a_late_layout_are_reported(dtype):
    x, h0, c0, w_ih, w_hh, bias = problem(3, 4, 6, 20, dtype)
    with torch.no_grad():
        packed = pack(w_ih, w_hh, dtype=dtype, backend="fused")
    y, _, _ = packed.run(x, h0, c0, bias)
    torch.autograd.grad(y.sum(), x)
    with torch.no_grad():
        packed = pack(w_ih, w_hh, dtype=dtype, backend="fused")
        w_hh.mul_(2.0)
    y, _, _ = packed.run(x, h0, c0, bias)
    message = r"the weights have changed since pack\(\); pack them again"
    with pytest.raises(ConfigError, match=message):
        torch.autograd.grad(y.sum(), x)
    if dtype != torch.float32:
        return
    packed = pack(w_ih, w_hh, dtype=dtype, backend="fused")
    with torch.no_grad():
        w_hh.mul_(2.0)
    for steps in (3, 300):  # as they are, and laid out now
        with pytest.raises(ConfigError, match=message):
            packed.run(torch.zeros(steps, 4, 6), h0, c0, bias)


def test_only_the_gradients_that_are_asked_for(dtype):
    values = problem(5, 4, 9, 12, dtype)
    wanted = gradients(values, fused(values, dtype=dtype))
    for chosen in ((0,), (1, 2), (3, 4, 5), (5,)):
        some = [value.detach().requires_grad_(n in chosen) for n, value in enumerate(values)]
        outputs = fused(some, dtype=dtype)
        generator = torch.Generator().manual_seed(7)
        sent = [torch.randn(out.shape, generator=generator).bfloat16().to(out.dtype) for out in outputs]
        got = torch.autograd.grad(outputs, [some[n] for n in chosen], sent)
        for n, gradient in zip(chosen, got, strict=True):
            assert torch.equal(gradient, wanted[n]), NAMES[n]


def test_large_and_tiny_sums(dtype):
    """Gates at their ends and near zero: no overflow, and the values that exact arithmetic has."""
    values = [value.detach() for value in problem(1, 3, 4, 40, dtype)]
    values[0][:] = 1.0
    values[3][:], values[4][:] = 0.0, 0.0
    values[5] = torch.tensor([-1000.0, -90.0, -20.0, -1e-4, 0.0, 1e-4, 0.5, 20.0, 90.0, 1000.0]).repeat(16)
    for a, b in zip(fused(values, dtype=dtype), exact([value.double() for value in values]), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=TOLERANCES[dtype], atol=1e-7)


def test_nan_stays_in_its_sequence(dtype):
    values = problem(3, 4, 6, 20, dtype)
    broken = [values[0].detach().clone(), *values[1:]]
    broken[0][1, 2, 3] = torch.nan
    y, h, _ = fused(broken, dtype=dtype)
    assert y[1:, 2].isnan().all()
    assert h[2].isnan().all()
    assert y[:, [0, 1, 3]].isfinite().all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_infinity_gives_what_torch_gives(dtype, sign):
    """Units are computed in groups, the last of which is not full: what is beyond it stays out of the others' sums."""
    values = problem(4, 3, 6, 20, dtype)
    broken = [values[0].detach().clone(), *(value.detach() for value in values[1:])]
    broken[0][1, 2, 3] = sign * torch.inf
    broken = [value.requires_grad_() for value in broken]
    outputs, wanted = fused(broken, dtype=dtype), exact([value.double() for value in broken])
    for a, b in zip(outputs, wanted, strict=True):
        assert b.isfinite().all()
        torch.testing.assert_close(a.double(), b, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])
    found = torch.autograd.grad(sum(output.float().sum() for output in outputs), broken)
    expected = torch.autograd.grad(sum(output.sum() for output in wanted), broken)
    for name, a, b in zip(NAMES, found, expected, strict=True):
        assert torch.equal(a.isfinite(), b.isfinite()), name


def test_two_passes_backward_over_one_pass_forward(dtype):
    values = problem(3, 4, 6, 20, dtype)
    y, _, _ = fused(values, dtype=dtype)
    first = torch.autograd.grad(y.sum(), values[3], retain_graph=True)[0]
    assert torch.equal(first, torch.autograd.grad(y.sum(), values[3])[0])


def test_it_learns(dtype):
    """To say what was said three steps ago."""
    torch.manual_seed(0)
    ids = torch.randint(4, (24, 16))
    values = [value.detach().requires_grad_() for value in problem(24, 16, 4, 24, dtype)[3:]]
    head = torch.zeros(4, 24, requires_grad=True)
    optimizer = torch.optim.Adam([*values, head], lr=0.02)
    losses = []
    for _ in range(200):
        x, zeros = torch.nn.functional.one_hot(ids, 4).float(), torch.zeros(16, 24)
        y, _, _ = fused([x, zeros, zeros, *values], dtype=dtype)
        loss = linear_cross_entropy(y[3:].flatten(0, 1), head, None, ids[:-3].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 1.3
    assert losses[-1] < 0.1
