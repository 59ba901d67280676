import pytest

from ulmkit.errors import ConfigError
from ulmkit.training import Budget, Phase, chain_thaw, full, gradual_unfreezing, last


def test_gradual_unfreezing():
    phases = gradual_unfreezing(3, budget=Budget(epochs=3), peak_rate=0.01)
    assert [phase.groups for phase in phases] == [(2,), (1, 2), (0, 1, 2)]
    assert [phase.budget.epochs for phase in phases] == [1, 1, 1]
    assert phases[1].rates(3) == pytest.approx([0, 0.01 / 2.6, 0.01])


def test_gradual_unfreezing_with_depths_shares_and_rates():
    phases = gradual_unfreezing(
        5, budget=Budget(minutes=10), peak_rate=[0.02, 0.01], depths=(1, 5), shares=(1, 3), factor=2.0
    )
    assert [(phase.name, phase.groups) for phase in phases] == [("top 1", (4,)), ("all", (0, 1, 2, 3, 4))]
    assert [phase.budget.minutes for phase in phases] == [2.5, 7.5]
    assert phases[1].rates(5) == pytest.approx([0.01 / 16, 0.01 / 8, 0.01 / 4, 0.01 / 2, 0.01])


def test_chain_thaw():
    phases = chain_thaw(3, budget=Budget(steps=40), peak_rate=0.1)
    assert [phase.groups for phase in phases] == [(2,), (0,), (1,), (0, 1, 2)]
    assert [phase.budget.steps for phase in phases] == [10, 10, 10, 10]
    assert phases[1].rates(3) == [0.1, 0.0, 0.0]


def test_full_and_last():
    assert full(2, budget=Budget(epochs=1), peak_rate=0.1)[0].rates(2) == [0.1, 0.1]
    assert full(2, budget=Budget(epochs=1), peak_rate=0.1, factor=2.0)[0].rates(2) == [0.05, 0.1]
    assert last(3, budget=Budget(epochs=1), peak_rate=0.1)[0].rates(3) == [0, 0, 0.1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: phase(groups=()), r"phase p: expected different groups of at least 0, got \(\)"),
        (lambda: phase(groups=(1, 1)), r"got \(1, 1\)"),
        (lambda: phase(groups=(-1,)), r"got \(-1,\)"),
        (lambda: phase(peak_rate=0.0), "peak_rate: expected a number above 0, got 0.0"),
        (lambda: phase(factor=-1.0), "factor: expected a number above 0, got -1.0"),
        (lambda: phase(groups=(3,)).rates(3), "phase p: expected groups below 3, got 3"),
        (lambda: unfreeze(depths=(0,)), "depths: expected 1 to 3 groups from the top, got 0"),
        (lambda: unfreeze(depths=(4,)), "depths: expected 1 to 3 groups from the top, got 4"),
        (lambda: unfreeze(peak_rate=[1, 2]), "peak_rate: expected one for each of 3 phases, got 2"),
        (lambda: unfreeze(shares=[1]), "shares: expected one for each of 3 phases, got 1"),
    ],
)
def test_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def phase(**options):
    return Phase(**{"name": "p", "groups": (0,), "budget": Budget(steps=1), "peak_rate": 0.1} | options)


def unfreeze(**options):
    return gradual_unfreezing(3, **{"budget": Budget(epochs=3), "peak_rate": 0.1} | options)
