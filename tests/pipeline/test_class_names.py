"""Names of classes as documents to learn from: how they are read, when they are used, and that they judge nothing."""

import numpy as np
import pytest
from support import tiny

from ulmkit.hub import EnsembleParts
from ulmkit.pipeline import EnsemblePredictor, LadderText, automatic, prepare, train_automatically
from ulmkit.pipeline.ladder import Ladder
from ulmkit.text import Document
from ulmkit.training import Budget

TOPICS = {
    "card_lost-stolen": "card lost stolen",
    "openNewAccount": "open New Account",
    "sci.medicine/health": "sci medicine health",
    "weekend trips:train": "weekend trips train",
}
MEANINGLESS = dict(zip("abcd", TOPICS.values(), strict=True))


def _documents(names: dict[str, str], texts: int, seed: int = 0) -> list[Document]:
    """Texts of eight words that tell nothing and one of the three that the topic of the class is made of."""
    rng = np.random.default_rng(seed)
    documents = []
    for number in range(texts):
        for name, topic in names.items():
            words = [f"w{word}" for word in rng.integers(0, 300, size=8)]
            words.insert(int(rng.integers(9)), topic.split()[number % 3])
            documents.append(Document(" ".join(words), name, split="train"))
    return documents


def _train(names: dict[str, str], texts: int = 6) -> tuple[EnsembleParts, Ladder]:
    ladders: list[Ladder] = []
    parts = train_automatically(
        _documents(names, texts),
        [],
        method="linear",
        budget=Budget(steps=1),
        data_options=tiny.WORDS,
        run=tiny.RUN,
        on_ladder=ladders.append,
    )
    return parts, ladders[0]


def _loss(parts: EnsembleParts, names: dict[str, str]) -> float:
    """Log-loss on other documents of the same topics."""
    documents = _documents(names, 50, seed=1)
    texts = [parts.vocabulary.encode(parts.tokenizer.tokenize(str(each.text))) for each in documents]
    answers = [parts.label_names.index(str(each.label)) for each in documents]
    return float(-np.log(EnsemblePredictor(parts)(texts)[np.arange(len(answers)), answers]).mean())


def test_the_parts_of_a_name_are_read_as_words() -> None:
    corpus = prepare(_documents(TOPICS, 12), tiny.WORDS, task="single")
    text = LadderText(corpus, np.empty(0, dtype=np.int64))
    documents = text.documents
    for row, name in zip(text.names, corpus.label_names, strict=True):
        words = [documents.words[word] for word in documents.sequence.select([row]).ids]
        assert " ".join(words) == TOPICS[name]
        assert text.answers[row] == corpus.label_names.index(name)


def test_names_are_learned_from_where_they_tell_what_a_class_is() -> None:
    parts, ladder = _train(TOPICS)
    plain, other = _train(MEANINGLESS)
    assert parts.facts.ladder == ladder.facts
    assert (ladder.uses_names, other.uses_names) == (True, False)
    assert (ladder.facts.class_names, other.facts.class_names) == (True, False)
    assert _loss(parts, TOPICS) < 0.8 * _loss(plain, MEANINGLESS)


def test_only_documents_judge_and_count() -> None:
    parts, ladder = _train(TOPICS)
    assert ladder.uses_names
    assert len(ladder.held_out_answers(ladder.kept).labels) == parts.facts.labelled_documents
    np.testing.assert_array_equal(ladder.class_shares, _train(MEANINGLESS)[1].class_shares)


def test_the_first_rung_learns_from_texts_alone() -> None:
    """It is the baseline that all others are compared with."""
    first, second = (_train(names)[1].rows[0] for names in (TOPICS, MEANINGLESS))
    assert first.name == "TF-IDF"
    assert first.loss == pytest.approx(second.loss)


def test_names_are_not_used_where_classes_have_many_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automatic, "_NAMED_LABELS", 5)
    assert not _train(TOPICS)[1].uses_names


def test_features_and_self_trained_networks_know_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The features are of the names, too; networks are trained on documents alone."""
    model = tiny.language_model().parts
    labelled = [Document(text, ("fine", "poor")[number % 2], split="train")
                for number, (text, _) in enumerate(tiny.reviews(20, 70))]  # fmt: skip
    others = [Document(text, split="unsupervised") for text, _ in tiny.reviews(100, 400)]
    losses: dict[bool, dict[str, float]] = {}
    for helps in (False, True):
        monkeypatch.setattr(automatic, "_names_help", lambda *_, helps=helps: helps)
        ladders: list[Ladder] = []
        train_automatically(
            [*labelled, *others],
            [model],
            budget=Budget(steps=4),
            recipe=tiny.CLASSIFY,
            run=tiny.RUN,
            on_ladder=ladders.append,
        )
        losses[helps] = {row.name: row.loss for row in ladders[0].rows}
    assert "self-trained" in losses[True]
    same = {name for name, loss in losses[False].items() if loss == losses[True][name]}
    assert same == {"TF-IDF", "fine-tuned forward"}
