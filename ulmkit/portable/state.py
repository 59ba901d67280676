"""State of a document between two pieces: one row of numbers, all zeros before the first token."""

from dataclasses import dataclass

from ulmkit.model.config import AWDLSTMConfig


@dataclass(frozen=True)
class StateLayout:
    """Sizes of what a row of the state holds, one after the other.

    The last layer's hidden state is also the "last" of concat pooling. The maximum of a document without tokens is 0
    here, so that zeros begin a document.

    Attributes:
        hidden_sizes: Hidden size of each layer, bottom to top.
    """

    hidden_sizes: tuple[int, ...]

    @classmethod
    def of(cls, config: AWDLSTMConfig) -> "StateLayout":
        """Layout for an encoder."""
        return cls(tuple(hidden for _, hidden in config.layer_sizes))

    @property
    def sizes(self) -> dict[str, int]:
        """Size of each part by its name, in order: hidden and cell state of each layer, then the pooling's."""
        layers = {
            f"{part}_{number}": size for number, size in enumerate(self.hidden_sizes) for part in ("hidden", "cell")
        }
        return {**layers, "maximum": self.hidden_sizes[-1], "total": self.hidden_sizes[-1], "count": 1}

    @property
    def total(self) -> int:
        """Values in a row."""
        return sum(self.sizes.values())
