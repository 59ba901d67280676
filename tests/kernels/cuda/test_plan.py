import pytest
from support.host_driver import H200

from ulmkit.kernels.cuda.plan import _cycles, plans


def test_cycles_by_hand():
    """Two bands of rows, nine tiles of columns, 72 blocks of k among four warps."""
    product = 2 * 9 * 72 * 1.7
    step = {"rows_read": 32, "rows": 32, "columns": 72, "tiles_of_k": 72, "sharers": 4, "traffic": 1280, "cluster": 1}
    # As long as its bytes, at 64 per cycle; then as long as nine times two waits.
    assert _cycles(**step, depth=8, spilled_bytes=0) == pytest.approx(1152 + product + 10)
    assert _cycles(**step, depth=2, spilled_bytes=0) == pytest.approx(300 * (1 + 9) + product + 10)
    spilled = 4 * 9 * 32 * 8  # four blocks of k, one for each warp
    assert _cycles(**step, depth=2, spilled_bytes=spilled) == pytest.approx(300 * (1 + 9 + 1) + product + 10)
    assert _cycles(**{**step, "cluster": 4}, depth=8, spilled_bytes=0) == pytest.approx(1152 + product + 10 + 600)


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("batch", [1, 20, 64, 80, 128])
def test_plans_fit_the_device_and_the_fastest_comes_first(direction, batch):
    found = plans(direction, "BF16", batch, 1152, H200)
    assert [plan.cycles for plan in found] == sorted(plan.cycles for plan in found)
    for plan in found:
        assert plan.launch.blocks <= H200.multiprocessors
        assert plan.launch.blocks % (plan.launch.cluster * plan.groups) == 0
        assert plan.launch.shared_bytes <= H200.shared_bytes
        assert dict(plan.source.constants)["DEPTH"] in (2, 4)
