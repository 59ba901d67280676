"""Output files and the console: nothing is replaced unasked, and rows arrive whatever the console is."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import tiny
from support.command import CLASSIFY, SMALL, TINY, ulmkit, ulmkit_on_console

from ulmkit.api import LanguageModel, TextClassifier


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny.language_model().save(folder / "lm")
    tiny.classifier().save(folder / "classifier")
    data = tiny.write_csv(folder / "reviews.csv", tiny.reviews(20))
    ulmkit("train", "none", data, "-o", folder / "bytes", *CLASSIFY, "--steps", 2, *TINY)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tiny.write_csv(tmp_path / "reviews.csv", tiny.reviews(20))


def _work(*_: object, **__: object) -> None:
    raise AssertionError("work was done before the output was checked")


def _no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LanguageModel, "load", _work)
    monkeypatch.setattr(TextClassifier, "load", _work)


COMMANDS: dict[str, tuple[str, ...]] = {
    "evaluate": ("LM", "DATA", "--json"),
    "predict": ("CLASSIFIER", "DATA", "--out"),
    "predict --json": ("CLASSIFIER", "DATA", "--json"),
    "score": ("LM", "DATA", "--out"),
    "embed": ("LM", "DATA", "--out"),
    "generate": ("LM", "--json"),
    "finetune": ("LM", "DATA", "--out", "OUT", "--steps", "2", "--json"),
    "train": ("LM", "DATA", "--out", "OUT", "--steps", "2", "--json"),
    "pretrain": ("DATA", "--out", "OUT", "--steps", "2", "--json"),
    "prepare": ("DATA", "--out", "OUT", "--json"),
    "export": ("CLASSIFIER", "DATA", "--out", "OUT", "--json"),
    "report": ("CLASSIFIER", "DATA", "--out"),
    "lr-find": ("LM", "DATA", "--json"),
    "lr-find --plot": ("LM", "DATA", "--plot"),
    "quickstart": ("--out", "OUT", "--json"),
    "info": ("--json",),
}


def _command(name: str, models: Path, data: Path, output: Path) -> list[object]:
    paths = {"LM": models / "lm", "CLASSIFIER": models / "classifier", "DATA": data, "OUT": data.parent / "out"}
    return [name.split()[0], *(paths.get(part, part) for part in COMMANDS[name]), output]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_that_is_there_is_replaced_only_with_overwrite(
    name: str, models: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_work(monkeypatch)
    output = data.parent / ("notes.png" if "--plot" in name else "notes.csv")
    output.write_text("mine")
    line = ulmkit(*_command(name, models, data, output), status=2).error
    assert f"ulmkit: {output}: already exists; choose another name, or replace it with --overwrite" in line
    assert output.read_text() == "mine"
    assert not (data.parent / "out").exists()


@pytest.mark.parametrize("name", [name for name in COMMANDS if "DATA" in COMMANDS[name] and "plot" not in name])
@pytest.mark.parametrize("form", [lambda data: data, lambda data: data.parent / "." / data.name, os.path.relpath])
def test_the_input_is_never_replaced(
    name: str, form: Callable[[Path], Path | str], models: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_work(monkeypatch)
    before = data.read_bytes()
    line = ulmkit(*_command(name, models, data, Path(form(data))), "--overwrite", status=2).error
    assert f"would replace {data}, which is read" in line
    assert data.read_bytes() == before


def test_an_input_is_not_replaced_behind_a_link_or_inside_a_folder(
    models: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_work(monkeypatch)
    link = data.parent / "link.csv"
    link.symlink_to(data)
    command = ("predict", models / "classifier")
    assert "would replace" in ulmkit(*command, data, "-o", link, "--overwrite", status=2).error
    assert "would replace" in ulmkit(*command, link, "-o", data, "--overwrite", status=2).error
    assert "would replace" in ulmkit(*command, data.parent, "-o", data, "--overwrite", status=2).error
    config = models / "classifier" / "config.json"
    assert "would replace" in ulmkit(*command, data, "--json", config, "--overwrite", status=2).error


def test_a_folder_to_write_holds_no_input(models: Path, tmp_path: Path) -> None:
    before = tiny.contents(models / "lm")
    (tmp_path / "quickstart").mkdir()
    tiny.write_csv(tmp_path / "quickstart" / "target.csv", tiny.reviews(20))
    (tmp_path / "quickstart" / "quickstart.json").write_text(
        '{"perplexity_before": 9.0, "perplexity_after": 8.0, "reports": {}}'
    )
    data = tmp_path / "quickstart" / "target.csv"
    options = ("--steps", 2, "--overwrite")
    assert "would replace" in ulmkit("finetune", models / "lm", data, "-o", models / "lm", *options, status=2).error
    assert "would replace" in ulmkit("pretrain", data, "-o", data.parent, *options, status=2).error
    line = ulmkit("quickstart", "--data", data, "-o", data.parent, "--overwrite", status=2).error
    assert "would replace" in line
    assert tiny.contents(models / "lm") == before
    assert data.exists()


def test_two_outputs_have_two_names(models: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _no_work(monkeypatch)
    monkeypatch.chdir(data.parent)
    line = ulmkit("predict", models / "classifier", data, "-o", "p.csv", "--json", "./p.csv", status=2).error
    assert "--json: got './p.csv', which --out names too; choose another name" in line
    line = ulmkit("prepare", data, "-o", "corpus", "--json", "corpus/", status=2).error
    assert "which --out names too" in line


def test_the_folder_of_a_file_is_checked_before_any_work(
    models: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_work(monkeypatch)
    command = ("predict", models / "classifier", data, "--json")
    line = ulmkit(*command, data / "p.json", status=2).error
    assert f"{data}: cannot be written (Not a directory); choose another place" in line
    assert "File name too long" in ulmkit(*command, data.parent / ("p" * 300), status=2).error
    assert "expected a path that ends in a file's name" in ulmkit(*command, "..", status=2).error
    assert "Is a directory" in ulmkit(*command, data.parent, "--overwrite", status=2).error


def test_home_folders_are_found(models: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c").symlink_to(models / "classifier")
    ulmkit("predict", "~/c", "~/reviews.csv", "-o", "~/p.csv", "--json", "~/p.json")
    assert {"p.csv", "p.json"} <= {path.name for path in tmp_path.iterdir()}
    ulmkit("prepare", "~/reviews.csv", "-o", "~/corpus", "--tokenizer", "whitespace")
    ulmkit("pretrain", "~/corpus", "-o", "~/lm", *SMALL, "--steps", 2)
    ulmkit("lr-find", "~/lm", "~/reviews.csv", "--plot", "~/a.png", "--batch-size", 4, "--bptt", 8, "--steps", 20)
    names = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert names == {"a.png", "c", "corpus", "lm", "p.csv", "p.json", "reviews.csv"}
    LanguageModel.load("~/lm").save("~/copy")
    assert (tmp_path / "copy" / "config.json").is_file()


def test_devices_and_pipes_are_written_to(models: Path) -> None:
    command = ("generate", models / "lm", "--seed", 1)
    assert ulmkit(*command, "--json", "/dev/null").out
    assert Path("/dev/null").is_char_device()


def _run(*arguments: object, shell: str) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a process of its own, with `shell` after it on its line."""
    # A Python that does not buffer would hide what is left in the buffer when a command fails.
    command = shlex.join(["env", "-u", "PYTHONUNBUFFERED", sys.executable, "-m", "ulmkit", *map(str, arguments)])
    return subprocess.run(["bash", "-c", f"{command} {shell}"], capture_output=True, check=False)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-16", "utf-8"])
def test_rows_are_json_in_any_console(encoding: str, models: Path, tmp_path: Path) -> None:
    text, out = "\u4e2d\u6587 \U0001f600 caf\u00e9", tmp_path / "out"
    told = ulmkit_on_console("predict", models / "bytes", "--text", text, output=out, encoding=encoding)
    assert told == (0, b"")
    assert json.loads(out.read_bytes().decode(encoding))["text"] == text


def test_messages_escape_what_the_console_lacks(tmp_path: Path) -> None:
    name = tmp_path / "caf\u00e9 \u4e2d.csv"
    status, told = ulmkit_on_console("predict", tmp_path, name, output=tmp_path / "out", encoding="ascii")
    assert status == 2
    assert len(told.splitlines()) == 1
    assert b"Traceback" not in told
    _, told = ulmkit_on_console("predict", name, "--text", "a", output=tmp_path / "out", encoding="ascii")
    assert rb"caf\xe9 \u4e2d.csv" in told


@pytest.mark.parametrize("command", ["score", "info", "--help"])
def test_a_reader_that_leaves_ends_the_command_quietly(command: str, models: Path, tmp_path: Path) -> None:
    data = tiny.write_csv(tmp_path / "many.csv", tiny.reviews(3000))
    reader, writer = os.pipe()
    os.close(reader)
    _, told = ulmkit_on_console(command, *((models / "lm", data) if command == "score" else ()), output=writer)
    assert told == b""


def test_a_reader_that_leaves_a_process_ends_it_quietly() -> None:
    result = _run("--help", shell="| true")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_an_output_that_is_full_is_named(models: Path) -> None:
    result = _run("score", models / "lm", "--text", "the film", shell="> /dev/full")
    assert result.returncode == 2
    assert result.stderr.startswith(b"ulmkit: standard output: ")
    assert len(result.stderr.splitlines()) == 1


def test_names_of_any_characters(models: Path, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a b \xff\xe4 \xe2\x82\xac"))
    folder.mkdir()
    data = tiny.write_csv(folder / "it's \u4e2d.csv", tiny.reviews(20))
    ulmkit("prepare", data, "-o", folder / "corpus", "--tokenizer", "whitespace", "--json", folder / "p.json")
    ulmkit("train", "none", data, "-o", folder / "c", *CLASSIFY, "--steps", 2, *TINY, "--json", folder / "c.json")
    assert json.loads((folder / "c.json").read_text())["model"] == str(folder / "c")
    assert "20 rows written" in ulmkit("predict", folder / "c", data, "-o", folder / "p.csv").out
    status, told = ulmkit_on_console("evaluate", folder / "c", data, "--split", "all", output=tmp_path / "out")
    assert (status, b"Traceback" in told) == (0, False)
    assert b"accuracy" in (tmp_path / "out").read_bytes()


def test_a_closed_standard_output_is_no_error(tmp_path: Path) -> None:
    tiny.classifier().save(tmp_path / "classifier")
    command = [sys.executable, "-m", "ulmkit", "predict", str(tmp_path / "classifier"), "--text", "good"]
    done = subprocess.run(["sh", "-c", f"exec {shlex.join(command)} >&-"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_extensions_of_outputs_in_any_case(tmp_path: Path) -> None:
    tiny.classifier().save(tmp_path / "classifier")
    ulmkit("predict", tmp_path / "classifier", "--text", "good", "--out", tmp_path / "answers.CSV")
    assert (tmp_path / "answers.CSV").read_text().startswith("label,")
