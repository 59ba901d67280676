"""AR and TAR's own CUDA source, run on the CPU by fibers, against the formulas in float64."""

import pytest
import torch
from support.host_driver import HostDriver, compiler, stand_in

from ulmkit.kernels.cuda import fused_regularization
from ulmkit.model.regularizers import activation_regularization, temporal_activation_regularization

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")

# sums are in float32; gradients are rounded to h's type: bf16 keeps 8 bits, fp16 keeps 11
TOLERANCE = {torch.bfloat16: 4e-3, torch.float16: 6e-4, torch.float32: 1e-6}


@pytest.fixture(autouse=True)
def driver(monkeypatch):
    return stand_in(monkeypatch, fused_regularization, HostDriver())


@pytest.mark.parametrize("weights", [(2.0, 1.0), (0.0, 0.5), (3.0, 0.0)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(1, 2, 3), (2, 1, 1), (5, 3, 7), (3, 4, 130)])
def test_the_penalty_and_its_gradient(driver, shape, dtype, masked, weights):
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(shape, generator=generator).to(dtype).requires_grad_()
    mask = (torch.rand(1, *shape[1:], generator=generator) < 0.6).to(dtype) / 0.6 if masked else None
    wide = h.detach().double().requires_grad_()
    dropped = wide if mask is None else wide * mask.double()
    wanted = activation_regularization(dropped, weights[0]) + temporal_activation_regularization(wide, weights[1])
    found = fused_regularization.regularization(h, mask, *weights)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-7)
    (a,), (b,) = torch.autograd.grad(3.0 * found, h), torch.autograd.grad(3.0 * wanted, wide)
    assert torch.linalg.norm(a.double() - b) <= TOLERANCE[dtype] * torch.linalg.norm(b) + 1e-9
    assert {name for name, _ in driver.launches} == {"regularization_forward", "regularization_backward"}


def test_of_a_part_of_a_wider_tensor():
    h = torch.randn(4, 3, 16, generator=torch.Generator().manual_seed(0))[:, :, :13].requires_grad_()
    wanted = activation_regularization(h, 2.0) + temporal_activation_regularization(h, 1.0)
    found = fused_regularization.regularization(h, None, 2.0, 1.0)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, h), torch.autograd.grad(wanted, h))


def test_the_operator_is_well_formed():
    h = torch.randn(3, 2, 5, requires_grad=True)
    torch.library.opcheck(fused_regularization.regularization, (h, None, 2.0, 1.0))
