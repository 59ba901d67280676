"""Joining the processes over which `torchrun` spreads a run."""

import datetime
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import distributed

from ulmkit.errors import ConfigError, TrainingError, UlmkitError
from ulmkit.training.world import World

_TIMEOUT = datetime.timedelta(days=1)  # other ranks wait while the first encodes a corpus, validates and saves
_STORE_TIMEOUT = datetime.timedelta(seconds=5)
_ERROR_KEY = "ulmkit/first error"


class _Sum(torch.autograd.Function):
    """Sum over the ranks: every rank's loss depends on the sum, so dx is the sum of dy over the ranks."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _Sum.apply(gradient)


def sum_over_ranks(x: torch.Tensor) -> torch.Tensor:
    """Sum a tensor over the ranks, on every rank; differentiable."""
    return _Sum.apply(x)


def join_world(device: str = "auto") -> World:
    """Join the processes that `torchrun` started into one group: gloo for the CPU, NCCL for CUDA.

    With CUDA the current device becomes the one numbered by LOCAL_RANK. Call it before making the task, which takes
    its share of the batches by `rank` and `size`; call `leave_world` at the end.

    Args:
        device: Device to train on, "auto", "cuda" or "cpu".

    Returns:
        This process's place among the ranks; `World()` without `torchrun`.

    Raises:
        ConfigError: If the environment names a rank outside the world, or there is no GPU for this rank.
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
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        gpus = torch.cuda.device_count()
        if local_rank >= gpus:
            raise ConfigError(
                f"device: expected a GPU for each process, got {gpus} here for process {local_rank + 1}; start "
                f"{gpus} on this machine, or use device='cpu'"
            )
        torch.cuda.set_device(local_rank)
    if not distributed.is_initialized():
        distributed.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=_TIMEOUT)
    return World(rank, size)


def leave_world() -> None:
    """Leave the group from `join_world`, if any."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def joined_world(device: str = "auto") -> Iterator[World]:
    """Join the processes that `torchrun` started for this block; an error on one rank ends the block on all.

    A rank that fails stores its error and exits. The first rank then fails where it waits for that rank, or is ended
    by `torchrun`, and raises the stored error.

    Args:
        device: Device to train on, see `join_world`.

    Yields:
        This process's place among the ranks.

    Raises:
        ConfigError: See `join_world`.
        TrainingError: On the first rank, with the number and the error of the process that failed.
        SystemExit: On the other ranks, unless the error is unexpected there.
    """
    world = join_world(device)
    if world.size == 1:
        yield world
        return
    former_handler = signal.signal(signal.SIGTERM, _exit) if world.is_first else None
    try:
        yield world
    except (Exception, SystemExit) as error:
        if world.is_first:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # until the reason has been raised
        is_expected = isinstance(error, UlmkitError | OSError)
        message = f"process {world.rank}: {error if is_expected else f'{type(error).__name__}: {error}'}"
        first_message = _store_error(message)
        if world.is_first and not is_expected and first_message != message:
            raise TrainingError(first_message) from error
        if not world.is_first and (is_expected or first_message != message):
            raise SystemExit(2) from error
        raise
    else:
        if former_handler is not None:
            signal.signal(signal.SIGTERM, former_handler)
    finally:
        leave_world()


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _store_error(message: str) -> str:
    """Store a rank's error for the others, unless one is stored already, and return the stored one."""
    try:
        store = distributed.TCPStore(
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=_STORE_TIMEOUT
        )
        return store.compare_set(_ERROR_KEY, "", message).decode()
    except RuntimeError:  # the process that holds the store has ended
        return message
