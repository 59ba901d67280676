"""A stage spread over two processes is the training that one process does."""

import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support import tiny
from support.interrupts import InterruptAtStep
from support.torchrun import torchrun_code

from ulmkit.errors import ConfigError
from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig
from ulmkit.pipeline import finetune, pretrain, train
from ulmkit.training import (
    Budget,
    LineProgress,
    OptimizerConfig,
    TrainingInterrupted,
    World,
)

SGD = OptimizerConfig(name="sgd", momentum=0.9)  # Adam would make steps of what is zero but for rounding
ENCODER = AWDLSTMConfig(embedding_size=16, hidden_size=24, layers=2)

PROGRAM = textwrap.dedent("""
    import sys
    from pathlib import Path
    import torch
    from safetensors.torch import save_file
    from test_pipeline_distributed import classifier, language_model, stopped_language_model
    from ulmkit.training import joined_world
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    with joined_world("cpu") as world:
        language_model(world, folder / "whole")
        models = {
            "lm": stopped_language_model(world, folder / "parts"),
            "classifier": classifier(world, steps=6),
            "adversarial": classifier(world, steps=4, adversarial=2.0),
        }
    for name, model in models.items():
        save_file(model.state_dict(), folder / f"{name}-{world.rank}.safetensors")
""")


def language_model(
    world: World, folder: Path | None = None, resume: bool = False, progress: LineProgress | None = None
) -> AWDLSTMLanguageModel:
    recipe = replace(tiny.LEARN, optimizer=SGD, peak_rate=0.5, dropout_multiplier=0.0, ar=2.0, tar=1.0, bptt_std=2.0)
    run = replace(tiny.RUN, world=world, folder=folder, resume=resume, progress=progress)
    return pretrain(
        tiny.reviews(),
        budget=Budget(steps=12),
        sizes=LanguageModelConfig(encoder=ENCODER),
        recipe=recipe,
        data_options=tiny.WORDS,
        run=run,
    ).model


def stopped_language_model(world: World, folder: Path) -> AWDLSTMLanguageModel:
    with pytest.raises(TrainingInterrupted, match="step 4"):
        language_model(world, folder, progress=InterruptAtStep(4))
    return language_model(world, folder, resume=True)


def classifier(world: World, steps: int, adversarial: float = 0.0) -> AWDLSTMClassifier:
    recipe = replace(
        tiny.CLASSIFY,
        optimizer=SGD,
        unfreezing="gradual",
        peak_rate=0.3,
        dropout_multiplier=0.0,
        adversarial=adversarial,
        class_weights="balanced",
        gradient_steps=8,
        chunk_steps=4,
        patience=5,
    )
    data = tiny.reviews(140)[::3] + tiny.reviews(140)[::2]  # classes of different sizes
    run = replace(tiny.RUN, world=world)
    return train(
        data, None, budget=Budget(steps=steps), sizes=ENCODER, recipe=recipe, data_options=tiny.WORDS, run=run
    ).model


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    told = torchrun_code(PROGRAM, tmp_path)
    assert told.stdout == ""
    expected = {  # in few steps, since each multiplies what rounding changed in the one before
        "lm": language_model(World()),
        "classifier": classifier(World(), steps=6),
        "adversarial": classifier(World(), steps=4, adversarial=2.0),
    }
    for name, alone in expected.items():
        first, second = (load_file(tmp_path / f"{name}-{rank}.safetensors") for rank in (0, 1))
        for key, tensor in alone.state_dict().items():
            torch.testing.assert_close(first[key], tensor, rtol=1e-4, atol=2e-5)
            assert torch.equal(first[key], second[key]), key


def test_a_batch_that_cannot_be_shared() -> None:
    run = replace(tiny.RUN, world=World(0, 3))
    message = "batch_size: expected a multiple of 3, the number of processes that share it, got 16; take 15, or another"
    recipe = replace(tiny.LEARN, batch_size=16)
    with pytest.raises(ConfigError, match=message):
        pretrain(tiny.reviews(), budget=Budget(steps=1), recipe=recipe, run=run)
    with pytest.raises(ConfigError, match=message):
        finetune(tiny.language_model().parts, tiny.reviews(), budget=Budget(steps=1), recipe=recipe, run=run)
    with pytest.raises(ConfigError, match=message):
        train(tiny.reviews(), None, budget=Budget(steps=1), recipe=tiny.CLASSIFY, run=run)
