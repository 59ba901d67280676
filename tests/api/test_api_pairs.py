"""Pairs: a forward and a backward language model that are held, fine-tuned and saved as one."""

import functools
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import tiny

from ulmkit import LanguageModel, TextClassifier, pipeline
from ulmkit.errors import ConfigError, FolderError
from ulmkit.hub import load_pair, save_pair
from ulmkit.pipeline import RunOptions
from ulmkit.training import LineProgress, TrainingInterrupted, latest_checkpoint
from ulmkit.training.progress import ProgressInfo

TEXTS = [text for text, _ in tiny.reviews(6, first=300)]
TUNING = {"recipe": tiny.LEARN, "data_options": tiny.WORDS}


@functools.cache
def pair() -> LanguageModel:
    return LanguageModel(tiny.language_model().parts, tiny.backward_language_model().parts)


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    return all(torch.equal(*each) for each in zip(one.parameters(), other.parameters(), strict=True))


def test_a_saved_pair_is_a_pair_again(tmp_path: Path) -> None:
    pair().save(tmp_path / "pair")
    loaded = LanguageModel.load(tmp_path / "pair", tiny.RUN)
    assert [member.direction for member in loaded.members] == ["forward", "backward"]
    assert repr(loaded) == repr(pair())
    assert repr(loaded).endswith("tokens, forward and backward)")
    assert all(same_weights(a.model, b.model) for a, b in zip(loaded.members, pair().members, strict=True))
    assert loaded.parts.model.encoder.precision == loaded.members[1].model.encoder.precision == "fp32"
    with pytest.raises(FolderError, match="pair: already exists"):
        pair().save(tmp_path / "pair")
    pair().save(tmp_path / "pair", overwrite=True)


def test_a_pair_in_bfloat16_rounds_both_members(tmp_path: Path) -> None:
    pair().save(tmp_path / "half", weights="bfloat16")
    for loaded, original in zip(LanguageModel.load(tmp_path / "half").members, pair().members, strict=True):
        for name, tensor in original.model.state_dict().items():
            assert torch.equal(loaded.model.state_dict()[name], tensor.bfloat16().float())
    with pytest.raises(ConfigError, match="weights: got 'int8'"):
        pair().save(tmp_path / "none", weights="int8")
    assert [path.name for path in tmp_path.iterdir()] == ["half"]


def test_facts_and_card_of_a_pair(tmp_path: Path) -> None:
    members = [
        replace(parts, facts=replace(parts.facts, license="cc0-1.0", notes={"text": "made up", "width": width}))
        for parts, width in zip(pair().members, (1, 2), strict=True)
    ]
    LanguageModel(*members).save(tmp_path / "pair")
    facts = load_pair(tmp_path / "pair").facts
    perplexities = {f"{each.direction}_perplexity": each.facts.validation["perplexity"] for each in members}
    assert perplexities.items() <= facts.validation.items()
    assert (facts.stage, facts.license, facts.data) == ("pretraining", "cc0-1.0", members[0].facts.data)
    assert facts.run is None
    assert facts.notes == {"text": "made up", "forward": {"width": 1}, "backward": {"width": 2}}
    card = (tmp_path / "pair" / "README.md").read_text()
    for line in ("license: cc0-1.0", "Trained on documents given in Python.", "Clean: every model", "- text: made up"):
        assert line in card
    assert f"{perplexities['backward_perplexity']:,.4g}" in card
    assert "- backward: width 2" in card


def test_embeddings_of_a_pair_are_those_of_both_directions() -> None:
    features = pair().embed(TEXTS)
    expected = [tiny.language_model().embed(TEXTS), tiny.backward_language_model().embed(TEXTS)]
    np.testing.assert_array_equal(features, np.hstack(expected))
    assert features.dtype == np.float32
    assert pair().embed([]).shape == (0, features.shape[1])


def test_one_direction_is_enough_for_the_rest() -> None:
    forward = tiny.language_model()
    assert pair().score(TEXTS) == forward.score(TEXTS)
    assert pair().evaluate(TEXTS) == forward.evaluate(TEXTS)
    assert pair().generate("the", max_tokens=5, seed=1) == forward.generate("the", max_tokens=5, seed=1)


def test_fine_tuning_a_pair_is_fine_tuning_each_on_the_same_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = []
    monkeypatch.setattr(
        "ulmkit.pipeline.data.cached_corpus",
        lambda *given, real=pipeline.data.cached_corpus, **options: prepared.append(1) or real(*given, **options),
    )
    tuned = pair().finetune(tiny.reviews(), steps=3, run=tiny.RUN, **TUNING)
    assert len(prepared) == 1
    for model, member in zip((tiny.language_model(), tiny.backward_language_model()), tuned.members, strict=True):
        alone = model.finetune(tiny.reviews(), steps=3, run=tiny.RUN, **TUNING)
        assert same_weights(alone.parts.model, member.model)
        assert not same_weights(model.parts.model, member.model)
        assert (member.direction, member.facts.run.steps) == (model.parts.direction, 3)


def test_the_members_share_a_budget_in_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    budgets = []
    monkeypatch.setattr("ulmkit.pipeline.pairs.finetune", lambda base, *_, budget, **__: budgets.append(budget) or base)
    pair().finetune(tiny.reviews(), minutes=3, **TUNING)
    pair().finetune(tiny.reviews(), epochs=3, **TUNING)
    assert [budget.minutes or budget.epochs for budget in budgets] == [1.5, 1.5, 3, 3]


class Recorder(LineProgress):
    """Keeps the lines and the names of the phases."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.phases: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def update(self, info: ProgressInfo) -> None:
        self.phases.append(info.phase)


def test_progress_says_which_direction_trains() -> None:
    recorder = Recorder()
    pair().finetune(tiny.reviews(), steps=2, run=replace(tiny.RUN, progress=recorder), **TUNING)
    assert recorder.phases == ["forward full"] * 2 + ["backward full"] * 2
    validations = [line for line in recorder.lines if "validation" in line]
    assert [line.split(":")[0] for line in validations] == ["forward", "backward"]


class StopIn(Recorder):
    """Interrupts the training of a direction at a step."""

    def __init__(self, direction: str, step: int) -> None:
        super().__init__()
        self.place = direction, step

    def update(self, info: ProgressInfo) -> None:
        super().update(info)
        if (info.phase.split()[0], info.step) == self.place:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_pair_resumes_in_either_direction(direction: str, tmp_path: Path) -> None:
    run = RunOptions(precision="fp32", device="cpu", validations=1, folder=tmp_path / "run")
    with pytest.raises(TrainingInterrupted):
        pair().finetune(tiny.reviews(), steps=4, run=replace(run, progress=StopIn(direction, 2)), **TUNING)
    checkpoint = latest_checkpoint(tmp_path / "run" / direction)
    assert checkpoint is not None
    assert (latest_checkpoint(tmp_path / "run" / "backward") is None) == (direction == "forward")
    recorder = Recorder()
    resumed = pair().finetune(tiny.reviews(), steps=4, run=replace(run, resume=True, progress=recorder), **TUNING)
    assert recorder.phases.count("forward full") == (2 if direction == "forward" else 0)
    whole = pair().finetune(tiny.reviews(), steps=4, run=tiny.RUN, **TUNING)
    for one, other in zip(resumed.members, whole.members, strict=True):
        assert same_weights(one.model, other.model)
        assert one.facts.run.steps == 4


def test_a_pair_without_a_checkpoint_is_not_resumed(tmp_path: Path) -> None:
    run = replace(tiny.RUN, folder=tmp_path / "run", resume=True)
    with pytest.raises(FolderError, match="expected a checkpoint to resume, got none"):
        pair().finetune(tiny.reviews(), steps=4, run=run, **TUNING)


def test_members_that_do_not_belong_together() -> None:
    forward, backward = pair().members
    with pytest.raises(ConfigError, match="backward: expected a model that reads backward, got one that reads forward"):
        LanguageModel(forward, forward)
    with pytest.raises(ConfigError, match="forward: expected a model that reads forward, got one that reads backward"):
        LanguageModel(backward, backward)
    options = replace(tiny.WORDS, tokenizer="bytes")
    other = LanguageModel.pretrain(
        tiny.reviews(), steps=1, sizes=tiny.SIZES, recipe=tiny.LEARN, data_options=options, run=tiny.RUN
    )
    with pytest.raises(ConfigError, match=r"backward: expected the forward model's tokenizer \(bytes\), got another"):
        LanguageModel(other.parts, backward)


def test_fine_tuning_a_classifier_takes_the_forward_member_and_says_so() -> None:
    recorder = Recorder()
    options = {"method": "finetune", "steps": 1, "recipe": tiny.CLASSIFY, "data_options": tiny.WORDS}
    run = replace(tiny.RUN, progress=recorder)
    classifier = TextClassifier.train(tiny.reviews(), pair(), run=run, **options)
    alone = TextClassifier.train(tiny.reviews(), tiny.language_model(), run=tiny.RUN, **options)
    assert recorder.lines[0] == "language model: a pair, of which fine-tuning a classifier takes the forward member"
    assert same_weights(classifier.parts.model, alone.parts.model)


def test_the_ladder_gets_both_members(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(pipeline, "train_automatically", lambda _, models, **__: given.append(models))
    TextClassifier.train(tiny.reviews(), pair(), steps=1)
    assert given == [pair().members]


def test_a_pair_of_classifiers_is_no_language_model(tmp_path: Path) -> None:
    options = {"method": "finetune", "steps": 1, "recipe": tiny.CLASSIFY, "data_options": tiny.WORDS, "run": tiny.RUN}
    for name, model in (("f", tiny.language_model()), ("b", tiny.backward_language_model())):
        TextClassifier.train(tiny.reviews(), model, **options).save(tmp_path / name)
    save_pair(tmp_path / "pair", tmp_path / "f", tmp_path / "b")
    with pytest.raises(FolderError, match="expected a language model, got a pair of classifiers"):
        LanguageModel.load(tmp_path / "pair")
    pair().save(tmp_path / "lm")
    with pytest.raises(FolderError, match="expected a classifier, got a language model; train a classifier from it"):
        TextClassifier.load(tmp_path / "lm")
