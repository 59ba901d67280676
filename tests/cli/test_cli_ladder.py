"""`ulmkit train` by the ladder, and the commands that use what it makes."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support import tiny
from support.command import ulmkit

from ulmkit.model.awd_lstm import Encoder
from ulmkit.pipeline import embed_documents, network_members

LINEAR = ("--split-column", "split", "--workers", 1)
TRAIN = (*LINEAR, "--steps", 4, "--batch-size", 16, "--precision", "fp32")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny.language_model().save("lm")
    rows = [(*pair, ("train", "train", "valid", "test")[at % 4]) for at, pair in enumerate(tiny.reviews(160))]
    rows += [(text, "", "unsupervised") for text, _ in tiny.reviews(40, 3000)]
    tiny.write_csv(tmp_path / "data.csv", rows, ("text", "label", "split"))
    return tmp_path


def test_train_climbs_the_ladder_by_default(here: Path) -> None:
    told = ulmkit("train", "lm", "data.csv", "-o", "c", *TRAIN, "--labels", 40, "--json", "train.json")
    assert "-> " in told.out + told.err
    assert "members" in told.out
    assert "(5-fold cross-validation of 40 labelled documents)" in told.out
    told = ulmkit("evaluate", "c", "data.csv", "--split-column", "split", "--split", "test")
    assert "accuracy" in told.out
    ulmkit("predict", "c", "data.csv", "--out", "labels.csv")
    with open("labels.csv", encoding="utf-8", newline="") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    assert len(labels) == 200
    assert set(labels) == {"pos", "neg"}
    facts = json.loads(Path("train.json").read_text(encoding="utf-8"))["facts"]
    assert facts["notes"]["method"] == "auto"
    assert facts["ladder"]["is_cross_validated"] is True


def test_features_are_computed_as_the_options_say(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()

    def embed(encoder: Encoder, documents: Sequence[np.ndarray]) -> np.ndarray:
        seen.add((encoder.precision, encoder.backend))
        return embed_documents(encoder, documents)

    monkeypatch.setattr(network_members, "embed_documents", embed)
    options = (*LINEAR, "--labels", 40, "--method", "features", "--precision", "fp32", "--backend", "stepwise")
    ulmkit("train", "lm", "data.csv", "-o", "c", *options)
    assert seen == {("fp32", "stepwise")}


def test_a_linear_classifier_needs_no_language_model(here: Path) -> None:
    ulmkit("train", "none", "data.csv", "-o", "c", *LINEAR, "--tokenizer", "whitespace", "--method", "linear")
    assert ulmkit("predict", "c", "--text", "a happy film").out


def test_a_length_of_no_training_is_refused_before_anything_is_read(here: Path) -> None:
    told = ulmkit("train", "lm", "data.csv", "-o", "c", "--method", "linear", "--steps", 5, status=2)
    assert told.err == (
        "ulmkit: --steps: has no effect: --method linear trains no networks; drop it, or take another method\n"
    )
    told = ulmkit("train", "none", "data.csv", "-o", "c", "--epochs", 2, status=2)
    assert "--epochs: has no effect: without a language model no networks are trained" in told.error
    with pytest.warns(UserWarning, match="minutes: limits nothing: without a language model no networks are trained"):
        ulmkit("train", "none", "data.csv", "-o", "c", *LINEAR, "--minutes", 1)


def test_sizes_are_for_networks(here: Path) -> None:
    told = ulmkit("train", "none", "data.csv", "-o", "c", *TRAIN, "--hidden-size", 8, status=2)
    assert "--hidden-size: is for a network without a language model; add --method finetune, or drop it" in told.error


def test_an_unknown_method_is_refused(here: Path) -> None:
    told = ulmkit("train", "lm", "data.csv", "-o", "c", *TRAIN, "--method", "best", status=2)
    assert "method: got 'best'; there are: auto, finetune, features, linear" in told.error


def test_transductive_is_for_the_ladder(here: Path) -> None:
    ulmkit("train", "lm", "data.csv", "-o", "c", *LINEAR, "--method", "linear", "--transductive")
    assert "transductive split" in Path("c/README.md").read_text(encoding="utf-8")
    told = ulmkit("train", "lm", "data.csv", "-o", "d", *TRAIN, "--method", "finetune", "--transductive", status=2)
    assert "--transductive" in told.error
