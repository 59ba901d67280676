"""The softmax cross-entropy, AR and TAR, and the whole training step on a GPU: run with -m gpu."""

import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from ulmkit.kernels import linear_cross_entropy_rows, linear_nll
from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig
from ulmkit.model.regularizers import penalties

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

# logits and their gradients are rounded to the products' type: bf16 keeps 8 bits, fp16 keeps 11
TOLERANCE = {torch.bfloat16: 2e-2, torch.float16: 3e-3, torch.float32: 1e-5}
SHAPES = [(1, 3, 1, 1), (5, 8, 37, 30), (2240, 400, 10_000, 10_000), (700, 400, 60_008, 60_001)]


def problem(shape, dtype):
    """x, weight, bias, targets and classes on the GPU."""
    rows, features, columns, classes = shape
    generator = torch.Generator().manual_seed(sum(shape))

    def draw(*size):
        return torch.randn(size, generator=generator).to(dtype).float().cuda().requires_grad_()

    targets = torch.randint(0, classes, (rows,), generator=generator).cuda()
    with torch.no_grad():
        weight = draw(columns, features).mul_(features**-0.5).to(dtype).float()
    return draw(rows, features), weight.requires_grad_(), draw(columns), targets, classes


def close(a, b, tolerance):
    return torch.linalg.norm(a.double() - b.double()) <= tolerance * torch.linalg.norm(b.double()).clamp_min(1e-3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
def test_nll_and_every_gradient(shape, dtype, weighted):
    x, weight, bias, targets, classes = problem(shape, dtype)
    row_weights = torch.linspace(-1.0, 2.0, shape[0], device="cuda") if weighted else None
    wide = [tensor.detach().double().requires_grad_() for tensor in (x, weight, bias)]
    wanted = functional.cross_entropy(functional.linear(*wide)[:, :classes], targets, reduction="none")
    total = wanted.mean() if row_weights is None else (wanted * row_weights.double()).sum()
    if row_weights is None:
        mean, nll = linear_cross_entropy_rows(x.to(dtype), weight, bias, targets, classes, "fused")
    else:
        nll = linear_nll(x.to(dtype), weight, bias, targets, classes, "fused")
        mean = (nll * row_weights).sum()
    assert close(nll.detach(), wanted.detach(), TOLERANCE[dtype])
    found = torch.autograd.grad(mean, (x, weight, bias))
    for name, a, b in zip(("x", "weight", "bias"), found, torch.autograd.grad(total, wide), strict=True):
        assert close(a, b, TOLERANCE[dtype]), name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_language_models_step_is_that_in_float32_and_waits_for_nothing(monkeypatch, precision):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    model = AWDLSTMLanguageModel(LanguageModelConfig(), 5003).cuda().eval()
    ids = torch.randint(5003, (36, 20), device="cuda")

    def gradients(backend, precision):
        model.encoder.backend, model.encoder.precision = backend, precision
        return torch.autograd.grad(model.loss(ids[:-1], ids[1:]).total, list(model.parameters()))

    wanted = gradients("torch", "fp32")
    gradients("fused", precision)  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = gradients("fused", precision)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for (name, _), a, b in zip(model.named_parameters(), found, wanted, strict=True):
        assert close(a, b, 3e-2 if precision == "bf16" else 1e-4), name


def test_a_process_whose_first_backward_is_a_kernel_of_ours(tmp_path):
    """torch goes backward in another thread, on which nothing has used the device."""
    program = (
        "import torch; from ulmkit.model.regularizers import penalties;"
        "h = torch.ones(3, 2, 5, device='cuda', requires_grad=True);"
        "(found,) = penalties(h, h, None, 2.0, 1.0, 'fused'); found.backward(); print(float(h.grad.sum()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(4.0, rel=1e-5)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_penalties_and_their_gradient(dtype):
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(70, 80, 400, generator=generator).to(dtype).cuda().requires_grad_()
    mask = (torch.rand(1, 80, 400, generator=generator) < 0.6).to(dtype).cuda() / 0.6
    wide = raw.detach().double().requires_grad_()
    wanted = sum(penalties(wide, wide * mask.double(), mask.double(), 2.0, 1.0, "torch"))
    (found,) = penalties(raw, raw * mask, mask, 2.0, 1.0, "fused")
    assert close(found, wanted, 1e-5)
    (a,), (b,) = torch.autograd.grad(found, raw), torch.autograd.grad(wanted, wide)
    assert close(a, b, TOLERANCE[dtype])


def test_compiled():
    x, weight, bias, targets, classes = problem(SHAPES[1], torch.float32)

    def loss():
        return linear_cross_entropy_rows(x, weight, bias, targets, classes, "fused")[0]

    wanted = torch.autograd.grad(loss(), (x, weight, bias))
    for a, b in zip(torch.autograd.grad(torch.compile(loss, fullgraph=True)(), (x, weight, bias)), wanted, strict=True):
        torch.testing.assert_close(a, b)


def test_a_language_models_step_is_one_graph():
    torch.manual_seed(0)
    config = LanguageModelConfig(encoder=AWDLSTMConfig(embedding_size=40, hidden_size=64))
    model = AWDLSTMLanguageModel(config, 503).cuda()
    model.encoder.backend, model.encoder.precision = "fused", "bf16"
    ids = torch.randint(503, (12, 4), device="cuda")

    def loss(inputs, targets):
        return model.loss(inputs, targets).total

    def step(function):
        torch.manual_seed(1)
        total = function(ids[:-1], ids[1:])
        return [total.detach(), *torch.autograd.grad(total, list(model.parameters()))]

    wanted = step(loss)
    for a, b in zip(step(torch.compile(loss, backend="aot_eager", fullgraph=True)), wanted, strict=True):
        assert close(a, b, 1e-3)
