"""`ulmkit import-fastai`, and the commands that take what it wrote."""

import json
from pathlib import Path

import pytest
import torch
from support import fastai_files, tiny
from support.command import TUNE, table_row, ulmkit


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(2)


def test_an_imported_language_model_is_finetuned(tmp_path: Path) -> None:
    files = fastai_files.write(tmp_path, {"model": fastai_files.lstm_weights(), "opt": {}})
    told = ulmkit("import-fastai", *files, "--out", tmp_path / "lm", "--backward", "--json", tmp_path / "import.json")
    values = json.loads((tmp_path / "import.json").read_text())
    assert values["kind"] == "language_model"
    assert (values["layers"], values["hidden_size"], values["tokens"]) == (2, 10, 18)
    assert table_row(told.out, "hidden size") == ["10"]
    assert "reads backward" in (tmp_path / "lm" / "README.md").read_text()
    data = tiny.write_csv(tmp_path / "data.csv", [("The film was fine.",), ("The film was poor.",)] * 10, ("text",))
    ulmkit("finetune", tmp_path / "lm", data, "--out", tmp_path / "tuned", "--steps", 2, *TUNE)
    config = json.loads((tmp_path / "tuned" / "config.json").read_text())
    assert config["direction"] == "backward"
    assert config["facts"]["vocabulary_transfer"]["matched"] >= 9
    assert "the" in json.loads((tmp_path / "tuned" / "vocabulary.json").read_text())["tokens"]


def test_an_imported_classifier_predicts(tmp_path: Path) -> None:
    files = fastai_files.write(tmp_path, fastai_files.classifier_weights(classes=2))
    named = ("--label", "bad", "--label", "good")
    told = ulmkit("import-fastai", *files, *named, "--out", tmp_path / "classifier")
    assert table_row(told.out, "kind") == ["classifier"]
    predicted = json.loads(
        ulmkit("predict", tmp_path / "classifier", "--text", "The film was fine.").out.splitlines()[0]
    )
    assert predicted["label"] in ("bad", "good")


def test_refusals_are_one_line(tmp_path: Path) -> None:
    weights, vocabulary = fastai_files.write(tmp_path, fastai_files.classifier_weights())
    told = ulmkit("import-fastai", weights, vocabulary, "--out", tmp_path / "classifier", status=2)
    assert "expected a label for each of the classifier's 3 outputs, got none" in told.error
    assert "give --label in the order of dls.vocab[1]" in told.error
    told = ulmkit("import-fastai", vocabulary, vocabulary, "--out", tmp_path / "lm", status=2)
    assert "vocab.pkl: expected a file of weights" in told.error
    told = ulmkit("import-fastai", weights, vocabulary, "--out", tmp_path, "--overwrite", status=2)
    assert "would replace" in told.error
    options = ("--language", "de", "--sentencepiece", vocabulary, "--label", "a", "--label", "b", "--label", "c")
    told = ulmkit("import-fastai", weights, vocabulary, *options, "--out", tmp_path / "lm", status=2)
    assert "--language: has no effect with --sentencepiece" in told.error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lm.pth", "vocab.pkl"]
