import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from ulmkit.errors import ConfigError
from ulmkit.model.awd_lstm import AWDLSTM, AWDLSTMConfig
from ulmkit.model.dropout import embedding_dropout_mask, locked_dropout_mask
from ulmkit.training.optimizers import OptimizerConfig, make_optimizer, set_rates

NO_DROPOUT = {f"{name}_dropout": 0.0 for name in ("embedding", "input", "hidden", "output", "weight")}


def encoder(**options) -> AWDLSTM:
    torch.manual_seed(0)
    config = AWDLSTMConfig(**{"embedding_size": 6, "hidden_size": 9, "layers": 3, **options})
    return AWDLSTM(config, 11).double()


def ids(steps: int = 7, batch: int = 4) -> torch.Tensor:
    return torch.randint(11, (steps, batch), generator=torch.Generator().manual_seed(1))


def torch_layers(model: AWDLSTM) -> list[nn.LSTM]:
    layers = []
    for layer, sizes in zip(model.layers, model.config.layer_sizes, strict=True):
        module = nn.LSTM(*sizes, dtype=torch.float64)
        module.load_state_dict({f"{name}_l0": value for name, value in layer.state_dict().items()})
        layers.append(module)
    return layers


def test_without_dropout_it_is_an_embedding_and_torch_lstms():
    model = encoder().eval()
    output = model(ids())
    x = functional.embedding(ids(), model.embedding.weight)
    for number, module in enumerate(torch_layers(model)):
        x, (h, c) = module(x)
        torch.testing.assert_close(output.state[number][0], h[0])
        torch.testing.assert_close(output.state[number][1], c[0])
    torch.testing.assert_close(output.raw, x)
    assert output.dropped is output.raw


def test_every_dropout_is_where_the_paper_has_it():
    """The pass computed naively with the very masks that were drawn."""
    model = encoder(
        embedding_dropout=0.3, input_dropout=0.4, hidden_dropout=0.5, output_dropout=0.6, weight_dropout=0.0
    ).train()
    prepared = model.prepare(4, torch.Generator().manual_seed(2))
    output = model(ids(), prepared=prepared)
    dropped_words = model.embedding.weight[:11] * prepared.embedding_mask.unsqueeze(1)
    x = functional.embedding(ids(), dropped_words) * prepared.input_mask
    for module, mask in zip(torch_layers(model), prepared.output_masks, strict=True):
        raw = module(x)[0]
        x = raw * mask
    torch.testing.assert_close(output.raw, raw)
    torch.testing.assert_close(output.dropped, x)


def test_weight_dropout_masks_the_recurrent_weights_only():
    model = encoder(**{**NO_DROPOUT, "weight_dropout": 0.5}).train()
    prepared = model.prepare(4, torch.Generator().manual_seed(2))
    for layer, packed in zip(model.layers, prepared.packed, strict=True):
        assert torch.equal(packed.weights.w_ih, layer.weight_ih)
        kept = packed.weights.w_hh != 0
        assert 0.2 < kept.double().mean() < 0.8
        torch.testing.assert_close(packed.weights.w_hh[kept], 2.0 * layer.weight_hh[kept])
    assert torch.equal(model.eval().prepare(4).packed[0].weights.w_hh, model.layers[0].weight_hh)


def test_masks_are_drawn_anew_for_each_pass_and_kept_within_one():
    model = encoder(**{**NO_DROPOUT, "weight_dropout": 0.5, "input_dropout": 0.5}).train()
    assert not torch.equal(model(ids()).raw, model(ids()).raw)
    prepared = model.prepare(4)
    assert torch.equal(model(ids(), prepared=prepared).raw, model(ids(), prepared=prepared).raw)


def test_gradients_of_every_parameter():
    model = encoder(**{**NO_DROPOUT, "weight_dropout": 0.5, "hidden_dropout": 0.3}).train()
    prepared_seed = 5
    names = [name for name, _ in model.named_parameters()]

    def output(*parameters):
        values = dict(zip(names, parameters, strict=True))
        torch.manual_seed(prepared_seed)
        result = torch.func.functional_call(model, values, (ids(3, 2),))
        return result.raw

    assert torch.autograd.gradcheck(output, tuple(model.parameters()), fast_mode=True)


@pytest.mark.parametrize("cut", [0, 1, 4, 7])
def test_state_carries_over_any_cut(cut):
    model = encoder().eval()
    whole = model(ids())
    first = model(ids()[:cut])
    before = [tensor.clone() for pair in first.state for tensor in pair]
    second = model(ids()[cut:], first.state)
    torch.testing.assert_close(torch.cat([first.raw, second.raw]), whole.raw)
    assert all(torch.equal(a, b) for a, b in zip(before, [t for pair in first.state for t in pair], strict=True)), (
        "the given state was changed"
    )


def test_lengths_leave_each_sequence_as_if_alone():
    model = encoder().eval()
    lengths = torch.tensor([7, 2, 0, 5])
    output = model(ids(), lengths=lengths)
    for b, length in enumerate(lengths.tolist()):
        alone = model(ids()[:length, b : b + 1])
        torch.testing.assert_close(output.raw[:length, b], alone.raw[:, 0])
        assert not output.raw[length:, b].any()
        torch.testing.assert_close(output.state[2][1][b], alone.state[2][1][0])


def test_selected_sequences_keep_their_masks():
    model = encoder(**{**NO_DROPOUT, "input_dropout": 0.5, "hidden_dropout": 0.5, "output_dropout": 0.5}).train()
    prepared = model.prepare(4)
    chosen = torch.tensor([3, 1])
    whole = model(ids(), prepared=prepared)
    part = model(ids()[:, chosen], prepared=prepared.select(chosen))
    torch.testing.assert_close(part.dropped, whole.dropped[:, chosen])


def test_bf16_is_near_fp32():
    torch.manual_seed(0)
    model = AWDLSTM(AWDLSTMConfig(embedding_size=64, hidden_size=96), 50).eval()
    tokens = torch.randint(50, (20, 4))
    model.precision = "fp32"
    exact = model(tokens)
    model.precision = "bf16"
    low = model(tokens)
    assert low.raw.dtype == torch.bfloat16
    assert low.state[0][1].dtype == torch.float32
    error = (low.raw.float() - exact.raw).norm() / exact.raw.norm()
    assert 0 < error < 2e-2


def test_vocabulary_rows_that_only_align_are_neither_saved_nor_trained():
    model = encoder()
    assert model.embedding.weight.shape == (16, 6)
    assert not model.embedding.weight[11:].any()
    saved = model.state_dict()
    assert saved["embedding.weight"].shape == (11, 6)
    other = encoder()
    nn.init.normal_(other.embedding.weight)
    other.load_state_dict(saved)
    assert torch.equal(other.embedding.weight, model.embedding.weight)


def test_initialization():
    model = AWDLSTM(AWDLSTMConfig(embedding_size=40, hidden_size=100), 1000)
    assert 0.099 < model.embedding.weight.abs().max() <= 0.1
    assert 0.099 < model.layers[1].weight_hh.abs().max() <= 0.1
    assert [tuple(layer.weight_ih.shape) for layer in model.layers] == [(400, 40), (400, 100), (160, 100)]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("weight_dropout", 1.5, "weight_dropout: expected 0 <= p < 1, got 1.5"),
        ("hidden_size", 0, "hidden_size: expected a whole number of at least 1, got 0"),
        ("hidden_size", 1.5, "hidden_size: expected a whole number of at least 1, got 1.5"),
        ("layers", True, "layers: expected a whole number of at least 1, got True"),
    ],
)
def test_impossible_configs(option, value, message):
    with pytest.raises(ConfigError, match=message):
        AWDLSTMConfig(**{option: value})


def test_a_vocabulary_without_tokens_is_refused():
    with pytest.raises(ConfigError, match="vocab_size: expected a whole number of at least 1, got 0"):
        AWDLSTM(AWDLSTMConfig(), 0)


def test_masks_keep_the_expectation_and_their_axis():
    generator = torch.Generator().manual_seed(0)
    like = torch.zeros(0)
    locked = locked_dropout_mask(50, 400, 0.25, like=like, generator=generator)
    assert locked.shape == (1, 50, 400)
    assert locked.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert locked.mean() == pytest.approx(1.0, abs=0.03)
    words = embedding_dropout_mask(20_000, 0.1, like=like, generator=generator)
    assert words.shape == (20_000,)
    assert words.mean() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("name", ["adamw", "sgd", "torch's own"])
def test_weights_are_laid_out_anew_after_a_fused_step(name):
    """Whose changes torch does not count on CPUs; with a look at the model between the gradients and the step."""
    model = encoder().float().eval()
    parameters = list(model.parameters())
    if name == "torch's own":
        optimizer = torch.optim.AdamW(parameters, lr=0.1, fused=True)
    else:
        optimizer = make_optimizer([parameters], OptimizerConfig(name=name), [0.1])
        set_rates(optimizer, [0.1], None, OptimizerConfig(name=name))
    with torch.no_grad():
        before = model(ids()).raw
    model(ids()).raw.square().sum().backward()
    if name != "torch's own":
        with torch.no_grad():
            assert torch.equal(model(ids()).raw, before)
    optimizer.step()
    with torch.no_grad():
        after, anew = model(ids()).raw, copy.deepcopy(model)(ids()).raw
    assert not torch.equal(after, before)
    assert torch.equal(after, anew)
