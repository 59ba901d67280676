"""Tasks: known by name in one place, and a new one needs no code elsewhere."""

import ast
import random
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import tiny
from torch import Tensor
from torch.nn import functional

import ulmkit
from ulmkit import TextClassifier
from ulmkit.errors import ConfigError, DataError
from ulmkit.evaluation.labels.classification import evaluate_single
from ulmkit.model.heads import Head, HeadConfig
from ulmkit.tasks import TASKS, HeadOptions, Outputs, Report, Task, find_label_kind, find_task
from ulmkit.text import NO_LABELS, Document, EncodedCorpus, Text
from ulmkit.text.read.labels import choose_label_names

ROOT = Path(ulmkit.__file__).parent
MODULES = [path for path in ROOT.rglob("*.py") if path.relative_to(ROOT).parts[0] != "tasks"]


# names ----------------------------------------------------------------------------------------------------------------


def _strings(node: ast.expr) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def _branches_by_name(source: str) -> list[str]:
    """The places that branch on a task's name: comparisons, cases, and tables with several names as keys."""
    places = []
    for node in ast.walk(ast.parse(source)):
        names: set[str] = set()
        if isinstance(node, ast.Compare):
            operands = [part for part in (node.left, *node.comparators) if not isinstance(part, ast.Subscript)]
            names = {name for operand in operands for name in _strings(operand)}
        elif isinstance(node, ast.MatchValue):
            names = set(_strings(node.value))
        elif isinstance(node, ast.Dict):
            keys = {name for key in node.keys if isinstance(key, ast.Constant) for name in _strings(key)}
            names = keys if len(keys & TASKS.keys()) > 1 else set()
        if names & TASKS.keys():
            places.append(f"line {node.lineno}: {ast.unparse(node):.80}")
    return places


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_tasks_look_at_their_names(path: Path) -> None:
    places = _branches_by_name(path.read_text(encoding="utf-8"))
    if path.parent.name == "hub":  # a folder with two models is called a pair, too
        places = [place for place in places if "kind" not in place]
    assert places == []


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('if task == "multi": pass', 1),
        ('x = task in ("single", "pair")', 1),
        ('x = {"multi": 1, "number": 2}[task]', 1),
        ('match task:\n    case "pair":\n        pass', 1),
        ('x = {"tokens": 1, "words": 2}', 0),
        ('def f(task: str = "single"): pass', 0),
        ('x = facts["tokens"] > 3', 0),
    ],
)
def test_the_check_of_names_sees_what_it_is_for(source: str, count: int) -> None:
    assert len(_branches_by_name(source)) == count


def test_tasks_are_found_by_name() -> None:
    assert all(find_task(name).name == name for name in TASKS)
    assert find_label_kind("none") is NO_LABELS
    assert find_label_kind("pair") is TASKS["pair"]
    with pytest.raises(ConfigError, match=r"task: got 'singel'; did you mean 'single'"):
        find_task("singel")
    with pytest.raises(ConfigError, match=r"label_task: got 'nome'; did you mean 'none'"):
        find_label_kind("nome", "label_task")


def test_baselines_of_each_task() -> None:
    names = {name: [baseline.name for baseline in task.baselines(3)] for name, task in TASKS.items()}
    of_classes = ["majority class", "TF-IDF + logistic regression", "NB-SVM"]
    assert names == {
        "single": of_classes,
        "multi": of_classes,
        "pair": of_classes,
        "number": ["TF-IDF + ridge regression"],
        "tokens": [],
    }


# a sixth task ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RatingConfig(HeadConfig):
    """Options of a head for ordered classes."""

    def make(self, encoder_size: int) -> Head:
        return RatingHead(self, encoder_size)


class RatingHead(Head):
    """Ordered classes: a score per document, and C - 1 increasing thresholds that it is above or below.

    Outputs: (B, C - 1) logits of being above each threshold. Targets: (B,) int64.
    """

    def __init__(self, config: RatingConfig, encoder_size: int) -> None:
        super().__init__(config, encoder_size)
        self.steps = torch.nn.Parameter(torch.full((config.classes - 1,), 2.0))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(features)[:, :1] - functional.softplus(self.steps).cumsum(0)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        is_above = targets[:, None] > torch.arange(outputs.shape[1], device=outputs.device)
        return functional.binary_cross_entropy_with_logits(outputs, is_above.to(outputs.dtype))

    def predict(self, outputs: Tensor) -> Tensor:
        above = functional.pad(outputs.sigmoid(), (1, 0), value=1.0)
        return above - functional.pad(above[:, 1:], (0, 1))


class Rating(Task):
    """An ordered rating per text: one star to so many."""

    name = "rating"
    summary = "a rating per text"
    label_columns = ("stars",)
    head_type = RatingConfig

    def parse(self, value: Any, place: str, class_names: Sequence[str] = ()) -> str | None:
        if value is None or value == "":
            return None
        if not str(value).isdigit():
            raise DataError(f"{place}: expected a whole number of stars, got {value!r}")
        return str(int(value))

    def check(self, document: Document, place: str) -> Hashable | None:
        return self.parse(document.label, place)

    def label_names(self, by_split: Mapping[str, set[str]], known: Sequence[str] | None) -> tuple[str, ...]:
        return choose_label_names(by_split, known, min_classes=2)

    def encode(self, labels: Sequence[Hashable], label_names: Sequence[str]) -> np.ndarray:
        return np.array([*map(list(label_names).index, labels), -1], dtype=np.int32)

    def head_config(self, corpus: EncodedCorpus, rows: np.ndarray, options: HeadOptions) -> HeadConfig:
        return RatingConfig(classes=len(corpus.label_names), **options.sizes())

    def report(self, outputs: Outputs, corpus: EncodedCorpus, rows: np.ndarray, by: Sequence[str] = ()) -> Report:
        return evaluate_single(np.asarray(outputs), corpus.labels(rows), corpus.label_names)

    def document_scores(self, outputs: Outputs, corpus: EncodedCorpus, rows: np.ndarray) -> tuple[str, np.ndarray]:
        return "accuracy", (np.asarray(outputs).argmax(axis=1) == corpus.labels(rows)).astype(float)

    def decide(
        self, outputs: Outputs, texts: Sequence[Text], label_names: Sequence[str], threshold: float = 0.5
    ) -> list[int]:
        return [int(label_names[row.argmax()]) for row in outputs]


def test_a_sixth_task_trains_is_saved_and_evaluated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "rating", Rating())
    draw = random.Random(0)
    rows = []
    for _ in range(200):
        stars = draw.randint(1, 3)
        words = ["good" if draw.random() < (stars - 1) / 2 else "bad" for _ in range(12)]
        rows.append((" ".join(words), str(stars)))
    path = tmp_path / "a.csv"
    path.write_text("text,stars\n" + "".join(f"{text},{stars}\n" for text, stars in rows))
    classifier = TextClassifier.train(
        path,
        None,
        method="finetune",
        steps=120,
        task="rating",
        sizes=tiny.SIZES.encoder,
        data_options=tiny.WORDS,
        run=tiny.RUN,
        recipe=tiny.CLASSIFY,
    )
    classifier.save(tmp_path / "model")
    loaded = TextClassifier.load(tmp_path / "model")
    assert (loaded.task, loaded.labels) == ("rating", ("1", "2", "3"))
    assert "a rating per text" in (tmp_path / "model" / "README.md").read_text()
    assert loaded.predict(["bad " * 12, "good " * 12]) == [1, 3]
    np.testing.assert_allclose(loaded.predict_proba(["good bad"]).sum(axis=1), 1.0, atol=1e-5)
    report = loaded.evaluate(path)
    assert report.accuracy >= 0.8
    assert loaded.compare(loaded, path).difference == 0.0


def test_the_labels_of_a_sixth_task_are_read_by_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a.csv, line 2: column 'stars': expected a whole number of stars, got 'good'"):
        path = tmp_path / "a.csv"
        path.write_text("text,stars\nx,good\n")
        list(ulmkit.text.DocumentSource(path, label_kind=Rating()))
