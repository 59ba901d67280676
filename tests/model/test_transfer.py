"""Transfer: rows by token, new ones from the mean, everything else as it was."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmkit.errors import ConfigError, DataError
from ulmkit.model.awd_lstm import AWDLSTM, AWDLSTMConfig
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.heads import SingleLabelConfig
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig
from ulmkit.model.transfer import (
    TransferReport,
    transfer_encoder,
    transfer_language_model,
    vocabulary_mapping,
)

OLD = ("a", "b", "c", "d", "e")
V = len(OLD)
CONFIG = AWDLSTMConfig(embedding_size=4, hidden_size=6, layers=2)


def language_model(decoder_bias: bool = True) -> AWDLSTMLanguageModel:
    torch.manual_seed(0)
    model = AWDLSTMLanguageModel(LanguageModelConfig(encoder=CONFIG, decoder_bias=decoder_bias), V)
    state = model.state_dict()
    for value in state.values():
        value.normal_()
    model.load_state_dict(state)
    return model


def test_mapping_by_hand() -> None:
    assert vocabulary_mapping(OLD, ("e", "x", "a", "y")).tolist() == [4, -1, 0, -1]
    assert vocabulary_mapping(OLD, ("e",)).dtype == np.int64


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=8, unique=True), st.booleans())
def test_rows_move_by_token_and_new_ones_are_the_mean(new: list[str], decoder_bias: bool) -> None:
    model = language_model(decoder_bias)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    moved, report = transfer_language_model(model, vocabulary_mapping(OLD, new))
    after = moved.state_dict()
    assert (moved.config, moved.vocab_size) == (model.config, len(new))
    assert after.keys() == before.keys()
    for name, value in after.items():
        if name in ("encoder.embedding.weight", "decoder.weight"):
            rows = [before[name][OLD.index(token)] if token in OLD else before[name].mean(dim=0) for token in new]
            torch.testing.assert_close(value, torch.stack(rows))
        else:
            assert torch.equal(value, before[name]), name
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert report.matched == len(set(new) & set(OLD))
    assert report.vocabulary_size == len(new)


def test_known_tokens_keep_their_logits() -> None:
    model = language_model().eval()
    moved, _ = transfer_language_model(model, vocabulary_mapping(OLD, ("e", "x", "a", "c")))
    old_logits, _ = model(torch.tensor([[0], [4], [2]]))
    new_logits, _ = moved(torch.tensor([[2], [0], [3]]))
    torch.testing.assert_close(new_logits[..., [0, 2, 3]], old_logits[..., [4, 0, 2]])


def test_nothing_is_shared_with_the_old_model() -> None:
    model = language_model()
    moved, _ = transfer_language_model(model, np.arange(len(OLD)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_mode_type_and_way_of_computing_stay() -> None:
    model = language_model().double().eval()
    model.encoder.precision, model.encoder.backend = "fp32", "reference"
    moved, _ = transfer_language_model(model, np.array([0, -1]))
    assert (moved.training, moved.encoder.precision, moved.encoder.backend) == (False, "fp32", "reference")
    assert all(parameter.dtype == torch.float64 for parameter in moved.parameters())


def test_report_by_hand() -> None:
    mapping = np.array([4, -1, 0, -1])
    _, report = transfer_language_model(language_model(), mapping, np.array([50, 20, 25, 5]))
    assert report == TransferReport(vocabulary_size=4, matched=2, corpus_share=0.75)
    assert transfer_language_model(language_model(), mapping)[1].corpus_share is None
    assert transfer_language_model(language_model(), mapping, np.zeros(4))[1].corpus_share == 0.0


@pytest.mark.parametrize(
    ("mapping", "counts", "message"),
    [
        ([], None, r"mapping: expected shape \(V,\) with at least one token, got \(0,\)"),
        ([[0, 1]], None, r"mapping: expected shape \(V,\) .* got \(1, 2\)"),
        ([0, 5], None, "mapping: expected old ids below 5, or -1 for a new token, got 5"),
        ([0, -2], None, "mapping: expected old ids below 5, or -1 for a new token, got -2"),
        ([0, 1], [3], r"counts: expected shape \(2,\), got \(1,\)"),
    ],
)
def test_bad_mapping(mapping: list[int], counts: list[int] | None, message: str) -> None:
    given_counts = None if counts is None else np.array(counts)
    with pytest.raises(DataError, match=message):
        transfer_language_model(language_model(), np.array(mapping, dtype=np.int64), given_counts)


def test_an_encoder_goes_into_a_classifier() -> None:
    source = language_model().eval()
    config = dataclasses.replace(CONFIG, weight_dropout=0.5)
    classifier = AWDLSTMClassifier(config, V, SingleLabelConfig(classes=2)).eval()
    transfer_encoder(source.encoder, classifier.encoder)
    ids = torch.randint(0, len(OLD), (6, 3))
    assert torch.equal(classifier.encoder(ids).raw, source.encoder(ids).raw)
    with torch.no_grad():
        classifier.encoder.layers[0].weight_hh.zero_()
    assert source.encoder.layers[0].weight_hh.abs().sum() > 0


def test_encoders_of_other_vocabularies() -> None:
    with pytest.raises(ConfigError, match="vocab_size: expected 6 as in the target encoder, got 5 in the source"):
        transfer_encoder(AWDLSTM(CONFIG, 5), AWDLSTM(CONFIG, 6))


@pytest.mark.parametrize("name", ["embedding_size", "hidden_size", "layers"])
def test_encoders_of_other_sizes(name: str) -> None:
    ours = getattr(CONFIG, name)
    target = AWDLSTM(dataclasses.replace(CONFIG, **{name: ours + 1}), V)
    with pytest.raises(ConfigError, match=f"{name}: expected {ours + 1} as in the target encoder, got {ours} in the s"):
        transfer_encoder(AWDLSTM(CONFIG, V), target)
