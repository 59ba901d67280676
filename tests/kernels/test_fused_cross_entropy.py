"""The fused softmax cross-entropy: every path that runs here, against torch in float64."""

from functools import partial

import pytest
import torch
from support.gradients import relative_error
from torch.nn import functional

from ulmkit import kernels
from ulmkit.kernels.cpu import fused_cross_entropy

linear_cross_entropy = partial(kernels.linear_cross_entropy, backend="fused")  # plain C++ is to be asked for
linear_nll = partial(kernels.linear_nll, backend="fused")
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def problem(rows: int, features: int, classes: int, dtype: torch.dtype, bias: bool = True) -> list:
    """x, weight, bias and targets; x has no more digits than `dtype`, the weight three rows that are no classes."""
    generator = torch.Generator().manual_seed(rows + features)
    x = torch.randn(rows, features, generator=generator).to(dtype).float().requires_grad_()
    weight = (torch.randn(classes + 3, features, generator=generator) * features**-0.5).requires_grad_()
    b = torch.randn(classes + 3, generator=generator).requires_grad_() if bias else None
    return [x, weight, b, torch.randint(classes, (rows,), generator=generator)]


def exact(x, weight, bias, targets: torch.Tensor, classes: int) -> tuple[list, list, torch.Tensor]:
    """The tensors that have gradients, their copies in float64, and each row's loss by torch from these copies."""
    inputs = [tensor for tensor in (x, weight, bias) if tensor is not None]
    wide = [tensor.detach().double().requires_grad_() for tensor in inputs]
    logits = functional.linear(*wide)[:, :classes]
    return inputs, wide, functional.cross_entropy(logits, targets, reduction="none")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("rows", "features", "classes"),
    [(1, 1, 1), (7, 7, 7), (33, 33, 33), (40, 20, 300), (130, 400, 1152)],
)
def test_losses_and_every_gradient(dtype, rows, features, classes, bias):
    x, weight, b, targets = problem(rows, features, classes, dtype, bias)
    inputs, wide, each = exact(x, weight, b, targets, classes)
    wanted = torch.autograd.grad(each.mean(), wide)
    loss = linear_cross_entropy(x.to(dtype), weight, b, targets, classes)
    assert relative_error(loss, each.mean()) < TOLERANCES[dtype]
    assert relative_error(linear_nll(x.to(dtype), weight, b, targets, classes), each) < TOLERANCES[dtype]
    for got, expected in zip(torch.autograd.grad(2.0 * loss, inputs), wanted, strict=True):
        if expected.norm() > 1e-12:  # a single class has none
            assert relative_error(got, 2.0 * expected) < TOLERANCES[dtype]
        assert not got[classes:].any() or got.shape == x.shape


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("rows", "features", "classes"),
    [(1, 1, 1), (7, 7, 7), (33, 33, 33), (40, 20, 300), (130, 400, 1152)],
)
def test_every_gradient_of_weighted_rows(dtype, rows, features, classes, bias):
    """Weights of both signs and of sizes far apart, and rows without any."""
    x, weight, b, targets = problem(rows, features, classes, dtype, bias)
    inputs, wide, each = exact(x, weight, b, targets, classes)
    row_weights = torch.randn(rows, generator=torch.Generator().manual_seed(rows)).pow(3)
    row_weights[1::3] = 0.0
    wanted = torch.autograd.grad(each, wide, row_weights.double())
    nll = linear_nll(x.to(dtype), weight, b, targets, classes)
    assert relative_error(nll, each) < TOLERANCES[dtype]
    got = torch.autograd.grad(nll, inputs, row_weights)
    for one, expected in zip(got, wanted, strict=True):
        if expected.norm() > 1e-12:  # a single class has none
            assert relative_error(one, expected) < TOLERANCES[dtype]
        assert not one[classes:].any() or one.shape == x.shape
    assert not got[0][1::3].any()


def test_equal_weights_are_the_mean(dtype):
    x, weight, b, targets = problem(40, 20, 300, dtype)
    inputs = [x, weight, b]
    mean = torch.autograd.grad(linear_cross_entropy(x.to(dtype), weight, b, targets, 300), inputs)
    rows = torch.autograd.grad(linear_nll(x.to(dtype), weight, b, targets, 300).mean(), inputs)
    for one, two in zip(rows, mean, strict=True):
        assert torch.equal(one, two)


def test_surprising_rows_without_weight_give_no_gradient(dtype):
    x = torch.tensor([[200.0], [-200.0]], dtype=dtype).requires_grad_()
    weight = torch.tensor([[1.0], [0.0], [-1.0]], requires_grad=True)
    nll = linear_nll(x, weight, None, torch.tensor([1, 0]))
    for gradient in torch.autograd.grad(nll, [x, weight], torch.zeros(2)):
        assert not gradient.any()


def test_rows_in_several_blocks(dtype, monkeypatch):
    monkeypatch.setattr(fused_cross_entropy, "_HELD_BYTES", 1)
    test_losses_and_every_gradient(dtype, 100, 20, 300, True)
    test_every_gradient_of_weighted_rows(dtype, 100, 20, 300, True)


def test_threads_change_rounding_only_and_runs_repeat(dtype, restore_threads):
    x, weight, b, targets = problem(50, 40, 2000, dtype)
    found = []
    for threads in (1, 2, 2, 3):
        torch.set_num_threads(threads)
        loss = linear_cross_entropy(x.to(dtype), weight, b, targets, 2000)
        found.append([loss, *torch.autograd.grad(loss, [x, weight, b])])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=TOLERANCES[dtype], atol=1e-7)
    for one, two in zip(found[1], found[2], strict=True):
        assert torch.equal(one, two)


def test_far_logits_and_not_a_number(dtype):
    x = torch.tensor([[200.0], [-200.0], [0.0], [torch.nan]], dtype=dtype)
    weight, targets = torch.tensor([[1.0], [0.0], [-1.0]]), torch.tensor([1, 0, 2, 0])
    nll = linear_nll(x, weight, None, targets)
    torch.testing.assert_close(nll[:3], torch.tensor([200.0, 400.0, 1.0986123]))
    assert nll[3].isnan()


@pytest.mark.parametrize("banned", [range(64, 128), range(0, 130), range(3, 260)])
def test_impossible_classes(dtype, banned):
    """Whole blocks of classes at minus infinity, the first too: as in torch."""
    x, weight, b, targets = problem(9, 20, 300, dtype)
    bias = b.detach().clone()
    bias[list(banned)] = -torch.inf
    bias.requires_grad_()
    targets = 260 + targets % 40
    loss = linear_cross_entropy(x.to(dtype), weight, bias, targets, 300)
    logits = x.double() @ weight[:300].double().T + bias[:300].double()
    exact_loss = torch.nn.functional.cross_entropy(logits, targets)
    torch.testing.assert_close(loss.double(), exact_loss, rtol=TOLERANCES[dtype], atol=1e-6)
    found = torch.autograd.grad(loss, [x, weight, bias])
    wanted = torch.autograd.grad(exact_loss, [x, weight, bias])
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b.float(), rtol=3 * TOLERANCES[dtype], atol=TOLERANCES[dtype] / 10)


def test_not_a_number_among_impossible_classes(dtype):
    x, weight = torch.ones(1, 1, dtype=dtype), torch.zeros(200, 1)
    bias = torch.zeros(200)
    bias[64:128] = -torch.inf
    bias[100] = torch.nan
    assert linear_nll(x, weight, bias, torch.tensor([0])).isnan().all()


def test_strided_tensors(dtype):
    x, weight, b, targets = problem(40, 20, 30, dtype)
    x = x.detach().to(dtype)
    wanted = linear_nll(x, weight, b, targets, 30)
    strided = [torch.stack([tensor, tensor], dim=-1)[..., 0] for tensor in (x, weight.detach(), b.detach(), targets)]
    assert not any(tensor.is_contiguous() for tensor in strided)
    assert torch.equal(linear_nll(*strided, 30), wanted)


def test_no_rows(dtype):
    weight = torch.zeros(3, 2)
    assert linear_nll(torch.zeros(0, 2, dtype=dtype), weight, None, torch.zeros(0, dtype=torch.int64)).shape == (0,)
