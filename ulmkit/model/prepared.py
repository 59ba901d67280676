"""Packed weights and dropout masks of one pass of an encoder, and the cache that keeps them."""

import itertools
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ulmkit.kernels import Int8Matrix
from ulmkit.model.cells import PackedLayer

State: TypeAlias = list[tuple[Tensor, Tensor]]
"""Hidden and cell state (B, H) of each layer; a QRNN layer's first is the input before, see `QRNNLayer`."""


@dataclass(frozen=True)
class EncoderOutput:
    """An encoder's output for a batch of sequences.

    Attributes:
        layers: (T, B, H) output of each layer, bottom to top, before the dropout between layers.
        dropped: (T, B, H) output of the last layer after output dropout.
        state: State of each layer after each sequence's last valid step.
    """

    layers: list[Tensor]
    dropped: Tensor
    state: State

    @property
    def raw(self) -> Tensor:
        """(T, B, H) output of the last layer, before output dropout."""
        return self.layers[-1]


@dataclass(frozen=True)
class PreparedWeights:
    """Packed weights and dropout masks of one pass: a training step, a batch of documents, or one load for inference.

    A mask is None where nothing is dropped.

    Attributes:
        dtype: Type of the activations.
        table: (V, E) embedding, see `AlignedRows.table`, or in int8.
        packed: The packed weights of each layer, bottom to top.
        embedding_mask: (V,).
        input_mask: (1, B, E).
        output_masks: A mask (1, B, H) on the output of each layer, bottom to top; the last is the output dropout's.
    """

    dtype: torch.dtype
    table: Tensor | Int8Matrix
    packed: list[PackedLayer]
    embedding_mask: Tensor | None
    input_mask: Tensor | None
    output_masks: list[Tensor | None]

    def select(self, sequences: Tensor) -> "PreparedWeights":
        """Restrict the pass to some of its sequences: `sequences` (n,) int64 indexes the batch."""
        input_mask, *output_masks = (
            None if mask is None else mask.index_select(1, sequences) for mask in (self.input_mask, *self.output_masks)
        )
        return replace(self, input_mask=input_mask, output_masks=output_masks)


class PreparedCache:
    """Keeps a module's prepared weights in evaluation mode, until its weights or options change.

    Safe to use from several threads. A copy or a pickle starts empty, so that it prepares its own weights.
    """

    def __init__(self) -> None:
        self._entry: tuple[Hashable, PreparedWeights] | None = None
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> "PreparedCache":
        return PreparedCache()

    def __reduce__(self) -> tuple[type["PreparedCache"], tuple[()]]:
        return PreparedCache, ()

    def get(self, module: nn.Module, options: Hashable, prepare: Callable[[], PreparedWeights]) -> PreparedWeights:
        """The module's prepared weights, kept only in evaluation mode without gradients.

        Changes are seen where torch counts them: in-place operations, not writes through `.data`. Torch's fused
        optimizers do not count theirs, so a pass with gradients, which an optimizer may follow, clears the cache.

        Args:
            module: Whose parameters and buffers are the weights.
            options: What else the prepared weights depend on.
            prepare: Makes them.
        """
        weights = list(itertools.chain(module.parameters(), module.buffers()))
        if module.training or torch.is_grad_enabled() or any(tensor.is_inference() for tensor in weights):
            self._entry = None
            return prepare()
        key = (options, tuple((tensor.data_ptr(), tensor._version) for tensor in weights))
        entry = self._entry  # read once: another thread may replace it at any time
        if entry is not None and entry[0] == key:
            return entry[1]
        with self._lock:
            entry = self._entry
            if entry is None or entry[0] != key:
                entry = self._entry = None  # frees the old weights before the new ones are made
                entry = self._entry = (key, prepare())
            return entry[1]
