"""The recurrent layers that an encoder can be made of, behind one interface."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from ulmkit.model.lstm_layer import LSTMLayer
from ulmkit.model.mogrifier_layer import MogrifierLayer
from ulmkit.model.qrnn_layer import QRNNLayer


class PackedLayer(Protocol):
    """A layer's weights, masked and laid out for one pass.

    skips_padding: whether steps beyond a sequence's length cost nothing.
    """

    @property
    def skips_padding(self) -> bool: ...

    def run(self, x: Tensor, h: Tensor, c: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """The layer over a batch of sequences.

        Args: x: (T, B, E). h, c: state before the first step. lengths: (B,) int64 valid steps, None if all are T.
        Returns: y (T, B, H), zero beyond a sequence's length, and the state after each sequence's last valid step.
        """


class Layer(Protocol):
    """A layer of an encoder. input_weight: what it reads its input with, (any, E)."""

    @property
    def input_weight(self) -> nn.Parameter: ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]: ...

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Zeros: the pair that `run` goes on from, (B, any) each; its second is the cell state (B, H)."""

    def pack(
        self, dtype: torch.dtype, backend: str, weight_dropout: float, generator: torch.Generator | None
    ) -> PackedLayer:
        """Weights laid out for one pass, with a new mask if `weight_dropout` is above 0."""


class LayerOptions(Protocol):
    """What of a model's config its layers want besides their sizes."""

    @property
    def mogrifier_rounds(self) -> int: ...

    @property
    def mogrifier_rank(self) -> int | None: ...


def _lstm(number: int, sizes: tuple[int, int], options: LayerOptions) -> nn.Module:
    return LSTMLayer(*sizes)


def _qrnn(number: int, sizes: tuple[int, int], options: LayerOptions) -> nn.Module:
    return QRNNLayer(*sizes, window=2 if number == 0 else 1)


def _mogrifier(number: int, sizes: tuple[int, int], options: LayerOptions) -> nn.Module:
    return MogrifierLayer(*sizes, rounds=options.mogrifier_rounds, rank=options.mogrifier_rank)


CELLS: Mapping[str, Callable[[int, tuple[int, int], LayerOptions], nn.Module]] = {
    "lstm": _lstm,
    "qrnn": _qrnn,
    "mogrifier": _mogrifier,
}
"""What makes a layer of each cell from its number (0 at the bottom), its sizes (E, H), and the options."""


def make_layers(cell: str, sizes: Sequence[tuple[int, int]], options: LayerOptions) -> Sequence[Layer]:
    """Layers with new weights, bottom to top, as an nn.ModuleList. Args: cell: of CELLS. sizes: (E, H) of each."""
    layers = nn.ModuleList(CELLS[cell](number, pair, options) for number, pair in enumerate(sizes))
    return cast(Sequence[Layer], layers)
