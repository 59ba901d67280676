"""Groups: every parameter exactly once, bottom to top."""

from typing import Any

import pytest
from support.heads import head_config
from support.models import make_language_model
from torch import nn

from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.model.layer_groups import Groups, classifier_groups, language_model_groups


def language_model(layers: int, **options: Any) -> AWDLSTMLanguageModel:
    return make_language_model(11, embedding_size=4, hidden_size=6, layers=layers, **options)


def names_of(model: nn.Module, groups: Groups) -> list[set[str]]:
    """The parameters' names, group by group; each parameter must be there exactly once."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [[names[id(parameter)] for parameter in group] for group in groups]
    assert sorted(name for group in found for name in group) == sorted(names.values())
    return [set(group) for group in found]


def layer(number: int) -> set[str]:
    return {f"encoder.layers.{number}.{name}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}


@pytest.mark.parametrize("layers", [1, 3])
def test_language_model(layers: int) -> None:
    model = language_model(layers)
    groups = language_model_groups(model)
    assert names_of(model, groups) == [*map(layer, range(layers)), {"encoder.embedding.weight", "decoder.weight"}]


def test_language_model_without_decoder_bias() -> None:
    model = language_model(2, decoder_bias=False)
    assert names_of(model, language_model_groups(model)) == [layer(0), layer(1), {"encoder.embedding.weight"}]


def test_language_model_with_a_mixture_of_softmaxes() -> None:
    model = language_model(1, softmax_experts=3)
    top = {"encoder.embedding.weight", "decoder.weight", "mixture.latent.weight", "mixture.latent.bias"}
    assert names_of(model, language_model_groups(model)) == [layer(0), top | {"mixture.prior.weight"}]


@pytest.mark.parametrize("kind", ["single", "multi", "number", "tokens", "pair"])
def test_classifier(kind: str) -> None:
    config = AWDLSTMConfig(embedding_size=4, hidden_size=6, layers=3)
    model = AWDLSTMClassifier(config, 11, head_config(kind))
    groups = classifier_groups(model)
    head = {f"head.{name}" for name, _ in model.head.named_parameters()}
    assert names_of(model, groups) == [{"encoder.embedding.weight"}, layer(0), layer(1), layer(2), head]
