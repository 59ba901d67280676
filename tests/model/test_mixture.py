"""The mixture of softmaxes: against the dense formula, with every gradient, and what a language model does with it."""

import dataclasses

import numpy as np
import pytest
import torch
from support.heads import head_config
from support.models import language_model_config, learn_to_count, make_language_model
from torch import Tensor
from torch.nn import functional

from ulmkit.errors import ConfigError
from ulmkit.kernels import linear_nll
from ulmkit.model.classifier import AWDLSTMClassifier
from ulmkit.model.heads import SingleLabelConfig
from ulmkit.model.language_model import AWDLSTMLanguageModel
from ulmkit.model.mixture import MixtureOfSoftmaxes
from ulmkit.model.regularizers import activation_regularization, temporal_activation_regularization
from ulmkit.model.transfer import transfer_encoder, transfer_language_model

V, E, H, K = 13, 6, 9, 4
SIZES = language_model_config(
    embedding_size=E,
    hidden_size=8,
    layers=2,
    softmax_experts=K,
    latent_dropout=0.3,
    last_hidden_size=H,
)


def language_model(dtype: torch.dtype = torch.float64, **options) -> AWDLSTMLanguageModel:
    """With weights large enough that its experts differ."""
    torch.manual_seed(0)
    model = AWDLSTMLanguageModel(language_model_config(SIZES, **options), V).to(dtype)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)
    return model


def stream(steps: int = 6, batch: int = 3) -> tuple[Tensor, Tensor]:
    ids = torch.randint(V, (steps + 1, batch), generator=torch.Generator().manual_seed(1))
    return ids[:-1], ids[1:]


def dense(
    mixture: MixtureOfSoftmaxes, g: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | float = 1.0
) -> Tensor:
    """p(y | g) (T, B, V), expert by expert. mask: (1, B, K E)."""
    prior = torch.softmax(g @ mixture.prior.weight.T, dim=-1)
    latent = torch.tanh(g @ mixture.latent.weight.T + mixture.latent.bias) * mask
    probabilities = 0.0
    for k, h in enumerate(latent.split(weight.shape[1], dim=-1)):
        probabilities = probabilities + prior[..., k, None] * functional.linear(h, weight, bias).softmax(dim=-1)
    return torch.as_tensor(probabilities)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_loss_and_every_gradient_equal_the_dense_formula(bias, training):
    model = language_model(decoder_bias=bias).train(training)
    ids, targets = stream()
    torch.manual_seed(3)
    loss = model.loss(ids, targets, ar=2.0, tar=1.0)
    loss.total.backward()
    got = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    torch.manual_seed(3)
    output = model.encoder(ids)
    mask = torch.empty(1, 3, K * E, dtype=torch.float64).bernoulli_(0.7) / 0.7 if training else 1.0
    weight = model.encoder.embedding.weight[:V]
    p = dense(model.mixture, output.dropped, weight, model.decoder.weight[:V] if bias else None, mask)
    nll = -p.gather(2, targets[..., None]).log().mean()
    ar, tar = activation_regularization(output.dropped, 2.0), temporal_activation_regularization(output.raw, 1.0)
    (nll + ar + tar).backward()
    torch.testing.assert_close(loss.nll, nll.detach())
    torch.testing.assert_close(loss.total, nll + ar + tar)
    for name, parameter in model.named_parameters():
        assert parameter.grad.any(), name
        torch.testing.assert_close(got[name], parameter.grad, msg=name)


def test_gradients_by_differences():
    mixture = MixtureOfSoftmaxes(3, 2, K, 0.0).double()
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, 2, 3), (8, 2), (8,), (K * 2, 3), (K * 2,), (K, 3))
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]
    targets = torch.tensor([[0, 4], [2, 1]])

    def nll(g: Tensor, weight: Tensor, bias: Tensor, *parameters: Tensor) -> Tensor:
        del mixture.latent.weight, mixture.latent.bias, mixture.prior.weight
        mixture.latent.weight, mixture.latent.bias, mixture.prior.weight = parameters
        return mixture.nll(g, weight, bias, targets, 5)

    assert torch.autograd.gradcheck(nll, inputs)


def test_log_probabilities_are_those_of_token_nll_and_sum_to_one():
    model = language_model().eval()
    ids, targets = stream()
    with torch.no_grad():
        logits, _ = model(ids)
        expected = dense(
            model.mixture, model.encoder(ids).raw, model.encoder.embedding.weight[:V], model.decoder.weight[:V]
        )
    torch.testing.assert_close(logits, expected.log())
    torch.testing.assert_close(logits.logsumexp(dim=2), torch.zeros(6, 3, dtype=torch.float64))
    nll, _ = model.token_nll(ids, targets)
    torch.testing.assert_close(nll, -logits.gather(2, targets[..., None])[..., 0])


def test_experts_that_agree_are_one_softmax():
    mixture = MixtureOfSoftmaxes(H, E, K, 0.0).double()
    with torch.no_grad():
        for parameter in (mixture.latent.weight, mixture.latent.bias):
            parameter.copy_(parameter[:E].repeat(K, *[1] * (parameter.dim() - 1)))
    g, weight = torch.randn(5, 2, H, dtype=torch.float64), torch.randn(V, E, dtype=torch.float64)
    targets = torch.randint(V, (5, 2))
    h = torch.tanh(g @ mixture.latent.weight[:E].T + mixture.latent.bias[:E])
    expected = linear_nll(h.flatten(0, 1), weight, None, targets.flatten()).view(5, 2)
    torch.testing.assert_close(mixture.nll(g, weight, None, targets, V), expected)


def test_the_bottleneck_is_broken():
    """Over many contexts, log-probabilities of one softmax have rank E + 2 at most; those of several any."""
    contexts = torch.randint(V, (40, 1), generator=torch.Generator().manual_seed(2))
    ranks = []
    for options in ({"softmax_experts": 1, "latent_dropout": 0.0, "last_hidden_size": None}, {}):
        with torch.no_grad():
            logits, _ = language_model(embedding_size=3, **options).eval()(contexts)
        ranks.append(int(torch.linalg.matrix_rank(logits[:, 0].log_softmax(dim=1), rtol=1e-9)))
    assert ranks[0] <= 3 + 2 < ranks[1]


def test_latent_dropout_is_locked_and_each_sequences_and_experts_own():
    mixture = MixtureOfSoftmaxes(H, E, K, 0.3).double()
    g = torch.randn(7, 50, H, dtype=torch.float64)
    torch.manual_seed(0)
    ratio = mixture(g)[0] / mixture.eval()(g)[0]  # T, B, K, E
    assert torch.allclose(ratio, ratio[:1].expand_as(ratio))
    kept = ratio[0] > 0.5
    assert torch.allclose(ratio[0][kept], torch.tensor(1 / 0.7, dtype=torch.float64))
    assert not ratio[0][~kept].any()
    assert kept.double().mean().item() == pytest.approx(0.7, abs=0.06)  # 1200 draws: 4.5 standard deviations
    assert len({tuple(row) for row in kept.flatten(0, 1).tolist()}) > E


def test_an_expert_without_any_probability_is_no_trouble():
    """pi underflows to 0 for all but one expert: its rows have no weight."""
    model = language_model(torch.float32, latent_dropout=0.0).eval()
    with torch.no_grad():
        model.mixture.prior.weight.mul_(1e4)
    ids, targets = stream()
    loss = model.loss(ids, targets)
    loss.total.backward()
    assert loss.total.isfinite()
    assert model.mixture(model.encoder(ids).raw)[1].exp().eq(0).any()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_bf16_is_near_fp32():
    model = language_model(torch.float32).eval()
    ids, targets = stream(20, 8)
    found = []
    for precision in ("fp32", "bf16"):
        model.encoder.precision = precision
        loss = model.loss(ids, targets)
        found.append([loss.nll, *torch.autograd.grad(loss.total, list(model.parameters()))])
    for one, two in zip(*found, strict=True):
        assert two.dtype == torch.float32
        assert (one - two).norm() <= 0.05 * one.norm()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_learns(precision):
    torch.manual_seed(0)
    config = language_model_config(SIZES, embedding_size=16, hidden_size=24, last_hidden_size=20)
    model = AWDLSTMLanguageModel(config, V)
    model.encoder.precision = precision
    assert learn_to_count(model, V, steps=90) < 0.4


def test_the_state_is_carried_and_the_scores_are_those_of_the_loss():
    model = language_model().eval()
    ids, targets = stream(8)
    whole = model.token_scores(ids, targets)
    assert whole.hidden.shape == (8, 3, H)
    assert not whole.nll.requires_grad
    first = model.loss(ids[:5], targets[:5], ar=0, tar=0)
    assert [h.shape for h, _ in first.state] == [(3, 8), (3, H)]
    second = model.loss(ids[5:], targets[5:], first.state, ar=0, tar=0)
    torch.testing.assert_close(first.nll * 5 / 8 + second.nll * 3 / 8, whole.mean_nll.detach())
    torch.testing.assert_close(whole.nll.mean(), whole.mean_nll.detach())


def test_one_expert_is_the_plain_softmax():
    """One expert draws the same parameters as the plain softmax, and nothing more."""
    torch.manual_seed(0)
    sizes = {"embedding_size": E, "hidden_size": 8, "layers": 2}
    model = make_language_model(V, **sizes)
    after = torch.get_rng_state()
    torch.manual_seed(0)
    one = make_language_model(V, **sizes, softmax_experts=1, last_hidden_size=E)
    assert torch.equal(torch.get_rng_state(), after)
    assert model.mixture is None
    assert one.mixture is None
    assert not [name for name in model.state_dict() if not name.startswith(("encoder.", "decoder."))]
    assert all(torch.equal(tensor, one.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_a_new_vocabulary_leaves_the_mixture_as_it_is():
    model = language_model()
    order = np.random.default_rng(0).permutation(V)
    moved, _ = transfer_language_model(model, order)
    ids, _ = stream()
    expected, _ = model.eval()(torch.from_numpy(order)[ids])
    found, _ = moved.eval()(ids)
    torch.testing.assert_close(found, expected[..., order])
    moved, _ = transfer_language_model(model, np.array([3, -1, 0, 7]))
    assert (moved.config.softmax_experts, moved.config.encoder.last_hidden_size) == (K, H)
    for name in ("mixture.latent.weight", "mixture.latent.bias", "mixture.prior.weight"):
        assert torch.equal(moved.state_dict()[name], model.state_dict()[name])
        assert moved.state_dict()[name].data_ptr() != model.state_dict()[name].data_ptr()


@pytest.mark.parametrize("kind", ["single", "multi", "number", "tokens", "pair"])
def test_a_classifier_takes_the_encoder_and_pools_what_its_last_layer_gives(kind):
    """The same answer in one piece and piece by piece, with float weights and with bytes."""
    model = language_model(torch.float32).eval()
    head = head_config(kind)
    classifier = AWDLSTMClassifier(SIZES.encoder, V, head, chunk_steps=4).eval()
    transfer_encoder(model.encoder, classifier.encoder)
    assert not [name for name in classifier.state_dict() if "mixture" in name]
    ids, lengths = stream(11, 4)[0], torch.tensor([11, 5, 1, 8])
    boundaries = torch.tensor([5, 2, 0, 7]) if kind == "pair" else None
    with torch.no_grad():
        assert torch.equal(classifier.encoder(ids).raw, model.encoder(ids).raw)
        for reader, tolerance in ((classifier, 1e-5), (classifier.to_int8(), 1e-4)):
            whole, state = reader(ids, lengths, boundaries), reader.begin(4, boundaries)
            for start in range(0, 11, 3):
                piece = ids[start : start + 3]
                state = reader.step(piece, (lengths - start).clamp(0, len(piece)), state)
            torch.testing.assert_close(reader.finish(state), whole, rtol=tolerance, atol=tolerance)


def test_encoders_of_other_last_layers():
    config = dataclasses.replace(SIZES.encoder, last_hidden_size=7)
    target = AWDLSTMClassifier(config, V, SingleLabelConfig(classes=2))
    with pytest.raises(ConfigError, match="last_hidden_size: expected 7 as in the target encoder, got 9 in the source"):
        transfer_encoder(language_model(torch.float32).encoder, target.encoder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"softmax_experts": 0}, "softmax_experts: expected a whole number of at least 1, got 0"),
        ({"softmax_experts": 2, "latent_dropout": 1.0}, "latent_dropout: expected 0 <= p < 1, got 1.0"),
        (
            {"softmax_experts": 2, "last_hidden_size": 0},
            "last_hidden_size: expected a whole number of at",
        ),
        (
            {"last_hidden_size": 7, "embedding_size": 6},
            "last_hidden_size: expected embedding_size, 6, to which the softmax is tied, got 7; leave it out, or set "
            "softmax_experts above 1",
        ),
        ({"latent_dropout": 0.2}, "latent_dropout: expected 0 with one softmax, got 0.2; set softmax_experts above 1"),
    ],
)
def test_options_outside_their_range(options, message):
    with pytest.raises(ConfigError, match=message):
        language_model_config(**options)
