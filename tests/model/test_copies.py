from typing import Any

import torch

from ulmkit.model.copies import to_device

CPU = torch.device("cpu")


class Given:
    """Stands in for a tensor. Attributes: done: what it was asked for, in order."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.done = device, list[Any]()

    def pin_memory(self) -> "Given":
        self.done.append("pinned")
        return self

    def to(self, device: torch.device, non_blocking: bool = False) -> "Given":
        self.done.append((device, non_blocking))
        return self


def test_to_a_gpu_it_is_copied_without_waiting() -> None:
    given, gpu = Given(CPU), torch.device("cuda", 1)
    to_device(given, gpu)  # type: ignore[arg-type]
    assert given.done == ["pinned", (gpu, True)]


def test_from_a_gpu_to_where_it_is() -> None:
    """What is on a GPU cannot be pinned."""
    given = Given(torch.device("cuda", 0))
    to_device(given, torch.device("cuda", 0))  # type: ignore[arg-type]
    assert given.done == [(torch.device("cuda", 0), False)]


def test_tensors_already_on_the_device_are_not_copied() -> None:
    ids = torch.arange(3)
    assert to_device(ids, CPU) is ids
