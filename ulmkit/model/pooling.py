"""Pooling of the encoder's outputs into a head's features, chunk by chunk, independent of where a text is cut.

Each state is immutable: `update` returns the next one. A chunk's outputs may cover only the first documents of the
batch; the others have ended.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad


class Pooling(Protocol):
    """Gathers encoder outputs into a head's features."""

    def update(self, outputs: Tensor, lengths: Tensor | None = None) -> "Pooling":
        """Add the next steps.

        Args:
            outputs: (T, n, E) float, the next outputs of the first n documents, n <= B.
            lengths: (n,) int64, how many of the T steps are valid for each document; None if all are.
        """
        ...

    def features(self) -> Tensor:
        """Features for the head: (B, F), or (T, B, E) for token labels; at least float32."""
        ...


def _at_least_fp32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


@dataclass(frozen=True)
class PoolingState:
    """Running last value, maximum and sum over the valid steps seen so far.

    Attributes:
        last: (B, E) at least float32, output of the last valid step.
        maximum: (B, E) at least float32.
        total: (B, E) at least float32, the sum.
        count: (B,) int64, valid steps.
    """

    last: Tensor
    maximum: Tensor
    total: Tensor
    count: Tensor

    @classmethod
    def empty(cls, batch_size: int, size: int, *, device: torch.device, dtype: torch.dtype) -> "PoolingState":
        """State before the first step, for outputs of `size` values in `dtype`."""
        zeros = torch.zeros(batch_size, size, device=device, dtype=_at_least_fp32(dtype))
        count = torch.zeros(batch_size, device=device, dtype=torch.int64)
        return cls(zeros, torch.full_like(zeros, -torch.inf), zeros, count)

    def update(self, outputs: Tensor, lengths: Tensor | None = None) -> "PoolingState":
        """Add the next steps; see `Pooling.update`."""
        steps, documents = outputs.shape[:2]
        if steps == 0:
            return self
        if lengths is not None:
            return self.update_between(outputs, torch.zeros_like(lengths), lengths)
        return self._replace_first(
            outputs[-1].to(self.last.dtype),
            _larger(self.maximum[:documents], outputs.max(dim=0).values),
            self.total[:documents] + outputs.sum(dim=0, dtype=self.total.dtype),
            self.count[:documents] + steps,
        )

    def update_between(self, outputs: Tensor, start: Tensor, stop: Tensor) -> "PoolingState":
        """Add the steps start <= t < stop of each document; none where start >= stop.

        Args:
            outputs: (T, n, E) float, T >= 1, of the first n documents.
            start: (n,) int64, first step to add.
            stop: (n,) int64, step after the last one to add, 0 <= stop <= T.
        """
        steps, documents = outputs.shape[:2]
        step = torch.arange(steps, device=outputs.device).unsqueeze(1)
        invalid = ((step < start) | (step >= stop)).unsqueeze(2)  # T, n, 1
        last_step = (stop - 1).clamp(min=0).view(1, -1, 1).expand(1, *outputs.shape[1:])
        newest = outputs.gather(0, last_step).squeeze(0).to(self.last.dtype)
        return self._replace_first(
            torch.where((start < stop).unsqueeze(1), newest, self.last[:documents]),
            _larger(self.maximum[:documents], outputs.masked_fill(invalid, -torch.inf).max(dim=0).values),
            self.total[:documents] + outputs.masked_fill(invalid, 0.0).sum(dim=0, dtype=self.total.dtype),
            self.count[:documents] + (stop - start).clamp(min=0),
        )

    def _replace_first(self, *new: Tensor) -> "PoolingState":
        """State with the first documents' rows replaced by `new` (last, maximum, total, count)."""
        documents = len(new[0])
        if documents == len(self.count):
            return PoolingState(*new)
        old = (self.last, self.maximum, self.total, self.count)
        return PoolingState(*(torch.cat([head, tail[documents:]]) for head, tail in zip(new, old, strict=True)))

    def features(self) -> Tensor:
        """Concat pooling over all valid steps.

        h_c = [h_T, maxpool(H), meanpool(H)]

        Returns:
            (B, 3E) float, at least float32; zeros for a document without steps.

        Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.3, "Concat pooling".
        Deviation: over all steps of the document, not only as many as fit in memory.
        """
        count = self.count.unsqueeze(1)
        maximum = torch.where(count > 0, self.maximum, torch.zeros_like(self.maximum))
        return torch.cat([self.last, maximum, self.total / count.clamp(min=1)], dim=1)


def _larger(running: Tensor, newest: Tensor) -> Tensor:
    """Elementwise maximum; the earlier chunk takes the whole gradient of a tie, wherever the text is cut."""
    return torch.where(newest > running, newest.to(running.dtype), running)


@dataclass(frozen=True)
class PairPoolingState:
    """Concat pooling of two texts read in sequence; the second is encoded with the first as context.

    Attributes:
        first: Pooling of the first text.
        second: Pooling of the second text.
        boundaries: (B,) int64, step at which the second text begins.
        steps: (B,) int64, valid steps seen so far.

    Source: Rocktäschel et al. 2016, arXiv:1509.06664, section 2.2 (conditional encoding).
    """

    first: PoolingState
    second: PoolingState
    boundaries: Tensor
    steps: Tensor

    @classmethod
    def empty(cls, boundaries: Tensor, size: int, *, dtype: torch.dtype) -> "PairPoolingState":
        """State before the first step, for outputs of `size` values in `dtype` and boundaries (B,) int64."""
        empty = PoolingState.empty(len(boundaries), size, device=boundaries.device, dtype=dtype)
        return cls(empty, empty, boundaries, torch.zeros_like(boundaries))

    def update(self, outputs: Tensor, lengths: Tensor | None = None) -> "PairPoolingState":
        """Add the next steps; see `Pooling.update`."""
        steps, documents = outputs.shape[:2]
        if steps == 0:
            return self
        seen = self.steps[:documents]
        valid = torch.full_like(seen, steps) if lengths is None else lengths
        boundary = (self.boundaries[:documents] - seen).clamp(min=0)
        return PairPoolingState(
            self.first.update_between(outputs, torch.zeros_like(valid), torch.minimum(boundary, valid)),
            self.second.update_between(outputs, boundary, valid),
            self.boundaries,
            torch.cat([seen + valid, self.steps[documents:]]),
        )

    def features(self) -> Tensor:
        """Concat pooling a and b of both texts as [a, b, |a - b|, a * b]: (B, 12E) float, at least float32.

        Source: Conneau et al. 2017, arXiv:1705.02364, section 3.1 (u, v, |u - v|, u * v).
        """
        a, b = self.first.features(), self.second.features()
        return torch.cat([a, b, (a - b).abs(), a * b], dim=1)


@dataclass(frozen=True)
class TokenOutputs:
    """Every output, for a label on each token.

    Attributes:
        pieces: (T, B, E) float outputs of each chunk.
        lengths: (B,) int64 valid steps of each chunk.
    """

    pieces: tuple[Tensor, ...]
    lengths: tuple[Tensor, ...]

    @classmethod
    def empty(cls, batch_size: int, size: int, *, device: torch.device, dtype: torch.dtype) -> "TokenOutputs":
        """State before the first step, for outputs of `size` values in `dtype`."""
        no_outputs = torch.zeros(0, batch_size, size, device=device, dtype=_at_least_fp32(dtype))
        return cls((no_outputs,), (torch.zeros(batch_size, device=device, dtype=torch.int64),))

    def update(self, outputs: Tensor, lengths: Tensor | None = None) -> "TokenOutputs":
        """Add the next steps; see `Pooling.update`."""
        steps, documents = outputs.shape[:2]
        ended = len(self.lengths[0]) - documents
        valid = torch.full((documents,), steps, device=outputs.device) if lengths is None else lengths
        piece = pad(outputs.to(self.pieces[0].dtype), (0, 0, 0, ended))
        return TokenOutputs((*self.pieces, piece), (*self.lengths, pad(valid, (0, ended))))

    def features(self) -> Tensor:
        """Each document's valid outputs from step 0 on, then zeros: (T, B, E), T the longest document's length."""
        outputs = torch.cat(self.pieces)
        steps = [torch.arange(len(piece), device=piece.device).unsqueeze(1) for piece in self.pieces]
        valid = torch.cat([step < lengths for step, lengths in zip(steps, self.lengths, strict=True)])  # T, B
        longest = int(valid.sum(dim=0).amax())
        order = torch.argsort(valid, dim=0, descending=True, stable=True)[:longest]
        outputs = outputs.masked_fill(~valid.unsqueeze(2), 0.0)
        return outputs.gather(0, order.unsqueeze(2).expand(-1, -1, outputs.shape[2]))
