"""Settings of ULMFiT, and what its recipes share: language models of both directions, predictions that are kept.

Source: Howard & Ruder 2018, arXiv:1801.06146, section 4.1. It gives neither weight decay nor clipping, AR, TAR and
    window lengths, but refers to Merity et al. 2017, arXiv:1708.02182, for them. The released scripts differ.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ulmkit.errors import ConfigError, DataError
from ulmkit.files import fingerprint, read_json
from ulmkit.hub import ClassifierParts, LanguageModelParts, Pair, facts_to_json, load_model, resolve_model
from ulmkit.model.config import DROPOUTS
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.pipeline import ClassifierRecipe, LanguageModelRecipe, RunOptions, place, predict_rows
from ulmkit.safe_writes import write_json
from ulmkit.tensors import load_tensors, save_tensors
from ulmkit.text import EncodedCorpus
from ulmkit.training import Budget, OptimizerConfig, Schedule

ULMFIT_DROPOUTS = {
    "embedding_dropout": 0.05,
    "input_dropout": 0.4,
    "hidden_dropout": 0.3,
    "output_dropout": 0.4,
    "weight_dropout": 0.5,
}
"""Dropouts of the language model. Those of the classifier are `ulmkit`'s own, times 1."""

ADAM = OptimizerConfig(name="adamw", decay="l2", betas=(0.7, 0.99), weight_decay=1.2e-6)

ULMFIT_LANGUAGE_MODEL = LanguageModelRecipe(
    batch_size=64,
    bptt=70,
    bptt_std=5.0,
    peak_rate=4e-3,
    schedule=Schedule("slanted_triangular"),
    optimizer=ADAM,
    clip=0.25,
    factor=2.6,
    ar=2.0,
    tar=1.0,
)
"""Fine-tuning of the language model: all layers at once, discriminative rates, slanted triangular rates."""

ULMFIT_CLASSIFIER = ClassifierRecipe(
    batch_size=64,
    unfreezing="gradual",
    peak_rate=1e-2,
    factor=2.6,
    schedule=Schedule("slanted_triangular"),
    optimizer=ADAM,
    clip=0.25,
    dropout_multiplier=1.0,
)
"""Fine-tuning of the classifier; `unfreezing_shares` are still to be filled in."""

EPOCHS = (25, 50)
"""Epochs of language model and classifier: the default of the released finetune_lm.py, and the paper's footnote 7.

The paper chose the numbers for each data set on its validation part, and prints them for TREC-6 alone.
"""

MOST_OF_UNFREEZING = 0.5
"""Largest share of the classifier's training in which some layers are still frozen."""


def unfreezing_shares(layers: int, budget: Budget) -> tuple[float, ...]:
    """Share of the training of each phase of gradual unfreezing.

    Args:
        layers: Recurrent layers of the encoder, L. The classifier has L + 2 layer groups, and as many phases.
        budget: Length of the training.

    Returns:
        L + 2 shares. Each phase but the last is an epoch, or shorter where they would together take more than half of
        the training, or where it is measured in minutes.

    Source: Howard & Ruder 2018, arXiv:1801.06146, section 3.3 (gradual unfreezing).
    """
    phases = layers + 1
    share = min(1.0 / (budget.epochs or 1.0), MOST_OF_UNFREEZING / phases)
    return (*[share] * phases, 1.0 - phases * share)


def with_dropouts(parts: LanguageModelParts, dropouts: Mapping[str, float]) -> LanguageModelParts:
    """Copy a language model with other dropouts; fine-tuning multiplies those of its base model."""
    unknown = set(dropouts) - set(DROPOUTS)
    assert not unknown, unknown
    config = replace(parts.model.config, encoder=replace(parts.model.config.encoder, **dropouts))
    model = AWDLSTMLanguageModel(config, parts.model.vocab_size)
    model.load_state_dict(parts.model.state_dict())
    return replace(parts, model=model)


def open_language_models(name: str, backward_name: str | None) -> dict[str, LanguageModelParts]:
    """Load the language models to start from, by direction.

    Args:
        name: A forward language model, or a pair: a folder or a name on the hub.
        backward_name: A backward language model; None for none, or for that of the pair.

    Raises:
        ConfigError: If a model is no language model, or does not read in the direction that is expected.
    """
    loaded = load_model(resolve_model(name))
    models: dict[str, Any] = {"forward": loaded}
    if isinstance(loaded, Pair):
        models = {"forward": loaded.forward, "backward": loaded.backward}
        if backward_name is not None:
            raise ConfigError(
                f"backward_language_model: {name} is a pair already; leave the backward model out, or give the pair's "
                "forward folder"
            )
    if backward_name is not None:
        models["backward"] = load_model(resolve_model(backward_name))
    for direction, parts in models.items():
        if not isinstance(parts, LanguageModelParts) or parts.direction != direction:
            found = f"a {parts.direction} one" if isinstance(parts, LanguageModelParts) else type(parts).__name__
            raise ConfigError(f"language_model: expected a {direction} language model, got {found}")
    return models


def model_fingerprint(parts: LanguageModelParts) -> str:
    """Identify a language model by how it was made, as checkpoints do."""
    return fingerprint(facts_to_json(parts.facts))


@dataclass(frozen=True)
class Prediction:
    """Predictions of a classifier for labelled documents, and what they cost.

    Attributes:
        probabilities: (n, C) float32.
        targets: (n,) int64 true classes.
        facts: Facts about the training or the prediction, as JSON values.
    """

    probabilities: np.ndarray
    targets: np.ndarray
    facts: Mapping[str, Any]

    @property
    def is_right(self) -> np.ndarray:
        """(n,) bool, whether the most probable class is the true one."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.targets)

    @property
    def error(self) -> float:
        """Share of wrong labels, in percent."""
        return 100.0 * float(1.0 - self.is_right.mean())


def mean_prediction(predictions: Sequence[Prediction]) -> Prediction:
    """Average the probabilities of classifiers for the same documents; numbers among their facts are added up.

    Raises:
        DataError: If the documents are not the same.
    """
    first = predictions[0]
    for other in predictions[1:]:
        if not np.array_equal(first.targets, other.targets):
            raise DataError("predictions: expected those of the same documents, got other labels; remove their files")
    probabilities = np.mean([each.probabilities for each in predictions], axis=0)
    facts = {
        name: math.fsum(each.facts[name] for each in predictions)
        for name, value in first.facts.items()
        if isinstance(value, int | float)
    }
    return Prediction(probabilities, first.targets, facts)


def predict(parts: ClassifierParts, corpus: EncodedCorpus, split: str, run: RunOptions) -> Prediction:
    """Predict the labelled documents of a split, and measure the seconds it takes."""
    rows = corpus.rows(split, labelled=True)
    if not len(rows):
        raise DataError(f"{split}: expected labelled documents to evaluate on, got none")
    parts.model.to(place(parts.model.encoder, run))
    start = time.monotonic()
    probabilities = predict_rows(parts.model, corpus, rows, reverse=parts.direction == "backward")
    seconds = time.monotonic() - start
    return Prediction(np.asarray(probabilities), corpus.labels(rows).astype(np.int64), {"seconds": round(seconds, 2)})


def kept_prediction(path: Path, compute: Callable[[], Prediction]) -> Prediction:
    """Read a prediction from a file, or compute it and write the file.

    Args:
        path: The JSON file of its facts; the tensors are beside it.
        compute: Makes the prediction.
    """
    if not path.is_file():
        write_prediction(path, compute())
    return read_prediction(path)


def write_prediction(path: Path, prediction: Prediction) -> None:
    """Write a prediction: its facts to a JSON file, the tensors beside it; one that is there is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"probabilities": prediction.probabilities, "targets": prediction.targets}
    save_tensors(path.with_suffix(".safetensors"), {name: torch.from_numpy(array) for name, array in arrays.items()})
    write_json(path, {**prediction.facts, "error": prediction.error})  # last: it says that the prediction is complete


def read_prediction(path: Path) -> Prediction:
    """Read what `write_prediction` wrote."""
    arrays = {name: tensor.numpy() for name, tensor in load_tensors(path.with_suffix(".safetensors")).items()}
    facts = {name: value for name, value in read_json(path).items() if name != "error"}
    return Prediction(arrays["probabilities"], arrays["targets"], facts)
