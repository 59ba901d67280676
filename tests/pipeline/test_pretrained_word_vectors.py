"""Word vectors of a language model: learned by pretraining, kept by fine-tuning, used by the ladder."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from support import tiny

from ulmkit.hub import LanguageModelParts
from ulmkit.members import fitting
from ulmkit.members.document_vectors import VECTOR_SIZE
from ulmkit.pipeline import (
    Ladder,
    LadderText,
    finetune,
    ladder_text,
    prepare,
    pretrain,
    train_automatically,
    word_vectors,
)
from ulmkit.text.words import WordSequence
from ulmkit.training import Budget

TEXTS = tiny.reviews(600, 20_000)


@pytest.fixture(scope="module")
def pretrained() -> LanguageModelParts:
    return pretrain(
        TEXTS, budget=Budget(steps=2), sizes=tiny.SIZES, recipe=tiny.LEARN, data_options=tiny.WORDS, run=tiny.RUN
    )


def test_pretraining_learns_vectors_of_words(pretrained: LanguageModelParts) -> None:
    known = pretrained.word_vectors
    assert known is not None
    assert {"fine", "awful", "film"} <= set(known.words)
    assert "<eos>" not in known.words


def test_a_backward_model_has_none() -> None:
    assert tiny.backward_language_model().parts.word_vectors is None


def test_fine_tuning_keeps_those_of_the_base(pretrained: LanguageModelParts) -> None:
    tuned = finetune(pretrained, tiny.reviews(40), budget=Budget(steps=1), recipe=tiny.LEARN, run=tiny.RUN)
    assert tuned.word_vectors is pretrained.word_vectors


@pytest.mark.parametrize("is_used", [False, True])
def test_the_ladder_says_whether_it_uses_them(
    is_used: bool, pretrained: LanguageModelParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "_SCALES", (((0.0, 1.0) if is_used else (1.0, 0.0)),))
    monkeypatch.setattr(ladder_text, "_MOST_CHARACTERS", 0)  # vectors of characters have no word vectors to use
    ladders: list[Ladder] = []
    classifier = train_automatically(
        [*tiny.reviews(16), *tiny.reviews(8, 9000)],
        [pretrained],
        method="linear",
        budget=Budget(steps=1),
        data_options=dataclasses.replace(tiny.WORDS, split_by="random", valid_fraction=0.3),
        run=tiny.RUN,
        on_ladder=ladders.append,
    )
    assert classifier.facts.ladder == ladders[0].facts
    assert ladders[0].facts.word_vectors == ladders[0].uses_word_vectors == is_used


@pytest.mark.parametrize("little", [10, 10**6])
def test_triples_take_their_place_where_there_is_much_text(
    little: int, pretrained: LanguageModelParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder_text, "_LITTLE_TEXT", little)
    corpus = prepare(tiny.reviews(40), tiny.WORDS, task="single")
    text = LadderText(corpus, np.empty(0, dtype=np.int64), word_vectors=pretrained.word_vectors)
    assert pretrained.word_vectors is not None
    extra = 0 if little == 10 else pretrained.word_vectors.size
    known = text.vectors.vectors(text.rows)
    assert known.shape == (len(text.rows), VECTOR_SIZE + extra)
    member = text.vectors.fit(known, text.answers[text.rows], text.classes)
    assert len(member.ngrams.codes) == (2 if little == 10 else 1)


def test_no_more_text_is_read_than_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = prepare(TEXTS, tiny.WORDS, task="single")
    read: list[int] = []

    def learn(texts: Sequence[WordSequence], words: Sequence[str], seed: int) -> None:
        read.append(sum(map(len, texts)))

    monkeypatch.setattr(word_vectors, "learn_word_vectors", learn)
    monkeypatch.setattr(word_vectors, "_DOCUMENTS_AT_ONCE", 10)
    documents = len(corpus.rows("train"))
    for most in (1, 10**9):
        monkeypatch.setattr(word_vectors, "_MOST_TOKENS", most)
        word_vectors.corpus_word_vectors(corpus, ["train"])
    assert read == [10, documents]
