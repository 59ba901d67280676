"""Options without an effect, which are refused before anything is read."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from support import tiny
from support.command import SMALL, ulmkit

from ulmkit.pipeline import ClassifierRecipe, write_recipe

LINEAR = ("--no-baselines", "--tokenizer", "whitespace")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny.write_csv(tmp_path / "data.csv", tiny.reviews(60))
    return tmp_path


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        (("--rate", 0.1), "--rate"),
        (("--batch-size", 16), "--batch-size"),
        (("--unfreezing", "full"), "--unfreezing"),
        (("--weight-decay", 0.3), "--weight-decay"),
        (("--optimizer", "sgd"), "--optimizer"),
        (("--schedule", "constant"), "--schedule"),
        (("--label-smoothing", 0.1), "--label-smoothing"),
        (("--recipe", "recipe.json"), "--batch-size"),
        (("--validations", 2), "--validations"),
        (("--restore-best",), "--restore-best"),
        (("--accumulation", 2), "--accumulation"),
        (("--tensorboard", "events"), "--tensorboard"),
    ],
)
def test_settings_of_networks_where_none_are_trained(options: Sequence[object], flag: str, here: Path) -> None:
    write_recipe(here / "recipe.json", ClassifierRecipe(batch_size=16))
    before = tiny.contents(here)
    told = ulmkit("train", "none", "data.csv", "--out", "out", *options, status=2)
    reason = "without a language model no networks are trained; drop it, or take --method finetune"
    assert told.err == f"ulmkit: {flag}: has no effect: {reason}\n"
    told = ulmkit("train", "none", "data.csv", "--out", "out", "--method", "linear", *options, status=2)
    reason = "--method linear trains no networks; drop it, or take another method"
    assert told.err == f"ulmkit: {flag}: has no effect: {reason}\n"
    assert tiny.contents(here) == before


def test_class_weights_and_settings_as_they_are_anyway_are_taken(here: Path) -> None:
    options = ("--class-weights", "balanced", "--rate", 1e-2, "--validations", 5, *LINEAR)
    ulmkit("train", "none", "data.csv", "--out", "out", *options)


@pytest.mark.parametrize(
    ("tokenizer", "options", "flag", "reader"),
    [
        (None, ("--pieces", 100), "--pieces", "sentencepiece"),
        (None, ("--byte-fallback",), "--byte-fallback", "sentencepiece"),
        ("bytes", ("--pieces-kind", "bpe"), "--pieces-kind", "sentencepiece"),
        ("bytes", ("--max-vocab", 300), "--max-vocab", "spacy"),
        ("sentencepiece", ("--min-freq", 2), "--min-freq", "spacy"),
        ("whitespace", ("--language", "de"), "--language", "spacy"),
    ],
)
@pytest.mark.parametrize("command", [("prepare",), ("pretrain",), ("train", "none")])
def test_options_of_another_tokenizer(
    command: Sequence[str], tokenizer: str | None, options: Sequence[object], flag: str, reader: str, here: Path
) -> None:
    chosen = () if tokenizer is None else ("--tokenizer", tokenizer)
    told = ulmkit(*command, "data.csv", "--out", "out", *chosen, *options, status=2)
    name = tokenizer or "spacy"
    expected = f"{flag}: has no effect on the {name} tokenizer; drop it, or take --tokenizer {reader}"
    assert told.err == f"ulmkit: {expected}\n"


def test_options_of_another_cell(here: Path) -> None:
    told = ulmkit("pretrain", "data.csv", "--out", "out", *SMALL, "--mogrifier-rounds", 3, status=2)
    expected = "--mogrifier-rounds: has no effect on --cell lstm; drop it, or take --cell mogrifier"
    assert told.err == f"ulmkit: {expected}\n"


@pytest.mark.parametrize(
    ("task", "options", "flag"),
    [
        ("single", ("--number-loss", "huber"), "--number-loss"),
        ("single", ("--value-range", 0, 5), "--value-range"),
        ("multi", ("--label-smoothing", 0.1), "--label-smoothing"),
    ],
)
def test_options_of_another_head(task: str, options: Sequence[object], flag: str, here: Path) -> None:
    options = ("--method", "finetune", "--steps", 1, "--task", task, *options)
    told = ulmkit("train", "none", "data.csv", "--out", "out", *options, status=2)
    assert told.error == f"ulmkit: {flag}: has no effect on task {task!r}; drop it"


def test_columns_of_a_prepared_corpus(here: Path) -> None:
    tiny.write_csv(here / "data.csv", [(*pair, "other") for pair in tiny.reviews(60)], ("text", "label", "note"))
    ulmkit("prepare", "data.csv", "--out", "corpus", "--tokenizer", "whitespace", "--task", "single")
    told = ulmkit("train", "none", "corpus", "--out", "out", "--label-column", "note", status=2)
    expected = "--label-column: got note, but corpus was prepared with 'label'; leave --label-column out, or give the"
    assert told.error == f"ulmkit: {expected} text itself"
    told = ulmkit("train", "none", "corpus", "--out", "out", "--text-column", "note", status=2)
    assert "--text-column: got note, but corpus was prepared with 'text'" in told.error
    ulmkit("train", "none", "corpus", "--out", "out", "--label-column", "label", "--no-baselines")
