"""Batch norm over the documents of a step, which may be spread over several processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ulmkit.errors import ConfigError

Sum = Callable[[Tensor], Tensor]
"""The sum of a tensor over processes, the same on each of them; differentiable."""


class DocumentNorm(nn.BatchNorm1d):
    """Batch norm over documents that also trains on a batch of one.

    One document has no variance: it is normalized by the running statistics, as in evaluation, and does not change
    them.

    Attributes:
        sum_over_processes: Sums a tensor over processes that each hold a share of the batch, so that training uses the
            whole batch's statistics. None if this process holds all of it.
    """

    sum_over_processes: Sum | None = None
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (B, F) → (B, F)."""
        if self.training and self.sum_over_processes is not None:
            return self._shared(input, self.sum_over_processes)
        if self.training and len(input) == 1:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        variance = state_dict.get(prefix + "running_var")
        if variance is not None and (variance < 0).any():
            raise ConfigError(f"{prefix}running_var: expected variances of at least 0, got {variance.min():.3g}")
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _shared(self, input: Tensor, total: Sum) -> Tensor:
        """Batch norm over the documents of all processes, at least two."""
        sums = total(torch.cat([input.sum(dim=0), input.new_tensor([len(input)])]))
        count = sums[-1]
        mean = sums[:-1] / count
        variance = total((input - mean).square().sum(dim=0)) / count
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        return (input - mean) / (variance + self.eps).sqrt() * self.weight + self.bias


@contextmanager
def shared_documents(model: nn.Module, total: Sum | None) -> Iterator[None]:
    """Share batch norm over processes in this block: each `DocumentNorm` sums with `total`; None for one process."""
    norms = [module for module in model.modules() if isinstance(module, DocumentNorm)]
    try:
        for norm in norms:
            norm.sum_over_processes = total
        yield
    finally:
        for norm in norms:
            norm.sum_over_processes = None
