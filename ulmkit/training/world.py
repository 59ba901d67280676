"""The place of a process among those that share a run. Imports without torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ulmkit.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """Rank of this process in a run; `World()` is a run of one process.

    Attributes:
        rank: Number of this process, 0 <= rank < size; rank 0 validates, logs and saves.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """True if this rank validates, logs, displays progress and saves."""
        return self.rank == 0

    def check_divides(self, batch_size: int) -> None:
        """Raise ConfigError unless `batch_size` can be divided equally among the ranks."""
        if batch_size % self.size:
            nearest = max(1, round(batch_size / self.size)) * self.size
            raise ConfigError(
                f"batch_size: expected a multiple of {self.size}, the number of processes that share it, got "
                f"{batch_size}; take {nearest}, or another number of processes"
            )

    def sum(self, values: Sequence[float]) -> list[float]:
        """Return each value summed over the ranks, on every rank."""
        if self.size == 1:
            return list(values)
        import torch
        from torch import distributed

        tensor = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(tensor)
        return tensor.tolist()

    def sum_tensor(self, tensor: Tensor) -> Tensor:
        """Return a tensor summed over the ranks, on every rank; differentiable."""
        if self.size == 1:
            return tensor
        from ulmkit.training.distributed import sum_over_ranks

        return sum_over_ranks(tensor)

    def call_on_first(self, function: Callable[[], T]) -> T:
        """Call a function on the first rank, and return its value on every rank."""
        return self.broadcast(function() if self.is_first else None)

    def wait_for_first(self) -> None:
        """Wait until the first rank has called this too."""
        self.broadcast(None)

    def first_waits_for_all(self) -> None:
        """Make the first rank wait until every rank has called this; the others continue at once."""
        self.gather(None)

    def broadcast(self, value: Any) -> Any:
        """Return the first rank's value on every rank."""
        if self.size == 1:
            return value
        from torch import distributed

        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks in order on the first rank, an empty list on the others."""
        if self.size == 1:
            return [value]
        from torch import distributed

        box: list[Any] | None = [None] * self.size if self.is_first else None
        distributed.gather_object(value, box, dst=0)
        return box or []
