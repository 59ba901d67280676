"""The CUDA cross-entropy's own source, run on the CPU by fibers, against torch in float64."""

import pytest
import torch
from support.host_driver import HostDriver, compiler, stand_in

from ulmkit.kernels.cuda import fused_cross_entropy
from ulmkit.kernels.cuda.fused_cross_entropy import cross_entropy, cross_entropy_with_gradients

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")

# logits and their gradients are rounded to the products' type: bf16 keeps 8 bits, fp16 keeps 11
TOLERANCE = {torch.bfloat16: 2e-2, torch.float16: 3e-3, torch.float32: 1e-5}
SHAPES = [(1, 3, 1, 1), (3, 5, 9, 9), (5, 8, 37, 30), (4, 16, 2100, 2085)]  # rows, features, columns, classes


@pytest.fixture(autouse=True)
def driver(monkeypatch):
    return stand_in(monkeypatch, fused_cross_entropy, HostDriver())


def problem(shape, dtype, *, bias=True, seed=0):
    rows, features, columns, classes = shape
    generator = torch.Generator().manual_seed(seed)

    def draw(*size):
        return torch.randn(size, generator=generator).to(dtype).float()

    targets = torch.randint(0, classes, (rows,), generator=generator)
    return draw(rows, features).to(dtype), draw(columns, features), draw(columns) if bias else None, targets, classes


def expected(x, weight, bias, targets, classes, row_weights=None):
    """nll, and gradients of the rows' sum, weighted, in float64."""
    leaves = [t.detach().double().requires_grad_() for t in (x, weight, bias) if t is not None]
    logits = torch.nn.functional.linear(*leaves)[:, :classes]
    nll = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    total = (nll if row_weights is None else nll * row_weights.double()).sum()
    return [nll.detach(), *torch.autograd.grad(total, leaves)]


def check(found, wanted, dtype):
    for a, b in zip([tensor for tensor in found if tensor is not None], wanted, strict=True):
        # the largest logits are rounded by as much as theirs says, which all that is much smaller inherits
        assert torch.linalg.norm(a.double() - b) <= TOLERANCE[dtype] * max(torch.linalg.norm(b).item(), 1e-3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
def test_nll_and_every_gradient(driver, shape, dtype, weighted):
    given = problem(shape, dtype)
    row_weights = torch.linspace(-1.0, 2.0, shape[0]) if weighted else None
    wanted = expected(*given, row_weights)
    check(cross_entropy_with_gradients(*given, row_weights), wanted, dtype)
    check([cross_entropy(*given)], wanted[:1], dtype)
    assert {name for name, _ in driver.launches} == {"softmax_rows"}


def test_without_bias_and_with_weights_that_are_one_number_in_memory():
    given = problem(SHAPES[2], torch.float32, bias=False)
    row_weights = torch.tensor(0.25).expand(SHAPES[2][0])
    found = cross_entropy_with_gradients(*given, row_weights)
    assert found[3] is None
    check(found, expected(*given, row_weights), torch.float32)


def test_a_bias_that_begins_anywhere():
    x, weight, bias, targets, classes = problem(SHAPES[2], torch.float32)
    given = x, weight, torch.cat([bias[:1], bias])[1:], targets, classes
    check(cross_entropy_with_gradients(*given), expected(*given), torch.float32)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_block_by_block_it_is_the_same(monkeypatch, dtype):
    given = problem((7, 5, 37, 37), dtype)
    wanted = expected(*given)
    monkeypatch.setattr(fused_cross_entropy, "_BLOCK_ELEMENTS", 3 * 40)
    check(cross_entropy_with_gradients(*given), wanted, dtype)


def test_large_logits_and_columns_that_are_no_classes():
    x, weight, _, targets, classes = problem((4, 8, 40, 33), torch.float32)
    bias = torch.full((40,), -1e4)
    bias[33:] = 1e5
    bias[5] = 80.0
    found = cross_entropy_with_gradients(x, 30 * weight, bias, targets, classes)
    check(found, expected(x, 30 * weight, bias, targets, classes), torch.float32)
    assert not found[2][classes:].any()


def test_a_target_that_is_no_class_is_not_a_number():
    x, weight, bias, targets, classes = problem((5, 8, 37, 30), torch.float32)
    for wrong in (-1, 30, 1000):
        targets[2] = wrong
        nll = cross_entropy(x, weight, bias, targets, classes)
        assert nll.isnan().tolist() == [False, False, True, False, False]


def test_nan_inputs_give_nan_losses():
    x, weight, bias, targets, classes = problem((3, 8, 37, 30), torch.float32)
    x[1, 2] = torch.nan
    assert cross_entropy(x, weight, bias, targets, classes).isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("bias", [True, False])
def test_the_operators_are_well_formed(bias):
    given = problem((3, 8, 37, 30), torch.float32, bias=bias)
    torch.library.opcheck(fused_cross_entropy.cross_entropy, given)
    torch.library.opcheck(fused_cross_entropy._with_gradients, (*given, None))


def test_autocast_around_it_changes_nothing():
    given = problem(SHAPES[2], torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = cross_entropy_with_gradients(*given)
    check(found, expected(*given), torch.float32)
