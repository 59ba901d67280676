"""The recipe of few labels: every rung of several draws, what is kept, and resuming."""

from pathlib import Path
from typing import Any

import few_labels
import pytest
from few_labels import KEPT, LINEAR, NETWORKS, main
from support.interrupts import InterruptInNetwork

from ulmkit.errors import ConfigError
from ulmkit.files import read_json
from ulmkit.training.interrupt import TrainingInterrupted


def recipe(*arguments: Any) -> None:
    main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def run(reviews: Path, language_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The arguments of a run of two draws that is complete."""
    out = tmp_path_factory.mktemp("few-labels") / "run"
    command = ["--data", reviews, "--language-model", language_models["forward"], "--out", out, "--method", "features"]
    command += ["--labels", 8, 16, "--draws", 2, "--json", f"{out}.json", "--plot", f"{out}.png"]
    recipe(*command)
    return command


def test_every_rung_is_scored_in_every_draw(run: list[Any]) -> None:
    document = read_json(run[-3])
    rungs = {"TF-IDF", "character TF-IDF", "NB-SVM", "document vectors", "character vectors", "linear blend"}
    rungs |= {"language model features", "linear and features", "co-trained character vectors"}
    for labels in ("8 labels", "16 labels"):
        rows = {row["peer_name"]: row for row in document["rows"] if row["case"] == labels}
        assert rungs <= rows.keys()
        assert rows.keys() <= rungs | {LINEAR, "co-trained vectors", "co-trained NB-SVM", "co-trained blend"}
        for row in rows.values():
            assert len(row["draws"]) == len(row["kept"]) == 2
            assert all(0.0 <= value <= 100.0 for value in row["draws"])
    kept = [row["name"] for entry in document["ladders"] for row in entry["ladder"] if row["is_kept"]]
    assert len(kept) == len(document["ladders"]) == 4
    assert Path(run[-1]).stat().st_size > 0


def test_the_kept_rung_is_that_of_the_ladder(run: list[Any]) -> None:
    document = read_json(run[-3])
    for place, seed in ((0, 0), (1, 1)):
        entry = next(each for each in document["ladders"] if (each["labels"], each["seed"]) == (16, seed))
        kept = next(row["name"] for row in entry["ladder"] if row["is_kept"])
        (row,) = [row for row in document["rows"] if (row["case"], row["peer_name"]) == ("16 labels", kept)]
        assert row["draws"][place] == row["kept"][place]


def test_the_same_command_computes_nothing_again(
    run: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise AssertionError("climbed again")

    monkeypatch.setattr(few_labels, "climb_corpus", fail)
    recipe(*run)
    lines = capsys.readouterr().out.splitlines()
    names = [line.split("  ")[0].strip() for line in lines]
    for name in ("TF-IDF", LINEAR, KEPT, "the language model adds", "minutes"):
        assert name in names
    assert any("8 validation documents; text of 112 documents" in line for line in lines)


def test_what_uses_word_vectors_is_compared_with_a_ladder_without_them(
    reviews: Path, language_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    climbed = []
    climb = few_labels.climb_corpus

    def remember(text: Any, bases: Any, *arguments: Any, **options: Any) -> Any:
        ladder = climb(text, bases, *arguments, **options)
        ladder.uses_word_vectors = bool(bases)
        climbed.append((len(bases), ladder.kept.name))
        return ladder

    monkeypatch.setattr(few_labels, "climb_corpus", remember)
    command = ["--data", reviews, "--language-model", language_models["forward"], "--method", "linear", "--labels", 16]
    recipe(*command, "--draws", 1, "--out", tmp_path / "run", "--json", tmp_path / "run.json")
    assert [bases for bases, _ in climbed] == [1, 0]
    names = {row["peer_name"] for row in read_json(tmp_path / "run.json")["rows"]}
    assert LINEAR in names


def test_labelled_documents_alone(
    reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    learned = []
    climb = few_labels.climb_corpus

    def check(text: Any, bases: Any, rows: Any, *arguments: Any, **options: Any) -> Any:
        assert text.rows.tolist() == sorted(rows.tolist())
        learned.append(frozenset(text.rows.tolist()))
        return climb(text, bases, rows, *arguments, **options)

    monkeypatch.setattr(few_labels, "climb_corpus", check)
    command = ["--data", reviews, "--method", "linear", "--labels", 16, "--draws", 2, "--out", tmp_path / "run"]
    recipe(*command, "--only-labelled")
    told = capsys.readouterr().out
    assert [len(rows) for rows in learned] == [16, 16]
    assert learned[0] != learned[1]
    assert "8 validation documents; no text but that of the labelled documents" in told
    assert "co-trained" not in told


def test_a_draw_that_was_stopped_in_a_network_goes_on(
    reviews: Path, language_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    command = ["--data", reviews, "--language-model", language_models["forward"], "--out", out, "--minutes", 0.02]
    command += ["--labels", 8, "--draws", 1, "--device", "cpu", "--precision", "fp32"]
    monkeypatch.setattr(few_labels, "make_progress", lambda: InterruptInNetwork(2, 1))
    with pytest.raises(TrainingInterrupted):
        recipe(*command)
    assert (out / "8-0" / NETWORKS / "forward-2").is_dir()
    assert not (out / "8-0" / "ladder.json").exists()
    monkeypatch.setattr(few_labels, "make_progress", InterruptInNetwork)
    recipe(*command)
    assert "fine-tuned forward" in [row["name"] for row in read_json(out / "8-0" / "ladder.json")["ladder"]]
    assert not (out / "8-0" / NETWORKS).exists()


def test_refusals(run: list[Any], reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="was begun with other settings"):
        recipe(*run, "--minutes", 3)
    with pytest.raises(ConfigError, match="--method: "):
        recipe("--data", reviews, "--out", tmp_path / "run", "--method", "finetune")
    with pytest.raises(ConfigError, match="--labels: "):
        recipe("--data", reviews, "--out", tmp_path / "run", "--labels", 0)
