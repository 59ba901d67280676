"""Options of a classifier's head. Imports without torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ulmkit.config import check_choice, check_positive, check_probability, check_whole


@dataclass(frozen=True, kw_only=True)
class HeadOptions:
    """Options of a classifier's head. Each task takes those that its head has.

    Attributes:
        head_hidden: Hidden units of the head.
        input_dropout: Dropout on the head's features.
        hidden_dropout: Dropout on the head's hidden units.
        label_smoothing: Share of the target probability that is spread over all labels.
        class_weights: Class weights: none, or balanced for weights inverse to the frequency of the classes. In Python
            also a weight by name of class, 1 for those that are left out. Predicted probabilities are then those of
            data in which each class is as frequent as its documents' total weight.
        value_range: Lowest and highest predicted number; approached but never reached.
        number_loss: Loss for numbers: mse, or huber where there are outliers.

    Raises:
        ConfigError: If a value is outside its range.
    """

    head_hidden: int = 50
    input_dropout: float = 0.4
    hidden_dropout: float = 0.1
    label_smoothing: float = 0.0
    class_weights: str | Mapping[str, float] = "none"
    value_range: tuple[float, float] | None = None
    number_loss: str = "mse"

    def __post_init__(self) -> None:
        check_whole("head_hidden", self.head_hidden)
        for option in ("input_dropout", "hidden_dropout", "label_smoothing"):
            check_probability(option, getattr(self, option))
        check_choice("number_loss", self.number_loss, ("mse", "huber"))
        if isinstance(self.class_weights, str):
            check_choice("class_weights", self.class_weights, ("none", "balanced"))
            return
        for name, weight in self.class_weights.items():
            check_positive(f"class_weights[{name!r}]", weight)
        object.__setattr__(self, "class_weights", {name: float(value) for name, value in self.class_weights.items()})

    @property
    def is_balanced(self) -> bool:
        """True if classes are weighted by their frequency."""
        return self.class_weights == "balanced"

    def named_weights(self, names: Sequence[str]) -> tuple[float, ...] | None:
        """The weights that are given by name of class, in the order of `names`; None if there are none.

        Raises:
            ConfigError: If there is no class of a name; the message names the nearest one.
        """
        if isinstance(self.class_weights, str):
            return None
        for name in self.class_weights:
            check_choice("class_weights", name, names)
        return tuple(self.class_weights.get(name, 1.0) for name in names)

    def sizes(self) -> dict[str, Any]:
        """The options that every head has, by their names in `HeadConfig`."""
        return {
            "hidden_size": self.head_hidden,
            "input_dropout": self.input_dropout,
            "hidden_dropout": self.hidden_dropout,
        }
