"""A classifier with weights of bytes: close to the one it was made from, and true to the classifier's promises."""

import copy

import pytest
import torch
from support.heads import head_config

from ulmkit.errors import ConfigError
from ulmkit.kernels.cpu import library as library_module
from ulmkit.model.aligned import count_parameters
from ulmkit.model.awd_lstm import AWDLSTMConfig
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.pipeline.prediction import predict_outputs
from ulmkit.tasks import TASKS

CONFIG = AWDLSTMConfig(embedding_size=24, hidden_size=40, layers=2)
IDS = torch.randint(0, 50, (17, 5), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([17, 9, 1, 12, 5])


def classifier(kind: str = "single", **options) -> AWDLSTMClassifier:
    torch.manual_seed(0)
    head = head_config(kind)
    return AWDLSTMClassifier(CONFIG, 50, head, **options).eval()


def read(model: AWDLSTMClassifier) -> torch.Tensor:
    boundaries = torch.tensor([8, 3, 0, 6, 2]) if model.head.reads_pairs else None
    with torch.no_grad():
        return model(IDS, LENGTHS, boundaries)


@pytest.mark.parametrize("kind", TASKS)
def test_close_to_the_model_it_was_made_from(kind):
    model = classifier(kind)
    before, after = read(model), read(model.to_int8())
    assert (after - before).norm() <= 0.02 * before.norm()
    assert torch.equal(read(model), before)


def test_memory_and_parameters():
    model = classifier()
    rounded = model.to_int8()
    assert count_parameters(rounded) == count_parameters(model) - sum(
        layer.bias_ih.numel()
        for layer in model.encoder.layers  # two biases have become their sum
    ) - sum(layer.bias_hh.numel() for layer in model.encoder.layers)
    assert not list(rounded.encoder.parameters())
    encoder_bytes = sum(tensor.nbytes for tensor in rounded.encoder.buffers())
    assert encoder_bytes < sum(tensor.nbytes for tensor in model.encoder.parameters()) / 3


def test_batch_mates_padding_and_chunks_make_no_difference():
    model = classifier().to_int8()
    together = read(model)
    short_chunks = classifier(chunk_steps=4).to_int8()
    torch.testing.assert_close(read(short_chunks), together, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        for document, length in enumerate(LENGTHS.tolist()):
            alone = model(IDS[:length, document : document + 1], LENGTHS[document : document + 1])
            torch.testing.assert_close(alone[0], together[document], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_another_precision_makes_the_weights_float_again(precision):
    rounded = classifier().to_int8()
    assert rounded.encoder.precision == "auto"
    expected = read(rounded)
    rounded.encoder.precision = precision
    torch.testing.assert_close(read(rounded), expected, rtol=0.05, atol=0.02)


def test_without_kernels(monkeypatch):
    rounded = classifier().to_int8()
    expected = read(rounded)
    monkeypatch.setattr(library_module, "load_library", lambda: "not built: no compiler")
    torch.testing.assert_close(read(copy.deepcopy(rounded)), expected, rtol=0.05, atol=0.02)


def test_it_does_not_learn():
    rounded = classifier().to_int8()
    with pytest.raises(ConfigError, match="train: int8 weights cannot be trained; train the model they"):
        rounded.train()
    with pytest.raises(ConfigError, match="to_int8: the weights are int8 already"):
        rounded.to_int8()


def test_a_model_made_in_inference_mode_runs():
    with torch.inference_mode():
        model = classifier()
        rounded = model.to_int8()
        assert read(model).isfinite().all()
        assert read(rounded).isfinite().all()


def test_weights_are_laid_out_once_until_they_change():
    model = classifier()
    with torch.no_grad():
        first = model.encoder.prepare(1)
        assert model.encoder.prepare(7) is first
        model.encoder.layers[0].bias_ih.add_(1.0)
        second = model.encoder.prepare(1)
        assert second is not first
        model.encoder.precision = "bf16"
        assert model.encoder.prepare(1) is not second
        model.train()
        assert model.encoder.prepare(5) is not model.encoder.prepare(5)
    model.eval()
    documents = [IDS[:length, n].numpy() for n, length in enumerate(LENGTHS.tolist())]
    predict_outputs(model, documents)
    with torch.no_grad():
        laid_out = model.encoder.prepare(1)
        predict_outputs(model, documents)
        assert model.encoder.prepare(1) is laid_out
    assert model.encoder.prepare(1) is not model.encoder.prepare(1)  # with gradients, each pass its own
