"""The benchmark of the kernels' plans, with a device that has no room for some."""

import lstm_cuda_plans
import pytest
import torch


class Kernels:
    """Those of a device whose chosen plan is "chosen"."""

    def __init__(self) -> None:
        self.device, self.refused = None, set()

    def plan(self, direction: str, *shape: int) -> str | None:
        return "chosen"


@pytest.fixture
def device(monkeypatch):
    """It refuses the plan "tight" at its first launch, as the kernels tell it."""
    found = Kernels()

    def steps(layer: None, repeats: int) -> dict[str, float]:
        while (plan := found.plan("forward")) is not None:  # as all steps are run
            if plan != "tight":
                return {"forward": {"chosen": 2.0, "other": 3.0}[plan], "backward": 9.0}
            found.refused.add(plan)
        return {"backward": 9.0}

    for name, value in {
        "kernels": lambda index: found,
        "plans": lambda *shape: ["tight", "chosen", "other"],
        "Layer": lambda *arguments: None,
        "compile_ahead": lambda plans: None,
        "described": str,
        "computed": lambda layer: (torch.ones(2), torch.ones(2)),
        "step_microseconds": steps,
    }.items():
        monkeypatch.setattr(lstm_cuda_plans, name, value)
    return found


def test_plans_without_room_are_named_and_left_out(device, capsys):
    rows = lstm_cuda_plans.compare_plans("forward", 64, 3, 1)
    assert [(line["case"].split(": ")[-1], line["ulmkit"], line["peer"]) for line in rows] == [
        ("chosen", 2.0, 2.0),
        ("other", 3.0, 2.0),
    ]
    assert "forward: tight: the device has no room for it" in capsys.readouterr().out
    assert device.plan("forward") == "chosen"
