import pytest
import torch
from support.models import learn_to_count, make_language_model
from torch.nn import functional

from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.model.regularizers import activation_regularization, temporal_activation_regularization

SIZES = {"embedding_size": 6, "hidden_size": 8, "layers": 2}


def language_model(**options) -> AWDLSTMLanguageModel:
    torch.manual_seed(0)
    return make_language_model(13, **SIZES | options).double()


def stream(steps: int = 6, batch: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(13, (steps + 1, batch), generator=torch.Generator().manual_seed(1))
    return ids[:-1], ids[1:]


def test_regularizers_by_hand():
    h = torch.tensor([[[1.0, 2.0]], [[3.0, 2.0]], [[3.0, 5.0]]])  # (3, 1, 2)
    assert activation_regularization(h, 2.0).item() == pytest.approx(2.0 * (1 + 4 + 9 + 4 + 9 + 25) / 6)
    assert temporal_activation_regularization(h, 3.0).item() == pytest.approx(3.0 * (4 + 0 + 0 + 9) / 4)
    assert temporal_activation_regularization(h[:1], 3.0).item() == 0.0


def test_softmax_is_tied_to_the_embedding():
    model = language_model().eval()
    ids, _ = stream()
    logits, _ = model(ids)
    raw = model.encoder(ids).raw
    torch.testing.assert_close(logits, raw @ model.encoder.embedding.weight[:13].T + model.decoder.weight[:13])
    assert "decoder.weight" in model.state_dict()
    assert language_model(decoder_bias=False).decoder is None


@pytest.mark.parametrize("bias", [True, False])
def test_loss_and_every_gradient_equal_the_dense_formula(bias):
    model = language_model(decoder_bias=bias).train()
    ids, targets = stream()
    torch.manual_seed(3)
    loss = model.loss(ids, targets, ar=2.0, tar=1.0)
    loss.total.backward()
    got = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    torch.manual_seed(3)
    output = model.encoder(ids)
    decoder_bias = None if model.decoder is None else model.decoder.weight[:13]
    logits = functional.linear(output.dropped, model.encoder.embedding.weight[:13], decoder_bias)
    nll = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    ar = 2.0 * output.dropped.pow(2).mean()
    tar = (output.raw[1:] - output.raw[:-1]).pow(2).mean()
    (nll + ar + tar).backward()
    torch.testing.assert_close(loss.nll, nll.detach())
    torch.testing.assert_close(loss.total, nll + ar + tar)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(got[name], parameter.grad, msg=name)


def test_state_is_carried_without_its_history():
    model = language_model().eval()
    ids, targets = stream(8)
    whole, _ = model.token_nll(ids, targets)
    first = model.loss(ids[:5], targets[:5], ar=0, tar=0)
    assert not any(tensor.requires_grad for pair in first.state for tensor in pair)
    second = model.loss(ids[5:], targets[5:], first.state, ar=0, tar=0)
    torch.testing.assert_close(first.nll * 5 / 8 + second.nll * 3 / 8, whole.mean())
    assert second.tokens == 9


def test_token_nll_is_the_softmax():
    model = language_model().eval()
    ids, targets = stream()
    logits, _ = model(ids)
    expected = -logits.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    nll, _ = model.token_nll(ids, targets)
    torch.testing.assert_close(nll, expected.detach())


def test_token_scores_are_those_of_loss_and_token_nll():
    model = language_model().eval()
    ids, targets = stream()
    scores = model.token_scores(ids, targets)
    loss = model.loss(ids, targets, ar=0, tar=0)
    torch.testing.assert_close(scores.mean_nll, loss.total)
    torch.testing.assert_close(scores.nll, model.token_nll(ids, targets)[0])
    torch.testing.assert_close(scores.hidden, model.encoder(ids).raw.detach())
    assert not any(tensor.requires_grad for tensor in (scores.nll, scores.hidden, *sum(scores.state, ())))
    parameters = list(model.parameters())
    for got, expected in zip(
        torch.autograd.grad(scores.mean_nll, parameters), torch.autograd.grad(loss.total, parameters), strict=True
    ):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("backend", ["auto", "stepwise", "reference"])
def test_it_learns_with_every_backend(backend, precision):
    torch.manual_seed(0)
    model = make_language_model(13, embedding_size=16, hidden_size=24, layers=2)
    model.encoder.backend, model.encoder.precision = backend, precision
    assert learn_to_count(model, 13) < 0.6  # of 2.6 at the start
