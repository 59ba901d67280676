"""Checks of option values, and conversion of config dataclasses to and from JSON objects."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, TypeVar

from ulmkit.errors import ConfigError, did_you_mean

ConfigType = TypeVar("ConfigType")

LARGEST_COUNT = 2**31 - 1
"""Largest count that an option takes unless it says otherwise: far more than any machine does."""

LARGEST_NUMBER = 1e9
"""Largest number with a fraction that an option takes: products and powers of it stay finite."""

_SHOWN_BITS = 128

LARGEST_SEED = 2**63 - 1
"""Largest seed that torch takes."""

ADDED_LATER = {"added_later": True}
"""Field metadata: files written before the field existed lack it, and its default is what they mean."""

BACKENDS = ("fused", "torch", "stepwise", "reference")
"""Names of the LSTM backends that a model can be trained with; int8 encoders also use "int8"."""

PRECISIONS = ("auto", "fp32", "bf16")
"""Names of the precisions that a model can compute in."""

MAX_THREADS_PER_PROCESSOR = 4
"""Largest number of threads for each processor: more are never faster, and thousands end in a crash."""


def check_probability(name: str, value: float) -> None:
    """Raise ConfigError unless 0 <= value < 1, the range of every dropout."""
    if not (_is_number(value) and 0.0 <= value < 1.0):
        raise ConfigError(f"{name}: expected 0 <= p < 1, got {value!r}")


def check_fraction(name: str, value: float) -> None:
    """Raise ConfigError unless 0 < value < 1."""
    if not (_is_number(value) and 0.0 < value < 1.0):
        raise ConfigError(f"{name}: expected 0 < fraction < 1, got {value!r}")


def check_positive(name: str, value: float, at_most: float = LARGEST_NUMBER) -> None:
    """Raise ConfigError unless the value is a number above zero and at most `at_most`."""
    if not (_is_number(value) and value > 0):
        raise ConfigError(f"{name}: expected a number above 0, got {value!r}")
    _check_at_most(name, value, at_most)


def check_not_negative(name: str, value: float) -> None:
    """Raise ConfigError unless the value is a number of at least zero, and not so large that sums overflow."""
    if not (_is_number(value) and value >= 0):
        raise ConfigError(f"{name}: expected a number of at least 0, got {value!r}")
    _check_at_most(name, value, LARGEST_NUMBER)


def check_whole(name: str, value: int, at_least: int = 1, at_most: int = LARGEST_COUNT) -> None:
    """Raise ConfigError unless the value is an integer, Python's or NumPy's, within a range.

    A bool is refused, and so is a float without a fraction: a count that arrives as 2.0 or True is a mistake.

    Args:
        name: Option name, for the message.
        value: Count to check.
        at_least: Smallest count allowed.
        at_most: Largest count allowed.

    Raises:
        ConfigError: If the value is not an integer or outside the range.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < at_least:
        raise ConfigError(f"{name}: expected a whole number of at least {at_least}, got {value!r}")
    if value > at_most:
        shown = value if int(value).bit_length() <= _SHOWN_BITS else f"2**{int(value).bit_length() - 1} or more"
        raise ConfigError(f"{name}: expected a whole number of at most {at_most:,}, got {shown}")


def check_threads(name: str, value: int | str | None) -> None:
    """Raise ConfigError unless the value is None, "auto" or a number of threads that a machine like this can use."""
    most = MAX_THREADS_PER_PROCESSOR * (os.cpu_count() or 1)
    if value is None or value == "auto":
        return
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= value <= most:
        raise ConfigError(
            f"{name}: expected auto or a whole number from 1 to {most}, {MAX_THREADS_PER_PROCESSOR} for each "
            f"processor, got {value!r}"
        )


def check_choice(name: str, value: str, valid: Iterable[str]) -> None:
    """Raise ConfigError, suggesting the nearest valid choice, unless the value is one of `valid`."""
    choices = tuple(valid)
    if value not in choices:
        raise ConfigError(f"{name}: got {value!r}; {did_you_mean(str(value), choices)}")


def to_dict(config: Any) -> dict[str, Any]:
    """Convert a config dataclass, nested ones included, to a JSON object.

    A top-level field marked `ADDED_LATER` is left out while it has its default, so that a config gives the same
    object, and the same fingerprint, as before the field existed.
    """
    values = dataclasses.asdict(config)
    for field in dataclasses.fields(config):
        if field.metadata.get("added_later") and values[field.name] == field.default:
            del values[field.name]
    return values


def from_dict(cls: type[ConfigType], values: Mapping[str, Any], where: str) -> ConfigType:
    """Make a config dataclass from a JSON object.

    Args:
        cls: Dataclass to make.
        values: Its fields by name.
        where: What is being read, for messages.

    Returns:
        The config.

    Raises:
        ConfigError: If a key is unknown or missing, or the dataclass refuses a value.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ConfigError(f"{where}: unknown key {key!r}; {did_you_mean(key, fields)}")
    for name, field in fields.items():
        is_required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if is_required and name not in values:
            raise ConfigError(f"{where}: missing key {name!r}")
    return cls(**values)


def _check_at_most(name: str, value: float, at_most: float) -> None:
    if value > at_most:
        raise ConfigError(f"{name}: expected a number of at most {at_most:,.0f}, got {value:.6g}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
