"""The whole path with each other cell: pretrain, save, load, fine-tune, classify, stream, evaluate, go on."""

import dataclasses

import numpy as np
import pytest
import torch
from support import tiny
from support.interrupts import InterruptAtStep
from support.models import language_model_config

from ulmkit import LanguageModel, TextClassifier, export_int8
from ulmkit.errors import ConfigError
from ulmkit.evaluation import CacheConfig, DynamicConfig
from ulmkit.model.cells import cell_from_options
from ulmkit.pipeline import RunOptions
from ulmkit.training import TrainingInterrupted

TEXTS = [text for text, _ in tiny.reviews(6, first=500)]
NEW_WORDS = [(f"{text} verily indeed", label) for text, label in tiny.reviews(60, first=300)]


@pytest.fixture(scope="module", params=["qrnn", "mogrifier"])
def cell(request: pytest.FixtureRequest) -> str:
    return request.param


def pretrain(cell: str, steps: int, run: RunOptions = tiny.RUN) -> LanguageModel:
    sizes = language_model_config(
        tiny.SIZES, cell=cell_from_options(cell, {"mogrifier_rounds": 3, "mogrifier_rank": 8})
    )
    return LanguageModel.pretrain(
        tiny.reviews(), steps=steps, sizes=sizes, recipe=tiny.LEARN, data_options=tiny.WORDS, run=run
    )


@pytest.fixture(scope="module")
def language_model(cell: str) -> LanguageModel:
    return pretrain(cell, 40)


def test_pretraining_learns_and_a_folder_gives_the_model_back(language_model, cell, tmp_path):
    assert language_model.parts.facts.validation["perplexity"] < 6  # of 31 words, most in stock phrases
    language_model.save(tmp_path / "lm")
    loaded = LanguageModel.load(tmp_path / "lm", tiny.RUN)
    assert loaded.parts.model.config == language_model.parts.model.config
    assert loaded.parts.model.config.encoder.cell.name == cell
    text = "the film was great\n"
    assert loaded.score([text]) == language_model.score([text])
    row = {"qrnn": "- cell: qrnn", "mogrifier": "- cell: mogrifier, 3 rounds of rank 8"}[cell]
    assert row in (tmp_path / "lm" / "README.md").read_text()


def test_fine_tuning_to_new_words_and_a_classifier_that_streams(language_model, cell, tmp_path):
    options = {"data_options": tiny.WORDS, "run": tiny.RUN}
    tuned = language_model.finetune(NEW_WORDS, steps=10, recipe=tiny.LEARN, **options)
    assert "verily" in tuned.parts.vocabulary.tokens
    assert tuned.parts.model.config.encoder.cell.name == cell
    classifier = TextClassifier.train(
        tiny.reviews(), tuned, method="finetune", steps=80, recipe=tiny.CLASSIFY, **options
    )
    assert classifier.evaluate(tiny.reviews(60, first=700), data_options=tiny.WORDS, split=None).accuracy > 0.8
    classifier.save(tmp_path / "classifier")
    loaded = TextClassifier.load(tmp_path / "classifier", tiny.RUN)
    whole = loaded.predict_proba(TEXTS)
    np.testing.assert_array_equal(whole, classifier.predict_proba(TEXTS))
    for text, expected in zip(TEXTS, whole, strict=True):
        stream = loaded.stream()
        for start in range(0, len(text), 7):
            stream.feed(text[start : start + 7])
        np.testing.assert_allclose(stream.finish(), expected, atol=1e-5)
    with pytest.raises(ConfigError, match=f"int8: expected the cell 'lstm', .* got '{cell}'"):
        export_int8(loaded, tmp_path / "int8", tiny.reviews(40, first=900), split=None, data_options=tiny.WORDS)
    assert not (tmp_path / "int8").exists()


def test_evaluation_with_a_cache_and_dynamic_evaluation(language_model):
    found = language_model.evaluate_with(
        tiny.reviews(30, 500),
        data_options=tiny.WORDS,
        cache=CacheConfig(window=40, theta=0.5, weight=0.2),
        dynamic=DynamicConfig(learning_rate=0.02, decay=1e-3, rule="sgd"),
    )
    results = {name: result.perplexity for name, result in found.results.items()}
    assert list(results) == ["plain", "cache", "dynamic", "dynamic + cache"]
    assert results["dynamic"] < results["plain"]


def test_resuming_gives_the_weights_of_an_uninterrupted_run(cell, tmp_path):
    whole = pretrain(cell, 12).parts.model.state_dict()
    with pytest.raises(TrainingInterrupted, match="stopped at step 7"):
        pretrain(cell, 12, dataclasses.replace(tiny.RUN, folder=tmp_path, progress=InterruptAtStep(7)))
    halves = pretrain(cell, 12, dataclasses.replace(tiny.RUN, folder=tmp_path, resume=True)).parts.model.state_dict()
    assert all(torch.equal(tensor, halves[name]) for name, tensor in whole.items())
