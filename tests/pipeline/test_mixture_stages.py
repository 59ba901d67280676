"""A mixture of softmaxes through every stage, and that models of one softmax go on as before."""

from dataclasses import replace
from pathlib import Path

import pytest
from support import tiny
from support.models import language_model_config

from ulmkit import LanguageModel, TextClassifier, export_int8
from ulmkit.errors import ConfigError
from ulmkit.evaluation import CacheConfig, DynamicConfig
from ulmkit.kernels.cpu.library import load_library
from ulmkit.model.language_model import LanguageModelConfig
from ulmkit.pipeline import prepare

SIZES = language_model_config(tiny.SIZES, softmax_experts=3, latent_dropout=0.3, last_hidden_size=40)
OPTIONS = {"data_options": tiny.WORDS, "run": tiny.RUN}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    """Pretrained, saved, and loaded again."""
    folder = tmp_path_factory.mktemp("mixture") / "lm"
    LanguageModel.pretrain(tiny.reviews(), steps=40, sizes=SIZES, recipe=tiny.LEARN, **OPTIONS).save(folder)
    return LanguageModel.load(folder, tiny.RUN)


def test_pretraining_lowers_perplexity(model: LanguageModel) -> None:
    config = model.parts.model.config
    assert (config.softmax_experts, config.encoder.output_size) == (3, 40)
    assert config.latent_dropout == pytest.approx(0.03)  # times the recipe's multiplier
    assert model.parts.facts.validation["perplexity"] < 0.8 * len(model.parts.vocabulary)


def test_fine_tuning_to_new_words(model: LanguageModel) -> None:
    data = [(text + " zebra", label) for text, label in tiny.reviews(80, first=500)]
    tuned = model.finetune(data, steps=30, recipe=tiny.LEARN, **OPTIONS)
    assert "zebra" in tuned.parts.vocabulary
    facts = tuned.parts.facts
    assert facts.validation["perplexity"] < 0.9 * facts.validation_before["perplexity"]


def test_generation_scores_and_every_way_of_evaluation(model: LanguageModel) -> None:
    texts = model.generate("the film", max_tokens=5, samples=2, seed=1)
    assert all(text.startswith("the film") and len(text.split()) > 2 for text in texts)
    scores = model.score([text for text, _ in tiny.reviews(3, first=800)])
    assert all(1.0 < score.perplexity < len(model.parts.vocabulary) for score in scores)
    halves = replace(tiny.WORDS, valid_fraction=0.5)
    corpus = prepare(tiny.reviews(60, 500), halves, tokenizer=model.parts.tokenizer, vocabulary=model.parts.vocabulary)
    found = model.evaluate_with(
        corpus,
        split="valid",
        cache=CacheConfig(window=40, theta=0.01, weight=0.2),
        dynamic=DynamicConfig(learning_rate=1e-4, decay=1e-3),
        statistics_batches=2,
    )
    plain = model.evaluate(corpus, split="valid")
    assert found.results["plain"].perplexity == pytest.approx(plain.perplexity)
    assert found.results["dynamic"].perplexity < plain.perplexity
    assert len({result.perplexity for result in found.results.values()}) == 4


@pytest.mark.skipif(isinstance(load_library(), str), reason="the kernel library is not built")
def test_a_classifier_from_it_is_trained_and_exported(model: LanguageModel, tmp_path: Path) -> None:
    classifier = TextClassifier.train(
        tiny.reviews(), model, method="finetune", steps=40, recipe=tiny.CLASSIFY, **OPTIONS
    )
    held_out = tiny.reviews(60, first=1000)
    report = classifier.evaluate(held_out, split=None, data_options=tiny.WORDS)
    assert report.accuracy > 0.8
    found = export_int8(classifier, tmp_path / "int8", held_out, split=None, data_options=tiny.WORDS)
    assert found.documents == 60
    loaded = TextClassifier.load(tmp_path / "int8")
    assert loaded.parts.model.encoder.layers[-1].bias_sum.shape == (4 * 40,)
    assert "mixture" not in (tmp_path / "int8" / "README.md").read_text()


def test_a_run_resumes_with_the_same_softmax_only(tmp_path: Path) -> None:
    def train(sizes: LanguageModelConfig, resume: bool = False) -> None:
        run = replace(tiny.RUN, folder=tmp_path, resume=resume)
        options = {"recipe": tiny.LEARN, "data_options": tiny.WORDS, "run": run}
        LanguageModel.pretrain(tiny.reviews(), steps=6, sizes=sizes, **options)

    train(SIZES)
    with pytest.raises(ConfigError, match=r"parameters.mixture.latent.weight\[0\]: was 96, now 64"):
        train(replace(SIZES, softmax_experts=2), resume=True)
    with pytest.raises(ConfigError, match=r"identity.model.latent_dropout: was 0.03, now 0.02"):
        train(replace(SIZES, latent_dropout=0.2), resume=True)
