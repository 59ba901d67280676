"""Class weights in the ladder: every rung and blend of it is moved by them."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from support import tiny

from ulmkit.errors import ConfigError
from ulmkit.pipeline import ClassifierRecipe, EnsemblePredictor, LadderText, climb_corpus, ensemble_of, prepare
from ulmkit.pipeline.ladder import Judging, climb
from ulmkit.pipeline.rungs import Kind
from ulmkit.tasks import find_task
from ulmkit.text import Document, EncodedCorpus
from ulmkit.training import Budget


def _corpus() -> EncodedCorpus:
    """Twenty documents with labels that their texts do not tell, a quarter of them rare, and many without labels."""
    labelled = [Document(text, "rare" if number % 4 == 0 else "common", split="train")
                for number, (text, _) in enumerate(tiny.reviews(20, 70))]  # fmt: skip
    others = [Document(text, split="unsupervised") for text, _ in tiny.reviews(100, 400)]
    model = tiny.language_model().parts
    return prepare(
        [*labelled, *others], tiny.WORDS, task="single", tokenizer=model.tokenizer, vocabulary=model.vocabulary
    )


def _rare_shares(recipe: ClassifierRecipe) -> dict[str, float]:
    """Share of documents that each rung and blend calls rare."""
    corpus = _corpus()
    rows = corpus.rows("train", labelled=True)
    text = LadderText(corpus, rows[:0])
    judging = Judging(((rows[:12], rows[12:]),), is_refitted=True)
    ladder = climb_corpus(
        text,
        [tiny.language_model().parts],
        rows,
        judging,
        method="auto",
        budget=Budget(steps=6),
        recipe=recipe,
        run=tiny.RUN,
    )
    documents = [corpus.document(row) for row in corpus.rows("unsupervised")]
    shares = {}
    for row in ladder.rows:
        shares[row.name] = float((EnsemblePredictor(ensemble_of(ladder, row, corpus))(documents)[:, 1] > 0.5).mean())
    return shares


def test_every_rung_moves_to_the_heavier_class() -> None:
    plain = _rare_shares(tiny.CLASSIFY)
    moved = _rare_shares(replace(tiny.CLASSIFY, class_weights={"rare": 30.0}))
    assert {"co-trained blend", "self-trained", "blend of all"} < set(plain)
    assert list(plain) == list(moved)
    assert {name: (plain[name], moved[name]) for name in plain if moved[name] < plain[name] + 0.15} == {}


@pytest.mark.parametrize("task", ["single", "multi"])
def test_weights_by_name(task: str) -> None:
    corpus = _corpus() if task == "single" else prepare(
        [(text, ("all", label)) for text, label in tiny.reviews(30)], tiny.WORDS, task="multi"
    )  # fmt: skip
    rows = corpus.rows("train", labelled=True)

    def weights(given: str | Mapping[str, float]) -> tuple[float, ...] | None:
        return find_task(task).class_weights(corpus, rows, ClassifierRecipe(class_weights=given))

    heavy = corpus.label_names[-1]
    assert weights("none") is None
    assert weights({heavy: 3}) == (*[1.0] * (len(corpus.label_names) - 1), 3.0)
    with pytest.raises(ConfigError, match=f"class_weights: got 'rar'; .*{heavy}"):
        weights({"rar": 3.0})


def test_weights_that_cannot_be() -> None:
    for weight in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match=r"class_weights\['rare'\]: expected"):
            ClassifierRecipe(class_weights={"rare": weight})
    data = [("a film", 1.0), ("the story", 2.0)] * 10
    corpus = prepare(data, tiny.WORDS, task="number")
    with pytest.raises(ConfigError, match="class_weights: a weight by class needs one or several labels per document"):
        find_task("number").class_weights(corpus, np.arange(3), ClassifierRecipe(class_weights={"a": 2.0}))


def test_rungs_are_compared_by_the_weighted_loss() -> None:
    """A member that is sure of the common class, against one that knows the rare one."""
    labels = (np.arange(100) % 10 == 0).astype(int)

    class Fixed:
        kind, refits = Kind.WORDS, True

        def __init__(self, name: str, p_right: tuple[float, float]) -> None:
            self.name = name
            p = np.array(p_right)[labels]
            self.logs = np.log(np.where(np.eye(2)[labels] == 1, p[:, None], 1 - p[:, None]))

        def judge(self, splits: object) -> tuple[np.ndarray, tuple[object, ...]]:
            return self.logs, ()

    rungs = [Fixed("rare", (0.6, 0.9)), Fixed("common", (0.99, 0.1))]
    judging = Judging(((np.arange(100), np.arange(100)),), is_refitted=False)

    def kept(weights: tuple[float, ...] | None) -> str:
        return climb(rungs, [], judging, labels, np.arange(100), class_weights=weights).kept.name  # type: ignore[arg-type]

    assert kept(None) == "common"
    assert kept((1.0, 50.0)) == "rare"
