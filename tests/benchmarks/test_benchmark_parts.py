"""What the benchmarks share."""

import sys

import pytest
from common import DifferentError, report_as_they_come, row
from fastai_peer import load_fastai

from ulmkit.files import read_json


def test_a_case_that_fails_costs_no_other(tmp_path, capsys):
    def good(name: str) -> list[dict]:
        return [row(name, "s", 1.0, 2.0, "peer", lower_is_better=True)]

    def different() -> list[dict]:
        raise DifferentError("not the same loss")

    def broken() -> list[dict]:
        raise ZeroDivisionError("no kernel")

    cases = [broken, lambda: good("first"), different, lambda: good("second")]
    assert not report_as_they_come("name", cases, tmp_path / "found.json")
    assert [line["case"] for line in read_json(tmp_path / "found.json")["rows"]] == ["first", "second"]
    said = capsys.readouterr()
    assert "not the same loss" in said.out
    assert "ZeroDivisionError: no kernel" in said.err
    assert report_as_they_come("name", cases[1:2], None)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module named 'fastai'", name="fastai"), ""),
        (ModuleNotFoundError("No module named 'plum'", name="plum"), "No module named 'plum'"),
        (RuntimeError("made for another torch"), "RuntimeError: made for another torch"),
    ],
)
def test_fastai_that_is_not_installed_or_fails_is_none(monkeypatch, capsys, error, said):
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "fastai":
                raise error

    for name in [name for name in sys.modules if name.split(".")[0] == "fastai"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    load_fastai.cache_clear()
    assert load_fastai() is None
    load_fastai.cache_clear()
    found = capsys.readouterr().err
    assert said in found
    assert bool(said) == bool(found)
