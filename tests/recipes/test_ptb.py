"""The recipe of Penn Treebank with a tiny model: results, stopping and resuming, table, and errors."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import run_evaluation
import stages
import word_level
from ptb import TASK
from recipe_command import run_main
from safetensors.torch import load_file
from stages import begin_run, read_curve
from support.interrupts import InterruptAtStep
from support.recipe_text import RECIPES, write_corpus
from word_level import plan_stages, run_word_level

from ulmkit.errors import ConfigError, FolderError
from ulmkit.files import read_json
from ulmkit.pipeline import AWD_LSTM_PTB, AWD_LSTM_PTB_PAPER, AWD_QRNN_PTB, MODERN_PTB
from ulmkit.training import Budget

EPOCHS = 3
SMALL = ["--quick", "--precision", "fp32", "--device", "cpu", "--statistics-batches", "2"]


def ptb(*arguments: Any) -> None:
    run_word_level(TASK, None, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def readme(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of both stages of the README's recipe with all evaluations."""
    out = tmp_path_factory.mktemp("ptb") / "readme"
    files = ["--json", out.with_suffix(".json"), "--plot", out.with_suffix(".png")]
    ptb("--data", text, "--out", out, *SMALL, "--recipe", "readme", "--epochs", EPOCHS, "--test", *files)
    return out


def test_all_results_of_a_published_recipe(readme: Path):
    document = read_json(readme.with_suffix(".json"))
    methods = ["plain", "cache", "dynamic", "dynamic + cache", "original's arithmetic"]
    expected = [("valid", "main", method) for method in (methods[0], methods[-1])] + [
        ("valid", "tuning", method) for method in methods
    ]
    expected += [("test", stage, method) for _, stage, method in expected]
    assert [(e["split"], e["stage"], e["method"]) for e in document["evaluation"]] == expected
    assert all(1 < entry["perplexity"] < 60 for entry in document["evaluation"])
    exact, original = (document["evaluation"][number] for number in (2, 6))
    assert original["tokens"] == exact["tokens"] // 10 * 10 - 10
    assert original["settings"] == {"rows": 10}
    assert [e["settings"] for e in document["evaluation"] if e["method"] == methods[-1]][-1] == {"rows": 1}
    rows = {row["case"]: row for row in document["rows"]}
    assert rows["test, readme, tuning stage, cache"]["peer"] == 52.5
    assert rows["valid, readme, main stage, plain"]["peer"] == 61.2
    assert rows["valid, readme, tuning stage, dynamic + cache"]["peer"] is None
    assert not any(row["is_reproduction"] for row in rows.values())
    assert document["run"]["command"] == (
        "python recipes/" + Path(sys.argv[0]).name + " --data PLACE --out FOLDER --quick --precision fp32 --device cpu "
        "--statistics-batches 2 --recipe readme --epochs 3 --test --json FILE --plot FILE"
    )
    assert document["run"]["minutes"].keys() == {"main", "tuning"}
    assert document["run"]["averaged_steps"].keys() == {"main", "tuning"}
    assert (document["run"]["averaged_steps"]["main"], document["run"]["precision"]) == (0, "fp32")
    assert document["run"]["seed"] == 141
    assert document["machine"]["cores"] >= 1


def test_the_curve_covers_both_stages(readme: Path):
    curve = read_json(readme.with_suffix(".json"))["curve"]
    assert curve == read_curve(readme)
    assert [row["stage"] for row in curve] == ["main"] * EPOCHS + ["tuning"] * EPOCHS
    assert [row["minutes"] for row in curve] == sorted(row["minutes"] for row in curve)
    tokens = [row["tokens"] for row in curve]
    assert tokens == [tokens[0] * times for times in range(1, 2 * EPOCHS + 1)]
    assert readme.with_suffix(".png").stat().st_size > 1000


def test_kept_results_are_not_computed_again(readme: Path, text: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing is trained again either."""

    def work(*_: object, **__: object) -> None:
        raise AssertionError("work was done")

    for module, name in (
        (run_evaluation, "evaluate_language_model"),
        (run_evaluation, "perplexity"),
        (stages, "finetune"),
    ):
        monkeypatch.setattr(module, name, work)
    before = read_json(readme.with_suffix(".json"))
    again = readme.with_name("again.json")
    ptb("--data", text, "--out", readme, *SMALL, "--recipe", "readme", "--epochs", EPOCHS, "--test", "--json", again)
    assert read_json(again)["evaluation"] == before["evaluation"]
    with pytest.raises(AssertionError, match="work was done"):
        ptb("--data", text, "--out", readme, *SMALL[:-1], 3, "--recipe", "readme", "--epochs", EPOCHS)


def test_the_table(readme: Path, text: Path, capsys: pytest.CaptureFixture[str]):
    ptb("--data", text, "--out", readme, *SMALL, "--recipe", "readme", "--epochs", EPOCHS)
    lines = capsys.readouterr().out.splitlines()
    cache = next(line for line in lines if line.startswith("awd-lstm-lm README + cache pointer"))
    assert "53.2 / 52.5" in cache
    assert "/ - (reduced, other text)" in cache
    paper = next(line for line in lines if line.startswith("AWD-LSTM paper + continuous cache"))
    assert "not yet run at full length" in paper
    assert any(
        line.startswith("reduced: 3 epochs a stage, a tiny model (3 + 3 epochs read), seed 141") for line in lines
    )
    assert any("not the published corpus PTB" in line and "for 929,589" in line for line in lines)
    assert any(line.startswith("readme, tuning stage: original's arithmetic") for line in lines)


def test_other_settings_are_refused(readme: Path, text: Path, tmp_path: Path):
    run = ["--data", text, "--out", readme, *SMALL, "--recipe", "readme"]
    with pytest.raises(
        ConfigError, match=r"stages.main.budget.epochs: was 3.0, now 9.0\); give the same settings, or another"
    ):
        ptb(*run, "--epochs", 9)
    with pytest.raises(ConfigError, match=r"begun with other settings \(seed: was 141, now 5\)"):
        ptb(*run, "--epochs", EPOCHS, "--seed", 5)
    with pytest.raises(ConfigError, match="recipe: got 'readmi'; did you mean 'readme'"):
        ptb("--data", text, "--out", tmp_path / "run", "--recipe", "readmi")
    for name, value in (("--statistics-batches", -1), ("--search-tokens", 0), ("--plot", "runs.jpg")):
        with pytest.raises(ConfigError, match=name.removeprefix("--").replace("-", "_") + "|format"):
            ptb("--data", text, "--out", tmp_path / "run", name, value)
    with pytest.raises(ConfigError, match="epochs: expected a number above 0, got 0"):
        ptb("--data", text, "--out", tmp_path / "run", "--epochs", 0)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FolderError, match="already exists and is not a run of this recipe; choose another --out"):
        begin_run(tmp_path, {"seed": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_stopped_and_killed_runs_resume_to_the_same_results(
    readme: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Ctrl-C in the first stage, SIGKILL in the second, an error between evaluations."""
    out, whole = tmp_path / "run", tmp_path / "run.json"
    arguments = ("--data", text, "--out", out, *SMALL, "--recipe", "readme", "--epochs", EPOCHS, "--test")
    with monkeypatch.context() as patched, pytest.raises(SystemExit) as end:
        patched.setattr(word_level, "make_progress", lambda: InterruptAtStep(9))
        run_main(lambda: ptb(*arguments))
    assert end.value.code == 130
    assert not (out / "main").exists()
    assert list((out / "main.training").glob("checkpoint-*"))

    program = [sys.executable, str(RECIPES / "ptb.py"), *map(str, arguments), "--threads", "1"]
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (out / "tuning.training" / "training_log.csv").exists() and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    assert process.wait(timeout=120) == -signal.SIGKILL
    assert (out / "main" / "config.json").is_file()
    assert not (out / "tuning").exists()

    with monkeypatch.context() as patched, pytest.raises(ZeroDivisionError):
        patched.setattr(run_evaluation, "perplexity", lambda *_, **__: 1 / 0)
        ptb(*arguments)
    assert 0 < len(read_json(out / "evaluation.json")) < 14
    ptb(*arguments, "--json", whole)
    for stage in ("main", "tuning"):
        weights = [load_file(folder / stage / "model.safetensors") for folder in (readme, out)]
        for name, tensor in weights[0].items():
            assert tensor.numpy().tobytes() == weights[1][name].numpy().tobytes(), (stage, name)
    figures = [read_json(path)["evaluation"] for path in (readme.with_suffix(".json"), whole)]
    assert [entry["perplexity"] for entry in figures[0]] == [entry["perplexity"] for entry in figures[1]]
    assert [row["perplexity"] for row in read_curve(out)] == [row["perplexity"] for row in read_curve(readme)]


def test_modern_in_minutes_with_searched_values(text: Path, tmp_path: Path):
    file = tmp_path / "results.json"
    run = ["--data", text, "--out", tmp_path / "run", *SMALL, "--minutes", 0.03, "--dropout", 0.25]
    ptb(*run, "--evaluate", "plain", "cache", "--search", "--search-tokens", 40, "--json", file)
    document = read_json(file)
    assert [(entry["stage"], entry["method"]) for entry in document["evaluation"]] == [
        ("main", "plain"),
        ("main", "cache"),
    ]
    kept = read_json(tmp_path / "run" / "evaluation.json")
    searched = next(entry for entry in kept.values() if "best" in entry)
    assert document["evaluation"][1]["settings"]["cache"] == searched["best"]
    assert document["run"]["recipe"] == "modern"
    assert not document["run"]["is_full_length"]
    assert document["run"]["budget"] == "0.03 minutes, dropouts of its sizes times 0.25, a tiny model"
    assert document["run"]["averaged_steps"] == {}
    weight_dropout = read_json(tmp_path / "run" / "main" / "config.json")["encoder"]["weight_dropout"]
    assert weight_dropout == 0.25 * MODERN_PTB.sizes.encoder.weight_dropout


def test_dropouts_are_multiplied_once_not_by_each_stage(text: Path, tmp_path: Path):
    """The second stage, trained later, does not multiply them again."""
    run = ["--data", text, "--out", tmp_path / "run", *SMALL, "--recipe", "readme", "--epochs", 1, "--dropout", 0.5]
    ptb(*run, "--evaluate", "plain", "--first-stage", "--json", tmp_path / "first.json")
    assert not (tmp_path / "run" / "tuning").exists()
    first = read_json(tmp_path / "first.json")
    assert {entry["stage"] for entry in first["evaluation"]} == {"main"}
    assert first["run"]["minutes"].keys() == {"main"}
    ptb(*run, "--evaluate", "plain")
    for stage in ("main", "tuning"):
        encoder = read_json(tmp_path / "run" / stage / "config.json")["encoder"]
        assert (encoder["weight_dropout"], encoder["hidden_dropout"]) == (0.25, 0.125)


@pytest.mark.parametrize(("recipe", "tensors"), [("qrnn", 6), ("mos", 13)])
def test_other_layers_and_softmaxes(recipe: str, tensors: int, text: Path, tmp_path: Path):
    """With two layers: 2 tensors for embedding and decoder bias, 2 a QRNN layer, 4 an LSTM layer, 3 a mixture."""
    run = ["--data", text, "--out", tmp_path / "run", *SMALL, "--recipe", recipe, "--epochs", 1, "--first-stage"]
    ptb(*run, "--evaluate", "plain", "dynamic", "--json", tmp_path / "results.json")
    document = {entry["method"]: entry for entry in read_json(tmp_path / "results.json")["evaluation"]}
    assert document["dynamic"]["perplexity"] < document["plain"]["perplexity"] < 60
    assert len(load_file(tmp_path / "run" / "main" / "model.safetensors")) == tensors


def test_a_stopped_search_resumes(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The results before the stop are kept."""
    import ulmkit.evaluation.language.dynamic_search as dynamic_search

    run = ["--data", text, "--out", tmp_path / "run", *SMALL, "--epochs", 1, "--evaluate", "dynamic", "--search"]
    run += ["--search-tokens", 20]
    real, calls = dynamic_search.dynamic_perplexity, []

    def failing_at_4(*args: Any, **options: Any) -> Any:
        calls.append(1)
        return real(*args, **options) if len(calls) != 4 else 1 / 0

    monkeypatch.setattr(dynamic_search, "dynamic_perplexity", failing_at_4)
    with pytest.raises(ZeroDivisionError):
        ptb(*run)
    ptb(*run, "--json", tmp_path / "results.json")
    assert len(calls) == 11 + 1
    kept = read_json(tmp_path / "run" / "evaluation.json")
    search = next(entry for entry in kept.values() if "best" in entry)
    assert len(search["rows"]) == 11
    assert not [entry for entry in kept.values() if "tried" in entry]
    assert search["perplexity"] == min(row["perplexity"] for row in search["rows"])
    assert read_json(tmp_path / "results.json")["evaluation"][0]["settings"]["dynamic"] == search["best"]


def test_budgets_are_divided_over_stages():
    assert [stage.budget for stage in plan_stages(AWD_LSTM_PTB, minutes=8)] == [Budget(minutes=6), Budget(minutes=2)]
    assert [stage.budget for stage in plan_stages(AWD_LSTM_PTB_PAPER)] == [Budget(epochs=750)] * 2
    assert [stage.budget for stage in plan_stages(AWD_LSTM_PTB, epochs=3)] == [Budget(epochs=3)] * 2
    assert [stage.budget for stage in plan_stages(MODERN_PTB)] == [Budget(epochs=MODERN_PTB.epochs)]
    assert [stage.recipe for stage in plan_stages(AWD_LSTM_PTB)] == [AWD_LSTM_PTB.main, AWD_LSTM_PTB.tuning]
    assert [stage.budget.epochs for stage in plan_stages(AWD_QRNN_PTB)] == [550, 300]
    assert [stage.budget.epochs for stage in plan_stages(AWD_QRNN_PTB, epochs=9)] == [9, 9]


def test_bad_input_ends_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        run_main(lambda: ptb("--data", tmp_path / "nosuch", "--out", tmp_path / "run"))
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{tmp_path / 'nosuch'}: ")


def test_curves_of_several_runs(readme: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from curves import main, print_minutes

    print_minutes({"a": [(1.0, 90.0), (2.0, 70.0), (3.0, 75.0)], "b": [(1.5, 80.0)], "c": []}, None)
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines() if line[:1] in "abc"] == [
        "2.0",
        "1.5",
        "-",
    ]
    main([str(readme), "--out", str(tmp_path / "runs.svg")])
    assert "readme" in (tmp_path / "runs.svg").read_text()
    with pytest.raises(ConfigError, match="runs: expected folders of different names, got 'readme' twice; rename one"):
        main([str(readme), str(readme), "--out", str(tmp_path / "runs.svg")])
    with pytest.raises(FolderError, match="no such file"):
        main([str(write_corpus(tmp_path / "text", 2)), "--out", str(tmp_path / "runs.svg")])
