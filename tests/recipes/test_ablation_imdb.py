"""ULMFiT's ablation with tiny models: documents, rows, kept runs, tables, and refusals."""

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ablation_imdb
import few_labels
import pytest
from ablation_imdb import main
from ablation_imdb_rows import (
    ADVERSARIAL,
    CLASSIFIERS,
    FREEZ_ALL,
    LANGUAGE_MODELS,
    ROWS,
    ULMFIT,
    ClassifierRun,
    needs_backward,
)
from ablation_imdb_text import choose_documents
from ablation_order import rank_correlation
from safetensors.numpy import load_file

from ulmkit.errors import ConfigError
from ulmkit.files import read_json
from ulmkit.pipeline import classifiers, training_rows
from ulmkit.text import DocumentSource
from ulmkit.training import Budget

SMALL = ["--epochs", "1", "1", "--labels", "24", "--documents", "90", "--dropout", "0.1", "--precision", "fp32"]
NAMES = ["no LM fine-tuning", "LM full", "LM full + discr + stlr", "from scratch", "chain-thaw", "both"]
RUNGS_TABLE = "rungs of the ladder (not in the paper)"


def ablation(*arguments: Any) -> None:
    main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def run(reviews: Path, language_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A finished tiny table of one draw."""
    out = tmp_path_factory.mktemp("ablation-imdb") / "run"
    models = ["--language-model", language_models["forward"], "--backward-language-model", language_models["backward"]]
    command = ["--data", reviews, *models, "--out", out, *SMALL, "--device", "cpu"]
    ablation(*command, "--only", *NAMES, "rungs", "--draws", 1, "--json", f"{out}.json")
    return SimpleNamespace(out=out, command=command)


def test_every_table_ends_with_the_whole_method():
    tables = {row.table: row for row in ROWS.values()}
    assert [table[:7] for table in tables] == ["table 4", "table 5", "table 6", "table 7", "adversa", "directi"]
    whole = [row for title, row in tables.items() if title.startswith("table")]
    assert {row.runs for row in whole} == {(ClassifierRun(ULMFIT, FREEZ_ALL),)}
    assert {row.paper for row in whole} == {(5.0, 5.69, 5.38)}
    assert [name for name, row in ROWS.items() if needs_backward(row)] == ["backward", "both"]
    assert Counter(len(row.runs) for row in ROWS.values()) == {1: len(ROWS) - 1, 2: 1}
    for row in ROWS.values():
        assert {run.language_model for run in row.runs} <= set(LANGUAGE_MODELS)
        assert {run.classifier for run in row.runs} <= set(CLASSIFIERS)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("full", {"factor": 1.0, "schedule": "constant"}),
        ("full + discr", {"schedule": "constant"}),
        ("without pretraining", {"factor": 1.0}),
        ("vanilla", {}),
        ("backward", {}),
    ],
)
def test_a_language_model_differs_from_ulmfits_only_in_its_part(name: str, changed: dict[str, Any]):
    assert _differences(LANGUAGE_MODELS[ULMFIT].recipe, LANGUAGE_MODELS[name].recipe) == changed


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("from scratch", {"unfreezing": "full", "peak_rate": 1e-3, "factor": 1.0, "schedule": "constant"}),
        ("full", {"unfreezing": "full", "peak_rate": 1e-3, "factor": 1.0, "schedule": "constant"}),
        ("full + discr", {"unfreezing": "full", "schedule": "constant"}),
        ("last", {"unfreezing": "last", "peak_rate": 1e-3, "factor": 1.0, "schedule": "constant"}),
        ("chain-thaw", {"unfreezing": "chain-thaw", "peak_rate": 1e-3, "factor": 1.0, "schedule": "constant"}),
        ("freez", {"peak_rate": 1e-3, "factor": 1.0, "schedule": "constant"}),
        ("freez + discr", {"schedule": "constant"}),
        ("freez + stlr", {"peak_rate": 1e-3, "factor": 1.0}),
        ("freez + cos", {"peak_rate": 1e-3, "factor": 1.0, "schedule": "flat_cosine"}),
    ],
)
def test_a_classifier_differs_from_ulmfits_only_in_its_part(name: str, changed: dict[str, Any]):
    differences = _differences(CLASSIFIERS[FREEZ_ALL].recipe, CLASSIFIERS[name].recipe)
    assert differences == {**changed, "patience": 3}


def test_adversarial_training_differs_in_nothing_else():
    assert _differences(CLASSIFIERS[FREEZ_ALL].recipe, CLASSIFIERS[ADVERSARIAL].recipe) == {"adversarial": 5.0}


def _differences(whole: Any, part: Any) -> dict[str, Any]:
    """Settings of a recipe that another one does not share; of a schedule its name."""
    before, after = asdict(whole), asdict(part)
    before["schedule"], after["schedule"] = whole.schedule.name, part.schedule.name
    return {name: value for name, value in after.items() if value != before[name]}


def test_rates_and_phases_of_the_classifiers():
    phases = CLASSIFIERS["chain-thaw"].plan(2, Budget(epochs=10), 1.0).phases(4, Budget(epochs=10))
    assert [(phase.groups, phase.peak_rate) for phase in phases] == [
        ((3,), 1e-3),
        ((0,), 1e-4),
        ((1,), 1e-4),
        ((2,), 1e-4),
        ((0, 1, 2, 3), 1e-4),
    ]
    phases = CLASSIFIERS[FREEZ_ALL].plan(2, Budget(epochs=10), 0.5).phases(4, Budget(epochs=10))
    assert [phase.groups for phase in phases] == [(3,), (2, 3), (1, 2, 3), (0, 1, 2, 3)]
    assert [phase.budget.epochs for phase in phases] == pytest.approx([1, 1, 1, 7])
    assert phases[-1].rates(4) == pytest.approx([0.01 / 2.6**3, 0.01 / 2.6**2, 0.01 / 2.6, 0.01])


def test_documents_are_chosen_without_the_test_part(reviews: Path):
    documents = choose_documents(str(reviews), 60, 10, 20)
    assert documents == choose_documents(str(reviews), 60, 10, 20)
    splits = {name: [each for each in documents if each.split == name] for name in ("valid", "train", "unsupervised")}
    assert [len(splits["valid"]), len(splits["train"]) + len(splits["unsupervised"])] == [10, 60]
    sources = {name: {each.text for each in DocumentSource(str(reviews / f"{name}.csv"))} for name in ("train", "test")}
    assert {each.text for each in splits["valid"]} <= sources["train"]
    training_text = {each.text for each in splits["train"] + splits["unsupervised"]}
    assert training_text.isdisjoint({each.text for each in splits["valid"]})
    assert training_text.isdisjoint(sources["test"] - sources["train"])
    assert {each.label for each in splits["train"]} == {"pos", "neg"}
    assert {each.label for each in splits["unsupervised"]} == {None}
    with pytest.raises(ConfigError, match=r"labels: expected at most \d+, the labelled documents among 60, got 70"):
        choose_documents(str(reviews), 60, 10, 70)


def test_errors_and_the_papers_beside_them(run: SimpleNamespace, capsys: pytest.CaptureFixture[str]):
    document = read_json(f"{run.out}.json")
    rows = {row["case"].split(": ")[1]: row for row in document["rows"] if not row["case"].startswith(RUNGS_TABLE)}
    assert list(rows) == [name for name in ROWS if name in NAMES]
    assert {name: row["peer"] for name, row in rows.items()} == {
        "no LM fine-tuning": 6.99,
        "LM full": 5.86,
        "LM full + discr + stlr": 5.0,
        "from scratch": 9.93,
        "chain-thaw": 5.39,
        "both": 4.58,
    }
    predicted = [
        load_file(run.out / "classifiers" / f"{name}_freez-discr-stlr_0.safetensors")
        for name in ("full-discr-stlr", "backward")
    ]
    mean = (predicted[0]["probabilities"] + predicted[1]["probabilities"]) / 2
    error = 100 * (mean.argmax(axis=1) != predicted[0]["targets"]).mean()
    assert rows["both"]["errors"] == pytest.approx([error])
    assert len(predicted[0]["targets"]) == 16
    assert rows["LM full"]["epochs_a_run"] > 0
    assert document["language_models"].keys() == {ULMFIT, "full", "backward"}
    places = {name: rows[name]["place"] for name in list(rows)[:3]}
    assert min(places.values()) == 1
    ablation(*run.command, "--only", *NAMES, "--draws", 1)
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if line.startswith("no LM fine-tuning"))
    assert line.split()[3:6] == ["6.99", "6.38", "6.09"]
    assert not any(line.startswith("freez") for line in lines)


def test_rungs_of_the_ladder_are_judged_on_the_same_documents(run: SimpleNamespace):
    rows = read_json(f"{run.out}.json")["rows"]
    errors = {row["case"].split(": ")[1]: row["errors"] for row in rows if row["case"].startswith(RUNGS_TABLE)}
    assert {"TF-IDF", "language model features", "kept"} <= set(errors)
    folder = run.out / "rungs" / "24-0"
    names = read_json(folder / "ladder.json")["names"]
    tfidf = load_file(folder / f"{names.index('TF-IDF')}.safetensors")
    network = load_file(run.out / "classifiers" / "full-discr-stlr_freez-discr-stlr_0.safetensors")
    assert tfidf["targets"].tolist() == network["targets"].tolist()
    wrong = tfidf["probabilities"].argmax(axis=1) != tfidf["targets"]
    assert errors["TF-IDF"] == pytest.approx([100 * wrong.mean()])


def test_rungs_learn_from_the_draws_of_the_networks(run: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    drawn = []

    def record(corpus: Any, labels: Any, seed: Any) -> Any:
        rows = training_rows(corpus, labels, seed)
        drawn.append([corpus.document(row).tolist() for row in rows])
        return rows

    monkeypatch.setattr(few_labels, "training_rows", record)
    monkeypatch.setattr(classifiers, "training_rows", record)
    ablation(*run.command, "--only", "last", "rungs", "--draws", 2)
    assert len(drawn) == 3  # two networks and the second draw of the rungs, whose first is kept
    assert drawn[2] == drawn[1] != drawn[0]


def test_only_missing_runs_are_trained(run: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    """A second draw trains classifiers on other labels, and no language model."""
    seeds = []
    train = ablation_imdb.train

    def count(*arguments: Any, **options: Any) -> Any:
        seeds.append(options["run"].seed)
        return train(*arguments, **options)

    monkeypatch.setattr(ablation_imdb, "train", count)
    monkeypatch.setattr(ablation_imdb, "finetune", None)
    names = ["LM full", "from scratch"]
    ablation(*run.command, "--only", *names, "--draws", 2, "--json", f"{run.out}-two.json")
    assert seeds == [1, 1]
    first, second = (read_json(f"{run.out}{suffix}.json")["rows"] for suffix in ("", "-two"))
    errors = {row["case"]: row["errors"] for row in first}
    assert [len(row["errors"]) for row in second] == [2, 2]
    assert all(row["errors"][0] == errors[row["case"]][0] for row in second)


def test_a_classifier_from_scratch_has_no_language_model(run: SimpleNamespace, monkeypatch: pytest.MonkeyPatch):
    starts = {}
    train = ablation_imdb.train

    def record(corpus: Any, language_model: Any, **options: Any) -> Any:
        starts[options["recipe"].unfreezing, options["recipe"].dropout_multiplier] = language_model
        return train(corpus, language_model, **options)

    monkeypatch.setattr(ablation_imdb, "train", record)
    ablation(*run.command, "--only", "from scratch", "vanilla LM", "--draws", 3)
    assert starts["full", 0.1] is None
    vanilla = starts["gradual", 0.0].model.config.encoder
    assert vanilla.without_dropout() == vanilla


def test_orders_without_differences_have_no_correlation():
    assert rank_correlation({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 4.0, "b": 4.0, "c": 4.0}) is None


def test_refusals(run: SimpleNamespace, language_models: dict[str, Path]):
    with pytest.raises(ConfigError, match="only: got 'frees'; did you mean 'freez'"):
        ablation(*run.command, "--only", "frees")
    with pytest.raises(ConfigError, match=r"labels: was 24, now 20\)"):
        ablation(*run.command, "--labels", 20)
    forward_only = [*run.command[:4], *run.command[6:]]
    with pytest.raises(ConfigError, match="only: 'both' needs a backward language model"):
        ablation(*forward_only, "--only", "both")
