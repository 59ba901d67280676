"""The ladder: rungs judged on held-out labels, the cheapest good one kept."""

import dataclasses
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax
from support import tiny

from ulmkit.errors import ConfigError, DataError
from ulmkit.hub import ClassifierParts, EnsembleParts, LadderRow, LanguageModelParts, Member, member_name
from ulmkit.members.fitting import DocumentVectors
from ulmkit.members.linear import LinearMember
from ulmkit.pipeline import (
    ALL_LAYERS,
    CLASSIFY,
    DataOptions,
    EnsemblePredictor,
    Ladder,
    LadderText,
    automatic,
    climbs_ladder,
    ladder_text,
    ladder_text_parts,
    prepare,
    rungs,
    train_automatically,
    usual_recipe,
)
from ulmkit.pipeline.ladder import Judging, _cheapest_good, choose_judging, climb
from ulmkit.pipeline.rungs import Kind, LabelledVectors, Rung
from ulmkit.tasks import TASKS
from ulmkit.text import Document, Vocabulary
from ulmkit.training import Budget

LABELS = np.arange(300) % 2
ROWS = np.arange(300)


class _Rung(Rung):
    """A rung whose log-probabilities are right to some degree; remembers what it was fitted to."""

    def __init__(self, name: str, strength: float, seed: int, refits: bool = True, kind: Kind = Kind.WORDS) -> None:
        self.name = name
        self.kind = kind
        self.refits = refits
        noise = np.random.default_rng(seed).normal(size=(len(LABELS), 2))
        self.logs = log_softmax(strength * np.eye(2)[LABELS] + noise, axis=1)
        self.fitted: list[tuple[list[int], list[int]]] = []

    def fit(self, rows: np.ndarray, held_out: np.ndarray) -> Member:
        self.fitted.append((rows.tolist(), held_out.tolist()))
        return self.name, len(self.fitted)  # type: ignore[return-value]

    def log_probabilities(self, member: Member, rows: np.ndarray) -> np.ndarray:
        return self.logs[rows]


def _kept(rungs: Sequence[Rung], blends: Sequence[tuple[str, list[str]]] = ()) -> str:
    ladder = climb(rungs, blends, choose_judging(ROWS, LABELS, None), LABELS, ROWS)
    return ladder.kept.name


def test_answers_of_a_row_are_those_that_it_was_judged_by() -> None:
    rungs = [_Rung(name, 1.0, seed) for seed, name in enumerate("ab")]
    judging = choose_judging(ROWS, LABELS, None)
    ladder = climb(rungs, [("blend", ["a", "b"])], judging, LABELS, ROWS)
    for row in ladder.rows:
        answers = ladder.held_out_answers(row)
        assert sorted(judging.held_out) == list(range(300))
        np.testing.assert_array_equal(answers.labels, LABELS[judging.held_out])
        assert answers.is_right.mean() == pytest.approx(row.accuracy)
        assert answers.source == "5-fold cross-validation of 300 labelled documents"
    alone = ladder.held_out_answers(ladder.rows[0])
    expected = np.exp(rungs[0].logs[judging.held_out].max(axis=1))
    assert np.corrcoef(alone.confidence, expected)[0, 1] > 0.95


def test_the_cheapest_of_equals_is_kept() -> None:
    rungs = [_Rung(name, 2.0, seed) for seed, name in enumerate("ab")]
    assert _kept(rungs) == "b"
    rungs[1].kind = Kind.FEATURES
    assert _kept(rungs) == "a"


def test_what_would_be_kept_without_the_dearer_kinds() -> None:
    kinds = {"words": Kind.WORDS, "features": Kind.FEATURES, "network": Kind.NETWORK}
    rungs = [_Rung(name, 2.0 + 2.0 * kind, kind, kind=kind) for name, kind in kinds.items()]
    ladder = climb(rungs, [("blend", ["words", "features"])], choose_judging(ROWS, LABELS, None), LABELS, ROWS)
    assert [ladder.kept_up_to(kind).name for kind in Kind] == ["words", "blend", "network"]
    assert ladder.kept_up_to(Kind.NETWORK) == ladder.kept


def test_the_last_of_a_kind_that_is_as_good_is_kept() -> None:
    draw = np.random.default_rng(0)
    noise = draw.normal(size=1000)
    losses = np.stack([draw.permutation(noise) for _ in range(3)])
    assert _cheapest_good(losses, [Kind(0), Kind(0), Kind(1)]) == 1
    assert _cheapest_good(losses, [Kind(1), Kind(1), Kind(0)]) == 2
    assert _cheapest_good(losses, [Kind(0), Kind(1), Kind(1)]) == 0
    losses[1] += 1.0  # much worse
    assert _cheapest_good(losses, [Kind(0), Kind(0), Kind(1)]) == 0
    assert _cheapest_good(losses, [Kind(0), Kind(0), Kind(0)]) == 2
    losses[:2] += 1.0
    assert _cheapest_good(losses, [Kind(0), Kind(0), Kind(1)]) == 2


def test_a_clearly_better_rung_is_kept() -> None:
    assert _kept([_Rung("a", 0.5, 0), _Rung("b", 4.0, 1)]) == "b"
    assert _kept([_Rung("a", 4.0, 0), _Rung("b", 0.5, 1)]) == "a"


def test_a_blend_of_different_members_is_kept_where_it_helps() -> None:
    rungs = [_Rung("a", 2.0, 0), _Rung("b", 2.0, 1), _Rung("c", 2.0, 2)]
    ladder = climb(rungs, [("both", ["a", "b", "c"])], choose_judging(ROWS, LABELS, None), LABELS, ROWS)
    assert [row.name for row in ladder.rows] == ["a", "b", "c", "both"]
    assert ladder.rows[-1].is_kept
    assert ladder.rows[-1].accuracy > max(row.accuracy for row in ladder.rows[:3])
    members, combiner = ladder.fit(ladder.kept)
    assert len(combiner.weights) == len(members) == 3


def test_every_label_is_judged_by_members_that_did_not_see_it() -> None:
    rung = _Rung("a", 2.0, 0)
    judging = choose_judging(ROWS, LABELS, None)
    ladder = climb([rung], [], judging, LABELS, ROWS)
    members, _ = ladder.fit(ladder.kept)
    assert sorted(judging.held_out.tolist()) == ROWS.tolist()
    *folds, last = rung.fitted
    assert all(not set(training) & set(held_out) for training, held_out in folds)
    assert last[0] == ROWS.tolist()
    assert members == (("a", len(folds) + 1),)
    assert judging.describe() == "5-fold cross-validation of 300 labelled documents"


def test_validation_documents_judge_members_that_are_kept_as_they_are() -> None:
    rung = _Rung("a", 2.0, 0)
    judging = choose_judging(ROWS[:200], LABELS[:200], ROWS[200:])
    ladder = climb([rung], [], judging, LABELS, ROWS[:200])
    members, _ = ladder.fit(ladder.kept)
    assert rung.fitted == [(ROWS[:200].tolist(), ROWS[200:].tolist())]
    assert members == (("a", 1),)
    assert judging.describe() == "100 validation documents"


def test_networks_that_were_held_out_once_are_kept_as_they_are() -> None:
    judging = Judging(((ROWS[:240], ROWS[240:]),), is_refitted=True)
    network, linear = _Rung("network", 4.0, 0, refits=False), _Rung("linear", 0.5, 1)
    ladder = climb([linear, network], [], judging, LABELS, ROWS)
    members, _ = ladder.fit(ladder.kept)
    assert members == (("network", 1),)
    assert len(network.fitted) == 1


def test_one_standard_error_is_that_of_the_difference() -> None:
    noise = np.random.default_rng(0).normal(size=1000)
    good = noise
    slightly_worse_on_every_document = noise + 0.01
    assert _cheapest_good(np.stack([slightly_worse_on_every_document, good]), [Kind(0), Kind(1)]) == 1
    as_good_on_average = np.random.default_rng(1).permutation(noise)
    assert _cheapest_good(np.stack([as_good_on_average, good]), [Kind(0), Kind(1)]) == 0


@pytest.mark.parametrize("errors", [0.5, 1.5, 2.5])
def test_dearer_kinds_must_be_better_by_one_standard_error_and_earlier_rungs_by_two(errors: float) -> None:
    away = np.random.default_rng(0).normal(size=1000)
    away = (away - away.mean()) / away.std()
    good, worse = np.zeros(1000), away + errors / np.sqrt(1000)  # worse on average by so many standard errors
    assert _cheapest_good(np.stack([worse, good]), [Kind(0), Kind(1)]) == (0 if errors <= 1 else 1)
    assert _cheapest_good(np.stack([good, worse]), [Kind(0), Kind(0)]) == (1 if errors <= 2 else 0)


def test_one_label_cannot_be_judged() -> None:
    with pytest.raises(DataError, match="labels: expected at least 2 labelled documents to learn from, got 1"):
        choose_judging(ROWS[:1], LABELS[:1], None)


def test_the_table_marks_what_was_kept() -> None:
    ladder = climb([_Rung("a", 0.5, 0), _Rung("b", 4.0, 1)], [], choose_judging(ROWS, LABELS, None), LABELS, ROWS)
    lines = ladder.table().splitlines()
    assert [line[:4] for line in lines if line.strip()[:2] in ("a ", "->")] == ["   a", "-> b"]


def _train(language_models: Sequence[LanguageModelParts], **options: object) -> EnsembleParts:
    given = {"budget": Budget(steps=10), "recipe": tiny.CLASSIFY, "data_options": tiny.WORDS, "run": tiny.RUN}
    return train_automatically(tiny.reviews(), language_models, **{**given, **options})  # type: ignore[arg-type]


def _rows(parts: EnsembleParts) -> Sequence[LadderRow]:
    assert parts.facts.ladder is not None
    return parts.facts.ladder.rows


def test_the_whole_ladder_on_text() -> None:
    both = [tiny.language_model().parts, tiny.backward_language_model().parts]
    parts = _train(both, labels=40)
    rows = _rows(parts)
    names = [row.name for row in rows]
    assert names == [
        *("TF-IDF", "character TF-IDF", "NB-SVM", "document vectors", "character vectors", "linear blend"),
        *("language model features", "linear and features"),
        *("fine-tuned forward", "fine-tuned backward", "blend of all"),
    ]
    assert parts.facts.validation["accuracy"] > 0.9
    assert parts.facts.labelled_documents == 40
    assert parts.facts.ladder is not None
    assert parts.facts.ladder.judged_on == "5-fold cross-validation of 40 labelled documents"
    assert parts.facts.ladder.is_cross_validated


@pytest.mark.parametrize(("method", "last"), [("linear", "linear blend"), ("features", "linear and features")])
def test_part_of_the_ladder(method: str, last: str) -> None:
    parts = _train([tiny.language_model().parts], method=method)
    rows = _rows(parts)
    assert rows[-1].name == last


def test_without_a_language_model_the_ladder_is_linear() -> None:
    parts = _train([], labels=30)
    assert parts.facts.base is None
    assert not any(member_name(member).startswith("fine-tuned") for member in parts.members)


def test_linear_models_alone_keep_rare_words() -> None:
    """With few labels a telling word may occur once or twice, less than a language model needs to learn it."""
    common = ["of", "the", "and", "with", "for", "this", "that", "which", "from", "were"]
    documents = [
        Document(f"{' '.join(common[: 3 + number % 5])} {kind}{number // 4}", kind)
        for number in range(24)
        for kind in ("red", "blue")
    ]
    parts = train_automatically(documents, (), method="linear", budget=Budget(steps=1), run=tiny.RUN)
    known = {word for member in parts.members if isinstance(member, LinearMember) for word in member.words}
    assert {"red0", "blue0"} <= known
    fewer = DataOptions(min_freq=30)
    parts = train_automatically(
        documents, (), method="linear", budget=Budget(steps=1), data_options=fewer, run=tiny.RUN
    )
    assert "red0" not in parts.vocabulary.tokens


def _inflected(count: int, seed: int) -> list[Document]:
    """Words of a language with many endings: the stem tells the class, and no word occurs often."""
    draw = np.random.default_rng(seed)
    syllables = [first + second for first in "bdfghjklmnprstv" for second in "aeiou"]
    documents = []
    for _ in range(count):
        kind = "north" if draw.random() < 0.5 else "south"
        stem = {"north": "kaltu", "south": "sormi"}[kind]
        words = ["".join(draw.choice(syllables, 4)) for _ in range(5)]
        words.insert(int(draw.integers(6)), stem + "".join(draw.choice(syllables, 3)))
        documents.append(Document(" ".join(words), kind))
    return documents


def test_characters_read_words_that_never_occurred() -> None:
    parts = train_automatically(_inflected(60, 1), (), method="linear", budget=Budget(steps=1), run=tiny.RUN)
    new = _inflected(200, 2)
    answers = EnsemblePredictor(parts).predict_texts([document.text for document in new]).argmax(axis=1)
    right = np.mean(
        [parts.label_names[answer] == document.label for answer, document in zip(answers, new, strict=True)]
    )
    assert right > 0.95


def test_linear_models_alone_read_with_the_tokenizer_of_the_shipped_model() -> None:
    documents = _inflected(4, 1)
    vocabulary, tokenizer = ladder_text_parts(documents, DataOptions(), None)
    assert vocabulary is not None
    assert tokenizer is not None
    spelt = tokenizer.detokenize(
        [vocabulary.tokens[number] for number in vocabulary.encode(tokenizer.tokenize("şaşı"))]
    )
    assert spelt == "şaşı"
    for options in (DataOptions(language="de"), DataOptions(tokenizer="bytes"), DataOptions(max_vocab=100)):
        assert ladder_text_parts(documents, options, None) == (None, None)
    own = tiny.language_model().parts
    assert ladder_text_parts(documents, DataOptions(), own) == (own.vocabulary, own.tokenizer)


def test_much_text_is_read_by_words_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder_text, "_MOST_CHARACTERS", 1000)
    parts = _train([], labels=40, method="linear")
    rows = _rows(parts)
    assert [row.name for row in rows] == ["TF-IDF", "NB-SVM", "document vectors", "linear blend"]


def test_scripts_without_spaces_have_characters_as_words() -> None:
    documents = [Document(text * 3, kind) for text, kind in (("东京是日本", "a"), ("北京是中国", "b"))] * 20
    parts = train_automatically(documents, (), method="linear", budget=Budget(steps=1), run=tiny.RUN)
    rows = _rows(parts)
    assert not any(row.name.startswith("character") for row in rows)


def test_labels_that_were_not_given_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `labels`, the labels of the other training documents may be anything."""
    monkeypatch.setattr(automatic, "training_rows", lambda *_: np.arange(30))
    turned = {"pos": "neg", "neg": "pos"}
    trained = []
    for turn in ({}, turned):
        data = [
            Document(text, label if at < 30 else turn.get(label, label), split="train" if at < 100 else "valid")
            for at, (text, label) in enumerate(tiny.reviews(120))
        ]
        options = {"method": "linear", "labels": 30, "data_options": dataclasses.replace(tiny.WORDS, split_by="given")}
        trained.append(
            train_automatically(data, [], budget=Budget(steps=1), run=tiny.RUN, **options)  # type: ignore[arg-type]
        )
    rows = [[dataclasses.replace(row, minutes=0.0) for row in _rows(parts)] for parts in trained]
    assert rows[0] == rows[1]
    documents = [trained[0].vocabulary.encode(trained[0].tokenizer.tokenize(text)) for text, _ in tiny.reviews(9, 900)]
    np.testing.assert_array_equal(*(EnsemblePredictor(parts)(documents) for parts in trained))


def test_predictions_do_not_depend_on_the_batch() -> None:
    parts = _train([tiny.language_model().parts], labels=40, method="features")
    predictor = EnsemblePredictor(parts)
    documents = [parts.vocabulary.encode(parts.tokenizer.tokenize(text)) for text, _ in tiny.reviews(20, 900)]
    together = predictor(documents)
    alone = np.vstack([predictor([document]) for document in documents])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert predictor([]).shape == (0, 2)


def test_other_tasks_are_fine_tuned() -> None:
    assert [task for task in TASKS if climbs_ladder("auto", task)] == ["single"]
    assert not climbs_ladder("finetune", "single")
    with pytest.raises(ConfigError, match="method: task 'multi' is fine-tuned, got 'linear'; leave it out"):
        climbs_ladder("linear", "multi")
    with pytest.raises(ConfigError, match="method: got 'boost'"):
        climbs_ladder("boost", "single")
    with pytest.raises(ConfigError, match="method: got 'finetune'"):
        _train([], method="finetune")


def test_the_recipe_where_none_is_given() -> None:
    assert usual_recipe("auto", "single", has_language_model=True) is ALL_LAYERS
    for method, task, has_language_model in (
        ("finetune", "single", True),
        ("auto", "multi", True),
        ("auto", "single", False),
        ("features", "single", True),
    ):
        assert usual_recipe(method, task, has_language_model=has_language_model) is CLASSIFY
    (phase,) = ALL_LAYERS.phases(4, Budget(steps=10))
    assert phase.rates(4) == [5e-3] * 4


def test_language_models_of_different_vocabularies_are_refused() -> None:
    first = tiny.language_model().parts
    other = dataclasses.replace(first, vocabulary=Vocabulary(reversed(first.vocabulary.tokens)))
    with pytest.raises(ConfigError, match="language_models: expected one vocabulary, got several"):
        _train([first, other])


def test_self_training_on_text() -> None:
    """Few labels, and much text without: two networks learn from what the co-trained members are sure of."""
    data = [*tiny.reviews(16), *((text, None) for text, _ in tiny.reviews(200, 5000)), *tiny.reviews(8, 9000)]
    options = dataclasses.replace(tiny.WORDS, split_by="random", valid_fraction=0.1)
    both = [tiny.language_model().parts, tiny.backward_language_model().parts]
    parts = train_automatically(
        data, both, budget=Budget(steps=60), recipe=tiny.CLASSIFY, data_options=options, run=tiny.RUN
    )
    rows = _rows(parts)
    accuracy = {row.name: row.accuracy for row in rows}
    assert accuracy["self-trained"] > 0.9
    assert accuracy["self-trained"] > accuracy["fine-tuned forward"]
    assert [row.name for row in rows][-3:] == ["fine-tuned backward", "self-trained", "blend of all"]


def test_epochs_leave_out_networks_that_read_all_text() -> None:
    data = [*tiny.reviews(16), *((text, None) for text, _ in tiny.reviews(200, 5000)), *tiny.reviews(8, 9000)]
    given = {"recipe": tiny.CLASSIFY, "data_options": tiny.WORDS, "run": tiny.RUN}
    parts = train_automatically(data, [tiny.language_model().parts], budget=Budget(epochs=1), **given)  # type: ignore[arg-type]
    rows = _rows(parts)
    names = [row.name for row in rows]
    assert "co-trained blend" in names
    assert "fine-tuned forward" in names
    assert "self-trained" not in names


def test_vectors_of_little_text_are_learnt_without_the_documents_judged_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """They fit the documents that they are learned from too well, whatever the labels."""
    corpus = prepare(tiny.reviews(40), tiny.WORDS, task="single")
    learned: list[list[int]] = []

    class Remembering(DocumentVectors):
        def __init__(self, documents: Any, rows: np.ndarray, *arguments: Any, **options: Any) -> None:
            learned.append(rows.tolist())
            super().__init__(documents, rows, *arguments, **options)

    monkeypatch.setattr(ladder_text, "DocumentVectors", Remembering)
    for most in (0, 10**6):  # words of text that is little
        monkeypatch.setattr(ladder_text, "_FITTED_TEXT", most)
        learned.clear()
        text = LadderText(corpus, ROWS[:0])
        (vectors, _), (without, _) = text.views, text.views_without
        labelled = LabelledVectors(vectors, without, text.rows, text.answers, text.classes)
        judging = choose_judging(text.rows, text.answers[text.rows], None)
        for rows, held_out in judging.splits:
            labelled.fit(rows, held_out)
        labelled.fit(text.rows, text.rows[:0])
        labelled.fit(text.rows, corpus.rows("valid"))  # which the text does not have
        folds = [rows.tolist() for rows, _ in judging.splits] if most else []
        assert learned == [text.rows.tolist(), text.rows.tolist(), *folds]  # words, characters, words without each fold


def test_a_network_that_learns_from_all_labels_has_no_validation() -> None:
    ladders: list[Ladder] = []
    _train([tiny.language_model().parts], labels=12, on_ladder=ladders.append)
    (member,), _ = ladders[0].fit(next(row for row in ladders[0].rows if row.name == "fine-tuned forward"))
    assert isinstance(member, ClassifierParts)
    assert (member.facts.validation, member.facts.validation_documents) == ({}, None)


@pytest.mark.parametrize("options", [{"run": {"restore_best": True}}, {"recipe": {"patience": 2}}])
def test_documents_that_judge_networks_choose_no_weights(options: dict[str, dict[str, Any]]) -> None:
    run = dataclasses.replace(tiny.RUN, **options.get("run", {}))
    recipe = dataclasses.replace(ALL_LAYERS, **options.get("recipe", {}))
    with pytest.raises(ConfigError, match=r"(restore_best|patience): the ladder judges .* use method='finetune'"):
        _train([tiny.language_model().parts], run=run, recipe=recipe)


def test_several_members_of_a_rung_share_its_weight() -> None:
    class Two(_Rung):
        refits = False

        def judge(self, splits: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, tuple[Member, ...]]:
            logs, members = super().judge(splits)
            return logs, members * 2

    ladder = climb([Two("a", 4.0, 0, refits=False)], [], choose_judging(ROWS, LABELS, None), LABELS, ROWS)
    members, combiner = ladder.fit(ladder.kept)
    assert len(members) == 2
    assert combiner.weights[0] == combiner.weights[1] > 0


def test_members_are_fitted_once_to_all_labelled_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """The strength is chosen on all of them, by a fit whose member is the one to keep."""
    calls: list[tuple[list[int], Any]] = []

    def fit(
        read: Any, rows: np.ndarray, labels: Any, classes: int, strengths: Any = None, class_weights: Any = None
    ) -> Any:
        calls.append((rows.tolist(), strengths))
        return f"member {len(calls)}", 3.0

    monkeypatch.setattr(rungs, "fit_tfidf", fit)
    read = SimpleNamespace(name=lambda member: member)
    rung = rungs.linear_rungs([read], [SimpleNamespace(fit=None)], LABELS, 2, ROWS)[0]
    assert rung.fit(ROWS[:5], ROWS[5:]) == "member 2"
    assert rung.fit(ROWS, ROWS[:0]) == "member 1"
    assert calls == [(ROWS.tolist(), None), (ROWS[:5].tolist(), (3.0,))]
