"""Commands with a pair of language models: both members where it matters, the forward one where that is enough."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from support import tiny
from support.command import CLASSIFY, TUNE, table_row, ulmkit

from ulmkit import LanguageModel, TextClassifier
from ulmkit.cli import training_commands
from ulmkit.training import LineProgress, ProgressInfo

FORWARD = "language model: a pair, of which this command takes the forward member"


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_csv(tmp_path_factory.mktemp("data") / "reviews.csv", tiny.reviews())


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lm") / "pair"
    LanguageModel(tiny.language_model().parts, tiny.backward_language_model().parts).save(folder)
    return folder


def test_finetune_writes_a_pair_and_sums_up_both_members(pair: Path, reviews: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    told = ulmkit("finetune", pair, reviews, "-o", out, *TUNE, "--steps", 3, "--json", tmp_path / "s.json")
    tuned = LanguageModel.load(out)
    assert [member.direction for member in tuned.members] == ["forward", "backward"]
    for member in tuned.members:
        assert table_row(told.out, f"{member.direction}: steps") == ["3"]
        assert f"{member.facts.validation['perplexity']:.4g}" in told.out
    summary = json.loads((tmp_path / "s.json").read_text())
    assert (summary["facts"]["stage"], summary["backward_facts"]["stage"]) == ("fine-tuning", "fine-tuning")
    assert summary["parameters"] == int(table_row(told.out, "parameters")[0].replace(",", ""))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.json", "tuned"]


class StopIn(LineProgress):
    """Sends Ctrl-C in the training of a direction at a step."""

    def __init__(self, direction: str, step: int) -> None:
        super().__init__()
        self.place = direction, step

    def update(self, info: ProgressInfo) -> None:
        if (info.phase.split()[0], info.step) == self.place:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_pair_that_was_stopped_in_either_direction_goes_on(
    direction: str, pair: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("finetune", pair, reviews, *TUNE, "--steps", 4, "--device", "cpu", "--threads", 1)
    with monkeypatch.context() as patched:
        patched.setattr(training_commands, "make_progress", lambda: StopIn(direction, 2))
        said = ulmkit(*command, "-o", tmp_path / "halves", status=130).err
    assert str(tmp_path / "halves.training" / direction / "checkpoint-00000002") in said
    again = ulmkit(*command, "-o", tmp_path / "halves", status=2).error
    assert "is left from an earlier run; continue it with --resume" in again
    ulmkit(*command, "-o", tmp_path / "halves", "--resume")
    ulmkit(*command, "-o", tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["halves", "whole"]
    for member in ("forward", "backward"):
        weights = [load_file(tmp_path / name / member / "model.safetensors") for name in ("halves", "whole")]
        assert all(tensor.equal(weights[1][name]) for name, tensor in weights[0].items())


def test_what_else_is_in_the_folder_of_a_pairs_checkpoints_is_kept(pair: Path, reviews: Path, tmp_path: Path) -> None:
    notes = tmp_path / "lm.training" / "forward" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    told = ulmkit("finetune", pair, reviews, "-o", tmp_path / "lm", *TUNE, "--steps", 1, status=2)
    assert f"{notes}: was not written by a training; move it elsewhere" in told.error
    assert notes.read_text() == "mine"


def test_embed_gives_the_vectors_of_both_directions(pair: Path, tmp_path: Path) -> None:
    ulmkit("embed", pair, "--text", "the film was great", "--out", tmp_path / "v.npy")
    expected = [
        model.embed(["the film was great"]) for model in (tiny.language_model(), tiny.backward_language_model())
    ]
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), np.hstack(expected), atol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [("score", "--text", "the film"), ("generate", "--max-tokens", 3), ("evaluate", "DATA"), ("lr-find", "DATA")],
)
def test_one_direction_is_enough_for_the_rest_which_say_so(
    arguments: tuple[object, ...], pair: Path, reviews: Path, tmp_path: Path
) -> None:
    command, *rest = (reviews if argument == "DATA" else argument for argument in arguments)
    options = ("--steps", 6, "--plot", tmp_path / "p.png") if command == "lr-find" else ()
    told = ulmkit(command, pair, *rest, *options)
    assert FORWARD in told.err.splitlines()
    alone = ulmkit(command, pair / "forward", *rest, *options, *(["--overwrite"] if options else []))
    assert FORWARD not in alone.err
    assert told.out == alone.out


def test_fine_tuning_a_classifier_says_that_it_takes_the_forward_member(
    pair: Path, reviews: Path, tmp_path: Path
) -> None:
    options = ("--method", "finetune", *CLASSIFY, "--steps", 2, "--no-baselines")
    told = ulmkit("train", pair, reviews, "-o", tmp_path / "c", *options)
    assert "language model: a pair, of which fine-tuning a classifier takes the forward member" in told.err.splitlines()
    assert TextClassifier.load(tmp_path / "c").parts.direction == "forward"


def test_a_corpus_is_prepared_for_a_pair(pair: Path, reviews: Path, tmp_path: Path) -> None:
    ulmkit("prepare", reviews, "--model", pair, "-o", tmp_path / "corpus")
    ulmkit("finetune", pair, tmp_path / "corpus", "-o", tmp_path / "tuned", *TUNE, "--steps", 2)


def test_a_pair_of_language_models_is_no_classifier(pair: Path, reviews: Path, tmp_path: Path) -> None:
    for command in (("export", pair, reviews, "-o", tmp_path / "x"), ("predict", pair, "--text", "a")):
        told = ulmkit(*command, status=2)
        assert "expected a classifier, got a language model; train a classifier from it" in told.error
