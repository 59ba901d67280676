"""The quickstart on docstrings made on the spot, with a tiny model."""

import io
import json
import random
from functools import partial
from pathlib import Path

import pytest
from support import tiny
from support.data_files import read

import ulmkit.quickstart.run as module
from ulmkit import LanguageModel, TextClassifier
from ulmkit.errors import FolderError
from ulmkit.pipeline import RunOptions, automatic
from ulmkit.quickstart import NO_LANGUAGE_MODEL_ROW, ULMKIT_ROW, quickstart
from ulmkit.quickstart.docstrings import Docstring, quickstart_task
from ulmkit.safe_writes import check_writable
from ulmkit.training import LineProgress

SUBJECTS = {"numpy": "array axis shape", "torch": "tensor gradient module", "rich": "console style colour"}


def docstrings(count: int) -> list[Docstring]:
    chooser = random.Random(0)
    packages = [*(f"package{number}" for number in range(2)), *SUBJECTS]
    found = []
    for number in range(count):
        package = packages[number % len(packages)]
        words = [*SUBJECTS.get(package, "file path name").split(), "returns", "the", "given", "of", "a", "with"]
        text = " ".join(chooser.choices(words, k=25)) + "."
        found.append(Docstring(package, f"{package}/file{number % 40}.py", text))
    return found


four_classes = partial(quickstart_task, classes=4)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny pair of language models."""
    folder = tmp_path_factory.mktemp("base") / "pair"
    words = f"good fine nice bad poor dull film {' '.join(f'word{number}' for number in range(30))}"
    texts = [*(each.text for each in docstrings(100)), words, words]
    settings = {"sizes": tiny.SIZES, "recipe": tiny.LEARN, "data_options": tiny.WORDS, "run": tiny.RUN}
    pair = [LanguageModel.pretrain(texts, steps=10, direction=name, **settings) for name in ("forward", "backward")]
    LanguageModel(*(each.parts for each in pair)).save(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(module, "harvest_docstrings", lambda: docstrings(300))
    monkeypatch.setattr(module, "quickstart_task", four_classes)


def test_docstrings_all_the_way(tmp_path, base):
    lines: list[str] = []
    out = str(tmp_path / "out")
    result = quickstart(out, language_model=base, minutes=0.02, labels=40, held_out=20, say=lines.append)
    linear = ["majority class", "TF-IDF + logistic regression", "NB-SVM"]
    assert sorted(result.reports) == sorted([ULMKIT_ROW, NO_LANGUAGE_MODEL_ROW, *linear])
    assert {report.documents for report in result.reports.values()} == {20}
    assert result.labels == 40
    before, after = result.perplexity_before, result.perplexity_after
    assert 1 < after < before
    assert [line.strip() for line in lines if line.startswith("\n")] == [
        f"1. Fine-tune {base} on this text: 0.0 minutes",
        "2. Climb the ladder on 40 labels",
        "3. Train linear baselines on the same 40 labels",
    ]
    accuracy = f"   accuracy on held-out documents: {result.reports[ULMKIT_ROW].accuracy:.1%}"
    assert [line for line in lines if "accuracy" in line] == [accuracy]
    assert f"   perplexity of held-out text: {before:,.0f} before, {after:,.0f} after" in lines
    written = json.loads((tmp_path / "out" / "quickstart.json").read_text())
    assert written["reports"][ULMKIT_ROW]["accuracy"] == result.reports[ULMKIT_ROW].accuracy
    assert (tmp_path / "out" / "quickstart.png").read_bytes().startswith(b"\x89PNG")
    (label,) = TextClassifier.load(tmp_path / "out" / "classifier").predict(["the shape of a given array"])
    assert label in {metrics.name for metrics in result.reports[ULMKIT_ROW].classes}
    general = read(tmp_path / "out" / "general.csv", "none")
    target = read(tmp_path / "out" / "target.csv", split_column="split")
    task = four_classes(docstrings(300))
    assert [document.text for document in general] == task.general
    assert [(each.text, each.label) for each in target] == [(each.text, each.label) for each in task.target]
    assert {document.split for document in target} == {"train", "valid"}
    language_model = LanguageModel.load(tmp_path / "out" / "language-model")
    assert language_model.score(["the array"])[0].tokens > 0
    assert language_model.backward is not None


def test_shared_documents_are_warned_of_once(tmp_path, base):
    data = tmp_path / "own.csv"
    words = " ".join(f"word{number}" for number in range(30))
    rows = [f"{'good' if number % 2 else 'bad'} {words} film {number % 8},{number % 2}" for number in range(80)]
    data.write_text("\n".join(["text,label", *rows]))
    stream = io.StringIO()
    run = RunOptions(progress=LineProgress(stream))
    quickstart(str(tmp_path / "out"), str(data), language_model=base, minutes=0.005, labels=20, run=run)
    warnings = [line for line in stream.getvalue().splitlines() if "shared documents: " in line]
    assert len([line for line in warnings if "of 8 in valid" in line]) == 1


def test_data_of_ones_own_and_word_vectors_that_are_used(tmp_path, base, monkeypatch):
    climbed = []
    climb = automatic.climb_corpus

    def remember(text, language_models, *arguments, **options):
        ladder = climb(text, language_models, *arguments, **options)
        ladder.uses_word_vectors = bool(language_models)
        climbed.append(len(language_models))
        return ladder

    monkeypatch.setattr(automatic, "climb_corpus", remember)
    data = tmp_path / "own.csv"
    rows = [f"{'good fine nice' if number % 2 else 'bad poor dull'} film {number},{number % 2}" for number in range(80)]
    data.write_text("\n".join(["text,label", *rows]))
    result = quickstart(str(tmp_path / "out"), str(data), language_model=base, minutes=0.005, labels=20)
    assert [metrics.name for metrics in result.reports[ULMKIT_ROW].classes] == ["0", "1"]
    assert NO_LANGUAGE_MODEL_ROW in result.reports
    assert climbed == [2, 0]  # a second ladder, without them
    check_writable(tmp_path / "out", overwrite=True)


def test_a_folder_that_is_there_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "harvest_docstrings", lambda: pytest.fail("work was begun"))
    with pytest.raises(FolderError, match="already exists"):
        quickstart(str(tmp_path))
    assert list(Path(tmp_path).iterdir()) == []
