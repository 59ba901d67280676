"""Settings that a search varies, and their ranges. Imports without torch and without Optuna."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ulmkit.errors import ConfigError
from ulmkit.pipeline.recipes import ClassifierRecipe, LanguageModelRecipe

Value = float | int

_STEP_FACTORS = (0.5, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting that is searched.

    Attributes:
        name: Name of the setting.
        first: Value of the first trial, which is that of the recipe that the search starts from.
        low: Lowest value, if it is a number in a range.
        high: Highest value.
        is_log: Whether ratios count, rather than differences.
        choices: Values to choose from, if it is not a range.
    """

    name: str
    first: Value
    low: float = 0.0
    high: float = 0.0
    is_log: bool = False
    choices: tuple[int, ...] = ()


@dataclass(frozen=True)
class ClassifierSpace:
    """Space of the fine-tuning of a classifier.

    Searched are `peak_rate`, `factor`, `batch_size`, `dropout_multiplier`, `weight_decay` and, with gradual
    unfreezing, `last_share`: the share of the budget of the last phase, in which all layers train. The phases before it
    share the rest equally.

    Attributes:
        base: Recipe that the search starts from, and that has the settings that are not searched.
        groups: Layer groups of the classifier.
        documents: Number of documents to learn from.
    """

    base: ClassifierRecipe
    groups: int
    documents: int

    @property
    def phases(self) -> int:
        """Number of phases of gradual unfreezing; 1 for another kind."""
        if self.base.unfreezing != "gradual":
            return 1
        return self.groups if self.base.depths is None else len(self.base.depths)

    def settings(self) -> list[Setting]:
        """The settings, each with its range."""
        base = self.base
        searched = [
            _range("peak_rate", _one_rate(base.peak_rate), 1e-3, 5e-2, is_log=True),
            _sizes("batch_size", base.batch_size, self.documents // 2),
            _range("dropout_multiplier", base.dropout_multiplier, 0.0, 1.0),
            _range("weight_decay", base.optimizer.weight_decay, 1e-3, 0.3, is_log=True),
        ]
        if base.unfreezing in ("gradual", "full"):
            searched.append(_range("factor", base.factor, 1.0, 4.0, is_log=True))
        if self.phases > 1:
            shares = [1.0] * self.phases if base.shares is None else base.shares
            searched.append(_range("last_share", shares[-1] / sum(shares), 0.1, 0.8))
        return searched

    def recipe(self, values: Mapping[str, Value]) -> ClassifierRecipe:
        """Make the recipe with these values of the settings."""
        values = dict(values)
        optimizer = replace(self.base.optimizer, weight_decay=values.pop("weight_decay"))
        changed: dict[str, object] = dict(values)
        if "last_share" in values:
            last = values["last_share"]
            del changed["last_share"]
            changed["shares"] = (*[(1.0 - last) / (self.phases - 1)] * (self.phases - 1), last)
        return replace(self.base, optimizer=optimizer, **changed)  # type: ignore[arg-type]


@dataclass(frozen=True)
class LanguageModelSpace:
    """Space of the fine-tuning of a language model.

    Searched are `peak_rate`, `factor`, `batch_size`, `bptt`, `dropout_multiplier`, `ar` and `tar`.

    Attributes:
        base: Recipe that the search starts from, and that has the settings that are not searched.
        tokens: Number of tokens to learn from.
        has_dropout: Whether the model has dropout to multiply; without it, `dropout_multiplier` is not searched.
    """

    base: LanguageModelRecipe
    tokens: int
    has_dropout: bool = True

    def settings(self) -> list[Setting]:
        """The settings, each with its range."""
        base = self.base
        return [
            _range("peak_rate", base.peak_rate, 4e-4, 4e-2, is_log=True),
            _range("factor", base.factor, 1.0, 4.0, is_log=True),
            _sizes("batch_size", base.batch_size, self.tokens // (2 * base.bptt)),
            _sizes("bptt", base.bptt, self.tokens // (2 * base.batch_size)),
            *([_range("dropout_multiplier", base.dropout_multiplier, 0.0, 1.0)] if self.has_dropout else []),
            _range("ar", base.ar, 0.0, 4.0),
            _range("tar", base.tar, 0.0, 2.0),
        ]

    def recipe(self, values: Mapping[str, Value]) -> LanguageModelRecipe:
        """Make the recipe with these values of the settings."""
        return replace(self.base, **values)  # type: ignore[arg-type]


Space = ClassifierSpace | LanguageModelSpace


def _one_rate(rate: float | Sequence[float]) -> float:
    if not isinstance(rate, int | float):
        raise ConfigError(f"peak_rate: expected one number to search from, got {len(rate)}; give one for all phases")
    return rate


def _range(name: str, first: float, low: float, high: float, *, is_log: bool = False) -> Setting:
    """A range that holds the first value too."""
    low = min(low, first) if first > 0 or not is_log else low
    return Setting(name=name, first=max(first, low), low=low, high=max(high, first), is_log=is_log)


def _sizes(name: str, first: int, most: int) -> Setting:
    """Half, all and twice the first size; a larger one than `most` only if it is the first."""
    sizes = {max(1, round(first * factor)) for factor in _STEP_FACTORS}
    return Setting(name=name, first=first, choices=tuple(sorted(size for size in sizes if size <= max(most, first))))
