"""The published recipes: the settings as printed, and that training with one runs and keeps the best."""

from dataclasses import replace

import pytest
import torch
from support import tiny
from support.models import language_model_config

from ulmkit import LanguageModel, RunOptions
from ulmkit.model.cells import LSTM, QRNN
from ulmkit.pipeline import (
    AWD_LSTM_PTB,
    AWD_LSTM_PTB_PAPER,
    AWD_LSTM_WIKITEXT2,
    AWD_LSTM_WIKITEXT2_PAPER,
    AWD_QRNN_PTB,
    AWD_QRNN_WIKITEXT2,
    MOS_PTB,
    MOS_WIKITEXT2,
    PublishedRecipe,
)

OF_LSTMS = (AWD_LSTM_PTB, AWD_LSTM_PTB_PAPER, AWD_LSTM_WIKITEXT2, AWD_LSTM_WIKITEXT2_PAPER)
OF_QRNNS = (AWD_QRNN_PTB, AWD_QRNN_WIKITEXT2)
MOS = (MOS_PTB, MOS_WIKITEXT2)


@pytest.mark.parametrize("recipe", OF_LSTMS)
def test_settings_common_to_lstm_recipes(recipe: PublishedRecipe):
    encoder = recipe.sizes.encoder
    assert (encoder.cell, encoder.embedding_size, encoder.hidden_size, encoder.layers) == (LSTM(), 400, 1150, 3)
    assert (encoder.weight_dropout, encoder.output_dropout, encoder.embedding_dropout) == (0.5, 0.4, 0.1)
    assert recipe.main.clip == 0.25


@pytest.mark.parametrize(("recipe", "clip"), [(AWD_QRNN_PTB, 0.2), (AWD_QRNN_WIKITEXT2, 0.25)])
def test_settings_common_to_qrnn_recipes(recipe: PublishedRecipe, clip: float):
    encoder = recipe.sizes.encoder
    assert (encoder.cell, encoder.embedding_size, encoder.hidden_size, encoder.layers) == (QRNN(), 400, 1550, 4)
    assert (encoder.weight_dropout, encoder.output_dropout, encoder.embedding_dropout) == (0.1, 0.4, 0.1)
    assert (recipe.main.clip, recipe.tuning.clip) == (clip, clip)


@pytest.mark.parametrize("recipe", OF_LSTMS + OF_QRNNS + MOS)
def test_settings_common_to_all_recipes(recipe: PublishedRecipe):
    main, optimizer = recipe.main, recipe.main.optimizer
    assert main.schedule.name == "constant"
    assert (optimizer.name, optimizer.weight_decay, optimizer.decay, optimizer.window) == ("nt_asgd", 1.2e-6, "l2", 5)
    assert (main.bptt, main.bptt_std, main.ar, main.tar, main.shuffle) == (70, 5.0, 2.0, 1.0, False)
    assert (recipe.tuning.optimizer.name, recipe.tuning.patience) == ("asgd", 5)
    assert recipe.tuning.patience_rule == "non_monotone"
    assert (recipe.validation_batch_size, recipe.test_batch_size) == (10, 1)


@pytest.mark.parametrize("recipe", OF_LSTMS)
def test_settings_common_to_single_softmax_recipes(recipe: PublishedRecipe):
    encoder = recipe.sizes.encoder
    assert (encoder.embedding_size, encoder.hidden_size, encoder.output_size) == (400, 1150, 400)
    assert (recipe.main.peak_rate, recipe.tuning.peak_rate, recipe.sizes.softmax_experts) == (30.0, 30.0, 1)


@pytest.mark.parametrize(
    ("recipe", "sizes", "rates"),
    [(MOS_PTB, (280, 960, 620), (20.0, 25.0)), (MOS_WIKITEXT2, (300, 1150, 650), (15.0, 20.0))],
)
def test_settings_of_the_mixtures(recipe: PublishedRecipe, sizes: tuple[int, ...], rates: tuple[float, float]):
    encoder = recipe.sizes.encoder
    assert (encoder.embedding_size, encoder.hidden_size, encoder.last_hidden_size) == sizes
    assert (recipe.sizes.softmax_experts, recipe.sizes.latent_dropout) == (15, 0.29)
    assert (recipe.main.peak_rate, recipe.tuning.peak_rate) == rates


@pytest.mark.parametrize(
    ("recipe", "batch_size", "input_dropout", "hidden_dropout", "epochs", "seed"),
    [
        (AWD_LSTM_PTB, 20, 0.4, 0.25, 500, 141),
        (AWD_LSTM_PTB_PAPER, 40, 0.4, 0.3, 750, None),
        (AWD_LSTM_WIKITEXT2, 80, 0.65, 0.2, 750, 1882),
        (AWD_LSTM_WIKITEXT2_PAPER, 80, 0.65, 0.3, 750, None),
        (AWD_QRNN_PTB, 20, 0.4, 0.3, 550, 9001),
        (AWD_QRNN_WIKITEXT2, 40, 0.4, 0.2, 500, 4002),
        (MOS_PTB, 12, 0.4, 0.225, 1000, 28),
        (MOS_WIKITEXT2, 15, 0.55, 0.2, 1000, 1882),
    ],
)
def test_settings_of_each_recipe(recipe, batch_size, input_dropout, hidden_dropout, epochs, seed):
    assert recipe.main.batch_size == batch_size
    assert (recipe.sizes.encoder.input_dropout, recipe.sizes.encoder.hidden_dropout) == (input_dropout, hidden_dropout)
    assert (recipe.epochs, recipe.seed) == (epochs, seed)


def test_both_stages_run_and_learn():
    """Smaller, on stock phrases: the second stage begins at the first's result and betters it or stops."""
    recipe, run = AWD_LSTM_PTB, RunOptions(precision="fp32", validations=8, restore_best=True)
    options = {"data_options": tiny.WORDS, "run": run}
    small = {"batch_size": 8, "bptt": 12, "peak_rate": 20.0, "dropout_multiplier": 0.1}
    optimizer = replace(recipe.main.optimizer, window=1)
    sizes = language_model_config(recipe.sizes, embedding_size=32, hidden_size=48, layers=2)
    main = LanguageModel.pretrain(
        tiny.reviews(), steps=120, sizes=sizes, recipe=replace(recipe.main, optimizer=optimizer, **small), **options
    )
    tuned = main.finetune(tiny.reviews(), steps=80, recipe=replace(recipe.tuning, **small), **options)
    first, second = (model.parts.facts.validation["perplexity"] for model in (main, tuned))
    assert first < 6
    assert second <= first


def test_a_second_stage_that_makes_it_worse_leaves_the_first():
    """As in the original, which keeps what it loaded until a validation is better."""
    recipe, run = AWD_LSTM_PTB, RunOptions(precision="fp32", validations=3, restore_best=True)
    options = {"data_options": tiny.WORDS, "run": run}
    small = {"batch_size": 8, "bptt": 12, "dropout_multiplier": 0.1}
    sizes = language_model_config(recipe.sizes, embedding_size=32, hidden_size=48, layers=2)
    steady = replace(recipe.main, optimizer=replace(recipe.main.optimizer, name="sgd"), peak_rate=20.0, **small)
    main = LanguageModel.pretrain(tiny.reviews(), steps=60, sizes=sizes, recipe=steady, **options)
    wild = replace(recipe.tuning, peak_rate=400.0, **small)
    tuned = main.finetune(tiny.reviews(), steps=12, recipe=wild, **options).parts
    assert tuned.facts.run.weights_of_step == 0
    assert tuned.facts.run.averaged_steps == 12
    assert tuned.facts.validation == tuned.facts.validation_before
    for name, value in main.parts.model.state_dict().items():
        assert torch.equal(tuned.model.state_dict()[name], value), name
