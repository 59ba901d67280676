"""The recipe of IMDb with tiny models: stages, errors, resuming, the transductive label, and refusals."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import imdb
import pytest
from imdb import main, plan_budgets
from safetensors.torch import load_file
from support.interrupts import InterruptAtStep
from ulmfit import Prediction, mean_prediction, unfreezing_shares

from ulmkit import TextClassifier
from ulmkit.errors import ConfigError, DataError
from ulmkit.files import read_json
from ulmkit.hub import read_facts
from ulmkit.training import Budget

SMALL = ["--epochs", "1", "20", "--dropout", "0.1", "--precision", "fp32", "--device", "cpu"]


def recipe(*arguments: Any) -> None:
    main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def run(reviews: Path, language_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A run of both directions, evaluated on validation data, then by the same command on the test set."""
    out = tmp_path_factory.mktemp("imdb") / "run"
    models = ["--language-model", language_models["forward"], "--backward-language-model", language_models["backward"]]
    command = ["--data", reviews, *models, "--out", out, *SMALL]
    recipe(*command, "--json", f"{out}-valid.json")
    files = sorted(path.name for path in (out / "predictions").iterdir())
    recipe(*command, "--test", "--json", f"{out}.json")
    return SimpleNamespace(out=out, command=command, files_before_the_test=files)


def test_errors_are_those_of_the_trained_classifiers(run: SimpleNamespace, reviews: Path):
    entries = {(entry["split"], entry["direction"]): entry for entry in read_json(f"{run.out}.json")["evaluation"]}
    assert list(entries) == [(split, name) for split in ("valid", "test") for name in ("forward", "backward", "both")]
    folders = {"forward": "forward-classifier", "backward": "backward-classifier", "both": "both"}
    for (split, direction), entry in entries.items():
        report = TextClassifier.load(run.out / folders[direction]).evaluate(str(reviews), split=split)
        assert entry["error"] == pytest.approx(100 * report.error)
        assert entry["documents"] == report.documents == {"valid": 8, "test": 30}[split]
        assert entry["interval"][0] <= entry["error"] <= entry["interval"][1]


def test_the_test_set_is_evaluated_only_when_asked(run: SimpleNamespace):
    assert run.files_before_the_test == [
        f"{direction}-valid.{kind}" for direction in ("backward", "forward") for kind in ("json", "safetensors")
    ]
    assert {entry["split"] for entry in read_json(f"{run.out}-valid.json")["evaluation"]} == {"valid"}


def test_language_models_learn_from_training_and_unsupervised_text(run: SimpleNamespace):
    for direction in ("forward", "backward"):
        data = read_facts(run.out / f"{direction}-language-model").data
        uses = {split.name: (split.use, split.documents) for split in data.splits}
        assert uses == {
            "train": ("training", 72),
            "valid": ("held out", 8),
            "test": ("held out", 30),
            "unsupervised": ("training", 40),
        }
        facts = read_facts(run.out / f"{direction}-classifier")
        assert (facts.labelled_documents, facts.validation_documents) == (72, 8)
        assert facts.base.data.split_fingerprints == facts.data.split_fingerprints


def test_published_errors_are_beside_the_measured_ones(run: SimpleNamespace, capsys: pytest.CaptureFixture[str]):
    document = read_json(f"{run.out}.json")
    peers = {row["case"]: row["peer"] for row in document["rows"]}
    assert peers == {
        "valid, forward": 5.0,
        "valid, backward": None,
        "valid, both": None,
        "test, forward": 5.3,
        "test, backward": None,
        "test, both": 4.58,
    }
    assert not any(row["is_reproduction"] for row in document["rows"])
    minutes = document["run"]["minutes"]
    stages = [
        f"{direction} {stage}" for direction in ("forward", "backward") for stage in ("language model", "classifier")
    ]
    assert list(minutes) == list(document["run"]["epochs"]) == stages
    assert document["rows"][2]["training_minutes"] == pytest.approx(sum(minutes.values()))
    assert document["rows"][0]["training_minutes"] == pytest.approx(minutes[stages[0]] + minutes[stages[1]])
    assert document["run"]["command"].endswith(
        "--data PLACE --language-model LM --backward-language-model LM --out FOLDER "
        + " ".join(SMALL)
        + " --test --json FILE"
    )
    recipe(*run.command)
    lines = capsys.readouterr().out.splitlines()
    (both,) = (line for line in lines if line.startswith("both"))
    assert "- / 4.58" in both
    assert "/ - (reduced, other text)" in both
    assert any("80 train documents for 25,000" in line for line in lines)
    assert "transductive: the language models have read" not in "\n".join(lines)


def test_the_ladder_is_climbed_beside_the_recipe(
    run: SimpleNamespace, reviews: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    command = [*run.command, "--ladder", "--json", f"{run.out}-ladder.json"]
    recipe(*command)
    document = read_json(f"{run.out}-ladder.json")
    assert [entry["direction"] for entry in document["evaluation"]] == ["forward", "backward", "both", "ladder"]
    entry = document["evaluation"][-1]
    report = TextClassifier.load(run.out / "ladder").evaluate(str(reviews), split="valid")
    assert entry["error"] == pytest.approx(100 * report.error)
    assert entry["documents"] == 8
    facts = read_facts(run.out / "ladder")
    assert facts.labelled_documents == 72
    assert "language model features" in {row.name for row in facts.ladder.rows}
    minutes = document["run"]["minutes"]
    used = [minutes[stage] for stage in ("forward language model", "backward language model", "ladder")]
    rows = {row["case"]: row["training_minutes"] for row in document["rows"]}
    assert rows["valid, ladder"] == pytest.approx(sum(used))
    assert rows["valid, both"] == pytest.approx(sum(minutes.values()) - minutes["ladder"])
    monkeypatch.setattr(imdb, "train_automatically", None)
    recipe(*command[:-2])
    assert sum(line.startswith("ladder ") for line in capsys.readouterr().out.splitlines()) == 2


def test_kept_results_are_not_computed_again(run: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    def work(*_: object, **__: object) -> None:
        raise AssertionError("work was done")

    for name in ("finetune", "train", "predict"):
        monkeypatch.setattr(imdb, name, work)
    recipe(*run.command, "--test", "--json", f"{run.out}-again.json")
    assert read_json(f"{run.out}-again.json")["evaluation"] == read_json(f"{run.out}.json")["evaluation"]


def test_a_stopped_run_continues_to_the_same_weights(
    run: SimpleNamespace, language_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The classifier is stopped; the language model before it is not trained again."""
    command = [*run.command[:2], "--language-model", language_models["forward"], "--out", tmp_path / "run", *SMALL]
    whole = run.out / "forward-classifier" / "model.safetensors"
    steps = read_facts(whole.parent).run.steps
    tuning_steps = read_facts(run.out / "forward-language-model").run.steps
    assert tuning_steps < steps - 1
    with monkeypatch.context() as patched:
        patched.setattr(imdb, "make_progress", lambda: InterruptAtStep(steps - 1))
        with pytest.raises(KeyboardInterrupt):
            recipe(*command)
    assert (tmp_path / "run" / "forward-language-model").is_dir()
    assert not (tmp_path / "run" / "forward-classifier").exists()
    recipe(*command)
    weights = load_file(tmp_path / "run" / "forward-classifier" / "model.safetensors")
    for name, tensor in load_file(whole).items():
        assert tensor.numpy().tobytes() == weights[name].numpy().tobytes(), name


def test_a_transductive_run_says_so_everywhere(
    run: SimpleNamespace, language_models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    command = [*run.command[:2], "--language-model", language_models["forward"], "--out", out, *SMALL]
    recipe(*command, "--transductive", "--test", "--json", f"{out}.json")
    output = capsys.readouterr().out
    assert "measured, transductive" in output
    assert "transductive: the language models have read the text of the test set" in output
    document = read_json(f"{out}.json")
    assert document["is_transductive"]
    assert document["run"]["recipe"] == "ulmfit, transductive"
    assert {row["case"]: (row["peer"], row["peer_name"]) for row in document["rows"]} == {
        "valid, forward, transductive": (None, "none published"),
        "test, forward, transductive": (5.04, "fastai 1, transductive"),
    }
    assert all(entry["is_transductive"] for entry in document["evaluation"])
    for folder in ("forward-language-model", "forward-classifier"):
        assert read_facts(out / folder).data.cleanness == "transductive"
    with pytest.raises(ConfigError, match="is_transductive: was True, now False"):
        recipe(*command)


def test_budgets_and_shares():
    assert plan_budgets(1) == {"language model": Budget(epochs=25), "classifier": Budget(epochs=50)}
    assert plan_budgets(2, minutes=20) == {"language model": Budget(minutes=6), "classifier": Budget(minutes=4)}
    assert unfreezing_shares(3, Budget(epochs=50)) == pytest.approx((0.02, 0.02, 0.02, 0.02, 0.92))
    assert unfreezing_shares(2, Budget(epochs=3)) == pytest.approx((1 / 6, 1 / 6, 1 / 6, 1 / 2))
    assert unfreezing_shares(2, Budget(minutes=9)) == unfreezing_shares(2, Budget(epochs=3))


def test_predictions_of_other_documents_are_not_averaged():
    import numpy as np

    first = Prediction(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 1]), {"seconds": 1.0})
    second = Prediction(np.array([[0.3, 0.7], [0.8, 0.2]]), np.array([0, 1]), {"seconds": 2.0})
    both = mean_prediction([first, second])
    np.testing.assert_allclose(both.probabilities, [[0.6, 0.4], [0.6, 0.4]])
    assert (first.error, second.error, both.error, both.facts) == (0.0, 100.0, 50.0, {"seconds": 3.0})
    with pytest.raises(DataError, match="expected those of the same documents"):
        mean_prediction([first, Prediction(second.probabilities, np.array([1, 1]), {})])


def test_refusals(run: SimpleNamespace, reviews: Path, language_models: dict[str, Path], tmp_path: Path):
    start = ["--data", reviews, "--out", tmp_path / "run", *SMALL]
    with pytest.raises(ConfigError, match="language_model: expected a forward language model, got a backward one"):
        recipe(*start, "--language-model", language_models["backward"])
    with pytest.raises(ConfigError, match="expected a forward language model, got ClassifierParts"):
        recipe(*start, "--language-model", run.out / "forward-classifier")
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.csv").write_text((reviews / "train.csv").read_text())
    with pytest.raises(ConfigError, match="data: expected a split 'test', got train, valid"):
        recipe("--data", data, *start[2:], "--language-model", language_models["forward"], "--test")
    with pytest.raises(ConfigError, match=r"begun with other settings \(seed: was 0, now 3\)"):
        recipe(*run.command, "--seed", 3)
