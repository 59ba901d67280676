"""The recipe of the shipped models with tiny ones: results and facts, stopping and going on, and what is refused."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import en_small
import numpy as np
import pytest
import torch
from support import tiny
from support.interrupts import InterruptAtStep

from ulmkit import DataOptions, LanguageModel
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.hub import load_pair
from ulmkit.pipeline import prepare
from ulmkit.text import EncodedCorpus
from ulmkit.training import TrainingInterrupted

STEPS = ("--steps", 6, "--decay-steps", 4, "--quick", "--precision", "fp32", "--device", "cpu", "--threads", 1)


@pytest.fixture(scope="module")
def wiki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a text with a validation split of its own; some characters take more than one byte."""
    folder = tmp_path_factory.mktemp("wiki") / "wiki"
    folder.mkdir()
    for split, first, count in (("train", 0, 120), ("valid", 5000, 20)):
        rows = [(f"{tiny.review('pos', first + number)} é",) for number in range(count)]
        tiny.write_csv(folder / f"{split}.csv", rows, ("text",))
    return folder


def recipe(wiki: Path, out: Path, *arguments: Any) -> None:
    en_small.main([str(argument) for argument in ("--data", wiki, "--out", out, *STEPS, *arguments)])


@pytest.fixture(scope="module")
def run(wiki: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    recipe(wiki, out, "--json", out.with_suffix(".json"))
    return out


def test_the_result_is_a_pair_with_its_facts_and_card(run: Path, wiki: Path) -> None:
    model = LanguageModel.load(run / "en-small")
    assert [member.direction for member in model.members] == ["forward", "backward"]
    corpus = EncodedCorpus.open(run / "corpus")
    text = (wiki / "valid.csv").read_text(encoding="utf-8").splitlines()[1:]
    size = sum(len(line.encode()) for line in text)
    assert size > sum(map(len, text))
    results = json.loads(run.with_suffix(".json").read_text())["results"]
    for member in model.members:
        exact = LanguageModel(member).evaluate(corpus, split="valid")
        result = results[member.direction]
        assert result["perplexity_per_word"] == pytest.approx(exact.perplexity_per_word)
        assert result["bits_per_byte"] == pytest.approx(exact.nll / size / math.log(2))
        assert 0 < abs(result["rounding_loss_difference"]) <= result["rounding_largest_difference"] < 0.1
        assert member.facts.notes.items() >= result.items()
        assert member.facts.notes["steps"] == 10
        assert member.facts.base is not None
        assert (member.facts.validation_before, member.facts.base.validation) == ({}, {})
        assert member.facts.data.cleanness == "clean"
    facts = load_pair(run / "en-small").facts
    assert (facts.license, facts.language, facts.stage) == ("cc-by-sa-3.0", "en", "fine-tuning")
    assert str(facts.notes["command"]).endswith(f" --data PLACE --out FOLDER {' '.join(map(str, STEPS))} --json FILE")
    card = (run / "en-small" / "README.md").read_text()
    for part in ("license: cc-by-sa-3.0", "contributors of Wikipedia", "bits per byte", "- Not good for facts"):
        assert part in card


def test_the_rate_is_constant_then_falls_and_is_one_for_all_layers() -> None:
    stages = en_small.SMALL.stages(10, 10)
    rates = [[stage.recipe.schedule.at(step, 10).rate for step in range(11)] for stage in stages]
    assert rates[0] == [1.0] * 11
    assert rates[1][0] == 1.0
    assert rates[1][5] == pytest.approx(0.5, abs=1e-4)
    assert rates[1] == sorted(rates[1], reverse=True)
    assert rates[1][10] < 1e-4
    for stage in stages:
        (phase,) = stage.recipe.phases(3, stage.budget)  # no layer is frozen first
        assert phase.rates(3) == [2e-3] * 3


def test_the_same_command_goes_on_to_the_same_weights(
    run: Path, wiki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--direction", "backward", "--corpus", run / "corpus")
    with monkeypatch.context() as patched:
        patched.setattr(en_small, "make_progress", lambda: InterruptAtStep(3))
        with pytest.raises(TrainingInterrupted):
            recipe(wiki, tmp_path / "out", *options)
    recipe(wiki, tmp_path / "out", *options)
    alone = LanguageModel.load(tmp_path / "out" / "en-small-backward")
    assert (alone.backward, alone.parts.direction) == (None, "backward")
    whole = LanguageModel.load(run / "en-small").backward
    for one, other in zip(alone.parts.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(one, other)
    other = ("--direction", "backward", "--corpus", run / "corpus", "--decay-steps", 5)
    with pytest.raises(ConfigError, match=r"begun with other settings \(stages.decay.budget.steps: was 4, now 5\)"):
        recipe(wiki, tmp_path / "out", *other)


def test_a_complete_run_is_not_trained_or_evaluated_again(
    run: Path, wiki: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tiny.contents(run / "forward")
    monkeypatch.setattr("stages.pretrain", None)
    monkeypatch.setattr("stages.finetune", None)
    monkeypatch.setattr(en_small, "bytes_of_split", None)
    recipe(wiki, run, "--direction", "forward", "--language", "de", "--name", "de-small")
    assert tiny.contents(run / "forward") == before
    german = LanguageModel.load(run / "de-small-forward").parts.facts
    assert german.language == "de"
    assert german.description == (
        "A small German language model to fine-tune on your own text, pretrained on Wikipedia."
    )


def test_what_is_refused(run: Path, wiki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tiny.contents(run / "en-small")
    with pytest.raises(FolderError, match=r"en-small: expected at most 0\.01 MB, got 0\.\d; nothing was written"):
        recipe(wiki, run, "--max-megabytes", 0.01)
    with monkeypatch.context() as patched:
        patched.setattr(en_small, "LARGEST_DIFFERENCE", 1e-9)
        with pytest.raises(DataError, match="forward: weights in bfloat16 change a log-probability by"):
            recipe(wiki, run)
    assert tiny.contents(run / "en-small") == before
    with pytest.raises(ConfigError, match="direction: got 'both ways'"):
        recipe(wiki, run, "--direction", "both ways")
    with pytest.raises(ConfigError, match="--name: expected a name for a folder in FOLDER, got 'forward'"):
        recipe(wiki, run, "--name", "forward")
    corpus = EncodedCorpus.open(run / "corpus")
    other = tmp_path / "other"
    other.mkdir()
    for split in ("train", "valid"):
        tiny.write_csv(other / f"{split}.csv", [("a text",)] * 140, ("text",))
    with pytest.raises(DataError, match=r"other: expected the text that .*corpus was prepared from, with"):
        en_small.bytes_of_split(corpus, "valid", str(other), DataOptions())


def test_rounding_is_measured_between_the_models() -> None:
    parts = tiny.language_model().parts
    corpus = EncodedCorpus.open(_corpus_of_reviews())
    same = en_small.rounding_differences(parts, parts, corpus)
    assert same == {"rounding_largest_difference": 0.0, "rounding_loss_difference": 0.0}
    fresh = replace(parts, model=type(parts.model)(parts.model.config, parts.model.vocab_size).eval())
    other = en_small.rounding_differences(parts, fresh, corpus)
    assert other["rounding_largest_difference"] > np.abs(other["rounding_loss_difference"]) > 0.1


def _corpus_of_reviews() -> Path:
    parts = tiny.language_model().parts
    return prepare(tiny.reviews(), tiny.WORDS, tokenizer=parts.tokenizer, vocabulary=parts.vocabulary).folder
