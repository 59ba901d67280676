"""Validation of options, and frozen dataclasses to and from JSON objects."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from ulmkit.errors import ConfigError, did_you_mean

ConfigType = TypeVar("ConfigType")


def check_probability(name: str, value: float) -> None:
    """Raise ConfigError unless 0 <= value < 1, the range of every dropout."""
    if not 0.0 <= value < 1.0:
        raise ConfigError(f"{name}: expected 0 <= p < 1, got {value!r}")


def check_positive(name: str, value: float) -> None:
    """Raise ConfigError unless value is finite and above zero."""
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{name}: expected a number above 0, got {value!r}")


def check_not_negative(name: str, value: float) -> None:
    """Raise ConfigError unless value is finite and at least zero."""
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"{name}: expected a number of at least 0, got {value!r}")


def check_choice(name: str, value: str, valid: Iterable[str]) -> None:
    """Raise ConfigError, naming the nearest valid choice, unless value is one of `valid`."""
    valid = tuple(valid)
    if value not in valid:
        raise ConfigError(f"{name}: got {value!r}; {did_you_mean(str(value), valid)}")


ADDED_LATER = {"added_later": True}
"""Metadata of a field that older files do not have, whose default is what they mean."""


def to_dict(config: Any) -> dict[str, Any]:
    """A config dataclass as a JSON object, nested ones included.

    A field of its own that is `ADDED_LATER` is left out at its default: what says the same reads the same, whether
    written before or after.
    """
    values = dataclasses.asdict(config)
    for field in dataclasses.fields(config):
        if field.metadata.get("added_later") and values[field.name] == field.default:
            del values[field.name]
    return values


def from_dict(cls: type[ConfigType], values: Mapping[str, Any], where: str) -> ConfigType:
    """A config dataclass from a JSON object.

    Args: cls: the dataclass. values: its fields by name. where: what is being read, for the message.
    Raises: ConfigError for an unknown or a missing key, and for a value that the dataclass refuses.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ConfigError(f"{where}: unknown key {key!r}; {did_you_mean(key, fields)}")
    missing = [
        name
        for name, field in fields.items()
        if name not in values and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}: missing key {missing[0]!r}")
    return cls(**values)
