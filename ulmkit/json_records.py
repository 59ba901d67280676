"""Frozen dataclasses to JSON objects and back, with every value checked against its annotation."""

import math
import sys
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from typing import Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ulmkit.config import from_dict
from ulmkit.errors import ConfigError, did_you_mean

Record = TypeVar("Record")

_LARGEST = {int: 2.0**63, float: sys.float_info.max}


def record_to_json(record: object, where: str) -> dict[str, object]:
    """A dataclass as a JSON object; fields that are None or empty are left out.

    Args:
        record: An instance of a dataclass, whose fields may be dataclasses, mappings and sequences in turn.
        where: Name of the record for error messages.

    Returns:
        The object by field name, nested dataclasses as objects.

    Raises:
        ConfigError: If a value is not JSON: NaN, infinity, a key that is not text, or another type.
    """
    return {
        name: _to_json(value, f"{where}.{name}")
        for name, value in vars(record).items()
        if value is not None and value not in ((), {})
    }


def record_from_json(cls: type[Record], value: object, where: str) -> Record:
    """A dataclass from a JSON object.

    Args:
        cls: The dataclass to make.
        value: The object, as `record_to_json` writes it; a field may hold its dataclass already.
        where: Name of the record for error messages, "" for none.

    Returns:
        The dataclass, its nested dataclasses made too.

    Raises:
        ConfigError: If a key is unknown or missing, or a value does not have the type of its field.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: expected an object, got {value!r:.60}")
    types_by_name = get_type_hints(cls)
    converted = {
        name: _from_json(types_by_name.get(name, object), item, f"{where}.{name}" if where else name)
        for name, item in value.items()
    }
    return from_dict(cls, converted, where or "record")


def _to_json(value: object, where: str) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return record_to_json(value, where)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(f"{where}: expected text as keys, got {key!r}")
        return {key: _to_json(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}: expected a finite number, got {value!r}; give None for what is unknown")
    if value is not None and not isinstance(value, str | int | float):
        raise ConfigError(f"{where}: expected a JSON value, got {type(value).__name__}")
    return value


def _from_json(expected: object, value: object, where: str) -> object:
    """The value, converted to the annotation `expected`."""
    origin, arguments = get_origin(expected), get_args(expected)
    if expected is object or (is_dataclass(value) and not isinstance(value, type)):
        return value
    if origin in (Union, types.UnionType):
        present = [argument for argument in arguments if argument is not type(None)]
        if value is None and len(present) < len(arguments):
            return None
        return _from_any(present, value, where)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{where}: got {value!r}; {did_you_mean(str(value), arguments)}")
        return value
    if origin in (list, Sequence) and isinstance(value, list):
        return [_from_json(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value)]
    if origin is tuple and isinstance(value, list):
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise ConfigError(f"{where}: expected {len(arguments)} values, got {len(value)}")
        return tuple(_from_json(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected an object, got {value!r:.60}")
        return {key: _from_json(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(expected, type) and is_dataclass(expected):
        return record_from_json(expected, value, where)
    if type(value) is expected or (expected is float and type(value) is int):
        if isinstance(value, int | float) and not abs(value) <= _LARGEST.get(expected, math.inf):
            raise ConfigError(f"{where}: expected a finite number of usual size, got {value!r:.60}")
        return value
    raise ConfigError(f"{where}: expected {_name(expected)}, got {value!r:.60}")


def _from_any(kinds: Sequence[object], value: object, where: str) -> object:
    """The value, converted to the first of several annotations that takes it."""
    if len(kinds) == 1:
        return _from_json(kinds[0], value, where)
    for kind in kinds:
        with suppress(ConfigError):
            return _from_json(kind, value, where)
    raise ConfigError(f"{where}: expected {' or '.join(map(_name, kinds))}, got {value!r:.60}")


def _name(annotation: object) -> str:
    origin = get_origin(annotation)
    if origin in (list, tuple, Sequence):
        return "list"
    return "object" if origin is Mapping else getattr(annotation, "__name__", str(annotation))
