"""`--recipe FILE`: the file's settings, and options that win over them."""

from pathlib import Path
from typing import Any

import pytest
from support import tiny
from support.command import ulmkit

from ulmkit import LanguageModel, TextClassifier
from ulmkit.errors import ConfigError
from ulmkit.pipeline import CLASSIFY, PRETRAIN


@pytest.fixture
def recipes(monkeypatch: pytest.MonkeyPatch) -> list:
    """Return the recipes of trainings, which end before they begin."""
    seen: list = []

    def stop(*_: object, recipe: object, **__: Any) -> None:
        seen.append(recipe)
        raise ConfigError("stopped: here")

    monkeypatch.setattr(TextClassifier, "train", stop)
    monkeypatch.setattr(LanguageModel, "pretrain", stop)
    return seen


def test_options_win_over_the_file_and_the_file_over_the_defaults(recipes: list, tmp_path: Path) -> None:
    data = tiny.write_csv(tmp_path / "reviews.csv", tiny.reviews(4))
    (tmp_path / "best.toml").write_text('batch_size = 9\nfactor = 1.5\n[optimizer]\nname = "sgd"\nmomentum = 0.5\n')
    command = ("train", "none", data, "--recipe", tmp_path / "best.toml", "--out", tmp_path / "out")
    ulmkit(*command, "--batch-size", CLASSIFY.batch_size, "--weight-decay", 0.3, status=2)
    assert (recipes[0].batch_size, recipes[0].factor, recipes[0].peak_rate) == (CLASSIFY.batch_size, 1.5, 1e-2)
    optimizer = recipes[0].optimizer
    assert (optimizer.name, optimizer.momentum, optimizer.weight_decay) == ("sgd", 0.5, 0.3)


def test_a_language_model_takes_a_file_too(recipes: list, tmp_path: Path) -> None:
    data = tiny.write_csv(tmp_path / "reviews.csv", tiny.reviews(4))
    (tmp_path / "best.json").write_text('{"ar": 0.5, "schedule": "constant"}')
    command = ("pretrain", data, "--recipe", tmp_path / "best.json", "--out", tmp_path / "out")
    ulmkit(*command, status=2)
    assert (recipes[0].ar, recipes[0].tar, recipes[0].schedule.name) == (0.5, PRETRAIN.tar, "constant")
    ulmkit(*command, "--schedule", "one_cycle", status=2)
    assert recipes[1].schedule.name == "one_cycle"


def test_a_wrong_file_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "best.json").write_text('{"peak_rat": 0.1}')
    command = ("train", "nosuch.csv", "--out", tmp_path / "out", "--recipe", tmp_path / "best.json")
    told = ulmkit(*command, status=2)
    assert "best.json: recipe: unknown key 'peak_rat'; did you mean 'peak_rate'?" in told.error
    told = ulmkit(*command, "--json", tmp_path / "best.json", "--overwrite", status=2)
    assert "best.json" in told.error
    assert (tmp_path / "best.json").read_text() == '{"peak_rat": 0.1}'
