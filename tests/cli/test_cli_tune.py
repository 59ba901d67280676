"""`ulmkit tune`: the search, its file for `--recipe`, and what it refuses."""

import json
import signal
from pathlib import Path

import pytest
from support import tiny
from support.command import table_row, ulmkit
from support.interrupts import InterruptAtStep

from ulmkit.cli import tune_command
from ulmkit.cli.option_groups import option_flags
from ulmkit.cli.training_commands import train_command
from ulmkit.pipeline import CLASSIFY, FINETUNE, DataOptions, read_recipe

QUICK = ("--minutes", 30, "--trials", 2, "--trial-steps", 4, "--device", "cpu", "--precision", "fp32", "--threads", 1)


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_csv(tmp_path_factory.mktemp("data") / "reviews.csv", tiny.reviews(60))


def test_a_search_ends_with_a_recipe_that_train_takes(
    models: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = tmp_path / "best.json"
    command = ("tune", reviews, "--language-model", models / "lm", *QUICK, "--out", best, "--json", tmp_path / "t.json")
    with monkeypatch.context() as patched:
        patched.setattr(tune_command, "make_progress", lambda: InterruptAtStep(2, signal.SIGTERM))
        stopped = ulmkit(*command, status=143)
    assert f"search stopped: its trials are in {best}.search; run again with --resume to continue" in stopped.err
    assert "is left from an earlier search; continue it with --resume" in ulmkit(*command, status=2).error
    told = ulmkit(*command, "--resume")
    values = json.loads((tmp_path / "t.json").read_text())
    assert [trial["state"] for trial in values["trials"]] == ["complete", "complete"]
    assert [trial["steps"] for trial in values["trials"]] == [4, 4]
    assert values["metric"] == "loss"
    assert "trial 1: loss" in told.err
    assert table_row(told.out, "each trial") == ["4 steps"]
    assert f"--recipe {best} --method finetune --steps 4" in told.out
    assert read_recipe(best, CLASSIFY).batch_size == values["recipe"]["batch_size"]
    trained = ("train", models / "lm", reviews, "--recipe", best, "--method", "finetune", "--steps", 4)
    ulmkit(*trained, "--no-baselines", "--out", tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "config.json").read_text())["facts"]
    assert facts["recipe"]["peak_rate"] == values["recipe"]["peak_rate"]
    assert ulmkit(*command, status=2).error.count("already exists") == 1


def test_the_next_command_trains_on_the_documents_of_the_trials() -> None:
    options = DataOptions(split_column="my part", label_column=["a", "b"], header=False, drop_shared=True, workers=2)
    words = tune_command._data_flags(options)
    assert words == [
        *("--label-column", "a", "--label-column", "b", "--split-column", "my part"),
        *("--drop-shared-documents", "--workers", "2", "--no-header"),
    ]
    words += tune_command._given({"task": "multi", "labels": 100, "valid_documents": None})
    assert words[-4:] == ["--task", "multi", "--labels", "100"]
    assert {word for word in words if word.startswith("--")} <= set(option_flags(train_command).values())
    assert tune_command._data_flags(DataOptions()) == []


def test_a_language_model_is_tuned_too(models: Path, reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "start.toml").write_text("batch_size = 4\nbptt = 12\nclip = 0.3\n")
    best = tmp_path / "best.json"
    options = (*QUICK, "--out", best, "--recipe", tmp_path / "start.toml")
    told = ulmkit("tune", reviews, "--for", "finetune", "--language-model", models / "lm", *options)
    assert "perplexity" in told.out
    found = read_recipe(best, FINETUNE)
    assert found.clip == 0.3
    assert found.batch_size in (2, 4, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--for", "predict"), "--for: got 'predict'; "),
        (("--for", "finetune", "--labels", 10), "--labels: has no effect with --for finetune; drop it"),
        (("--trial-steps", 2, "--trial-epochs", 1), "--trial-epochs: gives the length of a trial a second time"),
        (("--trial-minutes", 0), "--trial-minutes: expected a number above 0, got 0.0"),
        (("--minutes", 0), "--minutes: expected a number above 0, got 0.0"),
        (("--out", "best.txt"), "--out: expected a file name that ends in .json, got 'best.txt'"),
        (("--recipe", "nosuch.json"), "nosuch.json: cannot be read"),
        (("--resume",), "best.json.search: expected a search to resume, got none; begin without --resume"),
    ],
)
def test_what_is_refused(options: tuple, message: str, models: Path, reviews: Path, tmp_path: Path) -> None:
    command = ("tune", reviews, "--language-model", models / "lm", "--minutes", 1, "--out", tmp_path / "best.json")
    assert message in ulmkit(*command, *options, status=2).error
    assert list(tmp_path.iterdir()) == []
