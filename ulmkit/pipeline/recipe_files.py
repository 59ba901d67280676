"""Recipes as files of JSON or TOML, which `--recipe` reads and `ulmkit tune` writes."""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from ulmkit.errors import ConfigError, DataError
from ulmkit.files import expand_user
from ulmkit.json_records import record_from_json
from ulmkit.pipeline.recipes import ClassifierRecipe, LanguageModelRecipe
from ulmkit.safe_writes import write_json

Recipe = TypeVar("Recipe", LanguageModelRecipe, ClassifierRecipe)

RECIPE_SUFFIXES = (".json", ".toml")


def read_recipe(path: str | os.PathLike[str], preset: Recipe) -> Recipe:
    """Read a recipe from a file with some of its fields.

    Args:
        path: A file of JSON or TOML. Its keys are the names of the recipe's fields; `schedule` may be a name, and
            `optimizer` some of the optimizer's fields.
        preset: Recipe that has the fields that the file does not.

    Returns:
        The recipe.

    Raises:
        DataError: If the file cannot be read or is not JSON or TOML.
        ConfigError: If the name ends otherwise, a key is unknown, or a value is not valid.
    """
    file = expand_user(path)
    values = _read_object(file)
    if isinstance(values.get("schedule"), str):
        values["schedule"] = {"name": values["schedule"]}
    if isinstance(values.get("optimizer"), Mapping):
        values["optimizer"] = _as_json(preset.optimizer) | dict(values["optimizer"])
    try:
        stored = record_from_json(type(preset), values, "recipe")
        return replace(preset, **{name: getattr(stored, name) for name in values})
    except ConfigError as error:
        message = str(error)
        raise ConfigError(f"{file}: {message if message.startswith('recipe') else f'recipe.{message}'}") from error


def write_recipe(path: str | os.PathLike[str], recipe: LanguageModelRecipe | ClassifierRecipe) -> None:
    """Write all fields of a recipe as JSON, whole or not at all.

    Raises:
        FolderError: If the file cannot be written.
    """
    write_json(expand_user(path), _as_json(recipe))


def _read_object(file: Path) -> dict[str, Any]:
    if file.suffix.lower() not in RECIPE_SUFFIXES:
        raise ConfigError(f"{file}: expected a recipe in a file that ends in {' or '.join(RECIPE_SUFFIXES)}")
    try:
        text = file.read_text(encoding="utf-8")
        values = tomllib.loads(text) if file.suffix.lower() == ".toml" else json.loads(text)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); give a recipe of JSON or TOML") from error
    except (ValueError, RecursionError) as error:  # of both parsers, and of bytes that are not UTF-8
        raise DataError(f"{file}: expected {file.suffix[1:].upper()}, got something else ({error})") from error
    if not isinstance(values, dict):
        raise DataError(f"{file}: expected an object with fields of a recipe, got {values!r:.60}")
    return values


def _as_json(record: Any) -> dict[str, Any]:
    """A dataclass as JSON values, which have lists in place of tuples."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(record)))
    return values
