"""The quickstart on docstrings made on the spot, with a tiny model."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

import ulmkit.quickstart.run as module
from ulmkit import LanguageModel, TextClassifier
from ulmkit.errors import FolderError
from ulmkit.files import check_writable
from ulmkit.quickstart import FROM_SCRATCH, OURS, quickstart
from ulmkit.quickstart.docstrings import Docstring, quickstart_task
from ulmkit.text import read_documents

SUBJECTS = {"numpy": "array axis shape", "torch": "tensor gradient module", "rich": "console style colour"}


def docstrings(count: int) -> list[Docstring]:
    chooser = random.Random(0)
    packages = [*(f"package{number}" for number in range(8)), *SUBJECTS]
    found = []
    for number in range(count):
        package = packages[number % len(packages)]
        words = [*SUBJECTS.get(package, "file path name").split(), "returns", "the", "given", "of", "a", "with"]
        text = " ".join(chooser.choices(words, k=25)) + "."
        found.append(Docstring(package, f"{package}/file{number % 40}.py", text))
    return found


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(module, "harvest_docstrings", lambda: docstrings(600))
    monkeypatch.setattr(module, "SIZES", replace(module.SIZES, embedding_size=16))
    monkeypatch.setattr(module, "PIECES", 90)


def test_docstrings_all_the_way(tmp_path):
    lines: list[str] = []
    found = quickstart(str(tmp_path / "out"), minutes=0.02, labels=40, held_out=20, say=lines.append)
    assert list(found.reports)[:2] == [OURS, FROM_SCRATCH]
    assert {"majority class", "TF-IDF + logistic regression", "NB-SVM"} < set(found.reports)
    assert {report.documents for report in found.reports.values()} == {20}
    assert found.labels == 40
    assert found.perplexity_before > 1
    assert any("perplexity of held-out target text" in line for line in lines)
    written = json.loads((tmp_path / "out" / "quickstart.json").read_text())
    assert written["reports"][OURS]["accuracy"] == found.reports[OURS].accuracy
    assert (tmp_path / "out" / "quickstart.png").read_bytes().startswith(b"\x89PNG")
    labels = TextClassifier.load(tmp_path / "out" / "classifier").predict(["the shape of a given array"])
    assert len(labels) == 1
    general, target = (list(read_documents(tmp_path / "out" / f"{name}.csv", split_column=column))
                       for name, column in (("general", None), ("target", "split")))  # fmt: skip
    task = quickstart_task(docstrings(600))
    assert [document.text for document in general] == task.general
    assert [(each.text, each.label) for each in target] == [(each.text, each.label) for each in task.target]
    assert {document.split for document in target} == {"train", "valid"}
    language_model = LanguageModel.load(tmp_path / "out" / "language-model")
    assert language_model.score(["the array"])[0].tokens > 0
    assert found.parameters == len(language_model.parts.vocabulary) * (16 + 1) + 2 * 4 * 16 * 16 + 2 * 4 * 16


def test_data_of_ones_own(tmp_path):
    data = tmp_path / "own.csv"
    rows = [f"{'good fine nice' if number % 2 else 'bad poor dull'} film {number},{number % 2}" for number in range(80)]
    data.write_text("\n".join(["text,label", *rows]))
    found = quickstart(str(tmp_path / "out"), str(data), minutes=0.02, labels=20)
    assert [figures.name for figures in found.reports[OURS].classes] == ["0", "1"]
    check_writable(tmp_path / "out", overwrite=True)


def test_a_folder_that_is_there_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "harvest_docstrings", lambda: pytest.fail("work was begun"))
    with pytest.raises(FolderError, match="is already there"):
        quickstart(str(tmp_path))
    assert list(Path(tmp_path).iterdir()) == []
