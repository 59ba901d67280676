import pytest
import torch

from ulmkit.errors import ConfigError
from ulmkit.model.awd_lstm import AWDLSTM, AWDLSTMConfig
from ulmkit.model.cells import LSTM, QRNN, Mogrifier
from ulmkit.model.initialization import draw_input_weights


def encoder(**options) -> AWDLSTM:
    torch.manual_seed(0)
    return AWDLSTM(AWDLSTMConfig(embedding_size=64, hidden_size=96, **options), 500).eval()


@pytest.mark.parametrize("gain", [0.5, 1.0])
def test_the_first_layers_sums_have_the_deviation_asked_for(gain):
    model = encoder()
    draw_input_weights(model, gain)
    x = model.embedding.weight[torch.randint(0, 500, (2000,))]
    assert (x @ model.layers[0].weight_ih.T).std().item() == pytest.approx(gain, rel=0.05)


def test_what_the_output_tells_of_the_text_is_not_lost_from_layer_to_layer():
    """Its deviation over tokens, unit by unit: what is the same for all texts comes from the biases."""
    ids = torch.randint(0, 500, (40, 16))

    def told(model: AWDLSTM) -> float:
        return model(ids).raw[20:].flatten(0, 1).std(dim=0).mean().item()

    model = encoder(layers=4)
    published = told(model)
    draw_input_weights(model, 1.0)
    assert published < 0.002
    assert 0.1 < told(model) < 0.5


@pytest.mark.parametrize("cell", [LSTM(), QRNN(), Mogrifier()], ids=str)
def test_only_input_weights_are_drawn_and_a_generator_repeats_them(cell):
    models = [encoder(cell=cell) for _ in range(3)]
    for model, seed in zip(models[:2], (7, 7), strict=True):
        draw_input_weights(model, 1.0, torch.Generator().manual_seed(seed))
    first, again, untouched = (model.state_dict() for model in models)
    drawn = {id(layer.input_weight) for layer in models[0].layers}
    for name, parameter in models[0].named_parameters():
        assert torch.equal(first[name], again[name])
        assert torch.equal(first[name], untouched[name]) != (id(parameter) in drawn), name


def test_a_gain_must_be_positive():
    with pytest.raises(ConfigError, match="gain: expected a number above 0, got 0"):
        draw_input_weights(encoder(), 0)
