"""Messages in the words of the command line, bounds of options, and errors that nobody expected."""

import errno
import os
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import pytest
from support import tiny
from support.command import SMALL, ulmkit

import ulmkit as package
from ulmkit import cache_folder, safe_writes
from ulmkit.api import LanguageModel
from ulmkit.cli.option_groups import name_flags
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.model.config import AWDLSTMConfig
from ulmkit.pipeline import stage_folder
from ulmkit.text.read import separated

FLAGS = {
    "steps": "--steps",
    "lines": "--lines",
    "device": "--device",
    "batch_size": "--batch-size",
    "peak_rate": "--rate",
    "label_task": "--task",
    "task": "--task",
    "labels": "--labels",
    "tokenizer": "--tokenizer",
}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("steps: expected 2 steps, got 0", "--steps: expected 2 steps, got 0"),
        ("a file holds one document (lines=True)", "a file holds one document (--lines)"),
        ("no GPU here; use device='cpu'", "no GPU here; use --device cpu"),
        ('labels: for several say task="multi"', "--labels: for several say --task multi"),
        ("take a smaller batch_size or more text", "take a smaller --batch-size or more text"),
        ("peak_rate: got 0; lower `peak_rate`", "--rate: got 0; lower --rate"),
        ("got 'batch_size'; there are: batch_size, steps", "got 'batch_size'; there are: batch_size, steps"),
        ("/data/batch_size.csv: no such file", "/data/batch_size.csv: no such file"),
        ("other_name: stays, and so does other=1", "other_name: stays, and so does other=1"),
    ],
)
def test_parameters_become_options_anywhere_in_a_message(message: str, expected: str) -> None:
    assert name_flags(ConfigError(message), FLAGS) == expected


def test_the_subject_of_other_errors_is_no_option() -> None:
    assert name_flags(DataError("labels: expected some, got none"), FLAGS) == "labels: expected some, got none"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tiny.write_csv(tmp_path / "reviews.csv", tiny.reviews(40))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seed", "9" * 23), "--seed: expected a whole number of at most 9,223,372,036,854,775,807, got 9999999999"),
        (("--steps", 10**30), "--steps: expected a whole number of at most 2,147,483,647, got 1000000000"),
        (("--minutes", "nan"), "--minutes: expected a number above 0, got nan"),
        (("--minutes", "inf"), "--minutes: expected a number of at most 1,000,000,000, got inf"),
        (("--minutes", "1e308"), "--minutes: expected a number of at most 1,000,000,000, got 1e+308"),
        (("--epochs", "1e308"), "--epochs: expected a number of at most 1,000,000,000, got 1e+308"),
        (("--hidden-size", 10**6, "--embedding-size", 10**6), "GB of memory; take a smaller --hidden-size"),
        (("--hidden-size", 10**12), "--hidden-size: expected a whole number of at most 2,147,483,647"),
        (("--layers", 10**6), "--layers: expected a whole number of at most 1,000, got 1000000"),
        (("--softmax-experts", 10**9), "GB of memory"),
        (("--workers", 10**6), "--workers: expected a whole number of at most"),
        (("--rate", "1e308"), "--rate: expected a number of at most 1,000,000,000, got 1e+308"),
        (("--ar", "inf"), "--ar: expected a number of at most 1,000,000,000, got inf"),
        (("--accumulation", 10**30), "--accumulation: expected a whole number of at most"),
        (("--patience", 10**30), "--patience: expected a whole number of at most"),
        (("--max-vocab", 10**30), "--max-vocab: expected a whole number of at most"),
    ],
)
def test_options_have_upper_bounds(options: tuple, message: str, data: Path) -> None:
    budget = () if {"--steps", "--minutes", "--epochs"} & set(map(str, options)) else ("--steps", 2)
    told = ulmkit("pretrain", data, "--out", data.parent / "out", *SMALL, *budget, *options, status=2)
    assert message in told.err.splitlines()[-1]
    assert "Traceback" not in told.err
    assert not (data.parent / "out").exists()


@pytest.mark.parametrize("option", ["--max-tokens", "--samples", "--beam", "--seed"])
def test_generation_has_upper_bounds(option: str, tmp_path: Path) -> None:
    tiny.language_model().save(tmp_path / "lm")
    assert (
        f"{option}: expected a whole number of at most"
        in ulmkit("generate", tmp_path / "lm", option, 10**30, status=2).error
    )


def test_python_names_parameters() -> None:
    with pytest.raises(ConfigError, match="^hidden_size: expected a whole number of at most 2,147,483,647"):
        AWDLSTMConfig(hidden_size=10**12)


def test_the_version_is_shown() -> None:
    assert ulmkit("--version").out == f"ulmkit {package.__version__}\n"
    assert "--version" in ulmkit("--help").out


def test_an_unexpected_error_is_one_line_that_says_where_its_traceback_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("the key\nthat is not there")

    monkeypatch.setattr(LanguageModel, "load", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    line = ulmkit("generate", "lm", status=1).error
    assert "this is a bug in ulmkit: KeyError: 'the key\\nthat is not there'; please report it" in line
    (report,) = tmp_path.glob("ulmkit-error-*.txt")
    assert str(report) in line
    assert "Traceback (most recent call last)" in report.read_text()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "not there"))
    assert "its traceback could not be written" in ulmkit("generate", "lm", status=1).error


def test_too_little_memory_is_no_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")):
        with mock.patch.object(LanguageModel, "load", side_effect=error):
            assert "the memory is not enough" in ulmkit("generate", "lm", status=2).error


def test_a_full_disk_says_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_folder, "latest_checkpoint", lambda _: tmp_path / "m.training" / "checkpoint-00000009")
    kept = pytest.raises(FolderError, match=r"disk is full; free .*checkpoint-00000009 was kept, and the same command")
    with kept, stage_folder.run_folder(str(tmp_path / "m"), True, False):
        raise FolderError("m: the disk is full; free some space")


def test_a_file_that_is_too_large_is_named(tmp_path: Path) -> None:
    named = pytest.raises(
        FolderError, match=rf"^{tmp_path}/x: was not written \(File too large\); choose another place"
    )
    with named, safe_writes.atomic_write(tmp_path / "x"):
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


def test_a_file_that_the_system_does_not_name_is_no_standard_output(tmp_path: Path) -> None:
    data = tiny.write_csv(tmp_path / "a.csv", tiny.reviews(4))
    with mock.patch.object(separated, "read_lines", side_effect=OSError(errno.EIO, "Input/output error")):
        told = ulmkit("prepare", data, "-o", tmp_path / "c", status=2)
    assert told.err == "ulmkit: a file, which the system does not name: Input/output error\n"


def test_a_home_that_cannot_be_written_has_a_temporary_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ULMKIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    cache_folder._temporary_cache.cache_clear()
    with pytest.warns(UserWarning, match=r"cannot be written, .* set the environment variable ULMKIT_CACHE"):
        folder = cache_folder.default_cache()
    assert folder.is_dir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache_folder.default_cache() == folder  # said once
    folder.rmdir()
    cache_folder._temporary_cache.cache_clear()


def test_a_cache_that_cannot_be_written_names_its_variable(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ULMKIT_CACHE", str(tmp_path / "file"))
    told = ulmkit("pretrain", data, "-o", tmp_path / "lm", *SMALL, "--steps", 2, status=2)
    assert "cannot be written (Not a directory); set ULMKIT_CACHE to a folder that can be written" in told.err


def test_a_warning_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def show(message: Warning | str, category: type[Warning], file_name: str, line: int, *_: object) -> None:
        sys.stderr.write(warnings.formatwarning(message, category, file_name, line))  # as Python, but pytest's records

    (tmp_path / "file").touch()
    for name in ("ULMKIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    cache_folder._temporary_cache.cache_clear()
    with warnings.catch_warnings():
        monkeypatch.setattr(warnings, "showwarning", show)
        (line,) = ulmkit("info").err.splitlines()
    cache_folder.default_cache().rmdir()
    cache_folder._temporary_cache.cache_clear()
    assert line.startswith("ulmkit: warning: ")
    assert "ULMKIT_CACHE" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--cache-values", 0, 1, 0.1), "--cache-values: window: expected a whole number of at least 1, got 0"),
        (("--cache-values", 5, 1, 2), "--cache-values: lambda: expected 0 <= p < 1, got 2.0"),
        (("--dynamic-values", "nan", 0.1, 1), "--dynamic-values: learning rate: expected a number of at least 0, got"),
        (("--dynamic-values", 0.1, 3, 1), "--dynamic-values: decay: expected 0 <= decay <= 1, got 3.0"),
        (("--batch-size", 4), "--batch-size: has no effect without --published; add it or drop this"),
    ],
)
def test_values_of_evaluate_are_named_as_on_the_command_line(options: tuple, message: str, data: Path) -> None:
    assert ulmkit("evaluate", "any-model", data, *options, status=2).error.startswith(f"ulmkit: {message}")


def test_a_removed_working_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = [sys.executable, "-c", "import os, sys; os.rmdir(os.getcwd()); from ulmkit.cli import main; main()"]
    environment = os.environ | {"PYTHONPATH": str(Path(package.__file__).parents[1])}
    ended = subprocess.run(
        [*command, "predict", "model", "--text", "a"],
        cwd=tmp_path / "gone", env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.startswith("ulmkit: working folder: no longer exists (No such file or directory); change")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("prepare", "DATA", "-o", "c", "--tokenizer", "whitespace", "--min-freq", 2**31 - 1),
            "vocabulary: expected",
        ),
        (("quickstart", "--out", "q", "--minutes", "1e308"), "--minutes: expected a number of at most 1,000,000,000"),
        (("predict", "MODEL", "DATA", "--threshold", "nan"), "--threshold: expected 0 <= p < 1, got nan"),
        (("predict", "MODEL", "DATA", "--out", "rows"), "--out: expected a file name that ends in .jsonl or .csv, got"),
    ],
)
def test_numbers_and_names_that_no_command_can_use(
    arguments: tuple, message: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.classifier().save(tmp_path / "MODEL")
    data.rename(tmp_path / "DATA.csv")
    told = ulmkit(*("DATA.csv" if argument == "DATA" else argument for argument in arguments), status=2)
    assert told.error.startswith(f"ulmkit: {message}")
