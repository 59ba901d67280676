"""Rows of measurements and their JSON."""

import subprocess
import sys

import measurements
import torch
from measurements import commit, machine, print_rows, row, write_measurements

from ulmkit.files import read_json
from ulmkit.kernels.cuda.compiler import CompilerError


def test_ratios_are_above_one_where_ours_is_better(capsys):
    rows = [
        row("speed", "tokens/s", 30.0, 20.0, "peer"),
        row("perplexity", "perplexity", 60.0, 90.0, "peer", lower_is_better=True),
        row("alone", "s", 1234.0, None, "peer (not installed)"),
    ]
    assert [line["ratio"] for line in rows] == [1.5, 1.5, None]
    print_rows(rows)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["case", "ulmkit", "peer", "unit", "ratio", "peer_name"]
    assert lines[3].split() == ["alone", "1,234", "-", "s", "-", "peer", "(not", "installed)"]


def test_the_document_records_where_it_was_measured(tmp_path):
    write_measurements(tmp_path / "found.json", "name", [row("a", "s", 1.0, None, "none")], {"curve": [1]})
    found = read_json(tmp_path / "found.json")
    assert list(found) == ["benchmark", "date", "commit", "machine", "rows", "curve"]
    assert found["machine"] == machine()
    assert found["machine"]["cores"] >= 1


def test_a_gpu_that_was_used_is_named_with_its_driver_and_versions(tmp_path, monkeypatch):
    assert ("gpu" in machine()) == torch.cuda.is_initialized()
    query = tmp_path / "nvidia-smi"
    query.write_text("#!/bin/sh\necho 580.159.04\necho 580.159.04\n")
    query.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91900)
    monkeypatch.setattr(measurements, "compiler_version", lambda: "13.0")
    measurements._gpu.cache_clear()
    gpu = {"gpu": "NVIDIA H200", "driver": "580.159.04", "cuda": "13.0", "cudnn": 91900, "nvrtc": "13.0"}
    assert list(machine().items())[-5:] == list(gpu.items())

    def missing() -> str:
        raise CompilerError("NVRTC: is not there")

    query.write_text("#!/bin/sh\nexit 9\n")
    monkeypatch.setattr(measurements, "compiler_version", missing)
    measurements._gpu.cache_clear()
    assert list(machine().items())[-5:] == list({**gpu, "driver": None, "nvrtc": None}.items())
    measurements._gpu.cache_clear()


def test_the_commit_is_that_of_the_script(tmp_path, monkeypatch):
    """A script outside any repository, then in a repository of its own, then changed there."""
    script = tmp_path / "script.py"
    script.write_text("pass\n")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    monkeypatch.delenv("ULMKIT_COMMIT", raising=False)
    assert commit() is None
    monkeypatch.setenv("ULMKIT_COMMIT", "0123abc")
    assert commit() == "0123abc"
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True)
    first = commit()
    assert len(first) == 40
    script.write_text("changed\n")
    assert commit() == f"{first}+"
