"""The CUDA kernels' own source, run on the CPU by fibers, against the formula in float64."""

from dataclasses import replace

import pytest
import torch
from support.host_driver import H200, SMALL, HostDriver, compiler, stand_in

from ulmkit.kernels import draw_keep_bits, mask_recurrent, reference
from ulmkit.kernels.cuda import fused_lstm, launcher, steps
from ulmkit.kernels.cuda.compiler import Source
from ulmkit.kernels.cuda.driver import Device
from ulmkit.kernels.cuda.plan import plans

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")

# bf16 keeps 8 bits: sums and states are rounded to 2^-9 at every step; fp16 keeps 11
TOLERANCE = {torch.bfloat16: 2e-2, torch.float16: 3e-3, torch.float32: 1e-5}
STEP_BY_STEP = {
    *("mask_weights", "begin_forward", "forward_step", "advance"),
    *("mask_weights_transposed", "begin_backward", "backward_step", "mask_gradient"),
}
SHAPES = [  # steps, batch, inputs, hidden
    (1, 3, 4, 1),
    (3, 5, 3, 7),
    (4, 19, 5, 33),
    (2, 3, 8, 64),
]


@pytest.fixture
def driver(monkeypatch):
    """Of an H200; what is asked for it is run here."""
    return use(monkeypatch, HostDriver(H200))


def use(monkeypatch, driver: HostDriver) -> HostDriver:
    return stand_in(monkeypatch, fused_lstm, driver)


def problem(shape, dtype, *, masked=True, lengths=False, seed=0):
    steps, batch, inputs, hidden = shape
    generator = torch.Generator().manual_seed(seed)

    def draw(*size, scale=1.0):
        return torch.randn(size, generator=generator) * scale

    tensors = {
        "x": draw(steps, batch, inputs).to(dtype),
        "h0": draw(batch, hidden).to(dtype).float(),
        "c0": draw(batch, hidden),
        "w_ih": draw(4 * hidden, inputs, scale=inputs**-0.5).to(dtype).float(),
        "w_hh": draw(4 * hidden, hidden, scale=hidden**-0.5).to(dtype).float(),
        "bias": draw(4 * hidden, scale=0.1).to(dtype).float(),
    }
    bits = draw_keep_bits(4 * hidden, hidden, 0.5, generator=generator) if masked else None
    ends = torch.randint(0, steps + 1, (batch,), generator=generator) if lengths else None
    weights = [draw(steps, batch, hidden).to(dtype), draw(batch, hidden), draw(batch, hidden)]
    return tensors, fused_lstm.Mask(bits, 2.0 if masked else 1.0), ends, weights


def run(tensors, mask, lengths, weights):
    """Outputs, and gradients of their weighted sum."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors.values()]
    out = fused_lstm.lstm(*leaves, lengths, mask)
    total = sum((o.double() * w.double()).sum() for o, w in zip(out, weights, strict=True))
    return [o.detach() for o in out], torch.autograd.grad(total, leaves)


def expected(tensors, mask, lengths, weights):
    leaves = [tensor.detach().double().requires_grad_() for tensor in tensors.values()]
    x, h0, c0, w_ih, w_hh, bias = leaves
    masked = mask_recurrent(w_hh, mask.keep_bits, mask.keep_scale)
    out = reference.lstm(x, h0, c0, w_ih, masked, bias, lengths)
    total = sum((o * w.double()).sum() for o, w in zip(out, weights, strict=True))
    return [o.detach() for o in out], torch.autograd.grad(total, leaves)


def check(found, wanted, tensors, dtype):
    names = ["y", "h_n", "c_n", *(f"d {name}" for name in tensors)]
    for name, a, b in zip(names, [*found[0], *found[1]], [*wanted[0], *wanted[1]], strict=True):
        assert a.shape == b.shape, name
        # of what is of the order of 1: in a tensor of few numbers these may cancel
        size = max(torch.linalg.norm(b).item(), 0.1 * b.numel() ** 0.5)
        assert torch.linalg.norm(a.double() - b) <= TOLERANCE[dtype] * size, name


@pytest.mark.parametrize("lengths", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        *((torch.bfloat16, shape) for shape in SHAPES),
        *((torch.float32, shape) for shape in SHAPES),
        (torch.float16, SHAPES[2]),
    ],
)
def test_forward_and_every_gradient(driver, dtype, shape, masked, lengths):
    tensors, mask, ends, weights = problem(shape, dtype, masked=masked, lengths=lengths)
    check(run(tensors, mask, ends, weights), expected(tensors, mask, ends, weights), tensors, dtype)
    names = {name for name, _ in driver.launches}
    assert ("lstm_forward" in names) == (dtype != torch.float32)
    assert ("forward_step" in names) == (dtype == torch.float32)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_autocast_around_it_changes_nothing(driver, dtype):
    tensors, mask, ends, weights = problem((3, 5, 3, 7), dtype)
    with torch.autocast("cpu", dtype=torch.float16 if dtype == torch.bfloat16 else torch.bfloat16):
        found = run(tensors, mask, ends, weights)
    check(found, expected(tensors, mask, ends, weights), tensors, dtype)


def test_tensors_of_any_layout(driver):
    """States and their gradients column by column, lengths and bits that are every second of others."""
    tensors, mask, ends, weights = problem((3, 5, 4, 7), torch.float32, lengths=True)
    wanted = expected(tensors, mask, ends, weights)
    turned = {name: t.T.contiguous().T if t.dim() == 2 else t for name, t in tensors.items()}
    assert turned["h0"].stride() == (1, 5)
    turned["x"] = tensors["x"].transpose(0, 1).contiguous().transpose(0, 1)
    bits = fused_lstm.Mask(mask.keep_bits.repeat_interleave(2, dim=0)[::2], mask.keep_scale)
    leaves = [tensor.detach().requires_grad_() for tensor in turned.values()]
    out = fused_lstm.lstm(*leaves, ends.to(torch.int32).repeat_interleave(2)[::2], bits)
    incoming = [w.transpose(0, 1).contiguous().transpose(0, 1) for w in weights]
    found = [o.detach() for o in out], torch.autograd.grad(out, leaves, incoming)
    check(found, wanted, tensors, torch.float32)


def test_without_steps(driver):
    tensors, mask, _, weights = problem((0, 5, 4, 7), torch.float32)
    (y, h_n, c_n), (_, dh0, dc0, *others) = run(tensors, mask, None, weights)
    assert y.shape == (0, 5, 7)
    assert torch.equal(h_n, tensors["h0"])
    assert torch.equal(c_n, tensors["c0"])
    assert torch.equal(dh0, weights[1])
    assert torch.equal(dc0, weights[2])
    assert not any(gradient.any() for gradient in others)


@pytest.mark.parametrize("masked", [False, True])
def test_the_operators_are_well_formed(driver, masked):
    tensors, mask, _, weights = problem((3, 5, 4, 7), torch.float32, masked=masked)
    ends = torch.full((5,), 3) if masked else None  # what is kept of steps beyond an end is anything
    leaves = [tensor.detach().requires_grad_() for tensor in tensors.values()]
    torch.library.opcheck(fused_lstm.lstm_forward, (*leaves, mask.keep_bits, mask.keep_scale, ends, True))
    x, h0, c0, w_ih, w_hh, bias = tensors.values()
    y, _, _, *kept = fused_lstm.lstm_forward(x, h0, c0, w_ih, w_hh, bias, mask.keep_bits, mask.keep_scale, ends, True)
    given = (*weights, x, h0, w_ih, w_hh, mask.keep_bits, mask.keep_scale, ends, y, *kept)
    torch.library.opcheck(fused_lstm.lstm_backward, given)


def test_with_the_last_state_alone(driver):
    tensors, mask, _, _ = problem((3, 5, 4, 7), torch.float32)
    leaves = [tensor.detach().requires_grad_() for tensor in tensors.values()]
    _, h_n, _ = fused_lstm.lstm(*leaves, None, mask)
    wide = [tensor.detach().double().requires_grad_() for tensor in tensors.values()]
    masked = mask_recurrent(wide[4], mask.keep_bits, mask.keep_scale)
    _, wanted, _ = reference.lstm(*wide[:4], masked, wide[5], None)
    for a, b in zip(torch.autograd.grad(h_n.sum(), leaves), torch.autograd.grad(wanted.sum(), wide), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cluster", [1, 2, 4])
def test_blocks_of_a_cluster_share_the_sum(driver, monkeypatch, cluster):
    def of_this_cluster(direction, *shape):
        return [p for p in plans(direction, *shape) if direction == "forward" or p.launch.cluster == cluster]

    monkeypatch.setattr(launcher, "plans", of_this_cluster)
    tensors, mask, ends, weights = problem((4, 19, 5, 33), torch.bfloat16, lengths=True)
    check(run(tensors, mask, ends, weights), expected(tensors, mask, ends, weights), tensors, torch.bfloat16)
    (launch,) = (launch for name, launch in driver.launches if name == "lstm_backward")
    assert launch.cluster == cluster


@pytest.mark.parametrize("depth", [2, 4])
def test_rows_are_prefetched_at_any_depth(driver, monkeypatch, depth):
    """More blocks of k than there are, as many, and fewer."""

    def of_this_depth(direction, *shape):
        (plan,) = [p for p in plans(direction, *shape) if p.launch.threads == 128 and p.launch.cluster == 1][:1]
        constants = {**dict(plan.source.constants), "DEPTH": depth}
        return [replace(plan, source=Source.of(plan.source.name, **constants))]

    monkeypatch.setattr(launcher, "plans", of_this_depth)
    for hidden in (7, 84):
        tensors, mask, ends, weights = problem((2, 3, 5, hidden), torch.bfloat16, lengths=True)
        check(run(tensors, mask, ends, weights), expected(tensors, mask, ends, weights), tensors, torch.bfloat16)
    assert {"lstm_forward", "lstm_backward"} <= {name for name, _ in driver.launches}


@pytest.mark.parametrize("split", [1, 2])
@pytest.mark.parametrize("cluster", [1, 4])
def test_warps_share_the_columns(driver, monkeypatch, split, cluster):
    def of_this_split(direction, *shape):
        found = [p for p in plans(direction, *shape) if dict(p.source.constants)["SPLIT"] == split]
        return [p for p in found if direction == "forward" or p.launch.cluster == cluster]

    monkeypatch.setattr(launcher, "plans", of_this_split)
    tensors, mask, ends, weights = problem((3, 19, 5, 70), torch.bfloat16, lengths=True)
    check(run(tensors, mask, ends, weights), expected(tensors, mask, ends, weights), tensors, torch.bfloat16)
    assert {"lstm_forward", "lstm_backward"} <= {name for name, _ in driver.launches}


@pytest.mark.parametrize("shared_bytes", [20_000, 12_000])
def test_weights_that_shared_memory_does_not_hold_are_read_from_elsewhere(monkeypatch, shared_bytes):
    device = Device("sm_86", multiprocessors=2, shared_bytes=shared_bytes, clusters=False, cooperative=True)
    driver = use(monkeypatch, HostDriver(device))
    monkeypatch.setattr(launcher, "plans", lambda *shape: [plan for plan in plans(*shape) if plan.spilled_bytes])
    tensors, mask, ends, weights = problem((2, 3, 8, 64), torch.bfloat16, lengths=True)
    check(run(tensors, mask, ends, weights), expected(tensors, mask, ends, weights), tensors, torch.bfloat16)
    assert {"lstm_forward", "lstm_backward"} <= {name for name, _ in driver.launches}


@pytest.mark.parametrize("device", [SMALL, H200])
def test_stepwise_kernels_run_where_not_all_blocks_fit(monkeypatch, device):
    driver = use(monkeypatch, HostDriver(device, fits=0))
    tensors, mask, ends, weights = problem((3, 5, 3, 7), torch.bfloat16, lengths=True)
    check(run(tensors, mask, ends, weights), expected(tensors, mask, ends, weights), tensors, torch.bfloat16)
    assert {name for name, _ in driver.launches} == STEP_BY_STEP


def backward_launches(driver):
    return [launch for name, launch in driver.launches if name == "lstm_backward"]


@pytest.fixture
def large_clusters_first(monkeypatch):
    """One plan of each size."""

    def one_of_each(direction, *shape):
        of_size = {plan.launch.cluster: plan for plan in plans(direction, *shape)}
        return [of_size[cluster] for cluster in sorted(of_size, reverse=True)]

    monkeypatch.setattr(launcher, "plans", one_of_each)


@pytest.mark.usefixtures("large_clusters_first")
def test_a_refused_cluster_size_is_not_tried_again(driver):
    driver.refuses = lambda launch: launch.cluster > 1
    tensors, mask, ends, weights = problem((4, 19, 5, 33), torch.bfloat16, lengths=True)
    for _ in range(2):
        check(run(tensors, mask, ends, weights), expected(tensors, mask, ends, weights), tensors, torch.bfloat16)
    assert [launch.cluster for launch in backward_launches(driver)] == [1, 1]
    assert [launch.cluster for launch in driver.refused] == [4, 2], "once each"


@pytest.mark.usefixtures("large_clusters_first")
def test_stepwise_kernels_replace_a_refused_cooperative_launch(driver):
    driver.refuses = lambda launch: launch.cooperative
    tensors, mask, ends, weights = problem((3, 5, 3, 7), torch.bfloat16, lengths=True)
    for _ in range(2):
        check(run(tensors, mask, ends, weights), expected(tensors, mask, ends, weights), tensors, torch.bfloat16)
    assert {name for name, _ in driver.launches} >= STEP_BY_STEP
    assert not backward_launches(driver)


@pytest.mark.usefixtures("large_clusters_first")
def test_the_next_kernel_replaces_one_that_does_not_compile(driver):
    driver.compiles = lambda source: dict(source.constants).get("CLUSTER", 1) == 1
    tensors, mask, ends, weights = problem((4, 19, 5, 33), torch.bfloat16, lengths=True)
    with pytest.warns(UserWarning, match="(?s)lstm_backward.cu: NVRTC refuses it.*next best kernel"):
        found = run(tensors, mask, ends, weights)
    check(found, expected(tensors, mask, ends, weights), tensors, torch.bfloat16)
    assert [launch.cluster for launch in backward_launches(driver)] == [1]


def test_recorded_launches_are_replayed_for_other_sequences(monkeypatch):
    driver = use(monkeypatch, HostDriver(SMALL, fits=0))
    for seed, length in enumerate((5, 3, 7, 5, 6)):
        tensors, mask, ends, weights = problem((length, 3, 4, 7), torch.bfloat16, lengths=seed % 2 == 0, seed=seed)
        check(run(tensors, mask, ends, weights), expected(tensors, mask, ends, weights), tensors, torch.bfloat16)
    # 5 = 4 + 1, 3 = 2 + 1, 7 = 4 + 2 + 1, 6 = 4 + 2; back it is one step more: 6, 4, 8, 6, 7. What came twice, of each:
    assert driver.recorded == len({1, 2, 4}) + len({2, 4})


def test_streams_have_buffers_of_their_own(monkeypatch):
    """What is started on two of them may run at the same time."""
    driver = use(monkeypatch, HostDriver(SMALL, fits=0))
    for driver.current_stream in (0, 1):
        tensors, mask, ends, weights = problem((4, 3, 4, 7), torch.float32)
        check(run(tensors, mask, ends, weights), expected(tensors, mask, ends, weights), tensors, torch.float32)
    kept = steps.recordings(fused_lstm.kernels(0))._kept.values()
    places = [tensor.data_ptr() for each in kept for tensor in (each.weights, each._state, each._product, each._call)]
    assert len(set(places)) == len(places) == 2 * 2 * 4


def test_recordings_of_many_shapes_stay_apart(monkeypatch):
    use(monkeypatch, HostDriver(SMALL, fits=0))
    monkeypatch.setattr(steps, "MOST_SHAPES", 3)
    for number, (batch, hidden) in enumerate([(3, 7), (2, 7), (3, 5), (3, 7), (2, 7), (3, 7)]):
        tensors, mask, ends, weights = problem((4, batch, 4, hidden), torch.float32, seed=number)
        check(run(tensors, mask, ends, weights), expected(tensors, mask, ends, weights), tensors, torch.float32)
    kept = steps.recordings(fused_lstm.kernels(0))._kept
    assert len(kept) == 3


def test_launches_recorded_by_the_caller_are_not_recorded_again(monkeypatch):
    driver = use(monkeypatch, HostDriver(SMALL, fits=0))
    driver.records = True
    for seed in range(3):
        tensors, mask, ends, weights = problem((4, 3, 4, 7), torch.float32, seed=seed)
        check(run(tensors, mask, ends, weights), expected(tensors, mask, ends, weights), tensors, torch.float32)
    assert driver.recorded == 0
    assert not steps.recordings(fused_lstm.kernels(0))._kept
