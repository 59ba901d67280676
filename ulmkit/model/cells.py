"""The recurrent cells of an encoder, behind one interface. Imports without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from ulmkit.config import check_choice, check_whole, to_dict
from ulmkit.errors import ConfigError
from ulmkit.json_records import record_from_json

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ulmkit.model.lstm_layer import LSTMLayer
    from ulmkit.model.mogrifier_layer import MogrifierLayer
    from ulmkit.model.qrnn_layer import QRNNLayer


MOST_ROUNDS = 100
"""Most rounds of a Mogrifier; published models have 2 to 6."""


class PackedLayer(Protocol):
    """A layer's weights, masked and laid out for one pass."""

    @property
    def skips_padding(self) -> bool:
        """True if time steps beyond a sequence's length cost nothing."""

    def run(self, x: Tensor, h: Tensor, c: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Run the layer over a batch of sequences.

        Args:
            x: (T, B, E).
            h: (B, H) hidden state before the first step; a QRNN's previous input.
            c: (B, H) cell state before the first step.
            lengths: (B,) int64 valid steps of each sequence; None if all are T.

        Returns:
            y (T, B, H), zero beyond a sequence's length, and h and c after each sequence's last valid step.
        """


@dataclass(frozen=True)
class PackedLoop:
    """Weights for one pass of a layer whose backends are loops over time, without kernels of their own.

    Attributes:
        function: The layer, called with x, h, c, weight, bias and lengths.
        weight: (any, any) masked, in the type to compute in.
        bias: (any,).
    """

    function: Callable[..., tuple[Tensor, Tensor, Tensor]]
    weight: Tensor
    bias: Tensor
    skips_padding: ClassVar[bool] = False

    def run(self, x: Tensor, h: Tensor, c: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Run the layer over a batch of sequences; see `PackedLayer.run`."""
        return self.function(x, h, c, self.weight, self.bias, lengths=lengths)


class Layer(Protocol):
    """A layer of an encoder."""

    def initial_state(self, batch_size: int) -> tuple[Tensor, Tensor]:
        """Zeros: the pair that `PackedLayer.run` begins with, (B, any) and the cell state (B, H)."""


class TrainableLayer(Layer, Protocol):
    """A layer with weights in float."""

    @property
    def input_weight(self) -> nn.Parameter:
        """(any, E) weight that multiplies the layer's input."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """The layer's parameters, see torch.nn.Module."""

    def pack(
        self, dtype: torch.dtype, backend: str, weight_dropout: float, generator: torch.Generator | None
    ) -> PackedLayer:
        """Pack the weights for one pass, dropping some anew if `weight_dropout` is above 0.

        Args:
            dtype: Type to compute in.
            backend: Name of a backend, or "auto".
            weight_dropout: Probability of dropping a weight.
            generator: Source of randomness; None for torch's own.
        """


class Cell(Protocol):
    """A recurrent cell: a frozen dataclass of the cell's options, which makes layers."""

    @property
    def name(self) -> str:
        """Name in files and on the command line."""

    @property
    def title(self) -> str:
        """Name of an encoder with this cell, to show."""

    def __str__(self) -> str:
        """The cell and its options, to show."""

    def make_layer(self, number: int, input_size: int, hidden_size: int) -> nn.Module:
        """A layer with new weights, which is a `TrainableLayer`; layer 0 is at the bottom."""


@dataclass(frozen=True, kw_only=True)
class LSTM:
    """The LSTM, which has no options."""

    name: str = field(default="lstm", init=False)
    title: ClassVar[str] = "AWD-LSTM"

    def __str__(self) -> str:
        return self.name

    def make_layer(self, number: int, input_size: int, hidden_size: int) -> LSTMLayer:
        """An LSTM layer with new weights."""
        from ulmkit.model.lstm_layer import LSTMLayer

        return LSTMLayer(input_size, hidden_size)


@dataclass(frozen=True, kw_only=True)
class QRNN:
    """The quasi-recurrent cell, which has no options.

    Source: Bradbury et al. 2017, arXiv:1611.01576; a window of 2 in the bottom layer alone as in
        salesforce/awd-lstm-lm.
    """

    name: str = field(default="qrnn", init=False)
    title: ClassVar[str] = "AWD-QRNN"

    def __str__(self) -> str:
        return self.name

    def make_layer(self, number: int, input_size: int, hidden_size: int) -> QRNNLayer:
        """A QRNN layer with new weights."""
        from ulmkit.model.qrnn_layer import QRNNLayer

        return QRNNLayer(input_size, hidden_size, window=2 if number == 0 else 1)


@dataclass(frozen=True, kw_only=True)
class Mogrifier:
    """The Mogrifier LSTM.

    The defaults are those of the authors' PTB model (google-deepmind/lamb).

    Attributes:
        rounds: Rounds of gating before each step; 0 makes it an LSTM.
        rank: Rank to which the gating matrices are factorized; smaller ones stay whole, and 0 keeps all whole. It
            becomes None then.

    Raises:
        ConfigError: If a value is outside its range.

    Source: Melis et al. 2020, arXiv:1909.01792.
    """

    name: str = field(default="mogrifier", init=False)
    title: ClassVar[str] = "AWD-LSTM with Mogrifier cells"
    rounds: int = 5
    rank: int | None = 84

    def __post_init__(self) -> None:
        check_whole("mogrifier_rounds", self.rounds, at_least=0)
        if self.rounds > MOST_ROUNDS:
            raise ConfigError(f"mogrifier_rounds: expected at most {MOST_ROUNDS}, got {self.rounds!r}")
        if self.rank is not None:
            check_whole("mogrifier_rank", self.rank, at_least=0)
            object.__setattr__(self, "rank", self.rank or None)

    def __str__(self) -> str:
        rank = "" if self.rank is None else f" of rank {self.rank}"
        return f"{self.name}, {self.rounds} rounds{rank}"

    def make_layer(self, number: int, input_size: int, hidden_size: int) -> MogrifierLayer:
        """A Mogrifier LSTM layer with new weights."""
        from ulmkit.model.mogrifier_layer import MogrifierLayer

        return MogrifierLayer(input_size, hidden_size, rounds=self.rounds, rank=self.rank)


CELLS: dict[str, type[Any]] = {"lstm": LSTM, "qrnn": QRNN, "mogrifier": Mogrifier}
"""The cells that model folders and the command line know by name."""


def cell_options(cell: Cell) -> dict[str, Any]:
    """The cell's options by name, each prefixed with the cell's: {"mogrifier_rounds": 5, ...}."""
    return {f"{cell.name}_{key}": value for key, value in to_dict(cell).items() if key != "name"}


def cell_from_options(name: str, options: Mapping[str, Any]) -> Cell:
    """A cell by its name and the options of all cells, each prefixed with its cell's name.

    Raises:
        ConfigError: If the name is unknown, or an option is outside its range.
    """
    check_choice("cell", name, CELLS)
    prefix = f"{name}_"
    cell_options = {key.removeprefix(prefix): value for key, value in options.items() if key.startswith(prefix)}
    cell: Cell = CELLS[name](**cell_options)
    return cell


def cell_from_dict(values: Mapping[str, Any], where: str) -> Cell:
    """A cell from its JSON object, {"name": "mogrifier", "rounds": 5, "rank": 84}.

    Args:
        values: The JSON object.
        where: What is being read, for the message.

    Raises:
        ConfigError: If the name or an option is unknown, or an option is outside its range.
    """
    options = dict(values)
    name = options.pop("name", None)
    check_choice("cell", name, CELLS)
    cell: Cell = record_from_json(CELLS[name], options, f"{where}: cell")
    return cell


def check_cell(cell: Cell) -> None:
    """Raise ConfigError unless `cell` is a cell: an object, not its name."""
    if not callable(getattr(cell, "make_layer", None)):
        raise ConfigError(f"cell: expected a cell such as LSTM(), QRNN() or Mogrifier(), got {cell!r}")


def make_layers(cell: Cell, sizes: Sequence[tuple[int, int]]) -> Sequence[TrainableLayer]:
    """Layers with new weights, bottom to top, as an nn.ModuleList.

    Args:
        cell: Cell of every layer.
        sizes: (E, H) of each layer.
    """
    from torch import nn

    layers = nn.ModuleList(cell.make_layer(number, *pair) for number, pair in enumerate(sizes))
    return cast(Sequence[TrainableLayer], layers)
