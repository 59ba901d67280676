"""The ablation table with tiny models: rows, kept runs, ranks, and errors."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ablation_ptb
import pytest
from ablation_order import rank_correlation, ranks
from ablation_ptb import main, seed_folder
from ablation_rows import FULL, ROWS, SCALES
from ablation_table import perplexities
from safetensors.torch import load_file
from stages import read_curve
from support.recipe_text import RECIPES

from ulmkit.errors import ConfigError, FolderError, TrainingError
from ulmkit.files import read_json
from ulmkit.pipeline import AWD_LSTM_PTB_PAPER


def test_the_full_model_is_the_papers():
    sizes, stages = ROWS[FULL].plan(SCALES["full"])
    assert sizes == AWD_LSTM_PTB_PAPER.sizes
    assert [stage.recipe for stage in stages] == [AWD_LSTM_PTB_PAPER.main, AWD_LSTM_PTB_PAPER.tuning]
    assert {stage.budget.epochs for stage in stages} == {750}
    reduced = SCALES["reduced"].recipe.sizes.encoder
    assert (reduced.embedding_size, reduced.hidden_size, reduced.layers) == (200, 400, 3)


@pytest.mark.parametrize("scale", list(SCALES))
@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("variable lengths", {"bptt_std": 0.0}),
        ("embedding dropout", {"embedding_dropout": 0.0}),
        ("weight decay", {"weight_decay": 0.0}),
        ("AR/TAR", {"ar": 0.0, "tar": 0.0}),
        ("weight drop", {"weight_dropout": 0.0}),
        ("full-size embedding", {"embedding_size": None}),
    ],
)
def test_each_row_changes_only_its_part_in_both_stages(scale: str, name: str, changed: dict):
    def flat(row: str) -> list[dict[str, Any]]:
        sizes, stages = ROWS[row].plan(SCALES[scale])
        return [
            {**vars(sizes.encoder), **vars(s.recipe), **vars(s.recipe.optimizer), "optimizer": None} for s in stages
        ]

    full, less = flat(FULL), flat(name)
    for before, after in zip(full, less, strict=True):
        different = {key: after[key] for key in before if before[key] != after[key]}
        expected = {key: before["hidden_size"] if value is None else value for key, value in changed.items()}
        assert different == expected


def test_without_averaging_the_rate_is_halved():
    _, stages = ROWS["NT-ASGD"].plan(SCALES["full"])
    assert [stage.recipe.peak_rate for stage in stages] == [30, 15, 7.5, 3.75, 1.875, 0.9375]
    assert {stage.recipe.optimizer.name for stage in stages} == {"sgd"}
    assert {(stage.recipe.patience, stage.recipe.patience_rule) for stage in stages} == {(5, "non_monotone")}


def test_ranks_and_their_correlation():
    assert ranks({"a": 60.0, "b": 50.0, "c": 60.0, "d": 70.0}) == {"a": 2, "b": 1, "c": 2, "d": 4}
    first = {"a": 1.0, "b": 2.0, "c": 3.0}
    assert rank_correlation(first, {"c": 9.0, "b": 8.0, "a": 7.0}) == pytest.approx(1.0)
    assert rank_correlation(first, {"c": 7.0, "b": 8.0, "a": 9.0}) == pytest.approx(-1.0)
    assert rank_correlation({"a": 1.0, "b": 2.0}, {"a": 1.0, "b": 2.0}) is None


def test_the_row_without_fine_tuning_is_the_full_models_first_stage():
    run = {"perplexity": {"main": {"valid": 9.0, "test": 8.0}, "tuning": {"valid": 7.0}}}
    results = {FULL: [run], "fine-tuning": [run]}
    assert perplexities(results, FULL, "valid") == [7.0]
    assert perplexities(results, "fine-tuning", "valid") == [9.0]
    assert perplexities(results, "fine-tuning", "test") == [8.0]
    assert perplexities(results, FULL, "test") == []


def run_in_this_process(options: list[str]) -> None:
    """Run the table's workers here, one after the other, instead of in processes that import torch again."""

    def run_worker(command: list[str], **_: Any) -> SimpleNamespace:
        main(command[2:])
        return SimpleNamespace(returncode=0)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ablation_ptb, "subprocess", SimpleNamespace(run=run_worker))
        main(options)


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of a finished tiny table."""
    out = tmp_path_factory.mktemp("ablation") / "out"
    options = ["--data", text, "--out", out, "--scale", "tiny", "--seeds", 1, "--precision", "fp32", "--device", "cpu"]
    options = [*map(str, options), "--rows", FULL, "fine-tuning", "weight drop"]
    run_in_this_process([*options, "--json", f"{out}.json"])
    return options


def test_the_table(run: list[str], text: Path, capsys: pytest.CaptureFixture[str]):
    out = Path(run[3])
    document = read_json(f"{out}.json")
    assert [row["case"] for row in document["rows"]] == [
        "without nothing, valid",
        "without fine-tuning, valid",
        "without weight drop, valid",
    ]
    assert [row["peer"] for row in document["rows"]] == [60.0, 60.7, 71.1]
    assert [row["place_in_paper"] for row in document["rows"]] == [1, 2, 3]
    assert sorted(row["place"] for row in document["rows"]) == [1, 2, 3]
    lines = [(folder / "train.txt").read_text().splitlines() for folder in (text, out / "text")]
    assert lines[1] == lines[0][: len(lines[1])]
    assert len(lines[1]) in range(len(lines[0]) // 2 - 5, len(lines[0]) // 2 + 5)
    main(run)
    output = capsys.readouterr().out
    assert "2 of 2 runs are done" in output
    rows = {line.split("  ")[0]: line for line in output.splitlines()}
    for name, valid, test in (("nothing", 60.0, 57.3), ("fine-tuning", 60.7, 58.8), ("weight drop", 71.1, 68.9)):
        assert f"{valid} / {test}" in rows[name]
    ours, paper = ([row[key] for row in document["rows"]] for key in ("place", "place_in_paper"))
    correlation = rank_correlation(dict(zip("abc", ours, strict=True)), dict(zip("abc", paper, strict=True)))
    assert f"rank correlation of the validation perplexities with the paper's: {correlation:.2f}" in output


def test_another_table_is_not_taken_for_this_one(run: list[str], tmp_path: Path):
    """Finished runs are only kept for the same settings."""
    for option, value in (("--scale", "reduced"), ("--precision", "bf16")):
        other = [value if before == option else argument for before, argument in zip([None, *run], run, strict=False)]
        with pytest.raises(ConfigError, match="was begun with other settings"):
            main(other)
    with pytest.raises(FolderError, match="holds runs of several models"):
        read_curve(run[3])
    with pytest.raises(ConfigError, match=r"scale.epochs: was 2, now 3\)"):
        main([*run, "--epochs", "3"])


def test_a_killed_run_resumes_to_the_same_weights(run: list[str], tmp_path: Path):
    """The worker process is killed as well."""
    options = [*run[:2], "--out", str(tmp_path / "out"), *run[4:-3], FULL]
    command = [sys.executable, str(RECIPES / "ablation_ptb.py"), *options, "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    folder = seed_folder(tmp_path / "out", FULL, 0)
    while not (folder / "main" / "config.json").exists() and process.poll() is None:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    assert not (folder / "result.json").exists()
    run_in_this_process(options)
    whole = seed_folder(Path(run[3]), FULL, 0)
    weights = [load_file(place / "tuning" / "model.safetensors") for place in (whole, folder)]
    for name, tensor in weights[0].items():
        assert tensor.numpy().tobytes() == weights[1][name].numpy().tobytes(), name
    results = [read_json(place / "result.json")["perplexity"] for place in (whole, folder)]
    assert results[0] == results[1]


def test_a_run_that_fails_is_named(run: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ablation_ptb.sys, "executable", "false")
    with pytest.raises(
        TrainingError,
        match=r"full-model-0: expected the run to succeed, but it failed; its output is in .*full-model-0.txt",
    ):
        main([*run[:2], "--out", str(tmp_path / "out"), *run[4:-3], FULL])


def test_refusals(run: list[str]):
    with pytest.raises(ConfigError, match="rows: got 'weight-drop'; did you mean 'weight drop'"):
        main([*run[:-3], "weight-drop"])
    with pytest.raises(ConfigError, match="scale: got 'small'; there are: reduced, full, tiny"):
        main([*run, "--scale", "small"])
    with pytest.raises(ConfigError, match="jobs: expected a whole number of at least 1, got 0"):
        main([*run, "--jobs", "0"])
