"""Advice of a ladder beside the rung that it keeps."""

import numpy as np
import pytest
from scipy.special import log_softmax
from support import tiny

from ulmkit.evaluation import HeldOutAnswers
from ulmkit.hub import Member, TrainingFacts, facts_from_json, facts_to_json
from ulmkit.pipeline import ClassifierRecipe, RunOptions, ladder, train_automatically
from ulmkit.pipeline.ladder import choose_judging, climb
from ulmkit.pipeline.ladder_advice import ladder_advice, missed_classes, tells_nothing
from ulmkit.pipeline.rungs import Kind, Rung
from ulmkit.training import Budget


def _answers(labels: np.ndarray, predicted: np.ndarray) -> HeldOutAnswers:
    ones = np.ones(len(labels))
    return HeldOutAnswers("made up", labels, predicted, ones, 0.0 * ones)


def test_rare_classes_that_are_missed_are_named_with_their_counts() -> None:
    labels = np.repeat([0, 1, 2, 3], [900, 60, 36, 4])
    predicted = np.zeros(1000, dtype=np.int64)
    predicted[900:930] = 1  # half of class 1 is found
    predicted[960:963] = 2
    names = ["most", "some", "few", "hardly"]
    assert missed_classes(_answers(labels, predicted), names) == ["'few' (3 of 36 documents)"]
    predicted[929] = 0
    found = missed_classes(_answers(labels, predicted), names)
    assert found == ["'few' (3 of 36 documents)", "'some' (29 of 60 documents)"]


def test_classes_of_even_shares_are_not_rare() -> None:
    labels = np.arange(400) % 40
    assert missed_classes(_answers(labels, np.zeros(400, dtype=np.int64)), [str(each) for each in range(40)]) == []


def test_many_missed_classes_are_cut_short() -> None:
    labels = np.concatenate([np.zeros(900, dtype=np.int64), 1 + np.arange(100) % 10])
    found = missed_classes(_answers(labels, 0 * labels), [str(each) for each in range(11)])
    assert (len(found), found[-1]) == (6, "...")


def test_shares_of_the_classes_alone_are_nothing_learned() -> None:
    labels = np.arange(200) % 4 // 3  # shares of 3/4 and 1/4
    of_shares = -np.log(np.array([0.75, 0.25]))[labels]
    assert tells_nothing(labels, of_shares)
    assert tells_nothing(labels, of_shares + np.random.default_rng(0).normal(0.0, 0.1, 200))
    assert not tells_nothing(labels, of_shares - 0.1)


class _Messages:
    """A progress display that keeps its messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def working(self, text: str) -> None:
        pass


class _Told(Rung):
    """A rung with given log-probabilities, the surer of the labels the stronger."""

    def __init__(self, name: str, labels: np.ndarray, strength: float, kind: Kind = Kind.WORDS) -> None:
        self.name, self.kind = name, kind
        noise = np.random.default_rng(len(name)).normal(size=(len(labels), 2))
        self.told = log_softmax(strength * np.eye(2)[labels] + noise, axis=1)

    def fit(self, rows: np.ndarray, held_out: np.ndarray) -> Member:
        return self.name  # type: ignore[return-value]

    def log_probabilities(self, member: Member, rows: np.ndarray) -> np.ndarray:
        return self.told[rows]


@pytest.mark.parametrize(
    ("words", "features", "said"), [(3.0, 0.5, "does not pay here"), (0.5, 4.0, "which would be kept")]
)
def test_says_what_the_language_model_adds(words: float, features: float, said: str) -> None:
    labels = np.arange(60) % 2
    rows = np.arange(60)
    rungs = [_Told("counts", labels, words), _Told("features", labels, features, Kind.FEATURES)]
    climbed = climb(rungs, [("both", ("counts", "features"))], choose_judging(rows, labels, None), labels, rows)
    gain = climbed.facts.language_model
    assert gain is not None
    assert gain.without == "counts"
    assert gain.is_kept == (features > words)
    right = {row.name: row.accuracy for row in climbed.rows}
    assert gain.comparison.difference == pytest.approx(right[gain.row] - right["counts"])
    assert gain.comparison.interval[0] < gain.comparison.difference < gain.comparison.interval[1]
    (advice,) = ladder_advice(climbed, ("a", "b"), is_weighted=False)
    assert said in advice
    assert advice == gain.describe()
    assert facts_from_json(facts_to_json(TrainingFacts(ladder=climbed.facts))).ladder == climbed.facts


def test_says_nothing_of_a_language_model_that_reads_no_text() -> None:
    labels = np.arange(60) % 2
    rows = np.arange(60)
    climbed = climb([_Told("counts", labels, 2.0)], (), choose_judging(rows, labels, None), labels, rows)
    assert climbed.facts.language_model is None
    assert ladder_advice(climbed, ("a", "b"), is_weighted=False) == []


def test_labels_that_an_earlier_rung_tells_are_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row that is kept may be worse than the best by a standard error or two."""
    labels = np.arange(60) % 2
    rows = np.arange(60)
    rungs = [_Told("good", labels, 2.0), _Told("bad", labels, 0.0)]
    monkeypatch.setattr(ladder, "_RUNG_ERRORS", 100.0)
    climbed = climb(rungs, (), choose_judging(rows, labels, None), labels, rows)
    assert climbed.kept.name == "bad"
    assert ladder_advice(climbed, ("a", "b"), is_weighted=False) == []
    alone = climb(rungs[1:], (), choose_judging(rows, labels, None), labels, rows)
    assert len(ladder_advice(alone, ("a", "b"), is_weighted=False)) == 1


@pytest.mark.filterwarnings("error")  # of Newton's method, say, which rounding stops here
@pytest.mark.parametrize(("weights", "said"), [("none", True), ("balanced", False)])
def test_a_training_on_labels_that_nothing_tells_says_so(weights: str, said: bool) -> None:
    same = [("it was as it was, and so on", label) for label in ("a", "b") * 15]
    shown = _Messages()
    run = RunOptions(progress=shown, device="cpu")  # type: ignore[arg-type]
    recipe = ClassifierRecipe(class_weights=weights)
    train_automatically(
        same, (), method="linear", budget=Budget(steps=1), recipe=recipe, data_options=tiny.WORDS, run=run
    )
    assert any(line.startswith("nothing learned:") for line in shown.lines) is said
