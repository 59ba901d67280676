"""Training facts: what a model folder says about how its model came to be."""

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from ulmkit.errors import ConfigError

_PACKAGES = ("ulmkit", "torch", "numpy", "spacy", "sentencepiece", "safetensors")


def package_versions() -> dict[str, str]:
    """Versions of Python, ulmkit and the packages that results depend on; those not installed are left out."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def check_facts(facts: Mapping[str, Any]) -> None:
    """Raise ConfigError, naming the place, unless `facts` hold nothing but what JSON has: no NaN, no infinity."""
    _check(facts, "facts")


def _check(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ConfigError(f"{where}: expected text as keys, got {key!r}")
            _check(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            _check(item, f"{where}[{number}]")
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ConfigError(f"{where}: expected a finite number, got {value!r}; give None for what is unknown")
    elif value is not None and not isinstance(value, str | int):
        raise ConfigError(f"{where}: expected a JSON value, got {type(value).__name__}")
