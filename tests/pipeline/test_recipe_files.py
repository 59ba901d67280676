"""Recipes as files: what is written is read again, and what is wrong is named."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ulmkit.errors import ConfigError, DataError
from ulmkit.pipeline import CLASSIFY, FINETUNE, ClassifierRecipe, read_recipe, write_recipe
from ulmkit.training import OptimizerConfig, Schedule

UNUSUAL = ClassifierRecipe(
    batch_size=7,
    depths=(1, 3),
    shares=(1.0, 2.0),
    peak_rate=(1e-2, 5e-3),
    schedule=Schedule("one_cycle", {"rise_fraction": 0.3}),
    optimizer=OptimizerConfig(name="sgd", momentum=0.5),
    clip=None,
    class_weights={"a": 2.0},
    value_range=(0.0, 5.0),
)


@pytest.mark.parametrize("recipe", [CLASSIFY, FINETUNE, UNUSUAL], ids=["classifier", "language model", "unusual"])
def test_a_written_recipe_is_read_again(recipe, tmp_path: Path) -> None:
    write_recipe(tmp_path / "recipe.json", recipe)
    other = CLASSIFY if isinstance(recipe, ClassifierRecipe) else FINETUNE
    read = read_recipe(tmp_path / "recipe.json", replace(other, batch_size=99))
    as_lists = {name: list(value) for name, value in vars(recipe).items() if isinstance(value, tuple)}
    for name, value in vars(recipe).items():
        got = getattr(read, name)
        assert (list(got) if name in as_lists else got) == as_lists.get(name, value), name


def test_a_file_gives_some_fields_and_the_preset_the_others(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('peak_rate = 1e-3\nschedule = "one_cycle"\n\n[optimizer]\nweight_decay = 0.2\n')
    preset = replace(CLASSIFY, batch_size=5, optimizer=OptimizerConfig(name="sgd"))
    expected = replace(
        preset,
        peak_rate=1e-3,
        schedule=Schedule("one_cycle"),
        optimizer=OptimizerConfig(name="sgd", weight_decay=0.2),
    )
    assert read_recipe(file, preset) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"batch_sise": 8}', "recipe: unknown key 'batch_sise'; did you mean 'batch_size'?"),
        ('{"ar": 2}', "recipe: unknown key 'ar'; "),
        ('{"batch_size": 0}', "recipe.batch_size: expected a whole number of at least 1, got 0"),
        ('{"batch_size": "8"}', "recipe.batch_size: expected int, got '8'"),
        ('{"peak_rate": "fast"}', "recipe.peak_rate: expected float or list, got 'fast'"),
        ('{"peak_rate": NaN}', "recipe.peak_rate: expected float or list, got nan"),
        ('{"peak_rate": -1}', "recipe.peak_rate: expected a number above 0, got -1"),
        ('{"peak_rate": [0.1, 0]}', "recipe.peak_rate: expected a number above 0, got 0"),
        ('{"factor": 0}', "recipe.factor: expected a number above 0, got 0"),
        ('{"clip": -1}', "recipe.clip: expected a number above 0, got -1"),
        ('{"label_smoothing": 2}', "recipe.label_smoothing: expected 0 <= p < 1, got 2"),
        ('{"hidden_dropout": 1}', "recipe.hidden_dropout: expected 0 <= p < 1, got 1"),
        ('{"head_hidden": 0}', "recipe.head_hidden: expected a whole number of at least 1, got 0"),
        ('{"number_loss": "mae"}', "recipe.number_loss: got 'mae'; did you mean 'mse'? there are: mse, huber"),
        ('{"depths": 3}', "recipe.depths: expected list, got 3"),
        ('{"unfreezing": "slow"}', "recipe.unfreezing: got 'slow'; "),
        ('{"schedule": "one_cicle"}', "recipe.schedule: got 'one_cicle'; did you mean 'one_cycle'?"),
        ('{"optimizer": {"nme": "sgd"}}', "recipe.optimizer: unknown key 'nme'; did you mean 'name'?"),
    ],
)
def test_a_wrong_field_is_named(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(content)
    with pytest.raises(ConfigError, match=re.escape(f"recipe.json: {message}")):
        read_recipe(tmp_path / "recipe.json", CLASSIFY)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("recipe.json", b"[1]", "expected an object with fields of a recipe, got \\[1\\]"),
        ("recipe.json", b"{", "expected JSON, got something else"),
        ("recipe.toml", b"a = ", "expected TOML, got something else"),
        ("recipe.json", b"\xff", "expected JSON, got something else"),
        ("recipe.json", None, "cannot be read \\(No such file or directory\\)"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: {message}"):
        read_recipe(tmp_path / name, CLASSIFY)


def test_another_kind_of_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="recipe.yaml: expected a recipe in a file that ends in .json or .toml"):
        read_recipe("recipe.yaml", CLASSIFY)


@pytest.mark.parametrize(("name", "value"), [("clip", 0), ("patience", 0), ("factor", -1)])
def test_a_wrong_field_of_a_language_models_recipe_is_named(name: str, value: float, tmp_path: Path) -> None:
    (tmp_path / "recipe.json").write_text(f'{{"{name}": {value}}}')
    with pytest.raises(ConfigError, match=f"recipe.json: recipe.{name}: expected .*, got {value}"):
        read_recipe(tmp_path / "recipe.json", FINETUNE)
