import pytest
import torch
from torch.nn import functional

from ulmkit.errors import ConfigError
from ulmkit.kernels import linear_cross_entropy as public
from ulmkit.kernels import linear_cross_entropy_rows, linear_nll

module = __import__("ulmkit.kernels.linear_cross_entropy", fromlist=["_BLOCK_ELEMENTS"])


def problem(bias: bool, dtype: torch.dtype = torch.float64) -> list:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(13, 5, generator=generator, dtype=dtype, requires_grad=True)
    weight = torch.randn(16, 5, generator=generator, dtype=dtype, requires_grad=True)
    b = torch.randn(16, generator=generator, dtype=dtype, requires_grad=True) if bias else None
    return [x, weight, b, torch.randint(11, (13,), generator=generator)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("block_elements", [1, 50, 1 << 24])
def test_equals_the_dense_formula_with_every_gradient(monkeypatch, bias, block_elements):
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", block_elements)
    x, weight, b, targets = problem(bias)
    dense = functional.cross_entropy(functional.linear(x, weight, b)[:, :11], targets)
    ours = public(x, weight, b, targets, classes=11)
    torch.testing.assert_close(ours, dense)
    inputs = [tensor for tensor in (x, weight, b) if tensor is not None]
    for got, expected in zip(
        torch.autograd.grad(3.0 * ours, inputs), torch.autograd.grad(3.0 * dense, inputs), strict=True
    ):
        torch.testing.assert_close(got, expected)
    each = functional.cross_entropy(functional.linear(x, weight, b)[:, :11], targets, reduction="none")
    torch.testing.assert_close(linear_nll(x, weight, b, targets, classes=11), each.detach())
    with torch.no_grad():
        torch.testing.assert_close(public(x, weight, b, targets, classes=11), dense.detach())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("block_elements", [1, 50, 1 << 24])
@pytest.mark.parametrize("fused", [True, False])
def test_rows_carry_their_own_gradients(monkeypatch, bias, block_elements, fused):
    """In float64, which no kernel has, and in float32 with and without one."""
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", block_elements)
    if not fused:
        monkeypatch.setattr(module, "_fused", lambda *_: None)
    row_weights = torch.randn(13, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    row_weights[::4] = 0.0
    x, weight, b, targets = problem(bias)
    inputs = [tensor for tensor in (x, weight, b) if tensor is not None]
    dense = functional.cross_entropy(functional.linear(x, weight, b)[:, :11], targets, reduction="none")
    wanted = torch.autograd.grad(dense, inputs, row_weights)
    for dtype in (torch.float64, torch.float32):
        low = [tensor.detach().to(dtype).requires_grad_() for tensor in inputs]
        nll = linear_nll(low[0], low[1], low[2] if bias else None, targets, classes=11)
        tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {}
        torch.testing.assert_close(nll, dense.to(dtype), **tolerance)
        for got, expected in zip(torch.autograd.grad(nll, low, row_weights.to(dtype)), wanted, strict=True):
            torch.testing.assert_close(got, expected.to(dtype), **tolerance)
            assert not got[11:].any() or got.shape == x.shape


def test_gradients_of_rows_by_differences():
    x, weight, b, targets = problem(True)
    assert torch.autograd.gradcheck(lambda *inputs: linear_nll(*inputs, targets, classes=11), (x, weight, b))


def test_no_rows_have_no_gradient():
    x, weight, b, _ = problem(True)
    nll = linear_nll(x[:0], weight, b, torch.zeros(0, dtype=torch.int64))
    for gradient in torch.autograd.grad(nll.sum(), [x, weight, b]):
        assert not gradient.any()


def test_rows_in_bf16_have_gradients_near_float64():
    x, weight, b, targets = problem(True)
    row_weights = torch.linspace(-1.0, 1.0, 13)
    wanted = torch.autograd.grad(linear_nll(x, weight, b, targets, 11), [x, weight, b], row_weights.double())
    low = [x.detach().bfloat16(), weight.detach().float(), b.detach().float()]
    low = [tensor.requires_grad_() for tensor in low]
    got = torch.autograd.grad(linear_nll(*low, targets, 11), low, row_weights)
    assert [gradient.dtype for gradient in got] == [torch.bfloat16, torch.float32, torch.float32]
    for one, expected in zip(got, wanted, strict=True):
        assert (one.double() - expected).norm() < 0.02 * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_come_beside_the_mean_and_carry_no_gradient(dtype):
    x, weight, b, targets = problem(True, dtype)
    mean, rows = linear_cross_entropy_rows(x, weight, b, targets, classes=11)
    assert mean.requires_grad
    assert not rows.requires_grad
    torch.testing.assert_close(mean, public(x, weight, b, targets, classes=11), rtol=0, atol=0)
    torch.testing.assert_close(rows, linear_nll(x, weight, b, targets, classes=11))
    with torch.no_grad():
        mean, rows = linear_cross_entropy_rows(x, weight, b, targets, classes=11)
    torch.testing.assert_close(mean, rows.mean())


def test_rows_beyond_the_classes_get_no_gradient():
    x, weight, b, targets = problem(True)
    public(x, weight, b, targets, classes=11).backward()
    assert not weight.grad[11:].any()
    assert not b.grad[11:].any()
    assert weight.grad[:11].all()


def test_bf16_is_near_float64():
    x, weight, b, targets = problem(True)
    low = public(x.bfloat16(), weight.float(), b.float(), targets, classes=11)
    assert low.dtype == torch.float32
    # logits of size 5 rounded to 8 bits are off by up to 0.02
    torch.testing.assert_close(low.double(), public(x, weight, b, targets, classes=11), rtol=0, atol=0.02)


@pytest.mark.parametrize(
    ("backend", "path", "expected"),
    [
        ("auto", "avx512", True),
        ("fused", "avx512", True),
        ("torch", "avx512", False),
        ("reference", "avx512", False),
        ("auto", "portable", False),
        ("fused", "portable", True),
        ("fused", None, False),
    ],
)
def test_kernels_that_run(monkeypatch, backend, path, expected):
    monkeypatch.setattr(module, "choose_path", lambda dtype: (path, ""))
    x, weight, b, _ = problem(True, torch.float32)
    assert (module._fused(x, weight, b, backend) is not None) == expected


def test_mismatches_are_reported():
    x, weight, b, targets = problem(True)
    with pytest.raises(ConfigError, match=r"x: expected \(13, 5\) on cpu, got \(12, 5\) on cpu"):
        public(x[:12], weight, b, targets)
    with pytest.raises(ConfigError, match=r"bias: expected \(16,\) on cpu, got \(11,\)"):
        public(x, weight, b[:11], targets)
    with pytest.raises(ConfigError, match="targets: expected int64, got torch.int32"):
        public(x, weight, b, targets.int())
    with pytest.raises(ConfigError, match="classes: expected 1 to 16, the rows of the weight, got 17"):
        public(x, weight, b, targets, classes=17)
    with pytest.raises(ConfigError, match="targets: expected 0 to 3, got 0 to 10"):
        public(x, weight, b, targets, classes=4)
    with pytest.raises(ConfigError, match="targets: expected 0 to 15, got -100 to"):
        linear_nll(x, weight, b, torch.where(targets == 0, -100, targets))


def test_surprising_tokens_keep_a_finite_loss():
    x = torch.tensor([[200.0]])
    loss = public(x, torch.tensor([[1.0], [0.0]]), None, torch.tensor([1]))
    assert loss.item() == pytest.approx(200.0)
