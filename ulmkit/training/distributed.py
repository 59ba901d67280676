"""Ranks of a run that `torchrun` spreads over processes; a run of one process needs none of it."""

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed

from ulmkit.errors import ConfigError

_TIMEOUT = datetime.timedelta(hours=2)  # the others wait while the first rank saves


@dataclass(frozen=True)
class World:
    """This process among the ranks of a run; `World()` is a run of one process.

    rank: 0 <= rank < size; rank 0 logs and saves.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this rank logs, shows progress and saves."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums over the ranks, the same on every rank."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(tensor)
        return tensor.tolist()

    def from_first(self, value: Any) -> Any:
        """What the first rank gives, on every rank."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """On the first rank the values of all ranks in order; on the others an empty list."""
        if self.size == 1:
            return [value]
        box: list[Any] | None = [None] * self.size if self.is_first else None
        distributed.gather_object(value, box, dst=0)
        return box or []


def join_world() -> World:
    """The ranks that `torchrun` started, joined into one group (gloo for the CPU, NCCL for CUDA); World() without it.

    With CUDA the current device becomes the one numbered by LOCAL_RANK. Call it before making the task, which takes
    its share of the batches by `rank` and `size`; call `leave_world` at the end.
    Raises: ConfigError if the environment names a rank outside the world.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    if not 0 <= rank < size:
        raise ConfigError(f"RANK: expected 0 <= rank < {size} (WORLD_SIZE), got {rank}; start it with torchrun")
    if size == 1:
        return World()
    cuda = torch.cuda.is_available() and distributed.is_nccl_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if not distributed.is_initialized():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_TIMEOUT)
    return World(rank, size)


def leave_world() -> None:
    """Leave the group that `join_world` joined, if any."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
