"""The embedding's table: whatever uses it, its gradient is the plain one, dense."""

import pytest
import torch
from torch.nn import functional

from ulmkit.model.aligned import AlignedRows, look_up

IDS = (torch.tensor([[1, 4, 1], [0, 1, 6]]), torch.tensor([4, 4]))


@pytest.mark.parametrize("is_tied", [False, True])
def test_gradients_of_several_uses_in_one_pass(is_tied):
    rows = AlignedRows(7, 3).double()
    torch.nn.init.normal_(rows.weight)
    table = rows.table()
    found = sum(look_up(ids, table).pow(3).sum() for ids in IDS)
    wanted = sum(functional.embedding(ids, rows.weight).pow(3).sum() for ids in IDS)
    if is_tied:
        found, wanted = (total + (weight.sin() ** 2).sum() for total, weight in ((found, table), (wanted, rows.weight)))
    expected = torch.autograd.grad(wanted, rows.weight)[0]
    for _ in range(2):  # a second pass adds to the first
        found.backward(retain_graph=True)
    assert rows.weight.grad.layout == torch.strided
    torch.testing.assert_close(rows.weight.grad, 2 * expected)


def test_frozen_and_without_gradients():
    rows = AlignedRows(7, 3).requires_grad_(False)
    assert not look_up(IDS[0], rows.table()).requires_grad
    with torch.no_grad():
        assert torch.equal(look_up(IDS[1], rows.requires_grad_(True).table()), rows.weight[IDS[1]])
