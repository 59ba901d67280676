"""Every backend against torch.nn.LSTM and the reference: outputs, states and every gradient."""

import pytest
import torch
from support.gradients import gradients, relative_error
from torch import nn

from ulmkit.errors import ConfigError
from ulmkit.kernels import BACKENDS, draw_keep_bits, pack, unpack_keep_bits
from ulmkit.kernels.cpu.library import choose_path

NAMES = ("x", "h0", "c0", "w_ih", "w_hh", "bias")


def problem(steps: int, batch: int, inputs: int, hidden: int, dtype: torch.dtype = torch.float64) -> dict:
    generator = torch.Generator().manual_seed(steps + 10 * batch + 100 * hidden)

    def draw(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return (scale * torch.randn(*shape, generator=generator, dtype=dtype)).requires_grad_()

    scale = hidden**-0.5
    return {
        "x": draw(steps, batch, inputs),
        "h0": draw(batch, hidden),
        "c0": draw(batch, hidden),
        "w_ih": draw(4 * hidden, inputs, scale=scale),
        "w_hh": draw(4 * hidden, hidden, scale=scale),
        "bias": draw(4 * hidden, scale=scale),
    }


def exact_type(backend: str) -> torch.dtype:
    """The widest type that a backend computes in."""
    return torch.float32 if backend == "fused" else torch.float64


def skip_without(backend: str, dtype: torch.dtype) -> None:
    path, reason = choose_path(dtype)
    if backend == "fused" and path is None:
        pytest.skip(f"the backend {reason}")


def run(values: dict, backend: str, lengths=None, dtype=None, keep_bits=None, keep_scale=1.0) -> tuple:
    skip_without(backend, dtype or values["w_ih"].dtype)
    packed = pack(values["w_ih"], values["w_hh"], keep_bits, keep_scale, dtype, backend)
    return packed.run(values["x"], values["h0"], values["c0"], values["bias"], lengths)


def torch_lstm(values: dict) -> tuple:
    hidden = values["w_hh"].shape[1]
    module = nn.LSTM(values["x"].shape[2], hidden, dtype=values["x"].dtype)
    weights = {
        "weight_ih_l0": values["w_ih"],
        "weight_hh_l0": values["w_hh"],
        "bias_ih_l0": values["bias"],
        "bias_hh_l0": torch.zeros_like(values["bias"]),
    }
    state = (values["h0"].unsqueeze(0), values["c0"].unsqueeze(0))
    y, (h, c) = torch.func.functional_call(module, weights, (values["x"], state))
    return y, h[0], c[0]


@pytest.mark.parametrize("backend", ["torch", "stepwise", "reference"])
@pytest.mark.parametrize(("steps", "batch", "inputs", "hidden"), [(1, 1, 1, 1), (5, 3, 4, 7), (7, 2, 33, 33)])
def test_backends_equal_torch_lstm_in_float64(backend, steps, batch, inputs, hidden):
    values = problem(steps, batch, inputs, hidden)
    expected = torch_lstm(values)
    got = run(values, backend)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    wanted = gradients(values, expected)
    for name, gradient in gradients(values, got).items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-9, atol=1e-11, msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    # fp32: rounding of 1152-term sums. bf16 has 8 bits: one rounding is 2^-9 relative, and states pass through
    # several roundings a step, which sum incoherently to about one percent.
    [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)],
)
def test_backends_near_float64_at_full_size(backend, dtype, tolerance):
    if (backend, dtype) == ("torch", torch.bfloat16):
        with pytest.raises(ConfigError, match="bf16 LSTM gives wrong gradients on CPUs"):
            run(problem(1, 1, 2, 2, torch.float32), backend, dtype=dtype)
        return
    values = problem(3, 5, 400, 1152)
    expected = run(values, "reference")
    wanted = gradients(values, expected)
    low = {name: value.detach().float().requires_grad_() for name, value in values.items()}
    got = run(low, backend, dtype=dtype)
    for a, b in zip(got, expected, strict=True):
        assert relative_error(a, b) < tolerance
    for name, gradient in gradients(low, got).items():
        assert relative_error(gradient, wanted[name]) < tolerance, name


@pytest.mark.parametrize("backend", BACKENDS)
def test_lengths_equal_each_sequence_alone(backend):
    values = problem(6, 5, 3, 4, exact_type(backend))
    lengths = torch.tensor([3, 6, 0, 1, 6])
    y, h, c = run(values, backend, lengths)
    for b, length in enumerate(lengths.tolist()):
        alone = {**values, "x": values["x"][:length, b : b + 1]}
        alone["h0"], alone["c0"] = values["h0"][b : b + 1], values["c0"][b : b + 1]
        y_alone, h_alone, c_alone = run(alone, "reference")
        torch.testing.assert_close(y[:length, b : b + 1], y_alone)
        assert not y[length:, b].any()
        torch.testing.assert_close(h[b : b + 1], h_alone)
        torch.testing.assert_close(c[b : b + 1], c_alone)
    with_lengths, reference = gradients(values, (y, h, c)), gradients(values, run(values, "reference", lengths))
    for name in NAMES:
        torch.testing.assert_close(with_lengths[name], reference[name], msg=name)


@pytest.mark.parametrize("backend", ["stepwise", "reference"])
def test_gradcheck(backend):
    values = problem(3, 2, 2, 3)
    bits = draw_keep_bits(12, 3, 0.5, generator=torch.Generator().manual_seed(1))

    def op(x, h0, c0, w_ih, w_hh, bias):
        packed = pack(w_ih, w_hh, bits, 2.0, backend=backend)
        return packed.run(x, h0, c0, bias, torch.tensor([3, 1]))

    assert torch.autograd.gradcheck(op, tuple(values[name] for name in NAMES))


@pytest.mark.parametrize("backend", BACKENDS)
def test_dropped_weights_have_no_effect_and_no_gradient(backend):
    values = problem(4, 2, 3, 9, exact_type(backend))
    bits = draw_keep_bits(36, 9, 0.5, generator=torch.Generator().manual_seed(0))
    keep = unpack_keep_bits(bits, 9)
    assert 0 < keep.sum() < keep.numel()
    outputs = run(values, backend, keep_bits=bits, keep_scale=2.0)
    w_hh_gradient = gradients(values, outputs)["w_hh"]
    assert not w_hh_gradient[~keep].any()
    assert w_hh_gradient[keep].all()
    masked = {**values, "w_hh": torch.where(keep, 2.0 * values["w_hh"], 0.0).detach().requires_grad_()}
    for a, b in zip(outputs, run(masked, "reference"), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_calls_with_state_equal_one(backend):
    values = problem(7, 2, 3, 5, exact_type(backend))
    y, h, c = run(values, backend)
    first = run({**values, "x": values["x"][:3]}, backend)
    second = run({**values, "x": values["x"][3:], "h0": first[1], "c0": first[2]}, backend)
    torch.testing.assert_close(torch.cat([first[0], second[0]]), y)
    torch.testing.assert_close(second[1], h)
    torch.testing.assert_close(second[2], c)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_steps_keep_the_state(backend):
    values = problem(2, 2, 3, 4, exact_type(backend))
    y, h, c = run({**values, "x": values["x"][:0]}, backend)
    assert y.shape == (0, 2, 4)
    assert torch.equal(h, values["h0"])
    assert torch.equal(c, values["c0"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_strided_input_and_not_a_number(backend):
    values = problem(4, 3, 6, 5, exact_type(backend))
    strided = values["x"].detach().transpose(0, 1).contiguous().transpose(0, 1)
    torch.testing.assert_close(run({**values, "x": strided}, backend)[0], run(values, backend)[0])
    broken = values["x"].detach().clone()
    broken[1, 0, 0] = torch.nan
    y = run({**values, "x": broken}, backend)[0]
    assert y[1:, 0].isnan().all()
    assert y[:, 1:].isfinite().all()


def test_wrong_shapes_are_named():
    values = problem(2, 3, 4, 5)
    with pytest.raises(ConfigError, match=r"x: expected \(T, B, 4\), got \(2, 3, 3\)"):
        run({**values, "x": values["x"][..., :3]}, "torch")
    with pytest.raises(ConfigError, match=r"h0: expected \(3, 5\), got \(2, 5\)"):
        run({**values, "h0": values["h0"][:2]}, "torch")
    with pytest.raises(ConfigError, match=r"lengths: expected \(3,\), got \(2,\)"):
        run(values, "torch", torch.tensor([1, 2]))
    for lengths in ([1, 2, 3], [1, -1, 2]):
        with pytest.raises(ConfigError, match=rf"lengths: expected 0 to 2, got {min(lengths)} to {max(lengths)}"):
            run(values, "reference", torch.tensor(lengths))
    with pytest.raises(ConfigError, match=r"pack: expected w_ih \(4H, E\).*got \(20, 4\) and \(19, 5\)"):
        pack(values["w_ih"], values["w_hh"][:19])
    with pytest.raises(ConfigError, match=r"pack: expected w_ih \(4H, E\).*got \(20, 2, 2\) and \(20, 5\)"):
        pack(values["w_ih"].view(20, 2, 2), values["w_hh"])
    with pytest.raises(ConfigError, match=r"pack: expected w_ih \(4H, E\).*got \(20, 4\) and \(100,\)"):
        pack(values["w_ih"], values["w_hh"].reshape(-1))
    with pytest.raises(ConfigError, match=r"keep_bits: expected shape \(20, 1\), got \(20, 2\)"):
        pack(values["w_ih"], values["w_hh"], torch.zeros(20, 2, dtype=torch.uint8))
    with pytest.raises(ConfigError, match="backend: got 'torhc'; did you mean 'torch'"):
        pack(values["w_ih"], values["w_hh"], backend="torhc")


@pytest.mark.filterwarnings("ignore:Dynamo")
def test_torchs_kernels_are_called_whole_by_what_torch_compiles():
    """Decomposed, every time step would be written out and compiled."""
    values, graphs = problem(5, 2, 3, 4), []

    def keep(graph, _):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(lambda: run(values, "torch"), backend=keep)()
    plain = run(values, "torch")
    assert all(torch.equal(a, b) for a, b in zip(compiled, plain, strict=True))
    wanted = gradients(values, plain)
    assert all(torch.equal(gradient, wanted[name]) for name, gradient in gradients(values, compiled).items())
    assert graphs
    assert not [node for graph in graphs for node in graph.graph.nodes if node.target is torch.lstm]
