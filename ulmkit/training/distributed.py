"""Ranks of a run that `torchrun` spreads over processes; a run of one process needs none of it."""

import datetime
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import distributed

from ulmkit.errors import ConfigError, TrainingError, UlmkitError

_TIMEOUT = datetime.timedelta(days=1)  # the others wait while the first rank encodes a corpus, validates and saves
_STORE_TIMEOUT = datetime.timedelta(seconds=5)
_LAST_WORD = "ulmkit/last word"

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among the ranks of a run; `World()` is a run of one process.

    rank: 0 <= rank < size; rank 0 validates, logs and saves.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this rank validates, logs, shows progress and saves."""
        return self.rank == 0

    def check_divides(self, batch_size: int) -> None:
        """Raise ConfigError unless every rank can have an equal share of `batch_size`."""
        if batch_size % self.size:
            nearest = max(1, round(batch_size / self.size)) * self.size
            raise ConfigError(
                f"batch_size: expected a multiple of {self.size}, the number of processes that share it, got "
                f"{batch_size}; take {nearest}, or another number of processes"
            )

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums over the ranks, the same on every rank."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(tensor)
        return tensor.tolist()

    def sum_tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of a tensor over the ranks, the same on every rank; differentiable."""
        return tensor if self.size == 1 else _Sum.apply(tensor)

    def ask_first(self, answer: Callable[[], T]) -> T:
        """What `answer` gives on the first rank, on every rank; the others wait and do not call it."""
        return self.from_first(answer() if self.is_first else None)

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


class _Sum(torch.autograd.Function):
    """y = sum of x over the ranks; every rank's loss depends on y, so dx is the sum of dy over the ranks."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


def is_first_process() -> bool:
    """Whether this process is the first of those that `torchrun` started, or was started without it."""
    return os.environ.get("RANK", "0") == "0"


def join_world(device: str = "auto") -> World:
    """The ranks that `torchrun` started, joined into one group (gloo for the CPU, NCCL for CUDA); World() without it.

    With CUDA the current device becomes the one numbered by LOCAL_RANK. Call it before making the task, which takes
    its share of the batches by `rank` and `size`; call `leave_world` at the end.

    Args: device: to train on: "auto", "cuda" or "cpu".
    Raises: ConfigError if the environment names a rank outside the world, or there is no GPU for this rank.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    if not 0 <= rank < size:
        raise ConfigError(f"RANK: expected 0 <= rank < {size} (WORLD_SIZE), got {rank}; start it with torchrun")
    if size == 1:
        return World()
    if ":" in device:
        raise ConfigError(f"device: expected auto, cpu or cuda for {size} processes, a GPU for each, got {device!r}")
    cuda = device != "cpu" and torch.cuda.is_available() and distributed.is_nccl_available()
    if cuda:
        local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if local >= gpus:
            raise ConfigError(
                f"device: expected a GPU for each process, got {gpus} here for process {local + 1}; start "
                f"{gpus} on this machine, or use device='cpu'"
            )
        torch.cuda.set_device(local)
    if not distributed.is_initialized():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_TIMEOUT)
    return World(rank, size)


def leave_world() -> None:
    """Leave the group that `join_world` joined, if any."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def joined_world(device: str = "auto") -> Iterator[World]:
    """The ranks that `torchrun` started, joined for this block; an error on one rank ends the block on all.

    A rank that fails leaves word and ends. The first rank then fails where it waits for the other, or is ended by
    `torchrun`, and raises what was told.

    Args: device: see `join_world`.
    Raises: as `join_world`; TrainingError on the first rank with the number and the error of the process that failed;
        SystemExit on the others, unless the error is one that ulmkit does not know.
    """
    world = join_world(device)
    if world.size == 1:
        yield world
        return
    former = signal.signal(signal.SIGTERM, _exit) if world.is_first else None
    try:
        yield world
    except (Exception, SystemExit) as error:
        if world.is_first:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # until the reason is told
        known = isinstance(error, UlmkitError | OSError)
        word = f"process {world.rank}: {error if known else f'{type(error).__name__}: {error}'}"
        told = _first_word(word)
        if world.is_first and not known and told != word:
            raise TrainingError(told) from error
        if not world.is_first and (known or told != word):
            raise SystemExit(2) from error
        raise
    else:
        if former is not None:
            signal.signal(signal.SIGTERM, former)
    finally:
        leave_world()


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _first_word(word: str) -> str:
    """`word`, which is left for the other ranks, or what another has left before."""
    try:
        store = distributed.TCPStore(
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=_STORE_TIMEOUT
        )
        return store.compare_set(_LAST_WORD, "", word).decode()
    except RuntimeError:  # the process that keeps it has ended
        return word
