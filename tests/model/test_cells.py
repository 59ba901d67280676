"""What an encoder of any cell does: every test runs with each of them."""

import pytest
import torch
from torch import Tensor

from ulmkit.errors import ConfigError
from ulmkit.model.awd_lstm import AWDLSTM, AWDLSTMConfig
from ulmkit.model.cells import CELLS, cell_from_options
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.generation import beam_search, sample
from ulmkit.model.heads import SingleLabelConfig
from ulmkit.model.language_model import AWDLSTMLanguageModel, LanguageModelConfig
from ulmkit.model.layer_groups import classifier_groups, language_model_groups
from ulmkit.model.transfer import transfer_encoder, transfer_language_model, vocabulary_mapping

V = 11
NO_DROPOUT = {f"{name}_dropout": 0.0 for name in ("embedding", "input", "hidden", "output", "weight")}

pytestmark = pytest.mark.parametrize("cell", CELLS)


def config(cell: str, rank: int = 4, **options) -> AWDLSTMConfig:
    sizes = {"embedding_size": 6, "hidden_size": 9, "layers": 3}
    return AWDLSTMConfig(**{**sizes, "cell": cell_from_options(cell, {"mogrifier_rank": rank}), **options})


def language_model(cell: str, **options) -> AWDLSTMLanguageModel:
    return AWDLSTMLanguageModel(LanguageModelConfig(encoder=config(cell, **options)), V)


def encoder(cell: str, **options) -> AWDLSTM:
    torch.manual_seed(0)
    return AWDLSTM(config(cell, **options), V).double()


def ids(steps: int = 7, batch: int = 4) -> Tensor:
    return torch.randint(V, (steps, batch), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("cut", [0, 1, 4, 7])
def test_state_carries_over_any_cut(cell, cut):
    model = encoder(cell).eval()
    whole = model(ids())
    first = model(ids()[:cut])
    before = [tensor.clone() for pair in first.state for tensor in pair]
    second = model(ids()[cut:], first.state)
    torch.testing.assert_close(torch.cat([first.raw, second.raw]), whole.raw)
    torch.testing.assert_close(second.state, whole.state)
    after = [tensor for pair in first.state for tensor in pair]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True)), "the given state was changed"


def test_lengths_leave_each_sequence_as_if_alone(cell):
    model = encoder(cell).eval()
    lengths = torch.tensor([7, 2, 0, 5])
    output = model(ids(), lengths=lengths)
    for b, length in enumerate(lengths.tolist()):
        alone = model(ids()[:length, b : b + 1])
        torch.testing.assert_close(output.raw[:length, b], alone.raw[:, 0])
        assert not output.raw[length:, b].any()
        for pair, pair_alone in zip(output.state, alone.state, strict=True):
            for tensor, tensor_alone in zip(pair, pair_alone, strict=True):
                torch.testing.assert_close(tensor[b], tensor_alone[0])


def test_the_plain_loop_gives_the_same(cell):
    model = encoder(cell).eval()
    expected = model(ids()).raw
    model.backend = "reference"
    torch.testing.assert_close(model(ids()).raw, expected)


def test_gradients_of_every_parameter(cell):
    model = encoder(cell, **{**NO_DROPOUT, "weight_dropout": 0.5, "hidden_dropout": 0.3, "layers": 2}).train()
    names = [name for name, _ in model.named_parameters()]

    def output(*parameters):
        torch.manual_seed(5)
        return torch.func.functional_call(model, dict(zip(names, parameters, strict=True)), (ids(3, 2),)).raw

    assert torch.autograd.gradcheck(output, tuple(model.parameters()), fast_mode=True)


def test_weights_are_dropped_where_the_cell_has_it(cell):
    """Of the recurrent weights, or of all of a QRNN's; of no others."""
    model = encoder(cell, **{**NO_DROPOUT, "weight_dropout": 0.5}).train()
    prepared = model.prepare(4, torch.Generator().manual_seed(2))
    for layer, packed in zip(model.layers, prepared.packed, strict=True):
        if cell == "lstm":
            whole, dropped = layer.weight_hh, packed.weights.w_hh
            assert torch.equal(packed.weights.w_ih, layer.weight_ih)
        elif cell == "qrnn":
            whole, dropped = layer.weight, packed.weight
        else:
            whole, dropped = layer.weight_hh, packed.weight[:, layer.weight_ih.shape[1] :]
            assert torch.equal(packed.weight[:, : layer.weight_ih.shape[1]], layer.weight_ih)
            factors = [factor for group in packed.function.keywords["modulations"] for factor in group]
            assert all(torch.equal(a, b) for a, b in zip(factors, layer.modulations.parameters(), strict=True))
        kept = dropped != 0
        assert 0.3 < kept.double().mean() < 0.7
        torch.testing.assert_close(dropped[kept], 2.0 * whole[kept])
    assert torch.equal(model(ids(), prepared=prepared).raw, model(ids(), prepared=prepared).raw)
    assert not torch.equal(model(ids()).raw, model(ids()).raw)


def test_bf16_is_near_fp32(cell):
    torch.manual_seed(0)
    model = AWDLSTM(config(cell, embedding_size=64, hidden_size=96, rank=20), V).eval()
    tokens = ids(20)
    model.precision = "fp32"
    exact = model(tokens)
    model.precision = "bf16"
    low = model(tokens)
    assert low.raw.dtype == torch.bfloat16
    assert all(tensor.dtype == torch.float32 for pair in low.state for tensor in pair)
    error = (low.raw.float() - exact.raw).norm() / exact.raw.norm()
    assert 0 < error < 2e-2


def test_a_language_model_learns(cell):
    torch.manual_seed(0)
    sizes = {"embedding_size": 16, "hidden_size": 24, "layers": 2}
    model = language_model(cell, **NO_DROPOUT, **sizes)
    stream = (torch.arange(8 * 12 + 1)[:, None] * 3 + torch.arange(4)[None]) % V
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses, state = [], None
    for step in range(60):
        start = 8 * (step % 12)
        state = None if start == 0 else state
        found = model.loss(stream[start : start + 8], stream[start + 1 : start + 9], state)
        state = found.state
        optimizer.zero_grad()
        found.total.backward()
        optimizer.step()
        losses.append(found.nll.item())
    assert losses[-1] < 0.2 * losses[0]


def test_continuations_have_the_log_probability_that_the_model_gives_them(cell):
    """So the state went along with each prompt and beam."""
    torch.manual_seed(0)
    model = language_model(cell).double().eval()
    torch.nn.init.normal_(model.encoder.embedding.weight, std=2.0)
    prompts = ids(3, 2)
    drawn = sample(model, prompts, 5, generator=torch.Generator().manual_seed(3))
    found = [(prompts[:, b], continuation) for b, continuation in enumerate(drawn)]
    found += [(prompts[:, 0], beam) for beam in beam_search(model, prompts[:, 0], 5, width=3)]
    for prompt, continuation in found:
        text = torch.cat([prompt, torch.tensor(continuation.ids)]).unsqueeze(1)
        nll, _ = model.token_nll(text[:-1], text[1:])
        assert continuation.log_probability == pytest.approx(-nll[len(prompt) - 1 :].double().sum().item(), rel=1e-5)


def test_a_classifiers_documents_do_not_depend_on_mates_padding_or_pieces(cell):
    torch.manual_seed(0)
    model = AWDLSTMClassifier(config(cell), V, SingleLabelConfig(classes=3, hidden_size=6), chunk_steps=4)
    model = model.double().eval()
    tokens, lengths = ids(13), torch.tensor([13, 2, 0, 7])
    outputs = model(tokens, lengths)
    for b, length in enumerate(lengths.tolist()):
        alone = model(tokens[:length, b : b + 1], lengths[b : b + 1])
        torch.testing.assert_close(outputs[b : b + 1], alone)
        state = model.begin(1)
        for start in range(0, length, 3):
            piece = tokens[start : min(start + 3, length), b : b + 1]
            state = model.step(piece, torch.tensor([len(piece)]), state)
        torch.testing.assert_close(model.finish(state), alone)


def test_a_classifiers_gradients_do_not_depend_on_chunks(cell):
    tokens, lengths = ids(13), torch.tensor([13, 2, 1, 7])
    found = []
    for chunk_steps in (13, 4, 1):
        torch.manual_seed(0)
        head = SingleLabelConfig(classes=3, hidden_size=6)
        model = AWDLSTMClassifier(config(cell), V, head, chunk_steps=chunk_steps, gradient_steps=13).double().eval()
        model(tokens, lengths).square().sum().backward()
        found.append({name: parameter.grad for name, parameter in model.encoder.named_parameters()})
    for others in found[1:]:
        for name, gradient in found[0].items():
            torch.testing.assert_close(others[name], gradient, msg=name)
            assert gradient.any(), name


def test_a_new_vocabulary_and_a_classifier_take_the_layers_over(cell):
    torch.manual_seed(0)
    model = language_model(cell).eval()
    words = [str(number) for number in range(V)]
    moved, _ = transfer_language_model(model, vocabulary_mapping(words, [*reversed(words), "new"]))
    assert (moved.config, moved.vocab_size) == (model.config, V + 1)
    torch.testing.assert_close(moved.encoder(V - 1 - ids()).raw, model.encoder(ids()).raw)
    classifier = AWDLSTMClassifier(config(cell), V, SingleLabelConfig(classes=2)).eval()
    transfer_encoder(model.encoder, classifier.encoder)
    assert torch.equal(classifier.encoder(ids()).raw, model.encoder(ids()).raw)


def test_layer_groups_hold_every_parameter(cell):
    reader = language_model(cell)
    classifier = AWDLSTMClassifier(config(cell), V, SingleLabelConfig(classes=2))
    for model, groups in (
        (reader, language_model_groups(reader)),
        (classifier, classifier_groups(classifier)),
    ):
        held = [id(parameter) for group in groups for parameter in group]
        assert sorted(held) == sorted(map(id, model.parameters()))


def test_an_encoder_of_another_cell_is_refused(cell):
    other = "qrnn" if cell == "lstm" else "lstm"
    with pytest.raises(ConfigError, match=f"cell: expected {other} as in the target encoder, got {cell} in the s"):
        transfer_encoder(encoder(cell), encoder(other))


def test_laid_out_weights_follow_the_weights(cell):
    model = encoder(cell).eval()
    with torch.no_grad():
        before = model(ids()).raw
        assert model.prepare(4) is model.prepare(4)
        for parameter in model.layers[1].parameters():
            parameter.mul_(0.5)
        assert not torch.equal(model(ids()).raw, before)
