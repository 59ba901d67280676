"""The language model that people hold: generate, score, evaluate, save and load."""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support import tiny

from ulmkit import LanguageModel
from ulmkit.api.common import text_ids
from ulmkit.errors import ConfigError, DataError, FolderError
from ulmkit.hub import facts_from_json, facts_to_json
from ulmkit.pipeline import DataOptions

BYTES = DataOptions(tokenizer="bytes", workers=1)


@pytest.fixture(scope="module")
def spacy_model() -> LanguageModel:
    """A model with special tokens, of text with capitals and punctuation."""
    texts = [f"The film was {word}, and I said so." for word in ("good", "bad", "long", "short")] * 20
    options = DataOptions(workers=1, min_freq=1)
    return LanguageModel.pretrain(
        texts, steps=80, sizes=tiny.SIZES, recipe=tiny.LEARN, data_options=options, run=tiny.RUN
    )


def test_generated_text_is_put_back_together(spacy_model: LanguageModel) -> None:
    texts = spacy_model.generate("The film", max_tokens=8, samples=3, temperature=0.0)
    assert len(texts) == 3
    assert len(set(texts)) == 1
    assert texts[0].startswith("The film was ")
    assert "xx" not in texts[0]
    assert texts[0].endswith(", and i said so.")


def test_the_same_seed_generates_the_same_text(spacy_model: LanguageModel) -> None:
    options = {"max_tokens": 20, "samples": 2, "temperature": 1.5}
    assert spacy_model.generate(seed=1, **options) == spacy_model.generate(seed=1, **options)
    assert spacy_model.generate(seed=1, **options) != spacy_model.generate(seed=2, **options)


def test_beam_returns_the_most_probable_first(spacy_model: LanguageModel) -> None:
    texts = spacy_model.generate("The film was", max_tokens=3, beam=4, samples=2)
    assert len(set(texts)) == 2
    scores = [score.log_probability for score in spacy_model.score(texts)]
    assert scores == sorted(scores, reverse=True)


def test_the_unknown_token_comes_only_if_wanted(spacy_model: LanguageModel) -> None:
    unknown = spacy_model.parts.vocabulary.unk_id
    bias = spacy_model.parts.model.decoder.weight
    kept = bias.detach().clone()
    with torch.no_grad():
        bias[unknown] = 50.0
    try:
        assert "<unk>" in spacy_model.generate("The", max_tokens=2, allow_unk=True)[0]
        assert "<unk>" not in spacy_model.generate("The", max_tokens=2)[0]
    finally:
        with torch.no_grad():
            bias.copy_(kept)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "max_tokens: expected a whole number of at least 1, got 0"),
        ({"samples": 0}, "samples: expected a whole number of at least 1, got 0"),
        ({"temperature": -1.0}, r"temperature: expected a number of at least 0, got -1\.0"),
        ({"top_p": 0.0}, r"top_p: expected 0 < p <= 1, got 0\.0"),
        ({"top_k": 0}, "top_k: expected a whole number of at least 1, got 0"),
    ],
)
def test_options_of_generate(spacy_model: LanguageModel, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        spacy_model.generate("The", **options)


def test_a_backward_model_writes_what_comes_before() -> None:
    texts = tiny.backward_language_model().generate("some actors", max_tokens=1, temperature=0.0)
    assert texts == ["with some actors"]


def test_scores_are_sums_of_log_probabilities(spacy_model: LanguageModel) -> None:
    text = "The film was good, and I said so."
    (score,) = spacy_model.score([text])
    parts = spacy_model.parts
    ids = torch.tensor(parts.vocabulary.encode(parts.tokenizer.tokenize(text))).unsqueeze(1)
    with torch.no_grad():
        logits, _ = parts.model(ids[:-1], None)
    expected = logits.log_softmax(-1).gather(-1, ids[1:].unsqueeze(-1)).sum()
    assert score.log_probability == pytest.approx(float(expected), rel=1e-4)
    assert score.perplexity == pytest.approx(math.exp(-score.log_probability / score.tokens))
    nonsense, nothing = spacy_model.score(["so said short film, The good.", ""])
    assert nonsense.log_probability / nonsense.tokens < score.log_probability / score.tokens
    assert (nothing.tokens, nothing.perplexity) == (0, None)
    assert nonsense.unknown_tokens == 0
    with pytest.raises(DataError, match="texts: expected a list of texts, got one str"):
        spacy_model.score("The film")


def test_score_does_not_depend_on_the_other_texts(spacy_model: LanguageModel) -> None:
    texts = ["The film was good.", "I said so, and so, and so, and so.", "The", ""]
    together = [score.log_probability for score in spacy_model.score(texts)]
    alone = [spacy_model.score([text])[0].log_probability for text in texts]
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_exact_perplexity_of_a_whole_text_and_of_a_part(spacy_model: LanguageModel) -> None:
    texts = ["The film was good.", "The film was bad."]
    found = spacy_model.evaluate(texts)
    assert found.method == "exact"
    assert found.words == 8
    assert found.characters == sum(map(len, texts))
    assert found.bits_per_character == pytest.approx(found.nll / found.characters / math.log(2))
    with pytest.raises(DataError, match="split: got 'test', but documents given in Python names no splits"):
        spacy_model.evaluate(texts, split="test")


def test_perplexity_after_fine_tuning_is_lower() -> None:
    base, texts = tiny.language_model(), [text for text, _ in tiny.reviews(80, first=500)]
    turned = [" ".join(reversed(text.split())) for text in texts]
    tuned = base.finetune(turned, steps=40, recipe=tiny.LEARN, data_options=tiny.WORDS, run=tiny.RUN)
    assert tuned.evaluate(turned[:20]).perplexity < 0.8 * base.evaluate(turned[:20]).perplexity


def test_a_saved_model_is_complete_wherever_it_is_moved(spacy_model: LanguageModel, tmp_path: Path) -> None:
    spacy_model.save(tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    loaded = LanguageModel.load(tmp_path / "there", tiny.RUN)
    assert repr(loaded) == repr(spacy_model)
    texts = ["The film was good.", "An unknown word"]
    assert [score.to_dict() for score in loaded.score(texts)] == [s.to_dict() for s in spacy_model.score(texts)]
    assert loaded.generate("The", seed=3) == spacy_model.generate("The", seed=3)
    assert loaded.parts.facts == facts_from_json(facts_to_json(spacy_model.parts.facts))
    names = {path.name for path in (tmp_path / "there").iterdir()}
    assert names == {
        "README.md",
        "config.json",
        "held_out.json",
        "model.safetensors",
        "tokenizer",
        "training_log.csv",
        "vocabulary.json",
        "word_vectors",
    }
    card = (tmp_path / "there" / "README.md").read_text()
    assert "Trained on documents given in Python." in card
    assert "The validation split is 10% of the documents: a random part (seed 0) of each class. Clean: " in card
    with pytest.raises(FolderError, match="there: already exists"):
        loaded.save(tmp_path / "there")
    loaded.save(tmp_path / "there", overwrite=True)


def test_fine_tuning_a_loaded_model_equals_fine_tuning_the_original(tmp_path: Path) -> None:
    tiny.language_model().save(tmp_path / "lm")
    loaded = LanguageModel.load(tmp_path / "lm", tiny.RUN)
    options = {"steps": 3, "recipe": tiny.LEARN, "data_options": tiny.WORDS, "run": tiny.RUN}
    first, second = (model.finetune(tiny.reviews(), **options) for model in (tiny.language_model(), loaded))
    for one, other in zip(first.parts.model.parameters(), second.parts.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_precision_of_a_loaded_model(tmp_path: Path) -> None:
    tiny.language_model().save(tmp_path / "lm")
    assert LanguageModel.load(tmp_path / "lm").parts.model.encoder.precision == "auto"
    low = LanguageModel.load(tmp_path / "lm", replace(tiny.RUN, precision="bf16"))
    assert low.parts.model.encoder.precision == "bf16"
    texts = [text for text, _ in tiny.reviews(10)]
    exact, rounded = tiny.language_model().score(texts), low.score(texts)
    np.testing.assert_allclose(
        [score.log_probability / score.tokens for score in rounded],
        [score.log_probability / score.tokens for score in exact],
        atol=2e-2,
    )


def test_exactly_one_budget_is_given() -> None:
    for budget in ({}, {"steps": 1, "epochs": 1.0}):
        with pytest.raises(ConfigError, match="budget: expected exactly one of `epochs`, `steps`, `minutes`, got"):
            LanguageModel.pretrain(tiny.reviews(), data_options=tiny.WORDS, **budget)


def test_a_learning_rate_is_suggested_and_the_model_is_unchanged() -> None:
    base = tiny.language_model()
    weights = [parameter.detach().clone() for parameter in base.parts.model.parameters()]
    search = base.find_learning_rate(tiny.reviews(), steps=20, recipe=tiny.LEARN, data_options=tiny.WORDS, run=tiny.RUN)
    assert search.rates[0] < search.valley < search.rates[-1]
    for parameter, before in zip(base.parts.model.parameters(), weights, strict=True):
        torch.testing.assert_close(parameter, before, rtol=0, atol=0)


def test_selected_evaluation_data_is_evaluated_as_it_is(spacy_model: LanguageModel) -> None:
    texts = ["The film was good.", "The film was bad."]
    selected = spacy_model.evaluation_data(texts)
    said = selected.describe()
    assert said.startswith("evaluated on: all of documents given in Python, 2 documents; not from the data that the")
    assert spacy_model.evaluate(selected) == spacy_model.evaluate(texts)
    assert spacy_model.evaluate_with(selected).results["plain"].nll == spacy_model.evaluate(texts).nll
    with pytest.raises(ConfigError, match="split, data_options: expected none with selected evaluation data"):
        spacy_model.evaluate(selected, split="test")


@pytest.mark.parametrize("make", [tiny.language_model, tiny.backward_language_model])
def test_embeddings_of_texts(make: Callable[[], LanguageModel]) -> None:
    model = make()
    texts = [text for text, _ in tiny.reviews(5)] + ["", "good"]
    features = model.embed(texts)
    size, layers = model.parts.model.config.encoder.embedding_size, model.parts.model.config.encoder.layer_sizes
    assert features.shape == (7, size + 3 * sum(units for _, units in layers))
    assert features.dtype == np.float32
    for text, row in zip(texts, features, strict=True):
        np.testing.assert_allclose(model.embed([text])[0], row, atol=1e-6)
    ids = text_ids(model.parts, texts[0])
    np.testing.assert_allclose(
        features[0, :size], model.parts.model.encoder.embedding.weight.detach()[ids].mean(0), atol=1e-6
    )
    with pytest.raises(DataError, match="text 1: expected a str"):
        model.embed(["a", 1])  # type: ignore[list-item]


def test_weights_in_bfloat16(tmp_path: Path) -> None:
    model = tiny.language_model()
    model.save(tmp_path / "full")
    model.save(tmp_path / "half", weights="bfloat16")
    full, half = LanguageModel.load(tmp_path / "full"), LanguageModel.load(tmp_path / "half")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("half", "full")]
    assert 0.5 * sizes[1] < sizes[0] < 0.6 * sizes[1]
    for name, expected in full.parts.model.state_dict().items():
        actual = half.parts.model.state_dict()[name]
        assert actual.dtype == torch.float32
        assert torch.equal(actual, expected.bfloat16().float())
    cards = [(tmp_path / name / "README.md").read_text() for name in ("half", "full")]
    assert ["bfloat16" in card for card in cards] == [True, False]
    texts = [text for text, _ in tiny.reviews(5)]
    for a, b in zip(half.score(texts), full.score(texts), strict=True):
        assert a.log_probability == pytest.approx(b.log_probability, rel=0.01)
    with pytest.raises(ConfigError, match="weights: got 'int8'"):
        model.save(tmp_path / "none", weights="int8")
