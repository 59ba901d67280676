"""Word-level corpora as they stand: train.txt, valid.txt, test.txt, split on spaces, an end-of-line token."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from support import tiny

from ulmkit import LanguageModel
from ulmkit.pipeline import prepare


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lines as PTB has them: lower case, a space at either end, <unk> where a word is rare."""
    draw, folder = random.Random(0), tmp_path_factory.mktemp("ptb")
    for split, lines in (("train", 150), ("valid", 40), ("test", 40)):
        sentences = [
            f" the {draw.choice(['cat', 'dog', '<unk>'])} {draw.choice(['sat', 'ran'])} on the N mat "
            for _ in range(lines)
        ]
        (folder / f"{split}.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def model(corpus: Path) -> LanguageModel:
    return LanguageModel.pretrain(
        corpus, steps=60, sizes=tiny.SIZES, recipe=tiny.LEARN, data_options=tiny.WORDS, run=tiny.RUN
    )


def test_vocabulary_is_the_corpus_own(corpus: Path, model: LanguageModel) -> None:
    words = {"the", "cat", "dog", "<unk>", "sat", "ran", "on", "N", "mat", "<eos>"}
    assert set(model.parts.vocabulary.tokens) == words
    encoded = prepare(corpus, tiny.WORDS)
    assert {name: encoded.facts.splits[name].tokens for name in encoded.split_names} == {
        "train": 150 * 8,
        "valid": 40 * 8,
        "test": 40 * 8,
    }
    assert encoded.facts.splits["test"].unknown_tokens == 0
    first = encoded.vocabulary.decode(encoded.document(encoded.rows("test")[0])[:8])
    assert first == [*(corpus / "test.txt").read_text().splitlines()[0].split(), "<eos>"]


def test_exact_perplexity_counts_every_token_once(corpus: Path, model: LanguageModel) -> None:
    found = model.evaluate(corpus, split="test")
    assert (found.method, found.tokens, found.denominator) == ("exact", 320, 320)
    parts = model.parts
    ids = parts.vocabulary.encode(parts.tokenizer.tokenize((corpus / "test.txt").read_text()))
    eos = parts.vocabulary.eos_id
    with torch.no_grad():
        logits, _ = parts.model(torch.tensor([eos, *ids[:-1]]).unsqueeze(1), None)
    nll = torch.nn.functional.cross_entropy(logits.squeeze(1), torch.tensor(ids))
    assert found.perplexity == pytest.approx(math.exp(nll), rel=1e-4)
    assert found.perplexity < 3.0


def test_published_perplexity_divides_by_the_unpredicted_tokens_too(corpus: Path, model: LanguageModel) -> None:
    ten, one = (model.evaluate(corpus, split="test", published=True, batch_size=rows) for rows in (10, 1))
    assert (ten.method, ten.tokens, ten.denominator) == ("published", 310, 320)
    assert (one.tokens, one.denominator) == (319, 320)
    assert ten.perplexity == model.evaluate(corpus, split="test", published=True).perplexity


def test_generation_continues_a_line_and_scoring_reads_lines(model: LanguageModel) -> None:
    assert model.generate("the cat", max_tokens=2, temperature=0.0)[0] in ("the cat sat on", "the cat ran on")
    usual, odd = model.score(["the cat sat on the N mat", "mat N the on sat cat the"])
    assert usual.tokens == odd.tokens == 8
    assert usual.perplexity < odd.perplexity


def test_words_outside_the_vocabulary_are_unknown(model: LanguageModel) -> None:
    for language_model in (model, tiny.language_model()):
        (score,) = language_model.score(["the aardvark sat"])
        assert score.unknown_tokens == (1 if language_model is model else 2)


def test_lines_stay_in_order_if_the_recipe_does_not_shuffle(corpus: Path) -> None:
    encoded = prepare(corpus, tiny.WORDS)
    assert len(encoded.rows("train")) == 1
    (row,) = encoded.rows("valid")
    np.testing.assert_array_equal(encoded.stream([row]).read(0, 320), encoded.document(row))
