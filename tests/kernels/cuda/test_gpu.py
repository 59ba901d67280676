"""The fused LSTM on a GPU: run with -m gpu."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ulmkit.kernels import draw_keep_bits, mask_recurrent, pack, reference, unpack_keep_bits
from ulmkit.kernels.cuda import fused_lstm
from ulmkit.kernels.cuda import steps as steps_module
from ulmkit.kernels.cuda.launcher import kernels

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

# bf16 keeps 8 bits: sums and states are rounded to 2^-9 at every step; fp16 keeps 11; fp32 takes ex2.approx for e^x
TOLERANCE = {torch.bfloat16: 2e-2, torch.float16: 3e-3, torch.float32: 1e-5}
SHAPES = [  # steps, batch, inputs, hidden
    (1, 1, 1, 1),
    (3, 5, 3, 7),
    (7, 33, 31, 33),
    (70, 64, 400, 1152),
    (70, 20, 1152, 1150),
    (35, 80, 1152, 400),
    (20, 128, 64, 1152),
    (5, 300, 64, 512),
]
Problem = tuple[list[Tensor], Tensor, Tensor | None, list[Tensor]]


def problem(shape: tuple[int, ...], dtype: torch.dtype, lengths: bool = False) -> Problem:
    """Leaves (x, h0, c0, w_ih, w_hh, bias), mask, lengths, and weights of the outputs, on the CPU."""
    steps, batch, inputs, hidden = shape
    generator = torch.Generator().manual_seed(sum(shape))

    def draw(*size: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(size, generator=generator) * scale).to(dtype).float()

    leaves = [
        draw(steps, batch, inputs),
        draw(batch, hidden),
        draw(batch, hidden),
        draw(4 * hidden, inputs, scale=inputs**-0.5),
        draw(4 * hidden, hidden, scale=hidden**-0.5),
        draw(4 * hidden, scale=0.1),
    ]
    bits = draw_keep_bits(4 * hidden, hidden, 0.5, generator=generator)
    ends = torch.randint(0, steps + 1, (batch,), generator=generator) if lengths else None
    return leaves, bits, ends, [draw(steps, batch, hidden), draw(batch, hidden), draw(batch, hidden)]


def found(of: Problem, dtype: torch.dtype) -> list[Tensor]:
    """Outputs and gradients on the GPU."""
    leaves, bits, ends, weights = of
    x, h0, c0, w_ih, w_hh, bias = (leaf.cuda().requires_grad_() for leaf in leaves)
    packed = pack(w_ih, w_hh, bits.cuda(), 2.0, dtype, "fused")
    out = packed.run(x, h0, c0, bias, None if ends is None else ends.cuda())
    total = sum((o.float() * w.cuda()).sum() for o, w in zip(out, weights, strict=True))
    return [*out, *torch.autograd.grad(total, [x, h0, c0, w_ih, w_hh, bias])]


def expected(of: Problem) -> list[Tensor]:
    """The same by the formula in float64."""
    leaves, bits, ends, weights = of
    x, h0, c0, w_ih, w_hh, bias = (leaf.double().cuda().requires_grad_() for leaf in leaves)
    masked = mask_recurrent(w_hh, bits.cuda(), 2.0)
    out = reference.lstm(x, h0, c0, w_ih, masked, bias, None if ends is None else ends.cuda())
    total = sum((o * w.cuda()).sum() for o, w in zip(out, weights, strict=True))
    return [*out, *torch.autograd.grad(total, [x, h0, c0, w_ih, w_hh, bias])]


def check(found: list[Tensor], wanted: list[Tensor], tolerance: float) -> None:
    names = ("y", "h_n", "c_n", "dx", "dh0", "dc0", "dw_ih", "dw_hh", "dbias")
    for name, a, b in zip(names, found, wanted, strict=True):
        size = max(torch.linalg.norm(b).item(), 0.1 * b.numel() ** 0.5)
        error = torch.linalg.norm(a.double() - b).item() / size
        assert error <= tolerance, f"{name}: relative error {error:.2e}"


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_and_every_gradient(shape, dtype, lengths):
    of = problem(shape, dtype, lengths)
    check(found(of, dtype), expected(of), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_step_by_step_where_there_is_no_room(monkeypatch, dtype):
    monkeypatch.setattr(kernels(0), "plan", lambda *_: None)
    of = problem(SHAPES[3], dtype, lengths=True)
    check(found(of, dtype), expected(of), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_steps_are_recorded_and_replayed(monkeypatch, dtype):
    monkeypatch.setattr(kernels(0), "plan", lambda *_: None)
    recorded = []
    record = kernels(0).record
    monkeypatch.setattr(kernels(0), "record", lambda work: recorded.append(work) or record(work))
    for steps in (13, 70, 11, 70, 64, 71, 13):
        of = problem((steps, 24, 31, 136), dtype, lengths=steps % 2 == 0)
        check(found(of, dtype), expected(of), TOLERANCE[dtype])
    assert recorded


def test_recordings_outlive_the_workspace_that_torch_gives_up(monkeypatch):
    """As torch.compile's own recordings have it do; the workspace came with a recording that is there no more."""
    monkeypatch.setattr(kernels(0), "plan", lambda *_: None)
    monkeypatch.setattr(steps_module, "MOST_SHAPES", 4)  # two batches there and back
    first, second, third = (problem((8, batch, 31, 136), torch.bfloat16) for batch in (24, 16, 8))
    for _ in range(3):  # at once, recorded, done again
        found(first, torch.bfloat16)
        wanted = found(second, torch.bfloat16)
    found(third, torch.bfloat16)
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()
    _others = [torch.full((1 << 20,), 7, device="cuda") for _ in range(64)]
    assert all(torch.equal(a, b) for a, b in zip(found(second, torch.bfloat16), wanted, strict=True))


def test_full_size_layers_have_persistent_kernels():
    for direction in ("forward", "backward"):
        for batch, hidden in ((20, 1152), (64, 1152), (128, 1152), (64, 400)):
            assert kernels(0).plan(direction, torch.bfloat16, batch, hidden) is not None, (direction, batch, hidden)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_it_is_bitwise_repeatable(dtype):
    of = problem(SHAPES[3], dtype)
    first = found(of, dtype)
    for _ in range(5):
        assert all(torch.equal(a, b) for a, b in zip(found(of, dtype), first, strict=True))


def test_on_another_stream():
    of = problem(SHAPES[3], torch.bfloat16)
    first, stream = found(of, torch.bfloat16), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        again = found(of, torch.bfloat16)
    torch.cuda.current_stream().wait_stream(stream)
    assert all(torch.equal(a, b) for a, b in zip(again, first, strict=True))


def test_two_concurrent_streams_do_not_deadlock():
    """Two cooperative launches take turns: neither may hold what the other needs."""
    of = problem(SHAPES[3], torch.bfloat16)
    first, streams = found(of, torch.bfloat16), [torch.cuda.Stream() for _ in range(2)]
    torch.cuda.synchronize()
    results = []
    for number in range(10):
        with torch.cuda.stream(streams[number % 2]):
            results.append(found(of, torch.bfloat16))
    torch.cuda.synchronize()
    assert all(torch.equal(a, b) for result in results for a, b in zip(result, first, strict=True))


def forward_of(dtype: torch.dtype) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """y as a function of x, and an x."""
    leaves, bits, _, _ = problem((12, 16, 32, 64), dtype)
    x, h0, c0, w_ih, w_hh, bias = (leaf.cuda() for leaf in leaves)
    packed = pack(w_ih, w_hh, bits.cuda(), 2.0, dtype, "fused")
    return lambda given: packed.run(given, h0, c0, bias)[0], x


@pytest.mark.parametrize("dropout", [0.5, 0.2])
def test_masks_keep_their_share(dropout):
    def draw() -> Tensor:
        generator = torch.Generator("cuda").manual_seed(3)
        return draw_keep_bits(4600, 1150, dropout, device="cuda", generator=generator, backend="fused")

    kept = unpack_keep_bits(draw(), 1150).double().mean().item()
    assert abs(kept - (1.0 - dropout)) < 5 * (0.25 / (4600 * 1150)) ** 0.5 + 2**-16
    assert torch.equal(draw(), draw())


def test_in_a_cuda_graph():
    run, x = forward_of(torch.bfloat16)
    wanted, other = run(x), torch.randn_like(x)
    graph, given = torch.cuda.CUDAGraph(), other.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run(given)
    torch.cuda.current_stream().wait_stream(stream)
    with torch.cuda.graph(graph):
        y = run(given)
    given.copy_(x)
    graph.replay()
    assert torch.equal(y, wanted)


def test_compiled_and_under_autocast():
    run, x = forward_of(torch.bfloat16)
    wanted = run(x)
    assert torch.equal(torch.compile(run, fullgraph=True)(x), wanted)
    with torch.autocast("cuda", dtype=torch.float16):
        assert torch.equal(run(x), wanted)


def test_the_operator_is_well_formed():
    leaves, bits, _, _ = problem((3, 5, 8, 16), torch.float32)
    ends = torch.full((5,), 3)  # what is kept of steps beyond an end is anything
    x, h0, c0, w_ih, w_hh, bias = (leaf.cuda().requires_grad_() for leaf in leaves)
    torch.library.opcheck(fused_lstm.lstm_forward, (x, h0, c0, w_ih, w_hh, bias, bits.cuda(), 2.0, ends.cuda(), True))


def test_no_waiting_for_the_host_in_a_step():
    of = problem(SHAPES[3], torch.bfloat16)
    found(of, torch.bfloat16)
    leaves, bits, _, _ = of
    x, h0, c0, w_ih, w_hh, bias = (leaf.cuda().requires_grad_() for leaf in leaves)
    on_gpu = bits.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        y, _, _ = pack(w_ih, w_hh, on_gpu, 2.0, torch.bfloat16, "fused").run(x, h0, c0, bias)
        y.float().square().mean().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_processes_share_the_cache(tmp_path):
    program = (
        "import torch; from ulmkit.kernels import pack;"
        "w = torch.ones(256, 64, device='cuda'); z = torch.zeros(4, 64, device='cuda');"
        "y = pack(w, w, dtype=torch.bfloat16, backend='fused').run(z[None], z, z, w[:, 0])[0];"
        "print(float(y.float().sum()))"
    )
    environment = {**os.environ, "ULMKIT_CACHE": str(tmp_path)}
    running = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) for _ in range(2)
    ]
    said = {process.communicate()[0] for process in running}
    assert [process.returncode for process in running] == [0, 0]
    assert len(said) == 1
    assert all(file.suffix == ".cubin" for file in (tmp_path / "cuda").iterdir())
