"""The recipe of today for word-level corpora, and validation at intervals."""

from dataclasses import replace

import pytest
from support import tiny
from support.models import language_model_config

from ulmkit.pipeline import AWD_LSTM_PTB, MODERN_PTB, MODERN_WIKITEXT2, RunOptions, pretrain
from ulmkit.training import Budget


@pytest.mark.parametrize("recipe", [MODERN_PTB, MODERN_WIKITEXT2])
def test_it_keeps_the_texts_order_and_anneals_at_once(recipe):
    assert recipe.main.schedule.name == "one_cycle"
    assert recipe.main.optimizer.name == "adamw"
    assert not recipe.main.shuffle
    encoder = recipe.sizes.encoder
    assert (encoder.embedding_size, encoder.hidden_size, encoder.layers) == (400, 1152, 3)


def test_it_learns():
    sizes = language_model_config(MODERN_PTB.sizes, embedding_size=32, hidden_size=48, layers=2)
    main = replace(MODERN_PTB.main, batch_size=8, bptt=12, peak_rate=1e-2)
    run = RunOptions(precision="fp32", device="cpu", validations=2)
    parts = pretrain(
        tiny.reviews(), budget=Budget(steps=120), sizes=sizes, recipe=main, data_options=tiny.WORDS, run=run
    )
    losses = [row["valid_perplexity"] for row in parts.history if row["kind"] == "validation"]
    assert losses[-1] < losses[0] < 20
    assert losses[-1] < 6
    assert parts.model.encoder.config.weight_dropout == pytest.approx(0.15)


@pytest.mark.parametrize("budget", [Budget(epochs=3.5), Budget(minutes=0.05)])
def test_a_validation_an_epoch_whatever_the_budget(budget):
    """In minutes those that would take more than a tenth of them are left out."""
    sizes = language_model_config(AWD_LSTM_PTB.sizes, embedding_size=16, hidden_size=16, layers=1)
    main = replace(AWD_LSTM_PTB.main, batch_size=8, bptt=12)
    run = RunOptions(precision="fp32", device="cpu", validations=Budget(epochs=1), valid_tokens=20)
    parts = pretrain(tiny.reviews(), budget=budget, sizes=sizes, recipe=main, data_options=tiny.WORDS, run=run)
    epochs = [row["epoch"] for row in parts.history if row["kind"] == "validation"]
    if budget.epochs:
        assert epochs == pytest.approx([1, 2, 3, 3.5], abs=0.1)
    assert [round(epoch, 2) for epoch in epochs[:-1]] == [float(round(epoch)) for epoch in epochs[:-1]]
    assert len(epochs) >= 2


def test_the_recipes_gain_is_that_of_a_new_models_first_weights() -> None:
    def deviation(gain: float | None) -> float:
        recipe = replace(tiny.LEARN, input_gain=gain)
        run = {"data_options": tiny.WORDS, "run": tiny.RUN, "sizes": tiny.SIZES}
        model = pretrain(tiny.reviews(), budget=Budget(steps=1), recipe=recipe, **run).model
        return model.encoder.layers[0].weight_ih.std().item()

    assert deviation(2.0) > 5 * deviation(None)
