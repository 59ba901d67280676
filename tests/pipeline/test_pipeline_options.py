"""Where a stage runs, and its recipe."""

from types import SimpleNamespace

import pytest
import torch

from ulmkit.errors import ConfigError
from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.cells import Mogrifier
from ulmkit.pipeline import ClassifierRecipe, LanguageModelRecipe, RunOptions
from ulmkit.pipeline.options import choose_device
from ulmkit.pipeline.stage import stage_identity, with_dropouts
from ulmkit.training import Budget


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cpu:0", "meta", "mps", ""])
def test_unknown_devices(name: str) -> None:
    with pytest.raises(ConfigError, match=f"device: expected auto, cpu, cuda or cuda:N, got {name!r}"):
        RunOptions(device=name)


def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match="device: got 'cuda', but torch finds no GPU here; use device='cpu'"):
        RunOptions(device="cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(ConfigError, match="device: got 'cuda:1', but torch finds 1 GPU here"):
        RunOptions(device="cuda:1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp16"}, "precision: got 'fp16'; did you mean 'bf16'"),
        ({"backend": "cudnn"}, "backend: got 'cudnn'; there are: auto, fused, torch"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"validations": 0}, "validations: expected a whole number of at least 1, got 0"),
    ],
)
def test_run_options_outside_their_range(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RunOptions(**options)


def test_dropouts_are_multiplied_and_stay_below_one() -> None:
    given = {"embedding_dropout": 0.1, "input_dropout": 0.6, "hidden_dropout": 0.2, "output_dropout": 0.0}
    config = with_dropouts(AWDLSTMConfig(layers=2), given | {"weight_dropout": 0.5}, 2.0)
    assert (config.embedding_dropout, config.input_dropout, config.hidden_dropout) == (0.2, 0.95, 0.4)
    assert (config.output_dropout, config.weight_dropout, config.layers) == (0.0, 0.95, 2)


def test_a_stages_identity_holds_the_cell_with_its_options() -> None:
    corpus = SimpleNamespace(facts=SimpleNamespace(fingerprint="f"))

    def cell(config: AWDLSTMConfig) -> dict:
        return stage_identity(corpus, config, LanguageModelRecipe(), RunOptions(), None, {})["model"]["cell"]

    assert cell(AWDLSTMConfig()) == {"name": "lstm"}
    assert cell(AWDLSTMConfig(cell=Mogrifier(rank=None))) == {"name": "mogrifier", "rounds": 5, "rank": None}


def test_phases_of_a_language_model() -> None:
    (whole,) = LanguageModelRecipe(peak_rate=0.1, factor=2.0).phases(3, Budget(steps=10))
    assert whole.rates(3) == pytest.approx([0.025, 0.05, 0.1])
    head, whole = LanguageModelRecipe(peak_rate=0.1, frozen_share=0.2).phases(3, Budget(minutes=10))
    assert (head.budget.minutes, whole.budget.minutes) == pytest.approx((2.0, 8.0))
    assert list(head.groups) == [2]
    assert list(whole.groups) == [0, 1, 2]


@pytest.mark.parametrize(("unfreezing", "phases"), [("gradual", 5), ("full", 1), ("last", 1), ("chain-thaw", 6)])
def test_phases_of_a_classifier(unfreezing: str, phases: int) -> None:
    found = ClassifierRecipe(unfreezing=unfreezing).phases(5, Budget(steps=100))
    assert len(found) == phases
    assert sum(phase.budget.steps or 0 for phase in found) == 100


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LanguageModelRecipe(batch_size=0), "batch_size: expected a whole number of at least 1, got 0"),
        (lambda: LanguageModelRecipe(peak_rate=float("nan")), "peak_rate: expected a number above 0, got nan"),
        (lambda: LanguageModelRecipe(ar=-1.0), r"ar: expected a number of at least 0, got -1\.0"),
        (lambda: LanguageModelRecipe(frozen_share=1.0), r"frozen_share: expected 0 <= frozen_share < 1, got 1\.0"),
        (
            lambda: LanguageModelRecipe(reset_probability=-0.1),
            r"reset_probability: expected 0 <= reset_probability < 1",
        ),
        (lambda: ClassifierRecipe(unfreezing="gradul"), "unfreezing: got 'gradul'; did you mean 'gradual'"),
        (lambda: ClassifierRecipe(class_weights="even"), "class_weights: got 'even'; there are: none, balanced"),
        (lambda: ClassifierRecipe(chunk_steps=0), "chunk_steps: expected a whole number of at least 1, got 0"),
        (lambda: ClassifierRecipe(head_hidden=1.5), "head_hidden: expected a whole number of at least 1, got 1.5"),
        (lambda: ClassifierRecipe(hidden_dropout=1.0), "hidden_dropout: expected 0 <= p < 1, got 1.0"),
        (lambda: ClassifierRecipe(number_loss="mae"), "number_loss: got 'mae'"),
        (
            lambda: ClassifierRecipe(unfreezing="full", peak_rate=(0.1, 0.2)).phases(4, Budget(steps=9)),
            "peak_rate: expected one number for unfreezing 'full', got several",
        ),
    ],
)
def test_recipes_outside_their_range(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
